"""What a resolver finds in `info.context`: who asks, whom to ask, and what was loaded already."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar

import anyio
import strawberry
from strawberry.dataloader import DataLoader

from certwright.auth import SignIn
from certwright.errors import Unauthenticated
from certwright.items import E
from certwright.model import Account, Actor, Certificate, Order, Provider, Role, Session
from certwright.reading import Reader
from certwright.service import AcmeService
from certwright.store import Notice

T = TypeVar("T")
P = ParamSpec("P")


class Notices(Protocol):
    """What a listener hears, until it is closed; an asynchronous generator is one."""

    def __aiter__(self) -> AsyncIterator[Notice]: ...

    async def __anext__(self) -> Notice: ...

    async def aclose(self) -> None: ...


class EventSource(Protocol):
    """Where subscriptions hear of commits. A topic is (tenant, id of an entity) or (tenant, None) for all of it."""

    def listen(self, tenant: str, subject_id: str | None) -> Notices:
        """Notices from the moment of the call on. Raises errors.Unavailable when the listener is too slow for them."""


@dataclass(frozen=True)
class Patience:
    """Seconds. `init` is how long a socket may stay without a connection_init; `recheck` is how long a credential that
    was good is taken for good; `watch` is how often an idle socket's is looked at; `stall` is how long a client may
    leave unread what it is sent; `dashboard` is the least time between two dashboards to the same subscriber."""

    init: float = 10
    recheck: float = 2
    watch: float = 5
    stall: float = 30
    dashboard: float = 0.5


@dataclass(frozen=True)
class Api:
    """What the API is made of. `reading` and `acting` bound the threads for each: calls that wait for a CA must not
    keep reads waiting."""

    reader: Reader
    service: AcmeService
    sign_in: SignIn
    events: EventSource
    reading: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(16))
    acting: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(32))
    patience: Patience = Patience()


class Context:
    """One request's, or one socket's. `connection_params` is filled by a socket's connection_init.

    What a request loaded it need not load again; a socket `lasts`, and loads what it shows as it is then. A context
    that `repeats` executes anew what was executed before: what was written down then is not written down again.
    """

    def __init__(
        self, api: Api, request_id: str, source_ip: str | None, *, lasts: bool = False, repeats: bool = False
    ) -> None:
        self.api = api
        self.request_id = request_id
        self.source_ip = source_ip
        self.repeats = repeats
        self.connection_params: dict[str, Any] = {}
        self._authenticate: Callable[[], Session] | None = None
        self._session: Session | None = None
        self._checked_at = api.reader.clock()
        self.accounts = self._loader(Account, lasts)
        self.orders = self._loader(Order, lasts)
        self.certificates = self._loader(Certificate, lasts)
        self.providers = self._loader(Provider, lasts)

    @property
    def session(self) -> Session:
        """Raises Unauthenticated before a sign-in."""
        if self._session is None:
            raise Unauthenticated("nobody is signed in")
        return self._session

    @property
    def actor(self) -> Actor:
        """Raises Unauthenticated before a sign-in."""
        return self.session.actor

    async def sign_in(self, authorization: str | None) -> None:
        """Authenticate an Authorization value. Raises Unauthenticated."""

        def authenticate() -> Session:
            return self.api.sign_in(authorization, request_id=self.request_id, source_ip=self.source_ip)

        await self._enter(authenticate)

    async def resume(self, session: Session) -> None:
        """Go on with a session that was signed in before. Raises Unauthenticated where it ended meanwhile."""
        await self._enter(lambda: self.api.sign_in.resume(session))

    async def _enter(self, authenticate: Callable[[], Session]) -> None:
        self._session = await anyio.to_thread.run_sync(authenticate, limiter=self.api.reading)
        self._authenticate = authenticate
        self._checked_at = self.api.reader.clock()

    async def check(self, role: Role = Role.VIEWER) -> None:
        """See that the credential of a long-lived socket still holds, and allows `role`.

        Raises Unauthenticated, and Unavailable where that cannot be told now.
        """
        now = self.api.reader.clock()
        if self._authenticate and now - self._checked_at >= timedelta(seconds=self.api.patience.recheck):
            await self._enter(self._authenticate)
        if self._session is None or (self._session.expires_at is not None and self._session.expires_at <= now):
            raise Unauthenticated("the credential has expired; connect again with a new one")
        if self._session.actor.role < role:
            raise Unauthenticated("the credential no longer has the role that this needs")

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method of the reader in a thread."""
        return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs), limiter=self.api.reading)

    async def act(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method of the service, which may wait for a CA, in a thread."""
        return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs), limiter=self.api.acting)

    def _loader(self, cls: type[E], lasts: bool) -> "DataLoader[str, E | None]":
        async def load(ids: Sequence[str]) -> list[E | None]:
            return await self.read(self.api.reader.many, cls, self.actor, ids)

        return DataLoader(load, cache=not lasts)


Info: TypeAlias = strawberry.Info[Context, None]
