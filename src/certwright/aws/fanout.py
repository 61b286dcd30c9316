"""Finds out who is to be told of a batch of events, and was not told before; and has them told."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import anyio

from certwright.aws.changes import SHOWN, Batch, Fact
from certwright.aws.connections import Connections, Subscription, Topic
from certwright.aws.gateway import Gateway
from certwright.aws.replay import Lane
from certwright.aws.told import Marks, Told
from certwright.errors import Unavailable
from certwright.items import Entity
from certwright.store import Notice, Store

if TYPE_CHECKING:
    from certwright.api.context import Api, EventSource
    from certwright.aws.delivery import Delivery

logger = logging.getLogger(__name__)

LANES = 48
"""How many subscriptions are told at once; each may have one call to API Gateway or to the table under way."""


class FanOut:
    """`api` gives what resolvers need, with the event source that they are to listen to."""

    def __init__(
        self,
        api: "Callable[[EventSource], Api]",
        store: Store,
        connections: Connections,
        gateway: Gateway,
        told: Told,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._store = store
        self._connections = connections
        self._told = told
        self._gateway = gateway
        self._monotonic = monotonic

    def tell(self, batch: Batch, told: Mapping[str, set[str]], seconds: float) -> set[str]:
        """Tell everyone of a batch's events but those who were told of them. Returns the ids of those that failed.

        `told` are the names of those who were, by event. What was not begun after so many `seconds` has failed.
        """
        return asyncio.run(self._tell_all(batch, told, self._monotonic() + seconds))

    async def _tell_all(self, batch: Batch, told: Mapping[str, set[str]], until: float) -> set[str]:
        threads = anyio.CapacityLimiter(LANES + 1)  # One for what is noted while all lanes are at work.
        try:
            lanes = await self._lanes(batch, told, threads)
        except Unavailable as error:
            logger.warning("who is to be told of %d events cannot be read now: %s", len(batch.facts), error)
            return {fact.record.id for fact in batch.facts}
        return await self._tell_lanes(lanes, threads, until) if lanes else set()

    async def _tell_lanes(self, lanes: Sequence[Lane], threads: anyio.CapacityLimiter, until: float) -> set[str]:
        from certwright.aws.delivery import Delivery  # All of GraphQL comes with it.

        async with Marks(self._told, threads) as marks:
            delivery = Delivery(
                self._api, self._connections, self._gateway, marks, threads, lambda: self._monotonic() < until
            )
            slots = anyio.Semaphore(LANES)
            await asyncio.gather(*(_in_turn(slots, delivery, lane) for lane in lanes))
            await delivery.settle()
        return delivery.failed

    async def _lanes(self, batch: Batch, told: Mapping[str, set[str]], threads: anyio.CapacityLimiter) -> list[Lane]:
        async def run(function: Callable[..., Any], *arguments: object) -> Any:
            return await anyio.to_thread.run_sync(function, *arguments, limiter=threads)

        topics = list(dict.fromkeys(topic for fact in batch.facts for topic in fact.topics))
        found = await asyncio.gather(*(run(self._connections.subscribers, topic) for topic in topics))
        listeners: dict[Topic, list[Subscription]] = dict(zip(topics, found, strict=True))
        heard = [fact for fact in batch.facts if any(listeners[topic] for topic in fact.topics)]
        entities = await run(self._read_entities, batch, heard)
        lanes: dict[str, Lane] = {}
        for fact in heard:
            notice = _notice(fact, entities.get(fact.record.id))
            for subscription in (one for topic in fact.topics for one in listeners[topic]):
                if subscription.name not in told[fact.record.id]:
                    lanes.setdefault(subscription.name, Lane(subscription)).notices.append(notice)
        return list(lanes.values())

    def _read_entities(self, batch: Batch, facts: Sequence[Fact]) -> dict[str, Entity]:
        """What events are about, by event: as the batch has it, else as it is now."""
        found: dict[str, Entity] = {}
        missing: dict[tuple[str, str], list[Fact]] = defaultdict(list)
        for fact in facts:
            entity = batch.entity(fact)
            if entity is not None:
                found[fact.record.id] = entity
            elif fact.kind in SHOWN:
                missing[fact.record.tenant, fact.kind].append(fact)
        for (tenant, kind), some in missing.items():
            ids = [fact.record.subject_id or "" for fact in some]
            for fact, stored in zip(some, self._store.many(SHOWN[kind], tenant, ids), strict=True):
                if stored is not None:
                    found[fact.record.id] = stored
        return found


def _notice(fact: Fact, entity: Entity | None) -> Notice:
    """What was committed later has an event of its own: this one is not the last word about its entity then."""
    return Notice(fact.record, entity, final=getattr(entity, "covered", fact.record.sequence) == fact.record.sequence)


async def _in_turn(slots: anyio.Semaphore, delivery: "Delivery", lane: Lane) -> None:
    async with slots:
        await delivery.deliver(lane)
