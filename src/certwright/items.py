"""Entities ↔ items: keys, links, counters. Pure functions; `store` alone uses them.

pk                            sk            what
{tenant}#account              account id    Account                         (due: registration to retry)
{tenant}#order                order id      Order    index: by account      (due: next step)
{tenant}#order-in#{state}     order id      link: the orders that are open, valid or invalid
{tenant}#certificate          certificate   Certificate   index: by renewal's time   (due: next look)
{tenant}#name#{name}          certificate   link: the certificates that hold a name
{tenant}#provider             provider id   Provider
{tenant}#event#{subject}      sequence      Record, and those after it in its commit   index: by tenant, in time
{tenant}#counts               shard         counters
{tenant}#idempotency          key           the id that the first call with this key made
tenant                        tenant        every tenant that ever wrote
token                         token id      ApiToken
http-01                       token         a key authorization to serve
ledger#{acme server}          bucket        Level    of all tenants
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias, TypeVar

from certwright import codec, parts
from certwright.events import Record
from certwright.model import Account, AccountStatus, ApiToken, Certificate, Level, Order, OrderStatus, Provider
from certwright.table import Add, Delete, Item, Key, Operation, Put

Entity: TypeAlias = Account | Order | Certificate | ApiToken | Provider
E = TypeVar("E", Account, Order, Certificate, ApiToken, Provider)
S = TypeVar("S", bound=Entity)
Change: TypeAlias = tuple[Entity | None, Entity | None]
"""(before, after): (None, x) creates, (x, y) changes, (x, None) removes."""

COUNT_SHARDS = 8
COVERED = "~covered"
"""The attribute of an entity's item that holds the number of the last record committed with it."""

COMMITTED = "~committed"
"""The attribute of a record's item that says what kind of entity was committed with it, as its subject."""

DUE = "~due"
"""The attribute of an entity's item that holds when it is due, where the due index has it at another time."""

_EARLY = timedelta(minutes=3)
"""The due index may have an entity this much too early. Moving an entry costs more than to look at it once too often,
and most that is worked on is soon done."""

MORE = "~more"
"""The attribute of a record's item that holds the records after it about the same subject, of the same commit."""


@dataclass(frozen=True)
class Idempotency:
    """A caller's key for one operation, and a digest of the input that it stood for."""

    operation: str
    key: str
    digest: str


KINDS: dict[type[Any], str] = {
    Account: "account",
    Order: "order",
    Certificate: "certificate",
    ApiToken: "token",
    Provider: "provider",
}
_KEY_FIELDS = frozenset({"id", "tenant", "version", "covered", "due", "listed_at"})
_KEPT_ELSEWHERE: dict[type[Any], frozenset[str]] = {
    **dict.fromkeys(KINDS, _KEY_FIELDS),
    Order: _KEY_FIELDS | parts.REQUEST,
    Certificate: _KEY_FIELDS | parts.CHAINS,
}


def item(entity: Entity) -> Item:
    """The item of an entity, expecting the version that was read."""
    if isinstance(entity, ApiToken):
        attributes = codec.pack(entity, leave_out=_KEY_FIELDS - {"tenant"})
        return Item(pk="token", sk=entity.id, attributes=attributes, version=entity.version)
    due, listed = _milliseconds(getattr(entity, "due", None)), _milliseconds(_listed_at(entity))
    covered = {COVERED: entity.covered} if entity.covered else {}
    exactly = {} if due is None or due == listed else {DUE: due}
    named = parts.chains(entity) if isinstance(entity, Certificate) else {}
    return Item(
        pk=f"{entity.tenant}#{KINDS[type(entity)]}",
        sk=entity.id,
        attributes={**codec.pack(entity, leave_out=_KEPT_ELSEWHERE[type(entity)]), **named, **covered, **exactly},
        version=entity.version,
        index=_index(entity),
        due=listed,
    )


def stored(entity: S, version: int) -> S:
    """An entity as it stands once its item is stored."""
    if isinstance(entity, ApiToken | Provider):
        return replace(entity, version=version)
    return replace(entity, version=version, listed_at=_listed_at(entity))


def _listed_at(entity: Entity) -> datetime | None:
    """Where the due index is to have an entity: when it is due, or a little earlier, where it is listed already."""
    due, listed = getattr(entity, "due", None), getattr(entity, "listed_at", None)
    return listed if due is not None and listed is not None and listed <= due <= listed + _EARLY else due


def due(item: Item) -> int | None:
    """When what an item holds is due, in ms; its entry in the due index may be earlier."""
    exactly = item.attributes.get(DUE)
    return exactly if isinstance(exactly, int) else item.due


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else codec.microseconds(moment) // 1000


def _index(entity: Entity) -> Key | None:
    """Where an entity is found besides: an order by its account, a certificate that is in use by its renewal's time."""
    if isinstance(entity, Order):
        return f"{entity.tenant}#order#{entity.account_id}", entity.id
    if isinstance(entity, Certificate) and entity.renewal and not (entity.revoked_at or entity.replaced_by):
        return renewing_pk(entity.tenant), f"{codec.microseconds(entity.renewal.at):017d}#{entity.id}"
    return None


def renewing_pk(tenant: str) -> str:
    """The index partition of the certificates that will be renewed, in the order of time."""
    return f"{tenant}#renewing"


def entity(cls: type[E], item: Item, read: parts.Parts | None = None) -> E:
    """The entity of an item. Without its parts among those `read`, an order has no CSR, a certificate no chain."""
    others: dict[str, Any] = {"id": item.sk, "version": item.version}
    if cls is not ApiToken:
        others["tenant"] = item.pk.rpartition("#")[0]
        others["covered"] = item.attributes.get(COVERED, 0)
    if item.due is not None and (exactly := due(item)) is not None:
        others |= {"due": codec.moment(exactly * 1000), "listed_at": codec.moment(item.due * 1000)}
    attributes = item.attributes
    if cls is Order:
        others |= parts.request_fields(item, others["tenant"], read or {})
    elif cls is Certificate:
        others |= parts.chain_fields(attributes, read or {})
        attributes = {name: value for name, value in attributes.items() if name not in parts.CHAINS}
    return codec.unpack(cls, attributes, **others)


def sure_part_keys(key: Key) -> list[Key]:
    """Where the parts are of the entity that an item holds, as far as its key tells."""
    tenant, _, kind = key[0].rpartition("#")
    return [parts.request_key(tenant, key[1])] if kind == KINDS[Order] else []


def part_keys(item: Item) -> list[Key]:
    """Where the parts are of the entity that an item holds."""
    is_certificate = item.pk.rpartition("#")[2] == KINDS[Certificate]
    return parts.pem_keys(item.attributes) if is_certificate else sure_part_keys(item.key)


def part_puts(change: Change) -> Iterator[Put]:
    """The parts that a change makes."""
    before, after = change
    if isinstance(after, Order) and after.csr and (not isinstance(before, Order) or before.csr != after.csr):
        yield parts.request_put(after)
    if isinstance(after, Certificate) and before is None:
        yield from parts.pem_puts(after)


def shared_part_keys(change: Change) -> list[Key]:
    """Which of the parts that a change makes may be there already, made for others."""
    before, after = change
    return parts.issuer_keys(after) if isinstance(after, Certificate) and before is None else []


def entity_operation(change: Change) -> Operation:
    """The write of a changed entity."""
    before, after = change
    if after is None:
        assert before is not None, "a change has a before or an after"  # noqa: S101
        return Delete(*item(before).key, before.version)
    return Put(item(replace(after, version=before.version if before else 0)))


def link_operations(change: Change) -> Iterator[Operation]:
    """The links that a change makes and removes. Who reads one to what never came, or has moved on, passes over it."""
    before, after = change
    old, new = _links(before), _links(after)
    yield from (Delete(*key, apart=True) for key in sorted(old - new))
    yield from (Put(Item(*key), unconditional=True, apart=True) for key in sorted(new - old))


def _links(entity: Entity | None) -> set[Key]:
    if isinstance(entity, Order):
        return {(f"{entity.tenant}#order-in#{state(entity.status)}", entity.id)}
    if isinstance(entity, Certificate):
        return {(f"{entity.tenant}#name#{name}", entity.id) for name in entity.names}
    return set()


def state(status: OrderStatus) -> str:
    return status.value if status.is_final else "open"


def count_operations(changes: Iterable[Change]) -> Iterator[Operation]:
    """Counters are kept in shards, so that transactions of many orders at once seldom meet at one of them."""
    shards: dict[Key, Counter[str]] = {}
    for before, after in changes:
        entity = after or before
        if entity is not None:
            amounts = shards.setdefault((f"{entity.tenant}#counts", _shard(entity)), Counter())
            amounts.update(_counted(after))
            amounts.subtract(_counted(before))
    for key, amounts in shards.items():
        if changed := {name: amount for name, amount in amounts.items() if amount}:
            yield Add(*key, changed)


def _shard(entity: Entity) -> str:
    # An order and its certificate share a shard: they are committed together.
    group = entity.order_id if isinstance(entity, Certificate) else entity.id
    return str(zlib.crc32(group.encode()) % COUNT_SHARDS)


def _counted(entity: Entity | None) -> dict[str, int]:
    if isinstance(entity, Account):
        return {"accounts": 1} if entity.status is AccountStatus.VALID else {}
    if isinstance(entity, Order):
        invalid = entity.status is OrderStatus.INVALID
        return {"orders": 1, "orders_open": int(not entity.status.is_final), "orders_invalid": int(invalid)}
    return {"certificates": 1} if isinstance(entity, Certificate) else {}


def response(token: str, content: str, until: datetime) -> Operation:
    expires_at = int(until.timestamp())
    return Put(Item("http-01", token, {"content": content}, expires_at=expires_at), unconditional=True, apart=True)


def ledger_key(acme_server: str, bucket: str) -> Key:
    return f"ledger#{acme_server}", bucket


def level_put(acme_server: str, level: Level) -> Operation:
    """An item that expires when the bucket is full again: from then on it is as if it had never been used."""
    attributes, expires_at = {"full_at": level.full_at}, level.full_at // 1_000_000 + 1
    key = ledger_key(acme_server, level.bucket)
    return Put(Item(*key, attributes, version=level.version, expires_at=expires_at))


def level(item: Item) -> Level:
    return Level(item.sk, int(str(item.attributes["full_at"])), item.version)


_IDEMPOTENCY_SECONDS = 7 * 24 * 3600


def idempotency_key(tenant: str, idempotency: Idempotency) -> Key:
    return f"{tenant}#idempotency", f"{idempotency.operation}#{idempotency.key}"


def idempotency_put(tenant: str, idempotency: Idempotency, id: str, now: datetime) -> Operation:
    expires_at = int(now.timestamp()) + _IDEMPOTENCY_SECONDS
    attributes = {"id": id, "digest": idempotency.digest}
    return Put(Item(*idempotency_key(tenant, idempotency), attributes, expires_at=expires_at))


def chain_pk(tenant: str, subject_id: str | None) -> str:
    return f"{tenant}#event#{subject_id or '-'}"


_RECORD_KEY_FIELDS = frozenset({"tenant"})


def record_puts(records: Sequence[Record], committed: Mapping[str, Entity]) -> Iterator[Operation]:
    """The items of the records of one commit; `committed` are the entities of it, by id.

    Those about one subject share an item: they come as one, and an item of their own for each would cost several times
    as much.
    """
    by_subject: dict[str | None, list[Record]] = {}
    for record in records:
        by_subject.setdefault(record.subject_id, []).append(record)
    for subject_id, (first, *others) in by_subject.items():
        subject = committed.get(subject_id or "")
        yield Put(
            Item(
                pk=chain_pk(first.tenant, subject_id),
                sk=f"{first.sequence:012d}",
                attributes={
                    **codec.pack(first, leave_out=_RECORD_KEY_FIELDS),
                    **({MORE: [codec.pack(other, leave_out=_RECORD_KEY_FIELDS) for other in others]} if others else {}),
                    **({COMMITTED: KINDS[type(subject)]} if subject else {}),
                },
                index=(f"{first.tenant}#event", first.id),
            )
        )


def records(item: Item, tenant: str) -> list[Record]:
    """The records that an item holds, oldest first."""
    more: Any = item.attributes.get(MORE, ())
    return [codec.unpack(Record, attributes, tenant=tenant) for attributes in (item.attributes, *more)]
