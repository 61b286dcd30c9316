"""OpenID Connect sign-in: a JWT of one trusted issuer becomes a Session.

The issuer's keys come through its discovery document and are cached. PyJWT checks the signature; times are checked
here, against the clock that is passed in. What is heavy is imported when the first token arrives (API cold start).
"""

import json
import math
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from certwright.config import Settings
from certwright.errors import InvalidInput, Unauthenticated, Unavailable
from certwright.model import Actor, Role, Session

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "EdDSA")
"""Signatures by public keys only: `none` and the HMAC ones must never get in (RFC 8725 §3.1)."""

LEEWAY = timedelta(seconds=60)
KEYS_LIFETIME = timedelta(hours=1)
REFETCH_PAUSE = timedelta(minutes=1)

FETCH_SECONDS = 5.0
MAX_RESPONSE = 1024 * 1024
_MAX_TOKEN = 16_384
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

ROLES: Mapping[str, Role] = {
    prefix + role.name.lower(): role for role in Role for prefix in ("", "certwright-", "certwright:")
}
"""The values of the role claim known by themselves: a role's name, alone or as groups and roles are often called."""


def fetch(url: str) -> bytes:
    """GET a small document: no redirects, at most 1 MiB, 5 s per wait. Raises OSError.

    The environment's proxy is used, as company networks need it, but never towards loopback.
    """
    import http.client
    import urllib.error
    import urllib.request

    class NoRedirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            """None makes urllib raise the redirect as an HTTPError."""

    proxies = urllib.request.ProxyHandler({} if _host(url) in _LOOPBACK else None)
    try:
        with urllib.request.build_opener(NoRedirects, proxies).open(url, timeout=FETCH_SECONDS) as response:
            body: bytes = response.read(MAX_RESPONSE + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise OSError(f"{url} answered with status {error.code}") from None
    except http.client.HTTPException as error:
        raise OSError(f"{url} did not answer in HTTP") from error
    if len(body) > MAX_RESPONSE:
        raise OSError(f"{url} answered with more than {MAX_RESPONSE} octets")
    return body


class Oidc:
    """Signs in bearers of the tokens of one issuer. May be used from any thread.

    `tenant_claim` holds the tenant's id, `role_claim` one role or a list of which the highest known counts, and
    `name_claim` who it is (else `sub`). `role_map` takes the place of ROLES. Raises InvalidInput (`issuer`) for
    an issuer that is neither https nor on loopback.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        tenant_claim: str,
        role_claim: str,
        name_claim: str,
        clock: Callable[[], datetime],
        role_map: Mapping[str, Role] | None = None,
        fetch: Callable[[str], bytes] = fetch,
    ) -> None:
        if not _is_trustworthy(issuer):
            raise InvalidInput(f"the OIDC issuer {issuer!r} must be an https URL (or http on loopback)", field="issuer")
        self._issuer = issuer
        self._audience = audience
        self._tenant_claim = tenant_claim
        self._role_claim = role_claim
        self._name_claim = name_claim
        self._roles = ROLES if role_map is None else role_map
        self._clock = clock
        self._keys = _KeySet(issuer, fetch, clock)

    @classmethod
    def configured(cls, settings: Settings, clock: Callable[[], datetime]) -> "Oidc | None":
        """As the settings say; None where they name no issuer."""
        if not settings.oidc_issuer:
            return None
        return cls(
            settings.oidc_issuer,
            settings.oidc_audience,
            tenant_claim=settings.oidc_tenant_claim,
            role_claim=settings.oidc_role_claim,
            name_claim=settings.oidc_name_claim,
            clock=clock,
        )

    def authenticate(self, token: str) -> Session:
        """The session of a token's bearer, which ends with the token.

        Raises Unauthenticated, with a reason that never shows the token; Unavailable while the issuer cannot be asked
        for its keys and none are known yet.
        """
        claims = self._verify(token)
        expires_at = self._check_times(claims)
        return Session(Actor(self._name(claims), self._role(claims), self._tenant(claims)), expires_at)

    def _verify(self, token: str) -> dict[str, Any]:
        import jwt

        if not token.isascii() or len(token) > _MAX_TOKEN:
            raise Unauthenticated("the token is malformed")
        try:
            header = jwt.get_unverified_header(token)
            key = self._keys.find(header.get("kid"), _algorithm(header))
            return jwt.decode(
                token,
                key=jwt.PyJWK(key, algorithm=_algorithm(header)),
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=self._issuer,
                options={
                    "require": ["exp", "iss", "aud"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "enforce_minimum_key_length": True,
                },
            )
        except jwt.PyJWTError as error:
            # `from None`: nothing of the token may reach a log through the cause.
            raise Unauthenticated(_reason(error)) from None

    def _check_times(self, claims: Mapping[str, Any]) -> datetime:
        """Raises for a token that has expired or is not yet valid (RFC 7519 §4.1.4-6); returns its expiry."""
        now = self._clock()
        expires_at = _time(claims, "exp")
        if now >= expires_at + LEEWAY:
            raise Unauthenticated("the token has expired")
        for claim in ("nbf", "iat"):
            if claims.get(claim) is not None and _time(claims, claim) > now + LEEWAY:
                raise Unauthenticated(f"the token is not yet valid ({claim})")
        return expires_at

    def _tenant(self, claims: Mapping[str, Any]) -> str:
        """Tenant ids begin storage keys, whose parts are divided by '#': hence this alphabet alone."""
        tenant = claims.get(self._tenant_claim)
        if tenant is None:
            raise Unauthenticated(f"the token lacks the claim {self._tenant_claim!r}, which names the tenant")
        if not isinstance(tenant, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", tenant):
            raise Unauthenticated(f"the claim {self._tenant_claim!r} is not 1 to 64 letters, digits or any of _ . -")
        return tenant

    def _role(self, claims: Mapping[str, Any]) -> Role:
        value = claims.get(self._role_claim)
        values = [value, *value.split()] if isinstance(value, str) else value if isinstance(value, list) else []
        roles = [self._roles[name] for name in values if isinstance(name, str) and name in self._roles]
        if not roles:
            raise Unauthenticated(f"the claim {self._role_claim!r} gives no role that is known here")
        return max(roles)

    def _name(self, claims: Mapping[str, Any]) -> str:
        name = claims.get(self._name_claim) or claims.get("sub")
        if not isinstance(name, str) or not name or len(name) > 200 or not name.isprintable():
            raise Unauthenticated(f"neither the claim {self._name_claim!r} nor 'sub' is a name of up to 200 characters")
        return name


@dataclass(frozen=True)
class _Fetched:
    keys: tuple[dict[str, Any], ...]
    at: datetime


class _KeySet:
    """The issuer's public keys (RFC 7517), fetched when first needed, hourly, and for a key id not seen before.

    However many tokens with unknown key ids arrive, the issuer is asked at most once a minute. While it does not
    answer, the keys known so far remain in use.
    """

    def __init__(self, issuer: str, fetch: Callable[[str], bytes], clock: Callable[[], datetime]) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._fetched: _Fetched | None = None
        self._tried_at: datetime | None = None

    def find(self, key_id: str | None, algorithm: str) -> dict[str, Any]:
        """The one signing key that fits. Raises Unauthenticated; Unavailable where no keys can be had."""
        fetched = self._fetched
        if fetched is None or not fetched.at <= self._clock() < fetched.at + KEYS_LIFETIME:
            fetched = self._refresh(fetched, wait=fetched is None)
        matching = _matching(fetched.keys, key_id, algorithm)
        if not matching:
            matching = _matching(self._refresh(fetched, wait=True).keys, key_id, algorithm)
        if not matching:
            raise Unauthenticated("the token is signed with a key that its issuer does not publish")
        if len(matching) > 1:
            raise Unauthenticated("the token does not say with which of its issuer's keys it is signed (kid)")
        return matching[0]

    def _refresh(self, known: _Fetched | None, *, wait: bool) -> _Fetched:
        """Newer keys than `known`, or `known` while none can be had, or while another thread asks and not `wait`."""
        if not self._lock.acquire(blocking=wait) and known is not None:
            return known
        try:
            now = self._clock()
            paused = self._tried_at is not None and self._tried_at <= now < self._tried_at + REFETCH_PAUSE
            if self._fetched is known and not paused:
                self._tried_at = now
                self._fetched = self._ask(now) or known
        finally:
            self._lock.release()
        if self._fetched is None:
            raise Unavailable("the OIDC issuer does not give its keys at the moment: try again in a minute")
        return self._fetched

    def _ask(self, now: datetime) -> _Fetched | None:
        """OpenID Connect Discovery 1.0 §4; None when the issuer is down or answers anything else."""
        try:
            document = json.loads(self._fetch(self._issuer.rstrip("/") + "/.well-known/openid-configuration"))
            if document["issuer"] != self._issuer or not _is_trustworthy(document["jwks_uri"]):
                return None
            keys = json.loads(self._fetch(document["jwks_uri"]))["keys"]
            return _Fetched(tuple(key for key in keys if isinstance(key, dict)), now)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None


def _matching(keys: tuple[dict[str, Any], ...], key_id: str | None, algorithm: str) -> list[dict[str, Any]]:
    kind = {"R": "RSA", "P": "RSA", "E": "EC"}[algorithm[0]] if algorithm != "EdDSA" else "OKP"
    return [
        key
        for key in keys
        if key.get("kty") == kind
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and (key_id is None or key.get("kid") == key_id)
    ]


def _algorithm(header: Mapping[str, Any]) -> str:
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise Unauthenticated("the token is not signed with an algorithm that is accepted here")
    return str(algorithm)


def _is_trustworthy(url: object) -> bool:
    """Whether what is read from the URL can be believed: https, or http that does not leave this machine."""
    if not isinstance(url, str) or not _host(url):
        return False
    return url.startswith("https://") or (url.startswith("http://") and _host(url) in _LOOPBACK)


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _time(claims: Mapping[str, Any], claim: str) -> datetime:
    """A NumericDate: seconds since the epoch, with or without a fraction (RFC 7519 §2)."""
    value = claims[claim]
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        pass
    raise Unauthenticated(f"the claim {claim!r} is no time")


def _reason(error: Exception) -> str:
    from jwt import exceptions

    reasons: dict[type[Exception], str] = {
        exceptions.InvalidAudienceError: "the token is for another audience",
        exceptions.InvalidIssuerError: "the token is of another issuer",
        exceptions.InvalidSignatureError: "the token's signature is wrong",
        exceptions.InvalidAlgorithmError: "the token is not signed with the algorithm of its key",
        exceptions.InvalidKeyError: "the token is signed with a key that is not accepted here",
    }
    if isinstance(error, exceptions.MissingRequiredClaimError):
        return f"the token lacks the claim {error.claim!r}"
    return next((reason for kind, reason in reasons.items() if isinstance(error, kind)), "the token is malformed")
