"""What the domain keeps ↔ items. Only this room and `items`, its mapping, know keys and indexes.

`commit` is the only way to write. It stores changed entities and their events in one transaction, so that state and
audit cannot diverge; keys of links and counters follow from the entities alone.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar, cast

from certwright import codec, items
from certwright.assembly import Assembly
from certwright.errors import Conflict, NotFound
from certwright.events import Event, Record, record
from certwright.heads import Heads
from certwright.items import Change, E, Entity, Idempotency
from certwright.model import (
    Account,
    AccountStatus,
    Actor,
    ApiToken,
    Certificate,
    Counts,
    Level,
    Order,
    OrderStatus,
    Page,
    Provider,
)
from certwright.parts import Parts
from certwright.table import MAX_OPERATIONS, Due, ExpectationFailed, Item, Operation, Put, Table

logger = logging.getLogger(__name__)

D = TypeVar("D", bound=Account | Order | Certificate)
_HEAD_RETRIES = 30

_WITHIN = "."
"""Marks the cursor of a record by its place in its item: `ID`, `ID.`, `ID..` sort as they were written."""


@dataclass(frozen=True)
class Notice:
    """What subscribers are told after a commit: an event's record, and the entity that it is about as it then stood.

    Of several about the same commit of an entity, the last one is `final`. One that is not has been overtaken.
    """

    record: Record
    entity: Entity | None
    final: bool = True


class Repeated(Exception):
    """The idempotency key was used before, for the same input: `id` is what that call made."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id


class Store:
    """Reads and commits. Safe from any thread."""

    def __init__(
        self,
        table: Table,
        *,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        publish: Callable[[Sequence[Notice]], None] = lambda _: None,
    ) -> None:
        self._table = table
        self._clock = clock
        self.new_id = new_id
        self._publish = publish
        self._tenants: set[str] = set()
        self._heads = Heads()
        self._assembly = Assembly(table)

    # Writing

    def commit(
        self,
        *changes: Change,
        events: Sequence[Event],
        actor: Actor,
        idempotency: tuple[Idempotency, str] | None = None,
        responses: Iterable[tuple[str, str, datetime]] = (),
        about: Account | Order | Certificate | None = None,
    ) -> tuple[Entity | None, ...]:
        """Write changes and events at once; return the entities as they stand after it, None for those removed.

        `idempotency` ties a caller's key to the id of what is made. `responses` are http-01 answers to serve: (token,
        key authorization, until). `about` is an unchanged entity that events are about, where it was just read: a place
        in its chain that another process took meanwhile is not tried in vain then. Raises Conflict when an entity was
        changed by another since it was read, Repeated when the idempotency key is known.
        """
        operations: list[Operation] = [o for change in changes for o in items.link_operations(change)]
        operations += self._assembly.missing(changes)
        operations += items.count_operations(changes)
        operations += [items.response(*r) for r in responses]
        if idempotency:
            operations.append(items.idempotency_put(actor.tenant, *idempotency, self._clock()))
        if actor.tenant not in self._tenants:
            operations.append(Put(Item(pk="tenant", sk=actor.tenant), unconditional=True, apart=True))
        records = self._write(changes, operations, events, actor, idempotency, _ends(changes, about))
        self._tenants.add(actor.tenant)
        stored = tuple(_stored(*_covered(change, records)) for change in changes)
        by_id = _by_id(stored)
        self._publish([_notice(r, by_id.get(r.subject_id or "")) for r in records])
        return stored

    def save(
        self,
        before: E | None,
        after: E,
        *,
        events: Sequence[Event],
        actor: Actor,
        idempotency: Idempotency | None = None,
    ) -> E:
        """`commit` of one entity, which the idempotency key then stands for."""
        tied = (idempotency, after.id) if idempotency else None
        [stored] = self.commit((before, after), events=events, actor=actor, idempotency=tied)
        return cast(E, stored)

    def _write(
        self,
        changes: Sequence[Change],
        operations: Sequence[Operation],
        events: Sequence[Event],
        actor: Actor,
        idempotency: tuple[Idempotency, str] | None,
        ends: Mapping[str | None, int],
    ) -> list[Record]:
        for _ in range(_HEAD_RETRIES):
            records = self._chain(events, actor, ends)
            entities = [items.entity_operation(_covered(change, records)) for change in changes]
            puts = items.record_puts(records, _by_id(after for _, after in changes))
            try:
                self._table.write([*entities, *operations, *puts])
            except ExpectationFailed as failure:
                if "#event#" in failure.key[0]:
                    # Another event about the same subject was first: take the place after it.
                    self._heads.forget(actor.tenant, events)
                    continue
                if idempotency and failure.key == items.idempotency_key(actor.tenant, idempotency[0]):
                    self._repeat(actor.tenant, idempotency[0])
                raise Conflict("the object was changed by someone else at the same moment; read it again") from failure
            self._heads.remember(actor.tenant, records)
            return records
        raise Conflict("too many changes to the same object at the same moment; try again")

    def _chain(self, events: Sequence[Event], actor: Actor, ends: Mapping[str | None, int]) -> list[Record]:
        """The records of events, each following the last one about its subject; `ends` are numbers that were passed."""
        at, heads, records = self._clock(), dict[str | None, Record | None](), list[Record]()
        for subject in {event.subject_id for event in events}:
            head = self._heads.get(actor.tenant, subject)
            is_old = head is None or head.sequence < ends.get(subject, 0)
            heads[subject] = self._head(actor.tenant, subject) if is_old else head
        for event in events:
            written = record(event, actor, id=self.new_id(), at=at, previous=heads[event.subject_id])
            heads[event.subject_id] = written
            records.append(written)
        return records

    def _head(self, tenant: str, subject_id: str | None) -> Record | None:
        newest = self._table.query(items.chain_pk(tenant, subject_id), limit=1)
        return items.records(newest[0], tenant)[-1] if newest else None

    def _repeat(self, tenant: str, idempotency: Idempotency) -> None:
        [item] = self._table.get([items.idempotency_key(tenant, idempotency)])
        if item is None:
            return
        if item.attributes["digest"] != idempotency.digest:
            raise Conflict(
                f"idempotencyKey {idempotency.key!r} was used before with another input; take a new key",
                field="idempotencyKey",
            )
        raise Repeated(str(item.attributes["id"]))

    # Entities

    def repeated(self, tenant: str, idempotency: Idempotency | None) -> None:
        """Raise Repeated or Conflict, as `commit` would, where the idempotency key is known already."""
        if idempotency:
            self._repeat(tenant, idempotency)

    def account(self, tenant: str, id: str) -> Account:
        """Raises NotFound."""
        return self._one(Account, tenant, id)

    def order(self, tenant: str, id: str) -> Order:
        """Raises NotFound."""
        return self._one(Order, tenant, id)

    def certificate(self, tenant: str, id: str) -> Certificate:
        """Raises NotFound."""
        return self._one(Certificate, tenant, id)

    def provider(self, tenant: str, id: str) -> Provider:
        """Raises NotFound."""
        return self._one(Provider, tenant, id)

    def token(self, id: str) -> ApiToken | None:
        [item] = self._table.get([("token", id)])
        return None if item is None else items.entity(ApiToken, item)

    def tokens(self) -> list[ApiToken]:
        """Every API token, newest first."""
        return [items.entity(ApiToken, item) for item in self._every("token")]

    def many(self, cls: type[E], tenant: str, ids: Sequence[str]) -> list[E | None]:
        """Entities by id, in the order of `ids`."""
        keys = [(f"{tenant}#{items.KINDS[cls]}", id) for id in ids]
        return [None if item is None else items.entity(cls, item, read) for item, read in self._assembly.get(keys)]

    def _one(self, cls: type[E], tenant: str, id: str) -> E:
        [entity] = self.many(cls, tenant, [id])
        if entity is None:
            raise NotFound(f"there is no {items.KINDS[cls]} {id!r}")
        return entity

    # Lists

    def accounts(self, tenant: str, *, first: int, after: str | None, status: AccountStatus | None = None) -> Page:
        """Newest first."""
        accounts = (items.entity(Account, item) for item in self._every(f"{tenant}#account", after=after))
        return _page((a for a in accounts if status in (None, a.status)), first)

    def every_account(self, tenant: str) -> Iterator[Account]:
        """Newest first."""
        return (items.entity(Account, item) for item in self._every(f"{tenant}#account"))

    def providers(self, tenant: str) -> list[Provider]:
        """All of them, oldest first."""
        return [items.entity(Provider, item) for item in self._every(f"{tenant}#provider")][::-1]

    def orders(
        self,
        tenant: str,
        *,
        first: int,
        after: str | None,
        account_id: str | None = None,
        status: OrderStatus | None = None,
    ) -> Page:
        """Newest first."""
        if status is not None:
            found = self._linked(Order, tenant, f"{tenant}#order-in#{items.state(status)}", after, first)
        elif account_id is not None:
            by_account = self._every(f"{tenant}#order#{account_id}", after=after, by_index=True, batch=first + 1)
            found = (items.entity(Order, item) for item in by_account)
        else:
            found = (items.entity(Order, i) for i in self._every(f"{tenant}#order", after=after, batch=first + 1))
        return _page((o for o in found if status in (None, o.status) and account_id in (None, o.account_id)), first)

    def certificates(self, tenant: str, *, first: int, after: str | None, name: str | None = None) -> Page:
        """Newest first; with `name`, those that hold exactly this name."""
        if name is None:
            every = self._every(f"{tenant}#certificate", after=after, batch=first + 1)
            whole = self._assembly.complete(every, first + 1)
            return _page((items.entity(Certificate, item, read) for item, read in whole), first)
        return _page(self._linked(Certificate, tenant, f"{tenant}#name#{name}", after, first), first)

    def renewing(self, tenant: str, *, first: int) -> list[Certificate]:
        """Certificates in use by the times of their renewals, the nearest first."""
        found = self._table.query(items.renewing_pk(tenant), limit=first, newest_first=False, by_index=True)
        whole = self._assembly.complete(iter(found), first)
        return [items.entity(Certificate, item, read) for item, read in whole]

    def records(self, tenant: str, *, first: int, after: str | None, subject_id: str | None = None) -> Page:
        """The audit trail, newest first: of the tenant, or of one subject."""
        by_index = subject_id is None
        pk = f"{tenant}#event" if by_index else items.chain_pk(tenant, subject_id)
        found = self._table.query(pk, limit=first + 1, after=after, by_index=by_index)
        told = [
            (f"{_cursor(item, by_index)}{_WITHIN * place}", record)
            for item in found
            for place, record in reversed(list(enumerate(items.records(item, tenant))))
        ]
        older = [(cursor, record) for cursor, record in told if after is None or cursor < after]
        cursors, records = zip(*older[:first], strict=True) if older else ((), ())
        return Page(list(records), list(cursors), len(older) > first)

    def _linked(self, cls: type[E], tenant: str, pk: str, after: str | None, batch: int) -> Iterator[E]:
        links = self._every(pk, after=after, batch=batch + 1)
        while ids := [link.sk for link in itertools.islice(links, batch + 1)]:
            yield from (entity for entity in self.many(cls, tenant, ids) if entity is not None)

    def _every(self, pk: str, *, after: str | None = None, by_index: bool = False, batch: int = 100) -> Iterator[Item]:
        while batch_read := self._table.query(pk, limit=batch, after=after, by_index=by_index):
            yield from batch_read
            if len(batch_read) < batch:
                return
            after = _cursor(batch_read[-1], by_index)

    # The rest

    def counts(self, tenant: str) -> Counts:
        """Sums of counters that are kept with every commit: reading them costs the same for any number of objects."""
        total: Counter[str] = Counter()
        for item in self._table.query(f"{tenant}#counts", limit=items.COUNT_SHARDS):
            total.update({k: v for k, v in item.attributes.items() if isinstance(v, int)})
        return Counts(**total)

    def response(self, token: str) -> str | None:
        """The key authorization to serve for an http-01 token."""
        [item] = self._table.get([("http-01", token)])
        return None if item is None else str(item.attributes["content"])

    def levels(self, acme_server: str, buckets: Sequence[str]) -> list[Level]:
        """How far buckets of a CA's rate limits are used, in the order given; those never used, or full again, too."""
        found = self._table.get([items.ledger_key(acme_server, bucket) for bucket in buckets])
        return [
            Level(bucket) if item is None else items.level(item) for bucket, item in zip(buckets, found, strict=True)
        ]

    def enter(self, acme_server: str, levels: Sequence[Level]) -> None:
        """Write changed levels, each expecting the version that was read; more than MAX_OPERATIONS are several
        transactions. Raises Conflict."""
        operations = [items.level_put(acme_server, level) for level in levels]
        try:
            for start in range(0, len(operations), MAX_OPERATIONS):
                self._table.write(operations[start : start + MAX_OPERATIONS])
        except ExpectationFailed as failure:
            raise Conflict("another order was counted at the same moment") from failure

    def due(self, now: datetime, *, limit: int, after: Due | None = None) -> list[Due]:
        """Accounts, orders and certificates whose time has come; see `find_due`."""
        until, found = codec.microseconds(now) // 1000, list[Due]()
        while len(found) < limit:
            entries = self._table.due(until, limit=limit, after=after)
            stored = self._table.get([(entry.pk, entry.sk) for entry in entries]) if entries else []
            # An entry may be early. One whose item is not there any more is for whoever takes it to pass over.
            exactly = (items.due(item) if item else None for item in stored)
            found += [entry for entry, at in zip(entries, exactly, strict=True) if at is None or at <= until]
            if len(entries) < limit:
                break
            after = entries[-1]
        return found[:limit]

    def find_due(self, entries: Sequence[Due]) -> list[Account | Order | Certificate]:
        """What entries of the due index stand for; those no longer there are left out."""
        found = self._assembly.get([(entry.pk, entry.sk) for entry in entries]) if entries else []
        return [job for item, read in found if item is not None and (job := _job(item, read)) is not None]

    def claim(self, entity: D, until: datetime) -> D:
        """Take a due entity for ourselves: it is not due before `until`. Raises Conflict where another was first."""
        claimed = replace(entity, due=until)
        try:
            self._table.write([Put(items.item(claimed))])
        except ExpectationFailed as failure:
            raise Conflict("another worker was first") from failure
        return items.stored(claimed, entity.version + 1)

    def tenants(self) -> list[str]:
        return [item.sk for item in self._every("tenant")]

    def subjects(self, tenant: str) -> Iterator[str | None]:
        """Every subject that has a chain of records, each once."""
        seen: set[str | None] = set()
        for item in self._every(f"{tenant}#event", by_index=True, batch=500):
            subject = items.records(item, tenant)[0].subject_id
            if subject not in seen:
                seen.add(subject)
                yield subject

    def covered(self, tenant: str) -> Iterator[tuple[str, str, int]]:
        """(kind, id, number of the last record that was committed with it) of each entity but API tokens."""
        for kind in ("account", "order", "certificate", "provider"):
            for item in self._every(f"{tenant}#{kind}", batch=500):
                yield kind, item.sk, int(str(item.attributes.get(items.COVERED, 0)))

    def last_sequence(self, tenant: str, subject_id: str | None) -> int:
        """The number of the newest record about a subject, 0 when there is none."""
        head = self._head(tenant, subject_id)
        return head.sequence if head else 0

    def chain(self, tenant: str, subject_id: str | None) -> Iterator[Record]:
        """The records about one subject, oldest first."""
        after = None
        pk = items.chain_pk(tenant, subject_id)
        while found := self._table.query(pk, limit=200, after=after, newest_first=False):
            yield from (record for item in found for record in items.records(item, tenant))
            after = found[-1].sk


def _ends(changes: Iterable[Change], about: Entity | None) -> dict[str | None, int]:
    """How far the chains about entities were at the least when these were read."""
    read = [about, *(before for before, _ in changes)]
    return {entity.id: getattr(entity, "covered", 0) for entity in read if entity is not None}


def _stored(before: Entity | None, after: Entity | None) -> Entity | None:
    return None if after is None else items.stored(after, (before.version if before else 0) + 1)


def _by_id(entities: Iterable[Entity | None]) -> dict[str, Entity]:
    return {entity.id: entity for entity in entities if entity is not None}


def _covered(change: Change, records: Sequence[Record]) -> Change:
    """The change, with the number of the last record about the entity that is committed with it."""
    before, after = change
    if after is None or isinstance(after, ApiToken):
        return change
    covered = max((r.sequence for r in records if r.subject_id == after.id), default=after.covered)
    return before, replace(after, covered=covered)


def _notice(record: Record, entity: Entity | None) -> Notice:
    return Notice(record, entity, final=getattr(entity, "covered", record.sequence) == record.sequence)


def _page(entities: Iterable[Entity], first: int) -> Page:
    nodes = list(itertools.islice(entities, first + 1))
    return Page(nodes[:first], [node.id for node in nodes[:first]], len(nodes) > first)


def _cursor(item: Item, by_index: bool) -> str:
    return item.index[1] if by_index and item.index else item.sk


def _job(item: Item, read: Parts) -> Account | Order | Certificate | None:
    """An item that cannot be read is logged and left out: the others must not wait for it."""
    kind = item.pk.rpartition("#")[2]
    try:
        if kind == items.KINDS[Certificate]:
            return items.entity(Certificate, item, read)
        return items.entity(Order, item, read) if kind == items.KINDS[Order] else items.entity(Account, item)
    except (KeyError, TypeError, ValueError):
        logger.exception("what is stored as %s %s cannot be read", item.pk, item.sk)
        return None
