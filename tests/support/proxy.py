"""A proxy before Pebble that sees every ACME request, and strikes at a chosen one: before the CA has it, or after.

    with Proxy(tmp_path, pebble) as proxy:
        proxy.strike("finalize", 1, "after", kill)     # the first finalize is done, but nobody hears of it

Operations: directory, nonce, newAccount, newOrder, authorization, challenge, finalize, order, certificate. Pebble puts
the host that was asked into its URLs, so that everything stays with the proxy.
"""

import ssl
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPResponse, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

from certwright.local.test_ca import ensure_tls_certificate
from tests.support.pebble import Pebble

Moment = Literal["before", "after"]
_OPERATIONS = {
    "dir": "directory",
    "nonce-plz": "nonce",
    "sign-me-up": "newAccount",
    "order-plz": "newOrder",
    "authZ": "authorization",
    "chalZ": "challenge",
    "finalize-order": "finalize",
    "my-order": "order",
    "certZ": "certificate",
}
_SECONDS = 10


class Proxy:
    def __init__(self, directory: Path, pebble: Pebble) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        ensure_tls_certificate(directory, datetime.now(UTC))
        self.ca_bundle = directory / "tls-root.pem"
        self.pebble = pebble
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._target: tuple[str, int] | None = None
        self._moment: Moment = "before"
        self._blow: Callable[[], None] = lambda: None
        self._server = _Server(self, directory)
        self.directory_url = f"https://127.0.0.1:{self._server.server_port}/dir"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def strike(self, operation: str, number: int, moment: Moment, blow: Callable[[], None]) -> None:
        """Call `blow` once, at the request of this number (from 1) for an operation, which is not answered then."""
        self._moment, self._blow, self._target = moment, blow, (operation, number)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def is_struck(self, path: str) -> bool:
        with self._lock:
            operation = _OPERATIONS.get(path.split("/")[1], path)
            self._seen[operation] += 1
            struck = self._target == (operation, self._seen[operation])
            self._target = None if struck else self._target
            return struck

    def blow(self, moment: Moment) -> bool:
        """Strike, if this is the moment to."""
        if moment == self._moment:
            self._blow()
        return moment == self._moment


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy: Proxy, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "tls-certificate.pem", directory / "tls-key.pem")
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, *_: object) -> None:
        """A client that was killed is no error here."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            super().handle_error(*_)  # type: ignore[arg-type]  # whatever socketserver gave, it gets back


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        struck = proxy.is_struck(self.path)
        if struck and proxy.blow("before"):
            self.close_connection = True
            return
        answer, content = self._forward(proxy, body)
        if struck and proxy.blow("after"):
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_HEAD = do_POST  # noqa: N815  named by http.server

    def _forward(self, proxy: Proxy, body: bytes) -> tuple[HTTPResponse, bytes]:
        context = ssl.create_default_context(cafile=proxy.pebble.ca_bundle)
        upstream = HTTPSConnection(urlsplit(proxy.pebble.directory_url).netloc, context=context, timeout=_SECONDS)
        try:
            upstream.request(self.command, self.path, body or None, dict(self.headers.items()))
            answer = upstream.getresponse()
            return answer, answer.read()
        finally:
            with suppress(OSError):
                upstream.close()

    def log_message(self, *args: object) -> None:
        """Nothing."""
