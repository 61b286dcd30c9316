"""Queries: each asks the reader one question."""

from contextlib import aclosing

import anyio
import strawberry
from strawberry import ID

from certwright import model
from certwright.api.chains import ChainQueries
from certwright.api.context import Context, Info
from certwright.api.pages import Connection
from certwright.api.providers import ProviderQueries
from certwright.api.rates import RateLimit
from certwright.api.types import (
    Account,
    AcmeDirectory,
    AcmeServer,
    AuditEvent,
    Certificate,
    Challenge,
    Dashboard,
    DomainCheck,
    Order,
    Viewer,
    challenges_of,
)
from certwright.errors import NotFound

_PLACING_SECONDS = 10
_FIRST_LOOK, _LAST_LOOK = 0.1, 1.0


@strawberry.type
class Query(ChainQueries, ProviderQueries):
    @strawberry.field
    async def viewer(self, info: Info) -> Viewer:
        actor = info.context.actor
        return Viewer(name=actor.name, role=actor.role, tenant=actor.tenant)

    @strawberry.field(
        description="Active accounts, newest orders, counts, what expires or renews next: the status glance."
    )
    async def dashboard(self, info: Info, recent: int | None = 10) -> Dashboard:
        return await dashboard(info.context, recent)

    @strawberry.field
    async def acme_servers(self, info: Info) -> list[AcmeServer]:
        return [AcmeServer.of(preset) for preset in info.context.api.reader.acme_servers()]

    @strawberry.field(description="Asks an allowed ACME server what it demands and offers; for operators and up.")
    async def acme_directory(self, info: Info, url: str) -> AcmeDirectory:
        context = info.context
        directory = await context.act(context.api.reader.acme_directory, context.actor, url)
        return AcmeDirectory.of(url, directory)

    @strawberry.field
    async def account(self, info: Info, id: ID) -> Account | None:
        found = await info.context.accounts.load(id)
        return None if found is None else Account.of(found)

    @strawberry.field
    async def accounts(
        self, info: Info, first: int | None = 20, after: str | None = None, status: model.AccountStatus | None = None
    ) -> Connection[Account]:
        context = info.context
        page = await context.read(context.api.reader.accounts, context.actor, first=first, after=after, status=status)
        return Connection.of(page, Account.of, after)

    @strawberry.field
    async def order(self, info: Info, id: ID) -> Order | None:
        found = await info.context.orders.load(id)
        return None if found is None else Order.of(found)

    @strawberry.field
    async def orders(
        self,
        info: Info,
        first: int | None = 20,
        after: str | None = None,
        account_id: ID | None = None,
        status: model.OrderStatus | None = None,
    ) -> Connection[Order]:
        context = info.context
        page = await context.read(
            context.api.reader.orders,
            context.actor,
            first=first,
            after=after,
            account_id=account_id,
            status=status,
        )
        return Connection.of(page, Order.of, after)

    @strawberry.field(
        description="The challenges to complete for an order, as the CA has them now. Viewing them is audited."
    )
    async def challenges(self, info: Info, order_id: ID) -> list[Challenge]:
        context = info.context
        await _placed(context, order_id)
        order = await context.act(context.api.service.orders.challenges, context.actor, order_id)
        account = await context.read(context.api.reader.account, context.actor, order.account_id)
        return challenges_of(order, account)

    @strawberry.field(description="How the CA's rate limits stand that an order would draw on.")
    async def rate_limits(self, info: Info, account_id: ID, domains: list[str]) -> list[RateLimit]:
        context = info.context
        standings = await context.read(context.api.reader.rate_limits, context.actor, account_id, domains)
        return [RateLimit.of(standing) for standing in standings]

    @strawberry.field(
        description="Whether each name could be ordered, together with the others, and as what; no CA is asked."
    )
    async def check_domains(self, info: Info, domains: list[str]) -> list[DomainCheck]:
        context = info.context
        return [DomainCheck.of(check) for check in await context.read(context.api.reader.check_domains, domains)]

    @strawberry.field
    async def certificate(self, info: Info, id: ID) -> Certificate | None:
        found = await info.context.certificates.load(id)
        return None if found is None else Certificate.of(found, info.context.api.reader.clock())

    @strawberry.field
    async def certificates(
        self, info: Info, first: int | None = 20, after: str | None = None, name: str | None = None
    ) -> Connection[Certificate]:
        context = info.context
        page = await context.read(context.api.reader.certificates, context.actor, first=first, after=after, name=name)
        now = context.api.reader.clock()
        return Connection.of(page, lambda certificate: Certificate.of(certificate, now), after)

    @strawberry.field
    async def audit_events(
        self, info: Info, first: int | None = 50, after: str | None = None, subject_id: ID | None = None
    ) -> Connection[AuditEvent]:
        context = info.context
        page = await context.read(
            context.api.reader.audit_events, context.actor, first=first, after=after, subject_id=subject_id
        )
        return Connection.of(page, AuditEvent.of, after)


async def dashboard(context: Context, recent: int | None) -> Dashboard:
    data = await context.read(context.api.reader.dashboard, context.actor, recent)
    for account in data.active_accounts:
        context.accounts.prime(account.id, account)
    return Dashboard.of(data)


async def _placed(context: Context, order_id: str) -> None:
    """Wait a little for a new order to be placed at the CA, so that its challenges are there to be seen.

    Notices say when to look again, and time does where another process places it. Waiting costs no thread: many may
    wait for a CA that is slow.
    """
    pause = _FIRST_LOOK
    async with aclosing(context.api.events.listen(context.actor.tenant, order_id)) as notices:
        with anyio.move_on_after(_PLACING_SECONDS):
            while await _is_being_placed(context, order_id):
                with anyio.move_on_after(pause):
                    if await anext(notices, None) is None:
                        await anyio.sleep_forever()
                pause = min(2 * pause, _LAST_LOOK)


async def _is_being_placed(context: Context, order_id: str) -> bool:
    try:
        order = await context.read(context.api.reader.order, context.actor, order_id)
    except NotFound:
        return False  # For the service to refuse, and to write down.
    return order.status is model.OrderStatus.NEW and order.delay is None
