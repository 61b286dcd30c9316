"""What DynamoDB charges for: counted as the calls pass through a client.

Capacity units are counted by AWS's rule, from the sizes of the items that are sent and that are there ("DynamoDB
throughput capacity", Developer Guide): a write costs one unit for each started KB of the larger of the item before and
after it, in a transaction two; each index entry that is made, removed or changed costs one per started KB, and one that
moves is removed and made. A strongly consistent read costs one unit for each started 4 KB, any other one half.
DynamoDB Local knows the same rule, but reports too much of transactions: what it says of all other writes is kept
beside it.
"""

import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Image = Mapping[str, Mapping[str, Any]]

INDEXES = {"index": ("ipk", "isk"), "due": ("shard", "due")}
"""The global secondary indexes of infra/table.yml by name, and the attributes that are their keys."""

KEY = ("pk", "sk")
PROJECTED = ("ttl",)
_READS = ("GetItem", "BatchGetItem", "Query")
_REFUSED = ("ConditionalCheckFailedException", "TransactionCanceledException")
"""A write whose condition does not hold costs as much as if it did, but for the indexes."""

_WRITES = ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems")


@dataclass
class Spent:
    """What some calls cost. `plain` are the write units outside of transactions, and `reported` what the engine says of
    these; `kinds` are the write units by the kind of item, and of index entry."""

    calls: int = 0
    writes: int = 0
    reads: float = 0.0
    plain: int = 0
    reported: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)

    def __iadd__(self, other: "Spent") -> "Spent":
        for name in ("calls", "writes", "reads", "plain", "reported"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.kinds += other.kinds
        return self


class Meter:
    """Counts what a boto3 client of "dynamodb" asks for, from its making on; safe from any thread.

    The write rule needs the item before a write: every item must have been written through this client.
    """

    def __init__(self, client: Any) -> None:
        self._images: dict[tuple[str, str, str], Image] = {}
        self._lock = threading.Lock()
        self._spent = Spent()
        self._local = threading.local()
        for operation in (*_READS, *_WRITES):
            client.meta.events.register(f"before-parameter-build.dynamodb.{operation}", self._ask)
            client.meta.events.register(f"after-call.dynamodb.{operation}", self._count)

    @contextmanager
    def measured(self) -> Iterator[Spent]:
        """What is spent until the end of the block, by all threads."""
        with self._lock:
            self._spent = spent = Spent()
        yield spent
        with self._lock:
            self._spent = Spent()

    def _ask(self, params: dict[str, Any], **_: Any) -> None:
        params["ReturnConsumedCapacity"] = "INDEXES"
        self._local.request = params

    def _count(self, model: Any, parsed: dict[str, Any], http_response: Any, **_: Any) -> None:
        with self._lock:
            self._spent.calls += 1
            refused = parsed.get("Error", {}).get("Code") in _REFUSED
            if http_response.status_code != 200 and not refused:
                return
            if model.name in _READS:
                self._spent.reads += _reported(parsed)
                return
            transactional = model.name == "TransactWriteItems"
            for verb, request in _writes(model.name, self._local.request):
                if refused:
                    self._spent.writes += _refused_units(request, 2 if transactional else 1)
                    self._spent.kinds["refused"] += _refused_units(request, 2 if transactional else 1)
                    continue
                for kind, units in self._write(verb, request, 2 if transactional else 1):
                    self._spent.writes += units
                    self._spent.kinds[kind] += units
                    self._spent.plain += 0 if transactional else units
            self._spent.reported += 0 if transactional else _reported(parsed)

    def _write(self, verb: str, request: Mapping[str, Any], factor: int) -> Iterator[tuple[str, int]]:
        key = request["Item"] if verb == "Put" else request["Key"]
        place = request["TableName"], key["pk"]["S"], key["sk"]["S"]
        before = self._images.get(place)
        after: Image | None = None
        if verb == "Put":
            after = request["Item"]
            self._images[place] = request["Item"]
        elif verb == "Delete":
            self._images.pop(place, None)
        else:
            after = before or request["Key"]  # An Update is that of a counter, and a counter is small.
            self._images[place] = after
        kind = _kind(key["pk"]["S"])
        yield kind, factor * max(_kilobytes(before), _kilobytes(after), 1)
        for name, keys in INDEXES.items():
            if units := _index_units(before, after, keys):
                yield f"{kind} in {name}", units


def _refused_units(request: Mapping[str, Any], factor: int) -> int:
    return factor * max(_kilobytes(request.get("Item")), 1)


def _index_units(before: Image | None, after: Image | None, keys: tuple[str, str]) -> int:
    old, new = _entry(before, keys), _entry(after, keys)
    if old == new:
        return 0
    moved = old is None or new is None or any(old[key] != new[key] for key in keys)
    return _kilobytes(old) + _kilobytes(new) if moved else max(_kilobytes(old), _kilobytes(new))


def _entry(image: Image | None, keys: tuple[str, str]) -> Image | None:
    if image is None or not all(key in image for key in keys):
        return None
    return {name: image[name] for name in (*KEY, *keys, *PROJECTED) if name in image}


def _kilobytes(image: Image | None) -> int:
    return 0 if image is None else math.ceil(size(image) / 1024)


def size(image: Image) -> int:
    """An item's size as AWS counts it: the names of attributes in UTF-8, and their values."""
    return sum(len(name.encode()) + _value_size(value) for name, value in image.items())


def _value_size(value: Mapping[str, Any]) -> int:
    content: Any
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(str(content).encode())
        case "B":
            return len(bytes(content))
        case "N":
            return math.ceil(len(content.strip("-0")) / 2) + 1 + int(content.startswith("-"))
        case "L":
            return 3 + sum(1 + _value_size(inner) for inner in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _value_size(inner) for name, inner in content.items())
    return 1


def _writes(operation: str, request: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(Put, Delete, Update or ConditionCheck; what it is about) for each write of a request."""
    match operation:
        case "TransactWriteItems":
            for entry in request["TransactItems"]:
                yield from entry.items()
        case "BatchWriteItem":
            for table, entries in request["RequestItems"].items():
                for entry in entries:
                    for verb, content in entry.items():
                        yield verb.removesuffix("Request"), {"TableName": table, **content}
        case _:
            yield operation.removesuffix("Item"), request


def _kind(pk: str) -> str:
    """The kind of an item by its partition, without tenant and ids."""
    parts = pk.split("#")
    return parts[0] if len(parts) == 1 or parts[0] == "socket" else parts[1]


def _reported(parsed: Mapping[str, Any]) -> float:
    found: Any = parsed.get("ConsumedCapacity") or []
    return float(sum(entry["CapacityUnits"] for entry in (found if isinstance(found, list) else [found])))
