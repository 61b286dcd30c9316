"""The function on the table's stream: what was committed goes to subscribers, to the archive, to EventBridge and to the
worker.

The stream gives each batch at least once. A batch that could not be dealt with whole comes again from the first record
that is named as failed; what was done of it is noted by then, and not done again. A record that cannot be read fails
for itself, until Lambda gives it to the failure destination.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from certwright.aws import changes
from certwright.aws.changes import Batch, Fact
from certwright.aws.told import Told
from certwright.errors import Unavailable
from certwright.events import Record
from certwright.table import Due

logger = logging.getLogger(__name__)

_RESERVE_SECONDS = 3
_LONGEST_SECONDS = 60
_SHIPPED = "~shipped"


class Subscribers(Protocol):
    """`certwright.aws.fanout.FanOut` is one."""

    def tell(self, batch: Batch, seconds: float) -> set[str]: ...


class StreamFunction:
    """`wake` announces due work, and never raises; each of `ship` takes records, or raises Unavailable."""

    def __init__(
        self,
        subscribers: Subscribers,
        told: Told,
        *,
        wake: Callable[[Sequence[Due]], object],
        ship: Sequence[Callable[[Sequence[Record]], object]],
    ) -> None:
        self._subscribers = subscribers
        self._told = told
        self._wake = wake
        self._ship = ship

    def __call__(self, event: Mapping[str, Any], context: Any = None) -> dict[str, list[dict[str, str]]]:
        """Returns a partial batch response: the stream's numbers of the records that failed."""
        batch = changes.read(event["Records"])
        if batch.due:
            self._wake(batch.due)
        failed = self._subscribers.tell(batch, _seconds_left(context)) if batch.facts else set()
        shipped = self._ship_all(batch.facts)
        places = {fact.place for fact in batch.facts if fact.record.id in failed or not shipped} | {*batch.poison}
        if places and shipped:
            self._note_shipped(batch.facts)
        return {"batchItemFailures": [{"itemIdentifier": place} for place in sorted(places, key=int)]}

    def _ship_all(self, facts: Sequence[Fact]) -> bool:
        """Whether all is shipped."""
        try:
            shipped = self._shipped(facts)
            records = [fact.record for fact in facts if fact.record.id not in shipped]
            for ship in self._ship if records else ():
                ship(records)
        except Unavailable as error:
            logger.warning("%d events are shipped later: %s", len(facts), error)
            return False
        return True
