"""Composition root of the one-machine service: everything put together, as one ASGI application."""

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from starlette.applications import Starlette

from certwright.api.application import application
from certwright.api.context import Api, Patience
from certwright.audit import Audit
from certwright.auth import SignIn, Tokens
from certwright.authorities import Authorities
from certwright.ca.presets import Preset
from certwright.config import Settings
from certwright.desk import Desk
from certwright.errors import InvalidInput
from certwright.ids import Ulids
from certwright.local.broadcast import Broadcast
from certwright.oidc import Oidc
from certwright.reading import Reader
from certwright.sealer import LocalSealer
from certwright.service import AcmeService
from certwright.sqlite_table import SqliteTable
from certwright.steps import Steps
from certwright.store import Store
from certwright.table import Table
from certwright.worker import Worker

logger = logging.getLogger(__name__)

_PURGE_SECONDS = 600
_PURGE_BATCH = 1000


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


class App:
    """The service of one process. `asgi` runs the worker for as long as its lifespan lasts."""

    def __init__(
        self,
        settings: Settings,
        *,
        test_ca: Preset | None = None,
        clock: Callable[[], datetime] = utc_now,
        patience: Patience | None = None,
    ) -> None:
        self.table = open_table(settings, clock)
        self.broadcast = Broadcast()
        self.store = open_store(self.table, clock, self.broadcast)
        self.tokens = Tokens(self.store, clock)
        sealer = LocalSealer(settings.sealing_key or settings.data_dir / "sealing.key")
        self.authorities = Authorities(
            sealer,
            further=[*([test_ca] if test_ca else []), *(Preset(url, url) for url in settings.acme_servers)],
            any_public=settings.any_public_server,
            ca_bundle=settings.ca_bundle,
            clock=clock,
        )
        lease = timedelta(seconds=settings.lease_seconds)
        steps = Steps(self.store, self.authorities, clock=clock, jitter=random.random, lease=lease)
        self.worker = Worker(self.store, steps, clock=clock)
        audit = Audit(self.store)
        desk = Desk(
            self.store,
            self.authorities,
            sealer,
            lambda: steps,
            audit,
            clock=clock,
            wake=self.worker.wake,
            handoff=lease,
        )
        self.service = AcmeService(desk)
        self.reader = Reader(self.store, self.authorities, audit, clock)
        sign_in = SignIn(self.store, clock, Oidc.configured(settings, clock))
        self.api = Api(self.reader, self.service, sign_in, self.broadcast, patience=patience or Patience())
        self.asgi = application(
            self.api,
            look=self.store.tenants,
            response=self.store.response,
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
