"""The storage seam: items in a table, written in transactions.

An item is `(pk, sk) → attributes`. It is found by key, by partition in the order of `sk`, by its one secondary `index`
entry, or by the time at which it is `due`; never by scanning. `SqliteTable` (this module's neighbour) and
`aws.dynamo_table.DynamoTable` implement the protocol and pass one contract suite.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from certwright.errors import CertwrightError

Value: TypeAlias = "str | int | bool | Sequence[Value] | Mapping[str, Value] | None"
"""What an attribute may hold: JSON without floats, so that every engine gives back exactly what was put."""

Key: TypeAlias = tuple[str, str]
"""(pk, sk)"""

MAX_OPERATIONS = 100
"""The most operations one transaction may hold (DynamoDB TransactWriteItems)."""


class ExpectationFailed(CertwrightError):
    """A transaction's expectation about one item did not hold; nothing of the transaction was written."""

    code = "CONFLICT"

    def __init__(self, key: Key) -> None:
        super().__init__("the object was changed by someone else at the same moment")
        self.key = key


@dataclass(frozen=True, slots=True)
class Item:
    """One stored thing.

    `version` counts its writes from 1 and is set by the table; an item that was never stored has version 0.
    `index` is (partition, sort): a second place to find it, eventually consistent on DynamoDB.
    `due` is the time (ms since the epoch) at which a worker should look at it; absent from the due index when None.
    `expires_at` is a time (s since the epoch) after which no read returns it and the engine may remove it.
    """

    pk: str
    sk: str
    attributes: Mapping[str, Value] = field(default_factory=dict)
    version: int = 0
    index: tuple[str, str] | None = None
    due: int | None = None
    expires_at: int | None = None

    @property
    def key(self) -> Key:
        return (self.pk, self.sk)


@dataclass(frozen=True, slots=True)
class Put:
    """Store `item` as version `item.version + 1`, expecting the stored version to be `item.version` (0: absent).

    An item past its `expires_at` counts as absent. With `unconditional` nothing is expected and the version becomes 1.
    One that is `apart` besides may be stored before the rest, and stay though the rest is refused: what is in no
    transaction costs half on DynamoDB.
    """

    item: Item
    unconditional: bool = False
    apart: bool = False

    def __post_init__(self) -> None:
        if self.apart and not self.unconditional:
            raise ValueError(f"the put of {self.key} is apart from its transaction, so it cannot expect anything")

    @property
    def key(self) -> Key:
        return self.item.key


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove an item, expecting `version`, or nothing at all when None.

    One that is `apart` and expects nothing may come after the rest, or never should the process end before.
    """

    pk: str
    sk: str
    version: int | None = None
    apart: bool = False

    def __post_init__(self) -> None:
        if self.apart and self.version is not None:
            raise ValueError(f"the deletion of {self.key} is apart from its transaction, so it cannot expect anything")

    @property
    def key(self) -> Key:
        return (self.pk, self.sk)


@dataclass(frozen=True, slots=True)
class Add:
    """Add integers to attributes of an item, which is made when absent. The version is left as it is."""

    pk: str
    sk: str
    amounts: Mapping[str, int]

    @property
    def key(self) -> Key:
        return (self.pk, self.sk)


@dataclass(frozen=True, slots=True)
class Require:
    """Expect an item to stand at `version`, and leave it alone."""

    pk: str
    sk: str
    version: int

    @property
    def key(self) -> Key:
        return (self.pk, self.sk)


Operation: TypeAlias = Put | Delete | Add | Require


@dataclass(frozen=True, slots=True)
class Due:
    """An entry of the due index: which item, and since when (ms since the epoch)."""

    pk: str
    sk: str
    due: int


class Table(Protocol):
    """Four verbs. Every method may be called from any thread."""

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        """The items at `keys`, in their order, None where there is none. Strongly consistent."""

    def query(
        self, pk: str, *, limit: int, after: str | None = None, newest_first: bool = True, by_index: bool = False
    ) -> list[Item]:
        """At most `limit` items of one partition in descending (or ascending) order of `sk`, exclusive of `after`.

        With `by_index`, `pk` and `after` are an index partition and sort value instead.
        Strongly consistent, but for `by_index`.
        """

    def due(self, now: int, *, limit: int, after: Due | None = None) -> list[Due]:
        """Entries due at or before `now` (ms), at most `limit`; pass the last one as `after` to read on.

        Costs what is due, not what is stored. The order is by time within a shard only.
        """

    def write(self, operations: Sequence[Operation]) -> None:
        """All or nothing, but for what is apart; durable on return. No two operations may name one key.

        Raises ExpectationFailed, naming the first key whose expectation failed; ValueError beyond MAX_OPERATIONS, to
        which those that are apart do not count.
        """


def check_transaction(operations: Sequence[Operation]) -> None:
    """Raises ValueError for a transaction that no engine may take: too many operations, or two with one key."""
    together = sum(not getattr(operation, "apart", False) for operation in operations)
    if together > MAX_OPERATIONS:
        raise ValueError(f"a transaction holds at most {MAX_OPERATIONS} operations, not {together}")
    if len({operation.key for operation in operations}) < len(operations):
        raise ValueError("two operations of one transaction name the same key")
