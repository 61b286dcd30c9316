"""The live event source of one process: fed by commits, from any thread; heard by subscriptions, in the event loop."""

import asyncio
import weakref
from collections import deque
from collections.abc import Sequence

from certwright import model
from certwright.errors import Unavailable
from certwright.store import Notice

_MOST_WAITING = 1000

Topic = tuple[str, str | None]


class Listener:
    """An iterator over notices. One that falls too far behind is ended with Unavailable, and nobody waits for it."""

    def __init__(self) -> None:
        self._waiting: deque[Notice] = deque()
        self._arrived = asyncio.Event()
        self._behind = False

    def __aiter__(self) -> "Listener":
        return self

    async def __anext__(self) -> Notice:
        while not self._waiting:
            if self._behind:
                raise Unavailable("this subscription fell too far behind; query the present state and subscribe again")
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()

    def hear(self, notice: Notice) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.clear()
            self._behind = True
        if not self._behind:
            self._waiting.append(notice)
        self._arrived.set()


class Broadcast:
    """Listeners are held weakly: a subscription that ends, however it ends, takes its listener with it."""

    def __init__(self) -> None:
        self._listeners: dict[Topic, weakref.WeakSet[Listener]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def bind(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Deliver in this event loop from now on; None ends delivery."""
        self._loop = loop

    def listen(self, tenant: str, subject_id: str | None) -> Listener:
        """Notices about one entity (of an account: its orders' too), or with None about all of a tenant."""
        listener = Listener()
        self._listeners.setdefault((tenant, subject_id), weakref.WeakSet()).add(listener)
        return listener

    def publish(self, notices: Sequence[Notice]) -> None:
        """Called after each commit, by the thread that made it."""
        loop = self._loop
        if loop is not None and self._listeners:
            try:
                loop.call_soon_threadsafe(self._deliver, notices)
            except RuntimeError:
                return  # The loop was closed meanwhile: nobody listens any more.

    def _deliver(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            for topic in _topics(notice):
                listeners = self._listeners.get(topic, ())
                for listener in list(listeners):
                    listener.hear(notice)
                if not listeners:
                    self._listeners.pop(topic, None)


def _topics(notice: Notice) -> list[Topic]:
    tenant, subject_id = notice.record.tenant, notice.record.subject_id
    topics: list[Topic] = [(tenant, None)]
    if subject_id is not None:
        topics.append((tenant, subject_id))
    if isinstance(notice.entity, model.Order):
        topics.append((tenant, notice.entity.account_id))
    return topics
