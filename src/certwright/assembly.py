"""Reads items together with the parts that are kept apart from them; knows which parts need not be written again."""

from collections.abc import Iterator, Sequence
from itertools import islice

from certwright import items
from certwright.items import Change
from certwright.parts import Parts
from certwright.table import Item, Key, Put, Table

_MOST_KNOWN = 1000


class Assembly:
    """Safe from any thread."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._present: set[Key] = set()

    def get(self, keys: Sequence[Key]) -> list[tuple[Item | None, Parts]]:
        """The items at `keys`, in their order, each with the parts of all: one call, and one more for certificates."""
        sure = {part for key in keys for part in items.sure_part_keys(key)}
        asked = [*keys, *sure]
        read = dict(zip(asked, self._table.get(asked), strict=True))
        further = {part for key in keys if (item := read[key]) for part in items.part_keys(item)} - sure
        if further:
            read |= zip(further, self._table.get(list(further)), strict=True)
        return [(read[key], read) for key in keys]

    def complete(self, found: Iterator[Item], batch: int) -> Iterator[tuple[Item, Parts]]:
        """Items that were found, with their parts, read for so many at once."""
        while some := list(islice(found, batch)):
            keys = list({key for item in some for key in items.part_keys(item)})
            read = dict(zip(keys, self._table.get(keys), strict=True)) if keys else {}
            yield from ((item, read) for item in some)

    def missing(self, changes: Sequence[Change]) -> list[Put]:
        """The parts that changes make, but for those that are there already, as most issuers' certificates are."""
        shared = {key for change in changes for key in items.shared_part_keys(change)} - self._present
        if shared:
            keys = list(shared)
            found = zip(keys, self._table.get(keys), strict=True)
            if len(self._present) > _MOST_KNOWN:
                self._present.clear()
            self._present.update(key for key, item in found if item)
        return [put for change in changes for put in items.part_puts(change) if put.key not in self._present]
