"""Entities ↔ items: keys, links, counters. Pure functions; `store` alone uses them.

pk                            sk            what
{tenant}#account              account id    Account                         (due: registration to retry)
{tenant}#order                order id      Order    index: by account      (due: next step)
{tenant}#order-in#{state}     order id      link: the orders that are open, valid or invalid
{tenant}#certificate          certificate   Certificate
{tenant}#name#{name}          certificate   link: the certificates that hold a name
{tenant}#event#{subject}      sequence      Record   index: by tenant, in the order of time
{tenant}#counts               shard         counters
{tenant}#idempotency          key           the id that the first call with this key made
tenant                        tenant        every tenant that ever wrote
token                         token id      ApiToken
http-01                       token         a key authorization to serve
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

from certwright import codec
from certwright.events import Record
from certwright.model import Account, AccountStatus, ApiToken, Certificate, Order, OrderStatus
from certwright.table import Add, Delete, Item, Key, Operation, Put

Entity: TypeAlias = Account | Order | Certificate | ApiToken
E = TypeVar("E", Account, Order, Certificate, ApiToken)
Change: TypeAlias = tuple[Entity | None, Entity | None]
"""(before, after): (None, x) creates, (x, y) changes, (x, None) removes."""

COUNT_SHARDS = 8
COVERED = "~covered"
"""The attribute of an entity's item that holds the number of the last record committed with it."""

COMMITTED = "~committed"
"""The attribute of a record's item that says what kind of entity was committed with it, as its subject."""


@dataclass(frozen=True)
class Idempotency:
    """A caller's key for one operation, and a digest of the input that it stood for."""

    operation: str
    key: str
    digest: str


KINDS: dict[type[Any], str] = {Account: "account", Order: "order", Certificate: "certificate", ApiToken: "token"}
_KEY_FIELDS = frozenset({"id", "tenant", "version", "covered", "due"})


def item(entity: Entity) -> Item:
    """The item of an entity, expecting the version that was read."""
    if isinstance(entity, ApiToken):
        attributes = codec.pack(entity, leave_out=_KEY_FIELDS - {"tenant"})
        return Item(pk="token", sk=entity.id, attributes=attributes, version=entity.version)
    due = getattr(entity, "due", None)
    covered = {COVERED: entity.covered} if entity.covered else {}
    return Item(
        pk=f"{entity.tenant}#{KINDS[type(entity)]}",
        sk=entity.id,
        attributes={**codec.pack(entity, leave_out=_KEY_FIELDS), **covered},
        version=entity.version,
        index=(f"{entity.tenant}#order#{entity.account_id}", entity.id) if isinstance(entity, Order) else None,
        due=None if due is None else codec.microseconds(due) // 1000,
    )


def entity(cls: type[E], item: Item) -> E:
    others: dict[str, Any] = {"id": item.sk, "version": item.version}
    if cls is not ApiToken:
        others["tenant"] = item.pk.rpartition("#")[0]
        others["covered"] = item.attributes.get(COVERED, 0)
    if item.due is not None:
        others["due"] = codec.moment(item.due * 1000)
    return codec.unpack(cls, item.attributes, **others)


def entity_operation(change: Change) -> Operation:
    """The write of a changed entity."""
    before, after = change
    if after is None:
        assert before is not None, "a change has a before or an after"  # noqa: S101
        return Delete(*item(before).key, before.version)
    return Put(item(replace(after, version=before.version if before else 0)))


def link_operations(change: Change) -> Iterator[Operation]:
    """The links that a change makes and removes."""
    before, after = change
    old, new = _links(before), _links(after)
    yield from (Delete(*key) for key in sorted(old - new))
    yield from (Put(Item(*key), unconditional=True) for key in sorted(new - old))


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
    return Put(Item("http-01", token, {"content": content}, expires_at=expires_at), unconditional=True)


_IDEMPOTENCY_SECONDS = 7 * 24 * 3600


def idempotency_key(tenant: str, idempotency: Idempotency) -> Key:
    return f"{tenant}#idempotency", f"{idempotency.operation}#{idempotency.key}"


def idempotency_put(tenant: str, idempotency: Idempotency, id: str, now: datetime) -> Operation:
    expires_at = int(now.timestamp()) + _IDEMPOTENCY_SECONDS
    attributes = {"id": id, "digest": idempotency.digest}
    return Put(Item(*idempotency_key(tenant, idempotency), attributes, expires_at=expires_at))


def chain_pk(tenant: str, subject_id: str | None) -> str:
    return f"{tenant}#event#{subject_id or '-'}"


_RECORD_KEY_FIELDS = frozenset({"tenant", "sequence"})


def record_put(record: Record, subject: Entity | None) -> Operation:
    """`subject` is the entity that is committed with the record and that it is about, None where there is none."""
    committed = {COMMITTED: KINDS[type(subject)]} if subject else {}
    return Put(
        Item(
            pk=chain_pk(record.tenant, record.subject_id),
            sk=f"{record.sequence:012d}",
            attributes={**codec.pack(record, leave_out=_RECORD_KEY_FIELDS), **committed},
            index=(f"{record.tenant}#event", record.id),
        )
    )


def record(item: Item, tenant: str) -> Record:
    return codec.unpack(Record, item.attributes, tenant=tenant, sequence=int(item.sk))
