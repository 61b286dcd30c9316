"""A web server on a free loopback port that answers as the test says, and keeps what it was asked.

with WebServer(lambda request: (200, b"hello", {})) as server:
    ...
assert server.requests[0].path == "/update"
"""

import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from certwright.local.app import utc_now
from certwright.local.test_ca import HOST, ensure_tls_certificate


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Response: TypeAlias = tuple[int, bytes, dict[str, str]]
"""Status, body and further headers."""


class WebServer:
    """It runs until it is closed. With `tls` (a folder) it speaks https, and `ca_bundle` is what to trust it by."""

    def __init__(self, answer: Callable[[Request], Response], tls: Path | None = None) -> None:
        self.requests: list[Request] = []
        self.answer = answer
        self._server = ThreadingHTTPServer((HOST, 0), self._handler())
        self._server.daemon_threads = True
        self.ca_bundle: Path | None = None
        if tls is not None:
            tls.mkdir(parents=True, exist_ok=True)
            ensure_tls_certificate(tls, utc_now())
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "tls-certificate.pem", tls / "tls-key.pem")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.ca_bundle = tls / "tls-root.pem"
        self.port = self._server.server_port
        self.url = f"http{'s' if tls else ''}://{HOST}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True  # Whoever asked has gone.

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                request = Request(self.command, self.path, dict(self.headers), self.rfile.read(length))
                server.requests.append(request)
                status, body, headers = server.answer(request)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815  http.server's names

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        return Handler

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
