"""Subscriptions: each turns notices of commits into views.

What is asked for is checked when subscribing, by a resolver that returns its stream, so that a refusal becomes an
`error` message; the credential is checked again with every delivery.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta

import anyio
import strawberry
from strawberry import ID

from certwright import events, model
from certwright.api.context import Context, Info
from certwright.api.queries import dashboard
from certwright.api.types import AuditEvent, Challenge, Dashboard, Order, challenges_of
from certwright.errors import InvalidInput
from certwright.store import Notice

_DASHBOARD_PAUSE = timedelta(milliseconds=500)
_RECENT = 10


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def challenge_status(self, info: Info, order_id: ID) -> AsyncGenerator[Challenge, None]:
        context = info.context
        order = await context.read(context.api.reader.order, context.actor, order_id)
        account = await context.read(context.api.reader.account, context.actor, order.account_id)
        notices = context.api.events.listen(context.actor.tenant, order_id)
        return _challenges(context, notices, account.key_thumbprint)

    @strawberry.subscription(
        description="One order, or every order of an account, or (neither given) every order of the tenant."
    )
    async def order_status(
        self, info: Info, id: ID | None = None, account_id: ID | None = None
    ) -> AsyncGenerator[Order, None]:
        context = info.context
        if id is not None and account_id is not None:
            raise InvalidInput("give id or accountId, not both", field="accountId")
        if id is not None:
            await context.read(context.api.reader.order, context.actor, id)
        if account_id is not None:
            await context.read(context.api.reader.account, context.actor, account_id)
        return _orders(context, context.api.events.listen(context.actor.tenant, id or account_id))

    @strawberry.subscription
    async def dashboard(self, info: Info) -> AsyncGenerator[Dashboard, None]:
        context = info.context
        return _dashboards(context, context.api.events.listen(context.actor.tenant, None))

    @strawberry.subscription
    async def audit_events(self, info: Info) -> AsyncGenerator[AuditEvent, None]:
        context = info.context
        await context.read(context.api.reader.may_audit, context.actor)
        return _audit_events(context, context.api.events.listen(context.actor.tenant, None))


async def _challenges(
    context: Context, notices: AsyncIterator[Notice], key_thumbprint: str
) -> AsyncGenerator[Challenge, None]:
    async for notice in notices:
        order, told = notice.entity, notice.record
        if not isinstance(order, model.Order):
            continue
        await context.check()
        changed = told.facts.get("challenge_id")
        for challenge in challenges_of(order, key_thumbprint):
            if challenge.id == changed or told.type == events.OrderPlaced.__name__:
                yield challenge


async def _orders(context: Context, notices: AsyncIterator[Notice]) -> AsyncGenerator[Order, None]:
    shown: tuple[str, int] | None = None
    async for notice in notices:
        order = notice.entity
        # One commit may hold several events about an order: it is shown once.
        if isinstance(order, model.Order) and shown != (order.id, order.version):
            shown = (order.id, order.version)
            await context.check()
            yield Order.of(order)


async def _dashboards(context: Context, notices: AsyncIterator[Notice]) -> AsyncGenerator[Dashboard, None]:
    """The dashboard after a commit; many commits in a short time are shown by one."""
    async for _ in _latest(notices, _DASHBOARD_PAUSE):
        await context.check()
        yield await dashboard(context, _RECENT)


async def _latest(notices: AsyncIterator[Notice], pause: timedelta) -> AsyncGenerator[Notice, None]:
    """The newest notice at least `pause` apart; those between are passed over."""
    async for notice in notices:
        newest = notice
        with anyio.move_on_after(pause.total_seconds()):
            async for later in notices:
                newest = later
        yield newest


async def _audit_events(context: Context, notices: AsyncIterator[Notice]) -> AsyncGenerator[AuditEvent, None]:
    async for notice in notices:
        await context.check(model.Role.OPERATOR)
        yield AuditEvent.of(notice.record)
