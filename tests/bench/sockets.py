"""Many WebSockets in one event loop that do nothing but note when a message came: frames are read by hand, as a
library's own work would be measured too."""

import asyncio
import base64
import json
import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

OPENING_AT_ONCE = 50
WAIT_SECONDS = 60


class Socket(asyncio.Protocol):
    """One subscription. `arrivals` are the times (CLOCK_MONOTONIC, seconds) of its messages; `last` is the newest."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self.last = b""
        self._received = b""
        self._upgraded = asyncio.Event()
        self._acknowledged = asyncio.Event()

    async def open(self, port: int, path: str, init: dict[str, Any], payload: dict[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: self, "127.0.0.1", port)
        self._transport: asyncio.Transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        head = [
            f"GET {path} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: graphql-transport-ws",
        ]
        transport.write("\r\n".join([*head, "", ""]).encode())
        await self._upgraded.wait()
        self._send({"type": "connection_init", "payload": init})
        await self._acknowledged.wait()
        self._send({"type": "subscribe", "id": "1", "payload": payload})

    def _send(self, message: dict[str, Any]) -> None:
        """A text frame (RFC 6455 §5.2), masked with zeros."""
        text = json.dumps(message).encode()
        length = bytes([0x80 | len(text)]) if len(text) < 126 else bytes([0xFE]) + len(text).to_bytes(2)
        self._transport.write(b"\x81" + length + bytes(4) + text)

    def close(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self._received += data
        if not self._upgraded.is_set():
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._upgraded.set()
            self._received = rest
        while (message := self._next_message()) is not None:
            if b'"connection_ack"' in message:
                self._acknowledged.set()
            elif b'"next"' in message:
                self.arrivals.append(now)
                self.last = message

    def _next_message(self) -> bytes | None:
        """The payload of the next whole frame: servers do not mask, and what they send here is short."""
        start = 4 if self._received[1:2] == b"\x7e" else 2
        if len(self._received) < start:
            return None
        length = int.from_bytes(self._received[2:4]) if start == 4 else self._received[1]
        if len(self._received) < start + length:
            return None
        message, self._received = self._received[start : start + length], self._received[start + length :]
        return message


class Sockets:
    """So many subscriptions at once; number n sends `payloads[n]`."""

    def __init__(self, port: int, path: str, payloads: Sequence[dict[str, Any]], token: str = "") -> None:
        self._port = port
        self._path = path
        self._payloads = payloads
        self._init = {"authorization": f"Bearer {token}"}
        self.sockets = [Socket() for _ in payloads]

    async def __aenter__(self) -> Self:
        gate = asyncio.Semaphore(OPENING_AT_ONCE)

        async def open_one(socket: Socket, payload: dict[str, Any]) -> None:
            async with gate:
                await asyncio.wait_for(socket.open(self._port, self._path, self._init, payload), WAIT_SECONDS)

        await asyncio.gather(*map(open_one, self.sockets, self._payloads))
        await asyncio.sleep(1)  # There is no answer to `subscribe`: give the last ones time to listen.
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for socket in self.sockets:
            socket.close()

    async def arrived(self, messages: int) -> None:
        """Wait until so many messages have come in all. It looks seldom: looking holds up the arrivals."""
        until = time.monotonic() + WAIT_SECONDS
        while (found := sum(len(socket.arrivals) for socket in self.sockets)) < messages:
            assert time.monotonic() < until, f"{found} of {messages} messages arrived"
            await asyncio.sleep(0.02)
