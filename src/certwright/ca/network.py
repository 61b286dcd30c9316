"""One CA's HTTP: pinned to the directory's own host, bounded in time and size, with shared connections and nonces.

Nothing is logged here: the bodies of requests carry keys and external account bindings.
"""

import ipaddress
import json
import re
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import datetime
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from acme.client import ClientNetwork
from josepy.b64 import b64encode
from josepy.jwa import ES256, ES384, RS256, JWASignature
from josepy.jwk import JWK, JWKRSA
from requests.adapters import HTTPAdapter
from requests.hooks import default_hooks
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import NewConnectionError

from certwright.ca.problems import (
    FOREIGN_URL,
    CaProblem,
    CaUnavailable,
    error_of,
    malformed_answer,
    nonce_of,
)

MAX_BODY = 1024 * 1024
"""The most octets an answer may have; certificate chains, the longest there are, have about 10,000."""
CHUNK = 64 * 1024
MAX_NONCES = 128
"""Nonces kept for reuse: about as many as requests are under way at once. The oldest go first: CAs forget them."""
MAX_CONNECTIONS = 128
MAX_NONCE_RETRIES = 20
JSON = "application/json"

_PLAIN_URL = re.compile(r"https://[A-Za-z0-9._:\[\]-]+/[A-Za-z0-9/._~=&?-]*")

_deadline: ContextVar[float] = ContextVar("_deadline")
"""When the request that this thread makes must be over, in seconds of the monotonic clock."""


class _BoundedSocket(ssl.SSLSocket):
    """Keeps the deadline however slowly the server drips: a socket's own time-out starts anew with each octet."""

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        remaining = _deadline.get() - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self.settimeout(min(remaining, self.gettimeout() or remaining))
        return super().recv_into(buffer, nbytes, flags)


class _NotPublic(NewConnectionError):
    pass


class _PublicConnection(HTTPSConnection):
    """Goes no further than the TCP handshake with an address that is not public, whatever name led there (SSRF)."""

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        address = connected.getpeername()[0]
        if not ipaddress.ip_address(address.partition("%")[0]).is_global:
            connected.close()
            raise _NotPublic(self, f"{address} is not a public address")
        return connected


class _PublicPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _PublicConnection


class _Adapter(HTTPAdapter):
    """Trusts one TLS context that is built once; `requests` reads all public roots again for every connection."""

    def __init__(self, ca_bundle: Path | None, *, public_only: bool) -> None:
        self._public_only = public_only
        self._context = ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
        self._context.sslsocket_class = _BoundedSocket
        if ca_bundle is not None:
            self._context.load_verify_locations(cafile=ca_bundle)
        super().__init__(pool_maxsize=MAX_CONNECTIONS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)
        if self._public_only:
            self.poolmanager.pool_classes_by_scheme = {"https": _PublicPool}

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Leaves the connection as it is: the context verifies the chain and the name."""


class _Session(requests.Session):
    """Keeps nothing between requests, takes nothing from the environment and follows no redirect."""

    def __init__(self, adapter: HTTPAdapter, user_agent: str) -> None:
        super().__init__()
        self.trust_env = False
        self.mount("https://", adapter)
        self.headers.update({"User-Agent": user_agent, "Accept-Encoding": "identity"})
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: a redirect could lead signed requests, or us, to a host that nobody chose."""


class Signer:
    """Signs requests as one account (RFC 8555 §6.2): by its URL, or by its public key while it has none."""

    def __init__(self, key: JWK, account_url: str | None) -> None:
        self._key = key
        self._algorithm = algorithm(key)
        self._identity = {"kid": account_url} if account_url else {"jwk": key.public_key().to_json()}

    def sign(self, url: str, payload: bytes, nonce: str) -> bytes:
        """A JWS; an empty payload makes it a POST-as-GET (RFC 8555 §6.3)."""
        protected = {"alg": self._algorithm.name, "nonce": nonce, "url": url, **self._identity}
        return compact_json(flattened_jws(protected, payload, lambda text: self._algorithm.sign(self._key.key, text)))


def algorithm(key: JWK) -> JWASignature:
    """How a key signs (RFC 7518 §3.1)."""
    if isinstance(key, JWKRSA):
        return RS256
    return ES384 if key.key.curve.name == "secp384r1" else ES256


def flattened_jws(protected: dict[str, Any], payload: bytes, sign: Callable[[bytes], bytes]) -> dict[str, str]:
    """RFC 7515 §7.2.2. `sign` makes the signature of its input."""
    header, body = b64encode(compact_json(protected)), b64encode(payload)
    signature = b64encode(sign(header + b"." + body))
    return {"protected": header.decode(), "payload": body.decode(), "signature": signature.decode()}


def compact_json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


class Network(ClientNetwork):
    """The connections to one CA, shared by all accounts there; safe under threads.

    Time-outs are in seconds: to connect, for the next octets, and for the whole of one request.
    `ca_bundle` (PEM) is trusted besides the public roots. With `public_only`, no private address is talked to.
    Every method raises CaProblem or CaUnavailable.
    """

    def __init__(
        self,
        directory_url: str,
        clock: Callable[[], datetime],
        *,
        ca_bundle: Path | None = None,
        connect_timeout: float = 5,
        read_timeout: float = 30,
        total_timeout: float = 60,
        public_only: bool = False,
    ) -> None:
        super().__init__(user_agent=f"certwright/{version('certwright')}")
        self.session = _Session(_Adapter(ca_bundle, public_only=public_only), self.user_agent)
        self._place = _place(directory_url)
        self._origin = f"https://{urlsplit(directory_url).netloc}/"
        self._clock = clock
        self._timeouts = (connect_timeout, read_timeout)
        self._total_timeout = total_timeout
        self._pool: deque[str] = deque(maxlen=MAX_NONCES)

    def close(self) -> None:
        self.session.close()

    def post(
        self, url: str, payload: bytes, signer: Signer, new_nonce_url: str, accept: str = JSON
    ) -> requests.Response:
        """Signs and sends `payload`, again after badNonce: with the nonce of that very answer (RFC 8555 §6.5)."""
        headers = {"Content-Type": self.JOSE_CONTENT_TYPE, "Accept": accept}
        nonce = self._take_nonce(new_nonce_url)
        for _ in range(MAX_NONCE_RETRIES):
            try:
                return self._post_signed(url, signer.sign(url, payload, nonce), headers)
            except CaProblem as problem:
                if problem.code != "badNonce":
                    self._keep(problem.nonce)
                    raise
                nonce = problem.nonce or self._fetch_nonce(new_nonce_url)
        return self._post_signed(url, signer.sign(url, payload, nonce), headers)

    def _post_signed(self, url: str, jws: bytes, headers: dict[str, str]) -> requests.Response:
        response = self._send_request("POST", url, data=jws, headers=headers)
        self._add_nonce(response)
        return response

    def _take_nonce(self, new_nonce_url: str) -> str:
        try:
            return self._pool.pop()
        except IndexError:
            return self._fetch_nonce(new_nonce_url)

    def _fetch_nonce(self, new_nonce_url: str) -> str:
        nonce = nonce_of(self.head(new_nonce_url))
        if nonce is None:
            raise malformed_answer(new_nonce_url, "no Replay-Nonce")
        return nonce

    def _add_nonce(self, response: requests.Response) -> None:
        self._keep(nonce_of(response))

    def _keep(self, nonce: str | None) -> None:
        if nonce is not None:
            self._pool.append(nonce)

    @classmethod
    def _check_response(
        cls,
        response: requests.Response,
        content_type: str | None = None,  # noqa: ARG003  part of acme's signature
    ) -> requests.Response:
        """As it is: `_send_request` has refused errors, and whoever reads the body judges it."""
        return response

    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        """Sends one request and reads all of its answer; raises for every status other than 2xx."""
        ending = _deadline.set(time.monotonic() + self._total_timeout)
        try:
            response = self._exchange(self._prepared(method, self._pinned(url), *args, **kwargs))
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise CaUnavailable(f"{url} gave no answer: {_reason(error)}", unheard=_is_unheard(error)) from error
        finally:
            _deadline.reset(ending)
        if not 200 <= response.status_code < 300:
            raise error_of(response, self._clock())
        return response

    def _prepared(
        self, method: str, url: str, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> requests.PreparedRequest:
        """What `requests` would prepare, of parts that need no more preparation: its own way costs a quarter of the
        whole request. A URL that is not plain goes its way."""
        if not _PLAIN_URL.fullmatch(url):
            return self.session.prepare_request(requests.Request(method, url, headers=headers, data=data))
        request = requests.PreparedRequest()
        request.method, request.url, request.body = method, url, data
        length = {} if data is None else {"Content-Length": str(len(data))}
        own: dict[str, Any] = {**self.session.headers, **(headers or {}), **length}
        request.headers = CaseInsensitiveDict(own)
        request.hooks = default_hooks()
        return request

    def _exchange(self, request: requests.PreparedRequest) -> requests.Response:
        response = self.session.send(request, stream=True, timeout=self._timeouts, proxies={}, allow_redirects=False)
        body = bytearray()
        for chunk in response.raw.stream(CHUNK, decode_content=False):
            body += chunk
            if len(body) > MAX_BODY:
                response.close()
                raise malformed_answer(str(request.url), f"more than {MAX_BODY} octets")
        response.raw = BytesIO(body)
        return response

    def _pinned(self, url: str) -> str:
        """The same URL in the spelling of the directory's host: nothing else is ever connected to."""
        if url.startswith(self._origin):
            return url
        if self._place is None or _place(url) != self._place:
            detail = f"{self._origin} named {url[:200]!r}, which is not an https URL of its own host"
            raise CaUnavailable(detail, type=FOREIGN_URL)
        return self._origin + urlsplit(url)._replace(scheme="", netloc="", fragment="").geturl().lstrip("/")


def _place(url: str) -> tuple[str, int] | None:
    """Host and port of an https URL; None for any other."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 443
    except ValueError:
        return None
    return (host, port) if parts.scheme == "https" and host and "@" not in parts.netloc else None


_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLCertVerificationError, "its TLS certificate is not trusted"),
    (ssl.SSLError, "TLS failed"),
    (socket.gaierror, "its name was not found in DNS"),
    (TimeoutError, "it took too long"),
    (ConnectionRefusedError, "it refused the connection"),
    (_NotPublic, "its address is not a public one"),
)


_UNCONNECTED = (ssl.SSLCertVerificationError, socket.gaierror, ConnectionRefusedError, _NotPublic)


def _reason(error: BaseException) -> str:
    """What a failure of the connection comes down to, in plain words."""
    causes = list(_causes(error))
    for kind, words in _REASONS:
        cause = next((cause for cause in causes if isinstance(cause, kind)), None)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"{words} ({cause.verify_message})"
        if cause is not None:
            return words
    return "the connection broke"


def _is_unheard(error: BaseException) -> bool:
    """Whether no connection was made at all."""
    return any(isinstance(cause, (*_UNCONNECTED, NewConnectionError)) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
