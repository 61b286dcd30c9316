"""Tells one subscription of events, as its `Rendering` says them.

A socket that is gone is forgotten. One that takes nothing is closed in the end, so that its client connects anew and
asks for the present state. Neither fails the others; and what cannot be told for a reason of ours is told when the
batch comes again. A message names its event and its place among those about it, in its extensions as `messageId`: of a
function that died between telling and noting it, the next one repeats the message under the same name.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import anyio

from certwright.api.context import Api, Context, EventSource
from certwright.api.messages import Message, refusal
from certwright.aws.connections import Connections, Subscription
from certwright.aws.gateway import Gateway, Gone, Stalled
from certwright.aws.rendering import Renderings
from certwright.aws.replay import Lane, Replay
from certwright.aws.told import Marks
from certwright.errors import InvalidInput, Unauthenticated, Unavailable
from certwright.store import Notice

logger = logging.getLogger(__name__)


class Delivery:
    """Of one batch. `failed` are the ids of the events that are to be told again; `has_time` says whether to go on."""

    def __init__(
        self,
        api: Callable[[EventSource], Api],
        connections: Connections,
        gateway: Gateway,
        marks: Marks,
        threads: anyio.CapacityLimiter,
        has_time: Callable[[], bool],
    ) -> None:
        self._api = api
        self._connections = connections
        self._gateway = gateway
        self._marks = marks
        self._threads = threads
        self._has_time = has_time
        self._renderings = Renderings(api)
        self._gone: set[str] = set()
        self._silent: dict[str, list[Lane]] = defaultdict(list)
        self._reached_any = False
        self.failed: set[str] = set()

    async def deliver(self, lane: Lane) -> None:
        try:
            last_word = await self._tell_or_refuse(lane)
            if last_word is not None:
                await self._run(self._connections.remove, lane.subscription)
                await self._post(lane.subscription, last_word)
        except Gone:
            self._reached_any = True
            await self._forget(lane.subscription)
        except Stalled as error:
            logger.warning("socket %s takes nothing: %s", lane.subscription.connection_id, error)
            self._silent[lane.subscription.connection_id].append(lane)
        except Unavailable as error:
            logger.warning("subscription %s is told later: %s", lane.subscription.name, error)
            self._fail(lane)

    async def settle(self) -> None:
        """Close the sockets that took nothing.

        Where API Gateway took nothing at all, it was not their fault: they are told again.
        """
        await asyncio.gather(*(self._close(id, lanes) for id, lanes in self._silent.items()))

    async def _close(self, connection_id: str, lanes: list[Lane]) -> None:
        try:
            await self._run(self._gateway.disconnect, connection_id)
        except (Stalled, Unavailable):
            if not self._reached_any:
                for lane in lanes:
                    self._fail(lane)
                return
        except Gone:
            pass
        for lane in lanes:
            await self._forget(lane.subscription)

    def _fail(self, lane: Lane) -> None:
        self.failed.update(notice.record.id for notice in lane.notices[lane.told :])

    async def _tell_or_refuse(self, lane: Lane) -> Message | None:
        """The last message of a subscription that is over, None for one that goes on."""
        subscription = lane.subscription
        operation = {"id": subscription.id}
        try:
            return await self._tell(lane)
        except Unauthenticated as error:
            return refusal(operation, error, 4403)
        except InvalidInput as error:  # Too large to be sent.
            return refusal(operation, error)
        except (Gone, Stalled, Unavailable):
            raise
        except Exception as error:  # noqa: BLE001  A fault with one subscription must not keep others from being told.
            return refusal(operation, error, 4500)

    async def _tell(self, lane: Lane) -> Message | None:
        subscription, number, before = lane.subscription, 0, 0
        context = Context(self._api(Replay(())), subscription.connection_id, None)
        await context.resume(subscription.session)
        rendering = await self._renderings.of(lane, context.session)
        for heard, message in rendering.results:
            number = number + 1 if heard == before else 0
            before = heard
            self._note(lane, heard - 1)  # What is to be said of those before has been posted.
            await self._post(subscription, _named(message, subscription.id, lane.notices[heard - 1], number))
        if not rendering.is_refused:
            self._note(lane, rendering.heard)
        return rendering.last and {**rendering.last, "id": subscription.id}

    def _note(self, lane: Lane, number: int) -> None:
        for notice in lane.notices[lane.told : number]:
            self._marks.add(notice.record.tenant, notice.record.id, lane.subscription.name)
        lane.told = max(lane.told, number)

    async def _post(self, subscription: Subscription, message: Message) -> None:
        if subscription.connection_id in self._gone:
            raise Gone
        if subscription.connection_id in self._silent:
            raise Stalled("it took nothing before")
        if not self._has_time():
            raise Unavailable("there is no time left")
        await self._run(self._gateway.post, subscription.connection_id, message)
        self._reached_any = True

    async def _forget(self, subscription: Subscription) -> None:
        self._gone.add(subscription.connection_id)
        try:
            await self._run(self._connections.forget, subscription.connection_id, subscription)
        except Unavailable as error:
            logger.warning("what is known of socket %s is left to expire: %s", subscription.connection_id, error)

    async def _run(self, function: Callable[..., Any], *arguments: object) -> Any:
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self._threads)


def _named(message: Message, id: str, notice: Notice, number: int) -> Message:
    extensions = {"messageId": f"{notice.record.id}/{number}"}
    return {**message, "id": id, "payload": {**message["payload"], "extensions": extensions}}
