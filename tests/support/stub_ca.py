"""An ACME server inside the tests, for what no real one does on request. It checks every signature, URL and nonce.

    with StubCa(tmp_path) as stub:
        stub.fail_next("newOrder", "rateLimited", status=429, headers={"Retry-After": "30"})
        stub.hang_next("finalize", seconds=3, performs=True)      # done, but nobody hears of it
        ca = Ca(stub.directory_url, clock, ca_bundle=stub.ca_bundle)
        assert [request.operation for request in stub.requests] == ["directory", "newNonce", "newOrder"]

Operations: directory, newNonce, newAccount, account, newOrder, order, authorization, challenge, finalize, certificate,
revokeCert, renewalInfo. Attributes say how it behaves otherwise. A challenge responded to takes `validation` as its
status; where it is `authorized`, every name is proved already. With a `renewal_window` it has ARI (RFC 9773): (start,
end) of every certificate. `clock` and `life` are those of its certificates.
"""

import contextlib
import itertools
import json
import secrets
import socket
import ssl
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from acme.jws import JWS
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from josepy.b64 import b64decode
from josepy.jwk import JWK

from certwright.local.test_ca import ensure_tls_certificate

T = TypeVar("T")

ACME_ERROR = "urn:ietf:params:acme:error:"


@dataclass(frozen=True)
class Answer:
    """What goes over the wire, after `wait` seconds and `drip` seconds between octets; JSON unless `body` is bytes."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0
    drip: float = 0
    drips_headers: bool = False
    performs: bool = False

    def octets(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Request:
    """One request as it came: `protected` and `payload` are those of its JWS, None where there is none."""

    operation: str
    method: str
    path: str
    headers: Mapping[str, str]
    protected: dict[str, Any] | None = None
    payload: Any = None


def acme_problem(code: str, detail: str, **members: Any) -> dict[str, Any]:
    return {"type": ACME_ERROR + code, "detail": detail, **members}


class Refusal(Exception):
    def __init__(self, status: int, code: str, detail: str) -> None:
        self.answer = Answer(status, acme_problem(code, detail), {"Content-Type": "application/problem+json"})


class StubCa:
    """A running server; all attributes may be changed at any moment."""

    def __init__(self, directory: Path, host: str = "127.0.0.1", name: str = "Stub root") -> None:
        """`directory` takes its TLS certificate, which is good for 127.0.0.1 and localhost alone; `name` is what its
        root is called."""
        directory.mkdir(parents=True, exist_ok=True)
        ensure_tls_certificate(directory, datetime.now(UTC))
        self.ca_bundle = directory / "tls-root.pem"
        self.requests: list[Request] = []
        self.meta: dict[str, Any] = {}
        self.challenge_types: Sequence[str] = ("http-01", "dns-01")
        self.extra_challenges: Sequence[Any] = ()
        self.validation = "valid"
        self.authorized = False
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.life = timedelta(days=90)
        self.renewal_window: tuple[datetime, datetime] | None = None
        self.replaced: set[str] = set()
        self.validation_error: dict[str, Any] | None = None
        self.processing_polls = 0
        self.poll_headers: Mapping[str, str] = {}
        self.certificate_names: Sequence[str] | None = None
        self.certificate_key: Any = None
        self.alternates = 0
        self.revocations: list[dict[str, Any]] = []
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = name
        self._root = self._signed(self._key.public_key(), None, datetime.now(UTC), timedelta(days=3650))
        self._script: dict[str, deque[Answer]] = defaultdict(deque)
        self._nonces: set[str] = set()
        self._nonces_to_reject = 0
        self._accounts: dict[str, dict[str, Any]] = {}
        self._orders: dict[str, dict[str, Any]] = {}
        self._authorizations: dict[str, dict[str, Any]] = {}
        self._challenges: dict[str, dict[str, Any]] = {}
        self._certificates: dict[str, dict[str, str]] = {}
        self._ids = map(str, itertools.count(1))
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self._server = _Server(self, host, directory)
        self.port = self._server.server_port
        self.base_url = f"https://{host}:{self.port}"
        self.directory_url = f"{self.base_url}/directory"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Raises what went wrong inside: a client's request that no real CA would take, or a fault of the stub."""
        if self.stopping.is_set():
            return
        self.stopping.set()
        self._server.shutdown()
        self._server.drop_connections()
        self._server.server_close()
        self._thread.join()
        if self._server.errors:
            raise AssertionError("the stub could not take a request") from self._server.errors[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def fail_next(
        self,
        operation: str,
        code: str = "serverInternal",
        *,
        status: int = 500,
        problem: dict[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        times: int = 1,
        performs: bool = False,
    ) -> None:
        """Refuses the next requests with a problem document; with `performs` it does what was asked all the same."""
        document = acme_problem(code, f"the stub was told to refuse {operation}")
        content_type = {"Content-Type": "application/problem+json"}
        answer = Answer(status, problem or document, content_type | dict(headers or {}), performs=performs)
        self._script[operation].extend([answer] * times)

    def answer_next(self, operation: str, answer: Answer) -> None:
        """Answers the next request with anything at all."""
        self._script[operation].append(answer)

    def hang_next(self, operation: str, seconds: float, *, performs: bool = False) -> None:
        """Lets the next request wait, and then fails it."""
        self.answer_next(operation, Answer(500, wait=seconds, performs=performs))

    def garble_next(self, operation: str, body: bytes = b"<html>Sorry!</html>", status: int = 200) -> None:
        self.answer_next(operation, Answer(status, body, {"Content-Type": "text/html"}))

    def reject_nonces(self, times: int) -> None:
        """Answers the next signed requests with badNonce; only the nonce of that very answer is good afterwards."""
        self._nonces_to_reject = times

    def lose_order(self, url: str) -> None:
        """Knows nothing of an order any more."""
        del self._orders[urlsplit(url).path]

    @property
    def connections(self) -> int:
        """How many were made so far."""
        return len(self._server.connections)

    def operations(self) -> list[str]:
        return [request.operation for request in self.requests]

    def root_pem(self) -> str:
        return _pem(self._root)

    def respond(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One request in, one answer out, with a nonce."""
        operation = path.split("/")[1]
        with self._lock:
            try:
                answer = self._respond(Request(operation, method, path, headers), body)
            except Refusal as refusal:
                answer = refusal.answer
            return replace(answer, headers={"Replay-Nonce": self._new_nonce(), **answer.headers})

    def _respond(self, request: Request, body: bytes) -> Answer:
        jws = None
        if request.method == "POST":
            jws = JWS.json_loads(body.decode())
            protected = json.loads(b64decode(json.loads(body)["protected"]))
            payload = json.loads(jws.payload) if jws.payload else None
            request = replace(request, protected=protected, payload=payload)
        self.requests.append(request)
        if jws is not None:
            self._verify(request, jws)
        scripted = self._script[request.operation].popleft() if self._script[request.operation] else None
        if scripted is not None and not scripted.performs:
            return scripted
        answer = self._perform(request)
        return scripted or answer

    def _perform(self, request: Request) -> Answer:
        performers: dict[str, Callable[[Request], Answer]] = {
            "directory": self._directory,
            "newNonce": lambda _: Answer(),
            "newAccount": self._new_account,
            "account": self._account,
            "newOrder": self._new_order,
            "order": self._order,
            "authorization": self._authorization,
            "challenge": self._challenge,
            "finalize": self._finalize,
            "certificate": self._certificate,
            "revokeCert": self._revoke,
            "renewalInfo": self._renewal_info,
        }
        if request.operation not in performers:
            raise Refusal(404, "malformed", "there is nothing here")
        return performers[request.operation](request)

    def _verify(self, request: Request, jws: JWS) -> None:
        protected = request.protected or {}
        if self._nonces_to_reject:
            self._nonces_to_reject -= 1
            self._nonces.clear()
            raise Refusal(400, "badNonce", "the stub was told to refuse this nonce")
        if protected["nonce"] not in self._nonces:
            raise Refusal(400, "badNonce", "this nonce is not one of ours, or was used")
        self._nonces.remove(protected["nonce"])
        assert protected["url"] == self.base_url + request.path
        assert ("kid" in protected) != ("jwk" in protected)
        assert ("jwk" in protected) == (request.operation == "newAccount")
        if "kid" in protected and urlsplit(protected["kid"]).path not in self._accounts:
            raise Refusal(400, "accountDoesNotExist", "no such account")
        key = protected["jwk"] if "jwk" in protected else self._accounts[urlsplit(protected["kid"]).path]["key"]
        assert jws.verify(JWK.from_json(key)), "the signature is wrong"
        assert request.headers["Content-Type"] == "application/jose+json"

    def _new_nonce(self) -> str:
        nonce = secrets.token_urlsafe(12)
        self._nonces.add(nonce)
        return nonce

    def _directory(self, _: Request) -> Answer:
        names = ["newNonce", "newAccount", "newOrder", "revokeCert"]
        names += ["renewalInfo"] if self.renewal_window else []
        return Answer(body={name: f"{self.base_url}/{name}" for name in names} | {"meta": self.meta})

    def _new_account(self, request: Request) -> Answer:
        key = (request.protected or {})["jwk"]
        known = next((path for path, account in self._accounts.items() if account["key"] == key), None)
        if known is None and request.payload.get("onlyReturnExisting"):
            raise Refusal(400, "accountDoesNotExist", "no account has this key")
        path = known or f"/account/{next(self._ids)}"
        if known is None:
            contact = request.payload.get("contact", [])
            self._accounts[path] = {"key": key, "shown": {"status": "valid", "contact": contact}}
        location = {"Location": self.base_url + path}
        return Answer(200 if known else 201, self._accounts[path]["shown"], location)

    def _account(self, request: Request) -> Answer:
        shown = self._accounts[request.path]["shown"]
        shown.update(request.payload or {})
        return Answer(body=shown)

    def _renewal_info(self, request: Request) -> Answer:
        assert request.method == "GET"
        start, end = (moment.isoformat() for moment in self.renewal_window or ())
        info = {"suggestedWindow": {"start": start, "end": end}, "explanationURL": f"{self.base_url}/why"}
        return Answer(body=info, headers={"Retry-After": "21600"})

    def _new_order(self, request: Request) -> Answer:
        replaces = request.payload.get("replaces")
        if replaces in self.replaced:
            raise Refusal(409, "alreadyReplaced", "another order replaces this certificate")
        self.replaced |= {replaces} - {None}
        path = f"/order/{next(self._ids)}"
        order = {
            **request.payload,
            "status": "ready" if self.authorized else "pending",
            "expires": self._in_a_week(),
            "authorizations": [self._authorize(identifier) for identifier in request.payload["identifiers"]],
            "finalize": f"{self.base_url}/finalize{path}",
        }
        self._orders[path] = order
        return Answer(201, order, {"Location": self.base_url + path})

    def _authorize(self, identifier: dict[str, str]) -> str:
        name = identifier["value"].removeprefix("*.")
        path = f"/authorization/{next(self._ids)}"
        self._authorizations[path] = {
            "identifier": {**identifier, "value": name},
            **({"wildcard": True} if name != identifier["value"] else {}),
            "status": "valid" if self.authorized else "pending",
            "expires": self._in_a_week(),
            "challenges": [*map(self._challenge_of, self.challenge_types), *self.extra_challenges],
        }
        return self.base_url + path

    def _in_a_week(self) -> str:
        return (self.clock() + timedelta(days=7)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _challenge_of(self, kind: str) -> dict[str, Any]:
        path = f"/challenge/{next(self._ids)}"
        needed: dict[str, Any] = {"token": secrets.token_urlsafe(24)}
        if kind == "dns-persist-01":
            needed = {"issuer-domain-names": ["stub.example"]}
        self._challenges[path] = {"type": kind, "url": self.base_url + path, "status": "pending", **needed}
        return self._challenges[path]

    def _found(self, things: dict[str, dict[str, T]], path: str) -> dict[str, T]:
        if path not in things:
            raise Refusal(404, "malformed", "there is no such thing")
        return things[path]

    def _order(self, request: Request) -> Answer:
        order = self._found(self._orders, request.path)
        if order["status"] == "processing" and order["polls"] == 0:
            order["status"] = "valid"
        elif order["status"] == "processing":
            order["polls"] -= 1
        return Answer(body=self._settled(order), headers=self.poll_headers)

    def _settled(self, order: dict[str, Any]) -> dict[str, Any]:
        """RFC 8555 §7.1.6: the authorizations decide, until the order is final."""
        paths = [urlsplit(url).path for url in order["authorizations"]]
        statuses = {self._authorizations[path]["status"] for path in paths}
        if order["status"] == "pending" and statuses == {"valid"}:
            order["status"] = "ready"
        if order["status"] == "pending" and "invalid" in statuses:
            order["status"] = "invalid"
        hidden = {"polls"} if order["status"] == "valid" else {"polls", "certificate"}
        return {name: value for name, value in order.items() if name not in hidden}

    def _authorization(self, request: Request) -> Answer:
        authorization = self._found(self._authorizations, request.path)
        authorization.update(request.payload or {})
        return Answer(body=authorization, headers=self.poll_headers)

    def _challenge(self, request: Request) -> Answer:
        challenge = self._found(self._challenges, request.path)
        assert request.payload == {}
        shown = {**challenge, "status": "processing"}
        challenge["status"] = self.validation
        if self.validation == "invalid":
            challenge["error"] = self.validation_error or acme_problem(
                "unauthorized", "the answer was wrong", status=403
            )
        for authorization in self._authorizations.values():
            if challenge in authorization["challenges"] and self.validation in ("valid", "invalid"):
                authorization["status"] = self.validation
        return Answer(body=shown)

    def _finalize(self, request: Request) -> Answer:
        path = request.path.removeprefix("/finalize")
        order = self._found(self._orders, path)
        if self._settled(order)["status"] != "ready":
            raise Refusal(403, "orderNotReady", f"the order is {order['status']}")
        csr = x509.load_der_x509_csr(b64decode(request.payload["csr"]))
        alternatives = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = self.certificate_names or alternatives.get_values_for_type(x509.DNSName)
        leaf = self._signed(self.certificate_key or csr.public_key(), names, self.clock(), self.life)
        self._certificates[f"/certificate{path}"] = {"pem": _pem(leaf) + _pem(self._root)}
        order.update(certificate=f"{self.base_url}/certificate{path}", polls=self.processing_polls)
        order["status"] = "processing" if self.processing_polls else "valid"
        return Answer(body=self._settled(order), headers={**self.poll_headers, "Location": self.base_url + path})

    def _signed(self, key: Any, names: Sequence[str] | None, now: datetime, life: timedelta) -> x509.Certificate:
        return _certificate(self._name, self._key, key, names, now, life)

    def _certificate(self, request: Request) -> Answer:
        path, _, alternate = request.path.partition("/alternate/")
        pem = self._found(self._certificates, path)["pem"]
        links = [f'<{self.base_url}{path}/alternate/{n}>;rel="alternate"' for n in range(1, self.alternates + 1)]
        headers = {"Content-Type": "application/pem-certificate-chain"}
        # An alternate chain is the leaf alone, so that it can be told from the first.
        body = pem[: pem.index("-----BEGIN", 1)] if alternate else pem
        return Answer(body=body.encode(), headers=headers | ({"Link": ", ".join(links)} if links else {}))

    def _revoke(self, request: Request) -> Answer:
        if any(revocation["certificate"] == request.payload["certificate"] for revocation in self.revocations):
            raise Refusal(400, "alreadyRevoked", "this certificate was revoked before")
        self.revocations.append(request.payload)
        return Answer()


class _Server(ThreadingHTTPServer):
    """Threads that `stop` can end: it drops their connections, so that none waits for a further request."""

    daemon_threads = False

    def __init__(self, stub: StubCa, host: str, directory: Path) -> None:
        super().__init__((host, 0), _Handler)
        self.stub = stub
        self.connections: list[socket.socket] = []
        self.errors: list[BaseException] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "tls-certificate.pem", directory / "tls-key.pem")
        # Hands are shaken by each connection's own thread, so that a slow client holds up nobody.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    def drop_connections(self) -> None:
        for connection in self.connections:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def handle_error(self, *_: Any) -> None:
        """Keeps what `stop` raises; a client that goes away is no error."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        stub = self.server.stub
        answer = stub.respond(self.command, self.path, dict(self.headers.items()), body)
        octets = answer.octets()
        stub.stopping.wait(answer.wait)
        if answer.drips_headers:
            return self._write(b"HTTP/1.1 200 OK\r\nX-Slow: " + octets, answer.drip)
        self.send_response(answer.status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": len(octets),
            **answer.headers,
        }.items():
            self.send_header(name, str(value))
        self.end_headers()
        return None if self.command == "HEAD" else self._write(octets, answer.drip)

    do_GET = do_HEAD = do_POST  # noqa: N815  named by http.server

    def _write(self, octets: bytes, drip: float) -> None:
        step = 1 if drip else max(len(octets), 1)
        for start in range(0, len(octets), step):
            self.wfile.write(octets[start : start + step])
            self.wfile.flush()
            if self.server.stub.stopping.wait(drip):
                return

    def log_message(self, *args: Any) -> None:
        """Nothing: `requests` is the log."""


def _certificate(
    issuer: str,
    signing_key: ec.EllipticCurvePrivateKey,
    key: Any,
    names: Sequence[str] | None,
    now: datetime,
    life: timedelta,
) -> x509.Certificate:
    """For `names`, or the root where there are none."""
    root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)])
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key())
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names or ()])
    builder = (
        x509.CertificateBuilder()
        .issuer_name(root)
        .subject_name(root if names is None else x509.Name([]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - min(timedelta(hours=1), life / 90))
        .not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
        .add_extension(issuer_key, critical=False)
    )
    return (builder.add_extension(alternatives, critical=True) if names else builder).sign(signing_key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
