"""The live event source of one process: fed by commits, from any thread; heard by subscriptions, in the event loop."""

import asyncio
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial

from certwright import model
from certwright.errors import Unavailable
from certwright.store import Notice

_MOST_WAITING = 1000
_MOST_SUBJECTS = 10_000
_GAP_SECONDS = 0.1

Topic = tuple[str, str | None]


class Listener:
    """An iterator over notices. One that falls too far behind is ended with Unavailable, and nobody waits for it."""

    def __init__(self, forget: Callable[["Listener"], None]) -> None:
        self._forget = forget
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

    async def aclose(self) -> None:
        """Hear nothing from now on."""
        self._forget(self)
        self._waiting.clear()

    def hear(self, notice: Notice) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.clear()
            self._behind = True
        if not self._behind:
            self._waiting.append(notice)
        self._arrived.set()


class _Sequence:
    """Brings the notices about each subject into the order of their commits, which threads may tell us of crosswise.

    A notice that comes before its turn waits for those before it, for `_GAP_SECONDS` at most: they may have been
    committed by another process, and then never come.
    """

    def __init__(self) -> None:
        self._next: OrderedDict[Topic, int] = OrderedDict()
        self._early: dict[Topic, dict[int, Notice]] = {}

    def take(self, notice: Notice) -> tuple[list[Notice], Topic | None]:
        """What can be delivered now, and the subject that began to wait with this notice."""
        subject = (notice.record.tenant, notice.record.subject_id)
        sequence = notice.record.sequence
        expected = self._next.get(subject, sequence)
        if sequence > expected:
            waiting = self._early.setdefault(subject, {})
            waiting[sequence] = notice
            return [], subject if len(waiting) == 1 else None
        return self._run(subject, [notice], max(expected, sequence + 1)), None

    def give_up(self, subject: Topic) -> list[Notice]:
        """The notices that waited for what does not come."""
        early = self._early.pop(subject, {})
        ready = [early[sequence] for sequence in sorted(early)]
        return self._run(subject, ready, max(early, default=0) + 1) if early else []

    def _run(self, subject: Topic, ready: list[Notice], following: int) -> list[Notice]:
        early = self._early.get(subject, {})
        while following in early:
            ready.append(early.pop(following))
            following += 1
        if not early:
            self._early.pop(subject, None)
        self._next[subject] = following
        self._next.move_to_end(subject)
        while len(self._next) > _MOST_SUBJECTS:
            self._next.popitem(last=False)
        return ready


class Broadcast:
    """Listeners are held weakly: one that nobody closes is gone when nobody has it any more."""

    def __init__(self) -> None:
        self._listeners: dict[Topic, weakref.WeakSet[Listener]] = {}
        self._sequence = _Sequence()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def listening(self) -> int:
        """How many listen."""
        return sum(map(len, list(self._listeners.values())))

    def bind(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Deliver in this event loop from now on; None ends delivery."""
        self._loop = loop

    def listen(self, tenant: str, subject_id: str | None) -> Listener:
        """Notices about one entity (of an account: its orders' too), or with None about all of a tenant."""
        topic = (tenant, subject_id)
        listener = Listener(partial(self._forget, topic))
        self._listeners.setdefault(topic, weakref.WeakSet()).add(listener)
        return listener

    def _forget(self, topic: Topic, listener: Listener) -> None:
        listeners = self._listeners.get(topic)
        if listeners is not None:
            listeners.discard(listener)
            if not listeners:
                del self._listeners[topic]

    def publish(self, notices: Sequence[Notice]) -> None:
        """Called after each commit, by the thread that made it."""
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._take, notices)
            except RuntimeError:
                return  # The loop was closed meanwhile: nobody listens any more.

    def _take(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            ready, waits = self._sequence.take(notice)
            self._deliver(ready)
            if waits is not None:
                asyncio.get_running_loop().call_later(_GAP_SECONDS, self._give_up, waits)

    def _give_up(self, subject: Topic) -> None:
        self._deliver(self._sequence.give_up(subject))

    def _deliver(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            for topic in _topics(notice):
                for listener in list(self._listeners.get(topic, ())):
                    listener.hear(notice)


def _topics(notice: Notice) -> list[Topic]:
    tenant, subject_id = notice.record.tenant, notice.record.subject_id
    topics: list[Topic] = [(tenant, None)]
    if subject_id is not None:
        topics.append((tenant, subject_id))
    if isinstance(notice.entity, model.Order):
        topics.append((tenant, notice.entity.account_id))
    return topics
