"""Subscriptions: each turns notices of commits into views.

What is asked for is checked when subscribing, by a resolver that returns its stream, so that a refusal becomes an
`error` message; the credential is checked again with every delivery.
"""

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import anyio
import strawberry
from strawberry import ID

from certwright import events, model
from certwright.api.context import Context, Info, Notices
from certwright.api.queries import dashboard
from certwright.api.types import AuditEvent, Challenge, Dashboard, Order, challenges_of, selects
from certwright.errors import InvalidInput
from certwright.store import Notice

_RECENT = 10


@strawberry.type
class Subscription:
    @strawberry.subscription(description="Asking for a `preparation` is a viewing, and audited as one.")
    async def challenge_status(self, info: Info, order_id: ID) -> AsyncGenerator[Challenge, None]:
        context = info.context
        order = await context.read(context.api.reader.order, context.actor, order_id)
        account = await context.read(context.api.reader.account, context.actor, order.account_id)
        if order.challenges and selects(info, "preparation") and not context.repeats:
            await context.act(context.api.service.orders.note_view, context.actor, order)
        notices = context.api.events.listen(context.actor.tenant, order_id)
        return _challenges(context, notices, account)

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


async def _challenges(context: Context, notices: Notices, account: model.Account) -> AsyncGenerator[Challenge, None]:
    async with aclosing(notices):
        async for notice in notices:
            order, told = notice.entity, notice.record
            if not isinstance(order, model.Order):
                continue
            await context.check()
            changed = told.facts.get("challenge_id")
            for challenge in challenges_of(order, account):
                is_told_of = challenge.id == changed or told.type == events.OrderPlaced.__name__
                if is_told_of and not _is_overtaken(told, challenge):
                    yield challenge


def _is_overtaken(told: events.Record, challenge: Challenge) -> bool:
    """Whether the challenge has an outcome already, which has an event of its own that is yet to come."""
    has_outcome = challenge.status in (model.ChallengeStatus.VALID, model.ChallengeStatus.INVALID)
    return told.type == events.ChallengeResponded.__name__ and has_outcome


async def _orders(context: Context, notices: Notices) -> AsyncGenerator[Order, None]:
    async with aclosing(notices):
        async for notice in notices:
            order = notice.entity
            # One commit may hold several events about an order: it is shown once, with the last of them.
            if isinstance(order, model.Order) and notice.final:
                await context.check()
                yield Order.of(order)


async def _dashboards(context: Context, notices: Notices) -> AsyncGenerator[Dashboard, None]:
    """The dashboard after a change; after the first, many changes in a short time are shown by one."""
    async with aclosing(notices):
        async for _ in _latest(notices, context.api.patience.dashboard):
            await context.check()
            yield await dashboard(context, _RECENT)


async def _latest(notices: AsyncIterator[Notice], pause: float) -> AsyncGenerator[Notice, None]:
    """Notices of changes, at least `pause` seconds apart; of those between, the newest."""
    quiet_until = -math.inf
    async for notice in notices:
        if notice.entity is None:
            continue  # Nothing to be seen; and what a subscriber itself is shown may be such an event.
        newest = notice
        with anyio.CancelScope(deadline=quiet_until):
            async for later in notices:
                newest = later
        yield newest
        quiet_until = anyio.current_time() + pause


async def _audit_events(context: Context, notices: Notices) -> AsyncGenerator[AuditEvent, None]:
    async with aclosing(notices):
        async for notice in notices:
            await context.check(model.Role.OPERATOR)
            yield AuditEvent.of(notice.record)
