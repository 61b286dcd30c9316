"""Composition root of the one-machine service: everything put together, as one ASGI application."""

import asyncio
import functools
import logging
import random
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from certwright.advising import Adviser, Advising
from certwright.api.application import application
from certwright.api.console import Console
from certwright.api.context import Api, Patience
from certwright.api.discovery import Discovery
from certwright.audit import Audit
from certwright.auth import SignIn, Tokens
from certwright.authorities import Authorities
from certwright.ca.presets import Preset
from certwright.challenges.solver import Kind
from certwright.config import Settings
from certwright.desk import Desk
from certwright.errors import InvalidInput
from certwright.ids import Ulids
from certwright.local.broadcast import Broadcast
from certwright.oidc import Oidc
from certwright.reading import Reader
from certwright.sealer import LocalSealer
from certwright.service import AcmeService
from certwright.solvers import Dns, OwnZones, Solvers
from certwright.solving import Solving
from certwright.sqlite_table import SqliteTable
from certwright.steps import Steps
from certwright.store import Store
from certwright.table import Table
from certwright.worker import Worker

if TYPE_CHECKING:
    from certwright.challenges.propagation import Propagation

logger = logging.getLogger(__name__)

_PURGE_SECONDS = 600
_PURGE_BATCH = 1000
_ADVICE_SECONDS = 2.5


def utc_now() -> datetime:
    return datetime.now(UTC)


def open_table(settings: Settings, clock: Callable[[], datetime]) -> Table:
    """The table that CERTWRIGHT_STORE names. Raises InvalidInput."""
    kind, _, where = settings.store.partition(":")

    def seconds() -> int:
        return int(clock().timestamp())

    if kind == "sqlite" and where:
        Path(where).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return SqliteTable(where, seconds)
    if kind == "dynamodb" and where:
        from certwright.aws.connect import dynamo_table

        return dynamo_table(where, seconds)
    raise InvalidInput(f"CERTWRIGHT_STORE is {settings.store!r}; give sqlite:PATH or dynamodb:TABLE")


def open_store(table: Table, clock: Callable[[], datetime], broadcast: Broadcast | None = None) -> Store:
    publish = broadcast.publish if broadcast else lambda _: None
    return Store(table, clock=clock, new_id=Ulids(clock, secrets.randbits), publish=publish)


def _propagation(settings: Settings) -> "Propagation":
    from certwright.challenges.propagation import Propagation

    return Propagation(settings.dns_servers)


def make_adviser(servers: Sequence[str], *, networks: Sequence[str] = (), http_port: int = 80) -> Callable[[], Adviser]:
    """One adviser, made when it is first needed. `servers` are asked; see challenges.advice for the others."""

    @functools.cache
    def make() -> Adviser:
        from certwright.challenges import advice

        return advice.Adviser(servers, networks=networks, http_port=http_port, seconds=_ADVICE_SECONDS)

    return make


def _kinds(
    settings: Settings, clock: Callable[[], datetime], propagation: "Callable[[], Propagation]"
) -> Mapping[str, Kind]:
    from certwright.aws import route53
    from certwright.challenges.kinds import kinds

    in_aws = route53.kind()
    networks, bundle = settings.provider_networks, settings.ca_bundle
    return {**kinds(clock=clock, watch=propagation, networks=networks, ca_bundle=bundle), in_aws.name: in_aws}


class App:
    """The service of one process. `asgi` runs the worker for as long as its lifespan lasts."""

    def __init__(
        self,
        settings: Settings,
        *,
        test_ca: Preset | None = None,
        clock: Callable[[], datetime] = utc_now,
        patience: Patience | None = None,
        kinds: Mapping[str, Kind] | None = None,
        dns: Dns | None = None,
        adviser: Callable[[str], Adviser] | None = None,
    ) -> None:
        """`kinds` of challenge providers there are besides http-01, how name servers are asked, and who advises about
        orders at a CA, by its URL; None: the usual."""
        self.table = open_table(settings, clock)
        self.broadcast = Broadcast()
        self.store = open_store(self.table, clock, self.broadcast)
        self.tokens = Tokens(self.store, clock)
        self.sealer = sealer = LocalSealer(settings.sealing_key or settings.data_dir / "sealing.key")
        self.authorities = Authorities(
            sealer,
            further=[*([test_ca] if test_ca else []), *(Preset(url, url) for url in settings.acme_servers)],
            any_public=settings.any_public_server,
            ca_bundle=settings.ca_bundle,
            clock=clock,
        )
        lease = timedelta(seconds=settings.lease_seconds)
        propagation = functools.cache(lambda: _propagation(settings))
        dns = dns or Dns.of(propagation)
        own = OwnZones(settings.http_01_zones) if settings.http_01_zones else None
        if own is None and test_ca is not None:
            own = OwnZones(("*",), test_ca.url)
        solvers = Solvers(self.store, sealer, _kinds(settings, clock, propagation) if kinds is None else kinds, own)
        solving = Solving(
            solvers,
            dns,
            clock=clock,
            jitter=random.random,
            patience=timedelta(seconds=settings.propagation_seconds),
        )
        usual = make_adviser(settings.dns_servers, networks=settings.provider_networks)
        advising = Advising(adviser or (lambda _: usual()), self.authorities)
        self.steps = steps = Steps(
            self.store, self.authorities, solving, advising, clock=clock, jitter=random.random, lease=lease
        )
        self.worker = Worker(self.store, steps, clock=clock)
        audit = Audit(self.store)
        desk = Desk(
            self.store,
            self.authorities,
            sealer,
            lambda: steps,
            audit,
            solvers,
            dns,
            clock=clock,
            wake=self.worker.wake,
            handoff=lease,
        )
        self.service = AcmeService(desk)
        self.reader = Reader(self.store, self.authorities, audit, solvers, clock)
        sign_in = SignIn(self.store, clock, Oidc.configured(settings, clock))
        self.api = Api(self.reader, self.service, sign_in, self.broadcast, patience=patience or Patience())
        self.asgi = application(
            self.api,
            look=self.store.tenants,
            response=self.store.response,
            console=Console(socket_url=settings.socket_url, provider=Discovery(settings, clock)),
            origins=settings.allowed_origins,
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self.broadcast.bind(asyncio.get_running_loop())
        self.worker.start()
        purging = asyncio.create_task(self._purge())
        try:
            yield
        finally:
            purging.cancel()
            self.broadcast.bind(None)
            await asyncio.to_thread(self.worker.stop)
            if isinstance(self.table, SqliteTable):
                self.table.close()

    async def _purge(self) -> None:
        """DynamoDB removes expired items by itself; SQLite does not."""
        while isinstance(self.table, SqliteTable):
            await asyncio.sleep(_PURGE_SECONDS)
            await asyncio.to_thread(self.table.purge, _PURGE_BATCH)
