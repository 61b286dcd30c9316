"""An ACME client (RFC 8555) whose every method is one request: it never sleeps, polls or decides what comes next.

`Ca` is one directory with its connections; `Client` is one account there. What the CA answers becomes a small frozen
`*Resource`: statuses stay the CA's words, fields we do not know are passed over, and optional ones that make no
sense are None. A field without which nothing can go on makes the answer CaUnavailable.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import requests
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from josepy.b64 import b64decode, b64encode
from josepy.jwk import JWK, JWKEC, JWKRSA

from certwright.ca.network import Network, Signer, compact_json, flattened_jws
from certwright.ca.problems import absolute, links, malformed_answer, parse_json_object, parse_retry_after
from certwright.errors import InvalidInput
from certwright.model import Problem

T = TypeVar("T")

DIRECTORY_TTL = timedelta(hours=1)
PEM_CHAIN = "application/pem-certificate-chain"
BASE64URL = re.compile(r"[A-Za-z0-9_-]+")

Identifier = tuple[str, str]
"""(type, value), such as ("dns", "example.com")"""


@dataclass(frozen=True)
class Directory:
    """RFC 8555 §7.1.1, with `profiles` (name → description) and `renewal_info` (RFC 9773) where the CA has them."""

    new_nonce: str
    new_account: str
    new_order: str
    revoke_cert: str | None = None
    key_change: str | None = None
    renewal_info: str | None = None
    terms_of_service: str | None = None
    website: str | None = None
    caa_identities: tuple[str, ...] = ()
    external_account_required: bool = False
    profiles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AccountResource:
    """RFC 8555 §7.1.2. `created` is False where the CA knew the key already."""

    url: str
    status: str
    contact: tuple[str, ...] = ()
    orders: str | None = None
    created: bool = False


@dataclass(frozen=True)
class OrderResource:
    """RFC 8555 §7.1.3. `retry_after` is when the CA wants to be asked again."""

    url: str
    status: str
    identifiers: tuple[Identifier, ...]
    authorizations: tuple[str, ...]
    finalize: str
    expires: datetime | None = None
    certificate: str | None = None
    error: Problem | None = None
    retry_after: datetime | None = None


@dataclass(frozen=True)
class ChallengeResource:
    """RFC 8555 §8. `token` is None for types that have none."""

    type: str
    url: str
    status: str
    token: str | None = None
    error: Problem | None = None
    validated: datetime | None = None


@dataclass(frozen=True)
class AuthorizationResource:
    """RFC 8555 §7.1.4. `identifier` is its value alone, without `*.` even where `wildcard`."""

    url: str
    identifier: str
    status: str
    identifier_type: str = "dns"
    wildcard: bool = False
    expires: datetime | None = None
    challenges: tuple[ChallengeResource, ...] = ()
    retry_after: datetime | None = None


@dataclass(frozen=True)
class CertificateResource:
    """RFC 8555 §7.4.2: PEM, leaf first, and the URLs of other chains for the same leaf."""

    chain_pem: str
    alternates: tuple[str, ...] = ()


class Ca:
    """One ACME server, for all accounts there and safe under threads. `clock` gives the time in UTC."""

    def __init__(
        self,
        directory_url: str,
        clock: Callable[[], datetime],
        *,
        ca_bundle: Path | None = None,
        connect_timeout: float = 5,
        read_timeout: float = 30,
        total_timeout: float = 60,
    ) -> None:
        self.directory_url = directory_url
        self.clock = clock
        self.network = Network(
            directory_url,
            clock,
            ca_bundle=ca_bundle,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            total_timeout=total_timeout,
        )
        self._cached: tuple[Directory, datetime] | None = None

    def directory(self) -> Directory:
        """The directory, at most an hour old. Raises CaProblem, CaUnavailable."""
        now = self.clock()
        cached = self._cached
        if cached is None or cached[1] <= now:
            answer = _Answer(self.network.get(self.directory_url), self.directory_url, now)
            cached = self._cached = (_directory(answer), now + DIRECTORY_TTL)
        return cached[0]

    def close(self) -> None:
        self.network.close()


class Client:
    """One account at one CA; cheap to make. `account_url` is None until new_account has found it.

    Every method sends one request (and repeats it after badNonce) and raises CaProblem or CaUnavailable.
    """

    def __init__(self, ca: Ca, key: JWK, account_url: str | None = None) -> None:
        self._ca = ca
        self._key = key
        self.account_url = account_url

    def new_account(
        self,
        contact: Sequence[str],
        terms_of_service_agreed: bool,
        eab_kid: str | None = None,
        eab_hmac_key: str | None = None,
        only_return_existing: bool = False,
    ) -> AccountResource:
        """Registers the key, or finds its account (RFC 8555 §7.3); the client acts as that account from then on.

        `eab_hmac_key` is base64url as the CA shows it; InvalidInput where it is none.
        """
        url = self._ca.directory().new_account
        payload = _given(
            contact=list(contact) or None,
            termsOfServiceAgreed=terms_of_service_agreed or None,
            onlyReturnExisting=only_return_existing or None,
        )
        if eab_kid is not None or eab_hmac_key is not None:
            payload["externalAccountBinding"] = external_account_binding(self._key, eab_kid, eab_hmac_key, url)
        self.account_url = None
        answer = self._post(url, payload)
        account = _account(answer, answer.location)
        self.account_url = account.url
        return account

    def fetch_account(self) -> AccountResource:
        return self._update_account(None)

    def update_account(self, contact: Sequence[str]) -> AccountResource:
        """Replaces the contacts (RFC 8555 §7.3.2)."""
        return self._update_account({"contact": list(contact)})

    def deactivate_account(self) -> AccountResource:
        """For good: no request of this account is answered afterwards (RFC 8555 §7.3.6)."""
        return self._update_account({"status": "deactivated"})

    def _update_account(self, payload: dict[str, Any] | None) -> AccountResource:
        if self.account_url is None:
            raise ValueError("the account has no URL before new_account")
        return _account(self._post(self.account_url, payload), self.account_url)

    def new_order(
        self,
        identifiers: Sequence[Identifier],
        profile: str | None = None,
        replaces: str | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> OrderResource:
        """RFC 8555 §7.4. `replaces` is an ARI certificate id (RFC 9773 §5); a second such order is alreadyReplaced."""
        payload = _given(
            identifiers=[{"type": kind, "value": value} for kind, value in identifiers],
            profile=profile,
            replaces=replaces,
            notBefore=_rfc3339(not_before),
            notAfter=_rfc3339(not_after),
        )
        answer = self._post(self._ca.directory().new_order, payload)
        return _order(answer, answer.location)

    def fetch_order(self, url: str) -> OrderResource:
        return _order(self._post(url), url)

    def fetch_authorization(self, url: str) -> AuthorizationResource:
        return _authorization(self._post(url))

    def deactivate_authorization(self, url: str) -> AuthorizationResource:
        """Gives up the right to issue by it (RFC 8555 §7.5.2)."""
        return _authorization(self._post(url, {"status": "deactivated"}))

    def respond_challenge(self, url: str) -> ChallengeResource:
        """Asks the CA to validate (RFC 8555 §7.5.1)."""
        answer = self._post(url, {})
        return answer.mandatory("type", _challenge({"url": url} | answer.document))

    def finalize(self, finalize_url: str, csr_der: bytes, *, order_url: str | None = None) -> OrderResource:
        """RFC 8555 §7.4. Where `order_url` is not given, the order's URL is the answer's Location."""
        answer = self._post(finalize_url, {"csr": b64encode(csr_der).decode()})
        return _order(answer, order_url or answer.location)

    def download_certificate(self, url: str) -> CertificateResource:
        """The chain that the order's `certificate` names, or one of its alternates."""
        response = self._send(url, b"", PEM_CHAIN)
        chain = response.content.decode("ascii", errors="replace")
        if not chain.lstrip().startswith("-----BEGIN CERTIFICATE-----"):
            raise malformed_answer(url, "no PEM certificate chain")
        return CertificateResource(chain, tuple(links(response.headers, "alternate", url)))

    def revoke_certificate(self, cert_der: bytes, reason: int | None = None) -> None:
        """RFC 8555 §7.6, as the account that ordered it. `reason` as in RFC 5280 §5.3.1."""
        url = self._ca.directory().revoke_cert
        if url is None:
            raise malformed_answer(self._ca.directory_url, "no `revokeCert`")
        self._send(url, compact_json({"certificate": b64encode(cert_der).decode()} | _given(reason=reason)))

    def _post(self, url: str, payload: dict[str, Any] | None = None) -> "_Answer":
        """A POST with `payload`, or a POST-as-GET without (RFC 8555 §6.3); the answer must be a JSON object."""
        response = self._send(url, b"" if payload is None else compact_json(payload))
        return _Answer(response, url, self._ca.clock())

    def _send(self, url: str, payload: bytes, accept: str = "application/json") -> requests.Response:
        signer = Signer(self._key, self.account_url)
        return self._ca.network.post(url, payload, signer, self._ca.directory().new_nonce, accept)


class _Answer:
    """A JSON object that the CA sent from `url`. Reading a mandatory field that is not there raises CaUnavailable."""

    def __init__(self, response: requests.Response, url: str, now: datetime) -> None:
        document = parse_json_object(response.content)
        if document is None:
            raise malformed_answer(url, "no JSON object")
        self.document = document
        self.url = url
        self.is_new = response.status_code == 201
        self.retry_after = parse_retry_after(response.headers.get("Retry-After"), now)
        self._location = response.headers.get("Location")

    @property
    def location(self) -> str:
        return self.mandatory("Location", absolute(self.url, self._location) if self._location else None)

    def text(self, name: str) -> str:
        return self.mandatory(name, _text(self.document, name))

    def mandatory(self, name: str, value: T | None) -> T:
        if value is None:
            raise malformed_answer(self.url, f"no usable `{name}`")
        return value


def _directory(answer: _Answer) -> Directory:
    document, meta = answer.document, _object(answer.document, "meta")
    profiles = _object(meta, "profiles")
    return Directory(
        new_nonce=answer.text("newNonce"),
        new_account=answer.text("newAccount"),
        new_order=answer.text("newOrder"),
        revoke_cert=_text(document, "revokeCert"),
        key_change=_text(document, "keyChange"),
        renewal_info=_text(document, "renewalInfo"),
        terms_of_service=_text(meta, "termsOfService"),
        website=_text(meta, "website"),
        caa_identities=_texts(meta, "caaIdentities"),
        external_account_required=meta.get("externalAccountRequired") is True,
        profiles={name: text for name, text in profiles.items() if isinstance(text, str)},
    )


def _account(answer: _Answer, url: str) -> AccountResource:
    return AccountResource(
        url=url,
        # RFC 8555 §7.1.2 has it always; acme2certifier leaves it out for an account that exists.
        status=_text(answer.document, "status") or "valid",
        contact=_texts(answer.document, "contact"),
        orders=_text(answer.document, "orders"),
        created=answer.is_new,
    )


def _order(answer: _Answer, url: str) -> OrderResource:
    document = answer.document
    answer.mandatory("authorizations", _list(document, "authorizations"))
    return OrderResource(
        url=url,
        status=answer.text("status"),
        identifiers=tuple(
            (_text(i, "type") or "dns", _text(i, "value") or "") for i in _objects(document, "identifiers")
        ),
        authorizations=_texts(document, "authorizations"),
        finalize=answer.text("finalize"),
        expires=_time(document, "expires"),
        certificate=_text(document, "certificate"),
        error=_problem(document),
        retry_after=answer.retry_after,
    )


def _authorization(answer: _Answer) -> AuthorizationResource:
    document = answer.document
    identifier = _object(document, "identifier")
    challenges = map(_challenge, _objects(document, "challenges"))
    return AuthorizationResource(
        url=answer.url,
        identifier=answer.mandatory("identifier", _text(identifier, "value")),
        status=answer.text("status"),
        identifier_type=_text(identifier, "type") or "dns",
        wildcard=document.get("wildcard") is True,
        expires=_time(document, "expires"),
        challenges=tuple(challenge for challenge in challenges if challenge is not None),
        retry_after=answer.retry_after,
    )


def _challenge(document: Mapping[str, Any]) -> ChallengeResource | None:
    """None for one that nobody could respond to: one bad challenge must not hide the good ones beside it."""
    kind, url, token = _text(document, "type"), _text(document, "url"), _text(document, "token")
    if kind is None or url is None:
        return None
    return ChallengeResource(
        type=kind,
        url=url,
        status=_text(document, "status") or "pending",
        # RFC 8555 §8.3 allows base64url alone; other tokens could name other paths or mark-up at the well-known path.
        token=token if token and BASE64URL.fullmatch(token) else None,
        error=_problem(document),
        validated=_time(document, "validated"),
    )


def _text(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) and value else None


def _list(document: Mapping[str, Any], name: str) -> list[Any] | None:
    value = document.get(name)
    return value if isinstance(value, list) else None


def _texts(document: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(value for value in _list(document, name) or () if isinstance(value, str))


def _objects(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    return [value for value in _list(document, name) or () if isinstance(value, dict)]


def _object(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _problem(document: Mapping[str, Any]) -> Problem | None:
    error = _object(document, "error")
    return Problem(error) if error else None


def _time(document: Mapping[str, Any], name: str) -> datetime | None:
    """RFC 3339 → UTC; a time without a zone is taken for UTC."""
    try:
        time = datetime.fromisoformat((_text(document, name) or "").upper())
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _rfc3339(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def external_account_binding(key: JWK, kid: str | None, hmac_key: str | None, url: str) -> dict[str, str]:
    """The inner JWS of RFC 8555 §7.3.4: `key`'s public half, signed with the HMAC key (base64url) of another account.

    Raises InvalidInput, which never shows the HMAC key.
    """
    if not kid:
        raise InvalidInput("the key id of the external account is missing", field="externalAccountBinding.keyId")
    secret = _decode_hmac_key(hmac_key or "")
    protected = {"alg": "HS256", "kid": kid, "url": url}
    payload = compact_json(key.public_key().to_json())
    return flattened_jws(protected, payload, lambda message: hmac.digest(secret, message, "sha256"))


def _decode_hmac_key(text: str) -> bytes:
    """CAs show it with and without padding."""
    unpadded = text.strip().rstrip("=")
    if not BASE64URL.fullmatch(unpadded) or len(unpadded) % 4 == 1:
        message = "the HMAC key of the external account must be base64url, exactly as the CA shows it"
        raise InvalidInput(message, field="externalAccountBinding.hmacKey")
    return b64decode(unpadded)


def load_key(pem: bytes) -> JWK:
    """An account key from PKCS8 PEM: EC P-256, EC P-384 or RSA. Raises InvalidInput, which never shows it."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, rsa.RSAPrivateKey):
        return JWKRSA(key=key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        return JWKEC(key=key)
    raise InvalidInput("an account key must be EC P-256, EC P-384 or RSA, in unencrypted PEM")


def thumbprint(key: JWK) -> str:
    """RFC 7638, SHA-256, base64url."""
    return b64encode(key.thumbprint()).decode()


def key_authorization(token: str, key: JWK) -> str:
    """RFC 8555 §8.1: what the http-01 file holds."""
    return f"{token}.{thumbprint(key)}"


def dns01_value(key_authorization: str) -> str:
    """RFC 8555 §8.4: what the `_acme-challenge` TXT record holds."""
    return b64encode(hashlib.sha256(key_authorization.encode()).digest()).decode()
