"""Credentials → Session: API tokens of ours, and the JWTs of an OpenID Connect issuer.

An API token is `cw_` + its id + `_` + 256 random bits; the store holds the SHA-256 of the secret part only. Refused
sign-ins are written to the audit trail; of a source that fails again and again, only some one by one.
"""

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from certwright.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from certwright.events import SignInRefused, TokenCreated, TokenRevoked
from certwright.model import Actor, ApiToken, Role, Session
from certwright.oidc import Oidc
from certwright.store import Store

DEFAULT_TENANT = "default"
_CACHE_SECONDS = 1
_CACHE_SIZE = 10_000
_REFUSALS_PER_MINUTE = 10
_SOURCES = 10_000


class Tokens:
    """Makes, lists and revokes API tokens."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def create(self, name: str, role: Role, actor: Actor) -> tuple[ApiToken, str]:
        """A new token of the actor's tenant, and its text, which is shown this once. Raises InvalidInput."""
        if not name.strip() or len(name) > 100 or not name.isprintable():
            raise InvalidInput(f"{name!r} is no token name; give 1 to 100 printable characters", field="name")
        secret = secrets.token_urlsafe(32)
        token = ApiToken(
            id=self._store.new_id(),
            tenant=actor.tenant,
            name=name.strip(),
            role=role,
            secret_hash=_hash(secret),
            created_at=self._clock(),
        )
        event = TokenCreated(subject_id=token.id, name=token.name, role=role.name)
        self._store.commit((None, token), events=[event], actor=actor)
        return token, f"cw_{token.id}_{secret}"

    def list(self, tenant: str) -> list[ApiToken]:
        """Newest first."""
        return [token for token in self._store.tokens() if token.tenant == tenant]

    def revoke(self, id: str, actor: Actor) -> ApiToken:
        """Raises NotFound, and Conflict for a token that is revoked already."""
        token = self._store.token(id)
        if token is None or token.tenant != actor.tenant:
            raise NotFound(f"there is no token {id!r}")
        if token.revoked_at is not None:
            raise Conflict(f"token {id!r} was revoked on {token.revoked_at:%Y-%m-%d} already")
        revoked = replace(token, revoked_at=self._clock())
        self._store.commit((token, revoked), events=[TokenRevoked(subject_id=id, name=token.name)], actor=actor)
        return revoked


class SignIn:
    """Authenticates credentials and records refusals. Safe from any thread."""

    def __init__(self, store: Store, clock: Callable[[], datetime], oidc: Oidc | None = None) -> None:
        self._store = store
        self._clock = clock
        self._oidc = oidc
        self._refusals = _Refusals()
        self._known: OrderedDict[str, tuple[datetime, Session]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, authorization: str | None, *, request_id: str, source_ip: str | None) -> Session:
        """The session of an `Authorization` value, `Bearer` and a token. Raises Unauthenticated."""
        try:
            session = self.authenticate(_bearer(authorization))
        except Unauthenticated as refusal:
            self._record(refusal.message, request_id, source_ip)
            raise
        return replace(session, actor=replace(session.actor, request_id=request_id, source_ip=source_ip))

    def authenticate(self, credential: str) -> Session:
        """The session of a bare token. A token that was revoked is refused within a second."""
        verify = self._api_token if credential.startswith("cw_") else self._jwt
        return self._remembered(_hash(credential), lambda: verify(credential))

    def resume(self, session: Session) -> Session:
        """A session that was signed in before, as it is now. Raises Unauthenticated where it ended meanwhile.

        That is not written down: nobody tried to come in.
        """
        if session.expires_at is not None and session.expires_at <= self._clock():
            raise Unauthenticated("the credential has expired; connect again with a new one")
        if session.token_id is None:
            return session
        id = session.token_id
        present = self._remembered(id, lambda: _session(self._store.token(id)))
        actor = replace(present.actor, request_id=session.actor.request_id, source_ip=session.actor.source_ip)
        return replace(present, actor=actor)

    def _remembered(self, credential: str, verify: Callable[[], Session]) -> Session:
        now = self._clock()
        with self._lock:
            known = self._known.get(credential)
        if known and now - known[0] < timedelta(seconds=_CACHE_SECONDS):
            return known[1]
        session = verify()
        with self._lock:
            self._known[credential] = (now, session)
            self._known.move_to_end(credential)
            while len(self._known) > _CACHE_SIZE:
                self._known.popitem(last=False)
        return session

    def _api_token(self, credential: str) -> Session:
        _, _, rest = credential.partition("_")
        id, _, secret = rest.partition("_")
        token = self._store.token(id) if id else None
        if token is not None and not hmac.compare_digest(token.secret_hash, _hash(secret)):
            token = None
        return _session(token)

    def _jwt(self, credential: str) -> Session:
        if self._oidc is None:
            raise Unauthenticated("the token is no API token (cw_…), and no OpenID Connect issuer is set up here")
        return self._oidc.authenticate(credential)

    def _record(self, reason: str, request_id: str, source_ip: str | None) -> None:
        suppressed = self._refusals.note(source_ip or "", self._clock())
        if suppressed is None:
            return
        actor = Actor("anonymous", Role.VIEWER, DEFAULT_TENANT, request_id, source_ip)
        self._store.commit(events=[SignInRefused(reason=reason, suppressed=suppressed)], actor=actor)


@dataclass
class _Source:
    since: datetime
    count: int = 0
    suppressed: int = 0


class _Refusals:
    """Decides which refusals are written: of one source a few each minute, so that guessing cannot fill the disk."""

    def __init__(self) -> None:
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, source: str, now: datetime) -> int | None:
        """None when this refusal is not to be written, else how many before it were not."""
        with self._lock:
            seen = self._sources.setdefault(source, _Source(now))
            self._sources.move_to_end(source)
            while len(self._sources) > _SOURCES:
                self._sources.popitem(last=False)
            if now - seen.since >= timedelta(minutes=1):
                seen.since, seen.count = now, 0
            seen.count += 1
            if seen.count > _REFUSALS_PER_MINUTE:
                seen.suppressed += 1
                return None
            suppressed, seen.suppressed = seen.suppressed, 0
            return suppressed


def _session(token: ApiToken | None) -> Session:
    if token is None:
        raise Unauthenticated("the API token is not known here; make one with `certwright token create`")
    if token.revoked_at is not None:
        raise Unauthenticated(f"the API token {token.name!r} was revoked")
    return Session(Actor(f"token:{token.name}", token.role, token.tenant), token_id=token.id)


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").strip().partition(" ")
    if not authorization:
        raise Unauthenticated("no credential was given; send `Authorization: Bearer TOKEN`")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("the Authorization value must be `Bearer TOKEN`")
    return token.strip()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
