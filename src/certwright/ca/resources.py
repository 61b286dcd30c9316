"""What a CA answers, as small frozen values (RFC 8555 §7.1).

Statuses stay the CA's words, fields that we do not know are passed over, and optional ones that make no sense are None.
A field without which nothing can go on makes the answer CaUnavailable.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import requests

from certwright.ca.problems import absolute, malformed_answer, parse_json_object, parse_retry_after
from certwright.model import Problem

T = TypeVar("T")

BASE64URL = re.compile(r"[A-Za-z0-9_-]+")

_DOMAIN = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")

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
    """RFC 8555 §8. `token` is None for types that have none; `issuers` is dns-persist-01's issuer-domain-names."""

    type: str
    url: str
    status: str
    token: str | None = None
    error: Problem | None = None
    validated: datetime | None = None
    issuers: tuple[str, ...] = ()


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


@dataclass(frozen=True)
class RenewalInfo:
    """RFC 9773 §4.2: the window to renew in, as the CA gave it. `retry_after` is when it wants to be asked again."""

    start: datetime
    end: datetime
    explanation_url: str | None = None
    retry_after: datetime | None = None


class Answer:
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


def read_directory(answer: Answer) -> Directory:
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


def read_account(answer: Answer, url: str) -> AccountResource:
    return AccountResource(
        url=url,
        # RFC 8555 §7.1.2 has it always; acme2certifier leaves it out for an account that exists.
        status=_text(answer.document, "status") or "valid",
        contact=_texts(answer.document, "contact"),
        orders=_text(answer.document, "orders"),
        created=answer.is_new,
    )


def read_order(answer: Answer, url: str) -> OrderResource:
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


def read_authorization(answer: Answer) -> AuthorizationResource:
    document = answer.document
    identifier = _object(document, "identifier")
    challenges = map(read_challenge, _objects(document, "challenges"))
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


def read_challenge(document: Mapping[str, Any]) -> ChallengeResource | None:
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
        issuers=tuple(name for name in _texts(document, "issuer-domain-names") if _DOMAIN.fullmatch(name)),
    )


def read_renewal_info(answer: Answer) -> RenewalInfo:
    window, url = _object(answer.document, "suggestedWindow"), _text(answer.document, "explanationURL")
    return RenewalInfo(
        start=answer.mandatory("suggestedWindow.start", _time(window, "start")),
        end=answer.mandatory("suggestedWindow.end", _time(window, "end")),
        # It is shown for people to follow: nothing but a web page may be behind it.
        explanation_url=url if url and url.lower().startswith(("https://", "http://")) else None,
        retry_after=answer.retry_after,
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
