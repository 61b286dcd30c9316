"""The ends of chains of records, as far as this process knows them."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

from certwright.events import Event, Record

_MOST_HEADS = 5000


class Heads:
    """The newest record of chains that this process wrote to of late. One that is outdated does no harm: its place is
    taken, so that the commit fails, forgets it and looks again."""

    def __init__(self) -> None:
        self._heads: OrderedDict[tuple[str, str | None], Record] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, tenant: str, subject_id: str | None) -> Record | None:
        return self._heads.get((tenant, subject_id))

    def remember(self, tenant: str, records: Sequence[Record]) -> None:
        with self._lock:
            for record in records:
                self._heads[tenant, record.subject_id] = record
                self._heads.move_to_end((tenant, record.subject_id))
            while len(self._heads) > _MOST_HEADS:
                self._heads.popitem(last=False)

    def forget(self, tenant: str, events: Sequence[Event]) -> None:
        with self._lock:
            for event in events:
                self._heads.pop((tenant, event.subject_id), None)
