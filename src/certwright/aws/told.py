"""Which subscriptions were told of which events, so that a batch of the stream that comes again tells nobody twice.

pk             sk                      what
{tenant}#told  {event id}#{unique id}  the names of the subscriptions that were told, by event

The key holds the newest of the events. Ids are time-ordered, so that one query, from the oldest event of a batch on,
finds all that was noted about any of its events, and little else.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Self

import anyio

from certwright.aws.connections import LIFE_SECONDS
from certwright.errors import Unavailable
from certwright.table import Item, Put, Table

logger = logging.getLogger(__name__)

_PAGE = 200
_MOST_NAMES = 1000


class Told:
    """Safe from any thread. `clock` gives seconds since the epoch; `new_id` unique ids."""

    def __init__(self, table: Table, clock: Callable[[], int], new_id: Callable[[], str]) -> None:
        self._table = table
        self._clock = clock
        self._new_id = new_id

    def read(self, tenant: str, event_ids: Collection[str]) -> dict[str, set[str]]:
        """The names of the subscriptions that were told, by event."""
        told: dict[str, set[str]] = {id: set() for id in event_ids}
        for item in self._since(f"{tenant}#told", min(event_ids)):
            noted: Any = item.attributes["told"]
            for id in noted.keys() & told.keys():
                told[id].update(noted[id])
        return told

    def _since(self, pk: str, oldest: str) -> Iterator[Item]:
        after = oldest
        while page := self._table.query(pk, limit=_PAGE, after=after, newest_first=False):
            yield from page
            after = page[-1].sk

    def note(self, tenant: str, told: Mapping[str, Collection[str]]) -> None:
        """Note who was told of which events. Kept for as long as a subscription can last."""
        for part in _parts(told):
            key = f"{tenant}#told", f"{max(part)}#{self._new_id()}"
            until = self._clock() + LIFE_SECONDS
            # In a write of its own: the cheapest, and nothing depends on the others.
            self._table.write([Put(Item(*key, {"told": part}, expires_at=until), unconditional=True)])


def _parts(told: Mapping[str, Collection[str]]) -> Iterator[dict[str, list[str]]]:
    """Portions that fit into an item."""
    part: dict[str, list[str]] = defaultdict(list)
    size = 0
    for id, names in told.items():
        for name in names:
            part[id].append(name)
            size += 1
            if size == _MOST_NAMES:
                yield dict(part)
                part, size = defaultdict(list), 0
    if part:
        yield dict(part)


class Marks:
    """Notes who was told while others are still being told: all that came together since the last note was written.

    A note that cannot be written is left out. It would be missed only if the batch came again for another reason.
    """

    def __init__(self, told: Told, threads: anyio.CapacityLimiter) -> None:
        self._told = told
        self._threads = threads
        self._waiting: dict[str, dict[str, list[str]]] = {}
        self._news = asyncio.Event()
        self._over = False

    def add(self, tenant: str, event_id: str, name: str) -> None:
        self._waiting.setdefault(tenant, {}).setdefault(event_id, []).append(name)
        self._news.set()

    async def __aenter__(self) -> Self:
        self._writing = asyncio.create_task(self._write())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Returns when everything is written."""
        self._over = True
        self._news.set()
        await self._writing

    async def _write(self) -> None:
        while self._waiting or not self._over:
            await self._news.wait()
            self._news.clear()
            waiting, self._waiting = self._waiting, {}
            for tenant, told in waiting.items():
                try:
                    await anyio.to_thread.run_sync(self._told.note, tenant, told, limiter=self._threads)
                except Unavailable as error:
                    logger.warning("who was told of %d events could not be noted: %s", len(told), error)
