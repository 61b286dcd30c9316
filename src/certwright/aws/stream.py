"""The function on the table's stream: what was committed goes to subscribers, to the archive, to EventBridge and to the
worker.

The stream gives each batch at least once. A batch that could not be dealt with whole comes again from the first record
that is named as failed; what was done of it is noted by then, and not done again. A record that cannot be read fails
for itself, until Lambda gives it to the failure destination.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from certwright.aws import changes
from certwright.aws.app import App, Function, Handler
from certwright.aws.changes import Batch, Fact
from certwright.aws.fanout import FanOut
from certwright.aws.observability import put_measures
from certwright.aws.told import Told
from certwright.errors import Unavailable
from certwright.events import Record
from certwright.table import Due

logger = logging.getLogger(__name__)

_RESERVE_SECONDS = 5
_LONGEST_SECONDS = 60
_SHIPPED = "~shipped"

Tell = Callable[[Batch, Mapping[str, set[str]], float], set[str]]
"""`FanOut.tell`."""


class StreamFunction:
    """`wake` announces due work, and never raises; each of `ship` takes records, or raises Unavailable."""

    def __init__(
        self,
        tell: Tell,
        told: Told,
        *,
        wake: Callable[[Sequence[Due]], object],
        ship: Sequence[Callable[[Sequence[Record]], object]],
    ) -> None:
        self._tell = tell
        self._told = told
        self._wake = wake
        self._ship = ship

    def __call__(self, event: Mapping[str, Any], context: Any = None) -> dict[str, list[dict[str, str]]]:
        """Returns a partial batch response: the stream's numbers of the records that failed."""
        batch = changes.read(event["Records"])
        if batch.due:
            self._wake(batch.due)
        failed = self._deal_with(batch, _seconds_left(context)) if batch.facts else set()
        places = {*batch.poison, *(fact.place for fact in batch.facts if fact.record.id in failed)}
        return {"batchItemFailures": [{"itemIdentifier": place} for place in sorted(places, key=int)]}

    def _deal_with(self, batch: Batch, seconds: float) -> set[str]:
        """Returns the ids of the events that failed. Neither shipping nor telling waits for the other."""
        try:
            told = self._read_told(batch.facts)
        except Unavailable as error:
            logger.warning("what is done of %d events cannot be read now: %s", len(batch.facts), error)
            return {fact.record.id for fact in batch.facts}
        unshipped = [fact.record for fact in batch.facts if _SHIPPED not in told[fact.record.id]]
        with ThreadPoolExecutor(1) as thread:
            shipping = thread.submit(self._failed_to_ship, unshipped)
            failed = self._tell(batch, told, seconds) | shipping.result()
        if failed or batch.poison:
            self._note_shipped([fact for fact in batch.facts if fact.record.id not in shipping.result()])
        return failed

    def _read_told(self, facts: Sequence[Fact]) -> dict[str, set[str]]:
        by_tenant: dict[str, list[str]] = defaultdict(list)
        for fact in facts:
            by_tenant[fact.record.tenant].append(fact.record.id)
        return {id: names for tenant, ids in by_tenant.items() for id, names in self._told.read(tenant, ids).items()}

    def _failed_to_ship(self, records: Sequence[Record]) -> set[str]:
        try:
            for ship in self._ship if records else ():
                ship(records)
        except Unavailable as error:
            logger.warning("%d events are shipped later: %s", len(records), error)
            return {record.id for record in records}
        return set()

    def _note_shipped(self, facts: Sequence[Fact]) -> None:
        """Only where the batch comes again: what is shipped twice costs more than what is noted in vain."""
        by_tenant: dict[str, dict[str, list[str]]] = defaultdict(dict)
        for fact in facts:
            by_tenant[fact.record.tenant][fact.record.id] = [_SHIPPED]
        for tenant, shipped in by_tenant.items():
            try:
                self._told.note(tenant, shipped)
            except Unavailable as error:
                logger.warning("%d events may be shipped twice: %s", len(shipped), error)


def _seconds_left(context: Any) -> float:
    """For telling: what Lambda leaves, but for a reserve in which to note what was done."""
    if context is None:
        return _LONGEST_SECONDS
    left = float(context.get_remaining_time_in_millis()) / 1000
    return max(1.0, left - _RESERVE_SECONDS)


def serve(app: App) -> Handler:
    told = Told(app.table, app.seconds, app.store.new_id)
    gateway = app.gateway(app.wired("STACK_SOCKETS"))
    fan_out = FanOut(app.api, app.store, app.connections, gateway, told)
    return StreamFunction(
        fan_out.tell, told, wake=app.hints.send, ship=(app.archive.ship, app.bridge.put, put_measures)
    )


handler = Function("stream", serve)
