"""API Gateway's WebSocket API as far as a function and its clients can tell: real sockets on loopback.

    with ApiGateway(lambda: WebsocketFunction(...)) as gateway:
        Socket(gateway.ws_url)

Every event is given to a function in a thread of its own, several of one socket at once: each to an instance of its
own, as Lambda does it. With `in_order` a socket's messages wait for each other. Functions answer through `@connections`
at `gateway.url`. `posts` remembers what was posted; `stall` and `fail` make one socket's posts slow or fail.
"""

import base64
import itertools
import json
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

MAX_MESSAGE = 128 * 1024
MAX_FRAME = 32 * 1024
Function = Callable[[dict[str, Any], Any], Any]


@dataclass
class Connected:
    """An open socket, as API Gateway keeps it."""

    id: str
    socket: ServerConnection
    protocol: str | None = None
    connected_at: int = field(default_factory=lambda: int(time.time() * 1000))


class _Callbacks(ThreadingHTTPServer):
    """Many functions may post at once."""

    daemon_threads = True
    request_queue_size = 256


class ApiGateway:
    def __init__(self, function: Callable[[], Function], *, in_order: bool = False) -> None:
        self._make = function
        self._in_order = in_order
        self._idle: list[Function] = []
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(32, thread_name_prefix="lambda")
        self._numbers = itertools.count()
        self.connected: dict[str, Connected] = {}
        self._by_socket: dict[ServerConnection, Connected] = {}
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.events: list[dict[str, Any]] = []
        self.hold: Callable[[str], object] = lambda _: None
        self.held: list[str] = []
        self._taken: list[Future[None]] = []
        self._stalls: dict[str, threading.Event] = {}
        self._stall_seconds: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._server = self._serve(0)
        self.port: int = self._server.socket.getsockname()[1]
        self._callbacks = _Callbacks(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._callbacks.server_port}/live"
        self.ws_url = f"ws://127.0.0.1:{self.port}/live"
        self._threads = [
            threading.Thread(target=self._server.serve_forever),
            threading.Thread(target=self._callbacks.serve_forever, kwargs={"poll_interval": 0.01}),
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for stalled in self._stalls.values():
            stalled.set()
        self._server.shutdown()
        self.drop_all()
        self._pool.shutdown(wait=True)
        self._callbacks.shutdown()
        self._callbacks.server_close()
        for thread in self._threads:
            thread.join(10)

    def _serve(self, port: int) -> Server:
        return serve(
            self._talk,
            "127.0.0.1",
            port,
            process_request=self._connect,
            process_response=self._agree,
            max_size=(MAX_MESSAGE, MAX_FRAME),
            compression=None,
            ping_interval=None,
        )

    # What tests do to it

    def stall(self, connection_id: str, seconds: float) -> None:
        """Answer posts to this socket only after so long."""
        self._stalls[connection_id] = threading.Event()
        self._stall_seconds[connection_id] = seconds

    def release(self, connection_id: str) -> None:
        """Let posts through that wait."""
        self._stalls[connection_id].set()

    def recover(self, connection_id: str) -> None:
        """Take posts to this socket as to any other."""
        self._failures.pop(connection_id)

    def fail(self, connection_id: str, status: int) -> None:
        """Answer posts to this socket with this status."""
        self._failures[connection_id] = status

    def drop_all(self) -> None:
        """Break every connection without a word, and have $disconnect told as far as it comes."""
        for connected in list(self.connected.values()):
            connected.socket.close_socket()

    @property
    def newest(self) -> str:
        """The id of the socket that connected last."""
        return list(self.connected)[-1]

    def settle(self) -> None:
        """Wait until every message so far has been taken."""
        for taken in list(self._taken):
            taken.result(30)

    # Sockets

    def _connect(self, socket: ServerConnection, request: Request) -> Response | None:
        connected = Connected(base64.b64encode(secrets.token_bytes(11)).decode(), socket)
        headers = dict(request.headers.raw_items())
        answer = self._invoke(self._event(connected, "CONNECT", "$connect", headers=headers))
        status = answer.get("statusCode", 500) if isinstance(answer, dict) else 500
        if not 200 <= status < 300:
            body = str(answer.get("body", "")).encode() if isinstance(answer, dict) else b""
            return Response(status, "Refused", Headers({"Content-Length": str(len(body))}), body)
        connected.protocol = answer.get("headers", {}).get("Sec-WebSocket-Protocol")
        self._by_socket[socket] = self.connected[connected.id] = connected
        return None

    def _agree(self, socket: ServerConnection, _: Request, response: Response) -> None:
        connected = self._by_socket.get(socket)
        if connected and connected.protocol:
            response.headers["Sec-WebSocket-Protocol"] = connected.protocol

    def _talk(self, socket: ServerConnection) -> None:
        connected = self._by_socket.pop(socket)
        try:
            for message in socket:
                if isinstance(message, bytes):
                    socket.close(1003)
                    break
                taken = self._pool.submit(self._deliver, connected, message, time.time())
                self._taken.append(taken)
                if self._in_order:
                    taken.result(60)
        except ConnectionClosed:
            pass
        finally:
            self.connected.pop(connected.id, None)
            self._pool.submit(self._invoke, self._event(connected, "DISCONNECT", "$disconnect"))

    def _deliver(self, connected: Connected, body: str, received: float) -> None:
        event = self._event(connected, "MESSAGE", "$default", body=body)
        event["requestContext"]["requestTimeEpoch"] = int(received * 1000)
        self.held.append(body)
        self.hold(body)
        self.held.remove(body)
        answer = self._invoke(event)
        if answer is None:
            failed = {"message": "Internal server error", "connectionId": connected.id, "requestId": "r"}
            connected.socket.send(json.dumps(failed))

    def _event(self, connected: Connected, kind: str, route: str, **members: Any) -> dict[str, Any]:
        number = next(self._numbers)
        context = {
            "routeKey": route,
            "eventType": kind,
            "connectionId": connected.id,
            "connectedAt": connected.connected_at,
            "requestTimeEpoch": int(time.time() * 1000),
            "requestId": f"request-{number}",
            "extendedRequestId": f"request-{number}",
            "messageDirection": "IN",
            "domainName": "sockets.example",
            "stage": "live",
            "apiId": "api",
            "identity": {"sourceIp": "192.0.2.7", "userAgent": "test"},
            **({"messageId": f"message-{number}"} if kind == "MESSAGE" else {}),
        }
        return {"requestContext": context, "isBase64Encoded": False, **members}

    def _invoke(self, event: dict[str, Any]) -> Any:
        """What a function returns; None where it raises. An instance is used by one invocation at a time."""
        with self._lock:
            self.events.append(event)
            function = self._idle.pop() if self._idle else None
        function = function or self._make()
        try:
            return json.loads(json.dumps(function(json.loads(json.dumps(event)), None)))
        except Exception as error:  # noqa: BLE001  As Lambda does it.
            self.raised = error
            return None
        finally:
            with self._lock:
                self._idle.append(function)

    # @connections

    def _post(self, id: str, data: bytes) -> int:
        connected = self.connected.get(id)
        if len(data) > MAX_MESSAGE:
            return 413
        if id in self._stalls:
            self._stalls[id].wait(self._stall_seconds[id])
        if id in self._failures:
            return self._failures[id]
        if connected is None:
            return 410
        try:
            text = data.decode()
            frames = [text[start : start + MAX_FRAME] for start in range(0, len(text), MAX_FRAME)]
            connected.socket.send(frames if len(frames) > 1 else text)
        except ConnectionClosed:
            return 410
        with self._lock:
            self.posts.append((id, json.loads(data)))
        return 200

    def _delete(self, id: str) -> int:
        connected = self.connected.get(id)
        if connected is None:
            return 410
        connected.socket.close(1000)
        return 204

    def _handler(gateway) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # `self` is the handler's inside
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(gateway._post(self._id(), data))

            def do_DELETE(self) -> None:
                self._answer(gateway._delete(self._id()))

            def _id(self) -> str:
                stage, _, id = self.path.removeprefix("/").partition("/@connections/")
                assert stage == "live", self.path
                return unquote(id)

            def _answer(self, status: int) -> None:
                """As plainly as emulators do it: no name of an error, only its status."""
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except ConnectionError:
                    return  # Who posted did not wait.

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        return Handler
