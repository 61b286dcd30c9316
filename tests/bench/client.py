"""What calls the servers: GraphQL over one kept connection, and many of them under load."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

IDLE_SECONDS = 3
"""A connection that was not used for so long is not trusted: uvicorn closes idle ones after five."""


class Client:
    """One kept HTTP connection; for one thread."""

    def __init__(self, url: str, token: str) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._used_at = time.monotonic()

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """The `data` of an operation."""
        if time.monotonic() - self._used_at > IDLE_SECONDS:
            self._connection.close()  # The next request opens it anew.
        self._used_at = time.monotonic()
        body = json.dumps({"query": query, "variables": variables})
        self._connection.request("POST", "/graphql", body, self._headers)
        answer = json.loads(self._connection.getresponse().read())
        assert not answer.get("errors"), answer
        return dict(answer["data"])

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Call:
    """One HTTP request to repeat, as it goes over the wire."""

    url: str
    token: str
    query: str

    def encode(self) -> bytes:
        body = json.dumps({"query": self.query})
        head = [
            "POST /graphql HTTP/1.1",
            f"Host: {urlsplit(self.url).netloc}",
            f"Authorization: Bearer {self.token}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join([*head, "", body]).encode()


@dataclass
class _Lane(asyncio.Protocol):
    """A connection that sends the call again as soon as it is answered, until `until`."""

    call: bytes
    until: float
    done: asyncio.Future[None]
    latencies: list[float] = field(default_factory=list)
    _received: bytes = b""
    _sent_at: float = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self.call)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        if len(body) < _length(head):
            return
        assert (head[:12], body[:7]) == (b"HTTP/1.1 200", b'{"data"'), self._received
        now = time.perf_counter()
        self.latencies.append(now - self._sent_at)
        self._received = b""
        if now < self.until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error) if error else self.done.set_result(None)


def _length(head: bytes) -> int:
    """The Content-Length that a whole head names; more than anything while there is none yet."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 2**63


def rate(call: Call, *, connections: int, seconds: float) -> float:
    """Requests per second of so many connections at once."""
    return asyncio.run(_rate(call, connections, seconds))


async def _rate(call: Call, connections: int, seconds: float) -> float:
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    lanes = [_Lane(call.encode(), start + seconds, loop.create_future()) for _ in range(connections)]
    for lane in lanes:
        await loop.create_connection(partial(_itself, lane), *_address(call))
    await asyncio.gather(*(lane.done for lane in lanes))
    return sum(len(lane.latencies) for lane in lanes) / (time.perf_counter() - start)


def latencies(calls: Sequence[Call], rounds: int) -> list[list[float]]:
    """Seconds that each call took, one at a time and in turn, by its own connection."""
    return asyncio.run(_latencies(calls, rounds))


async def _latencies(calls: Sequence[Call], rounds: int) -> list[list[float]]:
    connections = [await asyncio.open_connection(*_address(call)) for call in calls]
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, (reader, writer), found in zip(calls, connections, taken, strict=True):
            encoded, start = call.encode(), time.perf_counter()
            writer.write(encoded)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_length(head))
            found.append(time.perf_counter() - start)
    for _, writer in connections:
        writer.close()
        await writer.wait_closed()
    return taken


def _itself(lane: _Lane) -> _Lane:
    return lane


def _address(call: Call) -> tuple[str, int]:
    address = urlsplit(call.url)
    return str(address.hostname), address.port or 80
