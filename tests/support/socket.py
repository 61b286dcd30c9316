"""A graphql-transport-ws client that says exactly what a test tells it to, right or wrong.

with Socket(house.ws_url) as socket:
    socket.init(house.viewer)
    socket.subscribe("1", "subscription { dashboard { counts { orders } } }")
    assert socket.get()["type"] == "next"
    assert socket.closed() == 4403
"""

import json
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

PROTOCOL = "graphql-transport-ws"
WAIT_SECONDS = 15


class Socket:
    """An open socket. What is not a string or bytes is sent as JSON. One that does not read takes a few frames only."""

    def __init__(
        self,
        url: str,
        *,
        protocols: Sequence[str] = (PROTOCOL,),
        headers: dict[str, str] | None = None,
        reads: bool = True,
    ) -> None:
        self._stack = ExitStack()
        opening = connect(
            url,
            sock=None if reads else _narrow(url),
            max_queue=16 if reads else 1,
            subprotocols=[Subprotocol(protocol) for protocol in protocols] or None,
            additional_headers=headers,
            max_size=None,
            open_timeout=WAIT_SECONDS,
            proxy=None,
        )
        self._connection = self._stack.enter_context(opening)
        self.protocol = self._connection.subprotocol

    def send(self, message: object) -> None:
        """A server that has closed is found out by what is got next."""
        try:
            self._connection.send(message if isinstance(message, str | bytes) else json.dumps(message))
        except ConnectionClosed:
            return

    def init(self, token: str | None) -> None:
        payload = {} if token is None else {"payload": {"authorization": f"Bearer {token}"}}
        self.send({"type": "connection_init", **payload})
        assert self.get() == {"type": "connection_ack"}

    def subscribe(self, id: str, query: str, /, **variables: Any) -> None:
        self.send({"type": "subscribe", "id": id, "payload": {"query": query, "variables": variables}})

    def execute(self, query: str, /, **variables: Any) -> dict[str, Any]:
        """The payload of a query's or mutation's one answer."""
        self.subscribe("only", query, **variables)
        answer, completed = self.get(), self.get()
        assert completed == {"type": "complete", "id": "only"}, (answer, completed)
        return dict(answer["payload"])

    def get(self, seconds: float = WAIT_SECONDS) -> Any:
        """The next message. Raises ConnectionClosed, and TimeoutError when none comes."""
        return json.loads(self._connection.recv(timeout=seconds))

    def payloads(self, until: str, id: str = "1", seconds: float = WAIT_SECONDS) -> list[dict[str, Any]]:
        """The `data` of an operation's messages, up to the first that holds the text `until`."""
        found, last = [], time.monotonic() + seconds
        while True:
            message = self.get(last - time.monotonic())
            assert (message["type"], message["id"]) == ("next", id), message
            assert "errors" not in message["payload"], message
            found.append(message["payload"]["data"])
            if until in json.dumps(message["payload"]):
                return found

    def closed(self, seconds: float = WAIT_SECONDS) -> int:
        """The close code, after whatever else is sent before it."""
        until = time.monotonic() + seconds
        while True:
            try:
                self._connection.recv(timeout=max(0, until - time.monotonic()))
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 1006

    def vanish(self) -> None:
        """Break the connection without a word."""
        broken = self._connection.socket
        with suppress(OSError):  # It is broken already.
            broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            broken.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _narrow(url: str) -> socket.socket:
    """A connection whose receive buffer is small."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    parts = urlsplit(url)
    narrow.connect((parts.hostname, parts.port))
    return narrow
