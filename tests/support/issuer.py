"""An OpenID Connect issuer on loopback, with keys and tokens of its own."""

import base64
import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class Issuer:
    """A real OpenID Connect issuer on loopback, as far as its tokens' readers can tell."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.gate = threading.Event()
        self.gate.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.gate.set()
        self.stop()

    def token(self, key: PrivateKey, algorithm: str, kid: str | None = "k1", **claims: Any) -> str:
        everything = self.claims() | claims
        given = {name: value for name, value in everything.items() if value is not ...}
        return jwt.encode(given, key, algorithm, headers={"kid": kid} if kid else {})

    def claims(self) -> dict[str, Any]:
        times = {"iat": NOON.timestamp(), "exp": (NOON + timedelta(minutes=10)).timestamp()}
        return times | {"iss": self.url, "aud": "certwright", "sub": "s-1", "tenant": "acme", "role": "operator"}

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        documents = {
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
            "/keys": {"keys": self.keys},
        }
        return self.answers.get(path) or (200, {}, json.dumps(documents[path]).encode())

    def take(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:  # noqa: ARG002
        """What is posted: nothing that this one knows."""
        return 405, {}, b""

    def _handler(issuer) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # `self` is the handler's inside
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests.append(self.path)
                issuer.gate.wait(timeout=10)
                self._answer(*issuer.answer(self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(*issuer.take(self.path, body))

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        return Handler


def base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def jwk(key: PrivateKey, kid: str | None = "k1", **members: str) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        document = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        document = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        document = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return document | ({"kid": kid} if kid else {}) | members
