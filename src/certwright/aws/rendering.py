"""What subscriptions are to be told: each thing that was subscribed to is executed once more, with Replay as the event
source; once for all who asked for the same with the same rights.

What a subscription shows is decided by its operation, the tenant and the role, and by nothing else of who asks. Whether
the session is still good is for the caller to see, for each.
"""

import asyncio
import json
from collections.abc import Callable, Hashable
from contextlib import aclosing
from dataclasses import dataclass

from certwright.api.context import Api, Context, EventSource
from certwright.api.execution import execute, has_code
from certwright.api.messages import Message
from certwright.aws.replay import Lane, Replay
from certwright.errors import Unavailable
from certwright.model import Session


@dataclass(frozen=True)
class Rendering:
    """`results`: how many of the notices were taken when a message came, and the message, with nobody's id yet.

    In the end `heard` were taken. `last` is the message that ends the subscription, where it is over.
    """

    results: list[tuple[int, Message]]
    heard: int
    last: Message | None

    @property
    def is_refused(self) -> bool:
        return self.last is not None and self.last["type"] == "error"


class Renderings:
    """Of one batch. `api` gives what resolvers need, with the event source that they are to listen to."""

    def __init__(self, api: Callable[[EventSource], Api]) -> None:
        self._api = api
        self._shared: dict[Hashable, asyncio.Task[Rendering]] = {}

    async def of(self, lane: Lane, session: Session) -> Rendering:
        """What `lane` is to be told, under `session` as it is now. Raises Unavailable where that cannot be read now.

        A refusal is each one's own: it is in the audit trail under the name of whoever was refused.
        """
        key = _key(lane, session)
        if key not in self._shared:
            self._shared[key] = asyncio.create_task(self._render(lane, session))
            return await self._shared[key]
        rendering = await self._shared[key]
        return await self._render(lane, session) if rendering.is_refused else rendering

    async def _render(self, lane: Lane, session: Session) -> Rendering:
        replay, results = Replay(lane.notices), list[tuple[int, Message]]()
        context = Context(self._api(replay), lane.subscription.connection_id, None, lasts=True, repeats=True)
        await context.resume(session)
        async with aclosing(execute(lane.subscription.id, lane.subscription.payload, context)) as messages:
            async for message in messages:
                if has_code(message, Unavailable.code):
                    raise Unavailable("what is to be shown cannot be read now")
                if message["type"] == "error":
                    return Rendering(results, replay.heard, message)
                results.append((replay.heard, message))
        return Rendering(results, replay.heard, None if replay.is_over else {"type": "complete"})


def _key(lane: Lane, session: Session) -> Hashable:
    asked = json.dumps(lane.subscription.payload, sort_keys=True)
    notices = tuple(notice.record.id for notice in lane.notices)
    return session.actor.tenant, session.actor.role, asked, notices
