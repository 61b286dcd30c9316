"""The two event sources of a deployment without live processes: one resolver serves subscribing and delivering.

When a client subscribes, `Recorder` notes what the resolver would listen to, and yields nothing: what is stored is what
passed validation and permissions. When something was committed, `Replay` yields it to the same resolver, executed anew,
so that permissions are checked again.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from certwright.aws.connections import Subscription, Topic
from certwright.store import Notice

if TYPE_CHECKING:
    from certwright.api.context import Notices


class Recorder:
    """`topics` are what was listened to."""

    def __init__(self) -> None:
        self.topics: list[Topic] = []

    def listen(self, tenant: str, subject_id: str | None) -> "Notices":
        self.topics.append((tenant, subject_id))
        return _nothing()


async def _nothing() -> AsyncGenerator[Notice, None]:
    nothing: tuple[Notice, ...] = ()
    for notice in nothing:
        yield notice


class Replay:
    """Tells of `notices`, in their order and once.

    `heard` is how many were taken; `is_over` says that more were asked for than there are. A stream that ends before
    that has ended of its own accord.
    """

    def __init__(self, notices: Sequence[Notice]) -> None:
        self._notices = notices
        self.heard = 0
        self.is_over = False

    def listen(self, tenant: str, subject_id: str | None) -> "Notices":  # noqa: ARG002  The notices are its topic's.
        return self

    def __aiter__(self) -> "Replay":
        return self

    async def __anext__(self) -> Notice:
        if self.heard == len(self._notices):
            self.is_over = True
            raise StopAsyncIteration
        self.heard += 1
        return self._notices[self.heard - 1]

    async def aclose(self) -> None:
        """Nothing is kept open."""


@dataclass
class Lane:
    """A subscription and what it is to be told of, in order; of that, `told` is how much it was told of."""

    subscription: Subscription
    notices: list[Notice] = field(default_factory=list)
    told: int = 0
