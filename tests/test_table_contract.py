"""What every Table promises, held against SQLite, moto and DynamoDB Local.

No transaction here has more than 10 operations where DynamoDB Local takes part, as that of 2020 takes no more.
"""

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from certwright.aws.dynamo_table import DynamoTable
from certwright.sqlite_table import SqliteTable
from certwright.table import (
    MAX_OPERATIONS,
    Add,
    Delete,
    Due,
    ExpectationFailed,
    Item,
    Key,
    Operation,
    Put,
    Require,
    Table,
    Value,
)
from tests.support.dynamo import (
    UNKNOWN_TO_DYNAMODB_LOCAL,
    create_table,
    dynamodb_local,
    missing_for_dynamodb_local,
    moto_client,
)

ENGINES = ["sqlite", "moto", "dynamodb-local"]
NOW = 1_800_000_000


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture(scope="session")
def dynamodb_local_client() -> Iterator[Any]:
    if reason := missing_for_dynamodb_local():
        pytest.skip(reason)
    with dynamodb_local() as client:
        yield client


@pytest.fixture(scope="module")
def moto_dynamodb_client() -> Iterator[Any]:
    with moto_client() as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def table(engine: str, clock: Clock, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Table]:
    name = f"table-{uuid.uuid4()}"
    if engine == "sqlite":
        sqlite = SqliteTable(tmp_path / "table.db", clock)
        yield sqlite
        sqlite.close()
    elif engine == "moto":
        client = request.getfixturevalue("moto_dynamodb_client")
        create_table(client, name)
        yield DynamoTable(client, name, clock)
    else:
        client = request.getfixturevalue("dynamodb_local_client")
        create_table(client, name, without=UNKNOWN_TO_DYNAMODB_LOCAL)
        yield DynamoTable(client, name, clock)


not_on_dynamodb_local = pytest.mark.parametrize("engine", ["sqlite", "moto"], indirect=True)
not_on_moto = pytest.mark.parametrize("engine", ["sqlite", "dynamodb-local"], indirect=True)


def stored(table: Table, pk: str = "p", sk: str = "s") -> Item | None:
    return table.get([(pk, sk)])[0]


def found(table: Table, pk: str = "p", sk: str = "s") -> Item:
    item = stored(table, pk, sk)
    assert item is not None
    return item


def put_each(table: Table, *items: Item) -> None:
    for start in range(0, len(items), 10):
        table.write([Put(item) for item in items[start : start + 10]])


def sort_keys(items: list[Item]) -> list[str]:
    return [item.sk for item in items]


def refused_key(table: Table, *operations: Operation) -> Key:
    with pytest.raises(ExpectationFailed) as refusal:
        table.write(operations)
    return refusal.value.key


class TestValues:
    @pytest.mark.parametrize(
        "value",
        [
            "text",
            "Größe 証明書 🔐 \x00\n\"'",
            "1.5,2.5:3e7",
            0,
            -1,
            100,
            10**38 - 1,
            -(10**38 - 1),
            12345678901234567890123456789012345678,
            True,
            False,
            None,
            [],
            {},
            [None, True, 1, "one", [], {"deep": [{"er": {}}]}],
            {"a.b": 1, "#c": None, "nested": {"list": [1, [2, [3]]]}},
        ],
        ids=repr,
    )
    def test_value_comes_back_as_it_was_put(self, table: Table, value: Value) -> None:
        table.write([Put(Item("p", "s", {"value": value}))])
        back = found(table).attributes["value"]
        assert (back, type(back)) == (value, type(value))

    @not_on_dynamodb_local  # that of 2020 refuses empty strings, which AWS takes since
    def test_empty_strings_come_back(self, table: Table) -> None:
        table.write([Put(Item("p", "s", {"empty": "", "inner": ["", {"x": ""}]}))])
        assert found(table).attributes == {"empty": "", "inner": ["", {"x": ""}]}

    @pytest.mark.parametrize("name", ["pk", "v", "ttl", "shard", "a.b", "_x", "#", "größe"])
    def test_attribute_may_have_any_name(self, table: Table, name: str) -> None:
        table.write([Put(Item("p", "s", {name: "text", "n": 1}))])
        assert found(table) == Item("p", "s", {name: "text", "n": 1}, version=1)

    def test_every_part_of_an_item_comes_back(self, table: Table) -> None:
        item = Item("p", "s", {"n": 1}, index=("ip", "is"), due=1_800_000_000_123, expires_at=NOW + 5)
        table.write([Put(item)])
        assert found(table) == Item("p", "s", {"n": 1}, 1, ("ip", "is"), 1_800_000_000_123, NOW + 5)

    @pytest.mark.parametrize("value", [1.5, 1.0, -1e30, float("nan"), float("inf"), [1.5], {"x": [{"y": 0.5}]}])
    def test_floats_are_refused_by_the_name_of_their_attribute(self, table: Table, value: Any) -> None:
        with pytest.raises(TypeError, match="'ratio' holds a float"):
            table.write([Put(Item("p", "good")), Put(Item("p", "s", {"fine": "1.5", "ratio": value}))])
        assert table.query("p", limit=10) == []

    def test_bytes_are_refused_by_the_name_of_their_attribute(self, table: Table) -> None:
        with pytest.raises(TypeError, match="'raw' holds a bytes"):
            table.write([Put(Item("p", "s", {"raw": b"x"}))])


class TestGet:
    def test_items_come_in_the_order_of_the_keys_with_none_in_the_gaps(self, table: Table) -> None:
        put_each(table, Item("p", "a"), Item("p", "b"), Item("q", "a"))
        keys = [("q", "a"), ("p", "gap"), ("p", "b"), ("q", "a"), ("p", "a")]
        items = table.get(keys)
        assert [item and item.key for item in items] == [("q", "a"), None, ("p", "b"), ("q", "a"), ("p", "a")]

    def test_no_keys_give_no_items(self, table: Table) -> None:
        assert table.get([]) == []

    def test_more_keys_than_one_batch_holds(self, table: Table) -> None:
        put_each(table, *[Item("p", f"{n:03}") for n in range(120)])
        items = table.get([("p", f"{n:03}") for n in range(130)])
        assert [item.sk if item else None for item in items] == [f"{n:03}" for n in range(120)] + [None] * 10


class TestPut:
    def test_versions_count_from_one(self, table: Table) -> None:
        table.write([Put(Item("p", "s"))])
        assert found(table).version == 1
        table.write([Put(found(table))])
        assert found(table).version == 2

    def test_put_replaces_everything(self, table: Table) -> None:
        table.write([Put(Item("p", "s", {"a": 1, "b": "x"}, index=("i", "1"), due=5, expires_at=NOW + 5))])
        table.write([Put(Item("p", "s", {"c": None}, version=1))])
        assert found(table) == Item("p", "s", {"c": None}, version=2)

    def test_put_expecting_absence_is_refused_where_there_is_an_item(self, table: Table) -> None:
        table.write([Put(Item("p", "s", {"n": 1}))])
        assert refused_key(table, Put(Item("p", "s", {"n": 2}))) == ("p", "s")
        assert found(table).attributes == {"n": 1}

    @pytest.mark.parametrize("version", [1, 3])
    def test_put_expecting_another_version_is_refused(self, table: Table, version: int) -> None:
        table.write([Put(Item("p", "s"))])
        table.write([Put(Item("p", "s", version=1))])
        assert refused_key(table, Put(Item("p", "s", version=version))) == ("p", "s")
        assert found(table).version == 2

    def test_put_expecting_a_version_is_refused_where_there_is_nothing(self, table: Table) -> None:
        assert refused_key(table, Put(Item("p", "s", version=1))) == ("p", "s")
        assert stored(table) is None

    def test_unconditional_put_becomes_version_one_whatever_was_there(self, table: Table) -> None:
        table.write([Put(Item("p", "s", {"n": 1}), unconditional=True)])
        table.write([Put(Item("p", "s", {"n": 2}, version=1))])
        table.write([Put(Item("p", "s", {"m": 3}, version=7), unconditional=True)])
        assert found(table) == Item("p", "s", {"m": 3}, version=1)

    def test_unconditional_put_beside_another_operation(self, table: Table) -> None:
        table.write([Put(Item("p", "s"))])
        table.write([Put(Item("p", "s", {"n": 2}), unconditional=True), Put(Item("p", "t"))])
        assert (found(table).version, found(table).attributes, found(table, sk="t").version) == (1, {"n": 2}, 1)


class TestRequire:
    def test_require_leaves_the_item_alone(self, table: Table) -> None:
        table.write([Put(Item("p", "s", {"n": 1}))])
        table.write([Require("p", "s", 1), Put(Item("p", "t"))])
        assert found(table) == Item("p", "s", {"n": 1}, version=1)
        assert stored(table, sk="t") is not None

    @pytest.mark.parametrize("version", [0, 2])
    def test_require_of_another_version_refuses_the_transaction(self, table: Table, version: int) -> None:
        table.write([Put(Item("p", "s"))])
        assert refused_key(table, Put(Item("p", "t")), Require("p", "s", version)) == ("p", "s")
        assert stored(table, sk="t") is None

    def test_require_of_something_absent(self, table: Table) -> None:
        assert refused_key(table, Require("p", "s", 1)) == ("p", "s")
        table.write([Require("p", "s", 0)])


class TestDelete:
    def test_delete_of_the_expected_version(self, table: Table) -> None:
        table.write([Put(Item("p", "s"))])
        assert refused_key(table, Delete("p", "s", version=2)) == ("p", "s")
        table.write([Delete("p", "s", version=1)])
        assert stored(table) is None

    def test_delete_that_expects_nothing(self, table: Table) -> None:
        table.write([Delete("p", "s")])
        table.write([Put(Item("p", "s"))])
        table.write([Delete("p", "s"), Put(Item("p", "t"))])
        assert sort_keys(table.query("p", limit=10)) == ["t"]

    def test_delete_of_a_version_is_refused_where_there_is_nothing(self, table: Table) -> None:
        assert refused_key(table, Delete("p", "s", version=1)) == ("p", "s")

    def test_deleted_item_may_be_put_again(self, table: Table) -> None:
        table.write([Put(Item("p", "s", {"n": 1}))])
        table.write([Delete("p", "s", version=1)])
        table.write([Put(Item("p", "s"))])
        assert found(table) == Item("p", "s", version=1)


class TestAdd:
    def test_add_makes_an_absent_item(self, table: Table) -> None:
        table.write([Add("p", "s", {"orders": 1, "open": -2})])
        assert found(table) == Item("p", "s", {"orders": 1, "open": -2}, version=1)

    def test_add_twice(self, table: Table) -> None:
        table.write([Add("p", "s", {"orders": 1})])
        table.write([Add("p", "s", {"orders": 41, "open": 1}), Put(Item("p", "t"))])
        assert found(table) == Item("p", "s", {"orders": 42, "open": 1}, version=1)

    def test_add_of_nothing_makes_an_absent_item(self, table: Table) -> None:
        table.write([Add("p", "s", {})])
        assert found(table) == Item("p", "s", version=1)

    def test_add_leaves_all_else_of_a_present_item_alone(self, table: Table) -> None:
        item = Item("p", "s", {"n": 5, "name": "x", "list": [1]}, index=("i", "1"), due=7, expires_at=NOW + 9)
        table.write([Put(item)])
        table.write([Put(found(table))])
        table.write([Add("p", "s", {"n": 10**37})])
        expected: dict[str, Value] = {"n": 10**37 + 5, "name": "x", "list": [1]}
        assert found(table) == Item("p", "s", expected, 2, ("i", "1"), 7, NOW + 9)

    def test_put_overwrites_what_was_added(self, table: Table) -> None:
        table.write([Add("p", "s", {"n": 1, "m": 1})])
        table.write([Put(Item("p", "s", {"n": 10}, version=1))])
        table.write([Add("p", "s", {"n": 1})])
        assert found(table) == Item("p", "s", {"n": 11}, version=2)

    def test_amounts_are_integers(self, table: Table) -> None:
        with pytest.raises(TypeError, match="'n' holds a float"):
            table.write([Add("p", "s", {"n": 0.5})])  # type: ignore[dict-item]  # the mistake that is tested


class TestApart:
    def test_what_is_apart_is_done_with_the_rest(self, table: Table) -> None:
        put_each(table, Item("p", "old"), Item("p", "older"))
        apart = [Put(Item("p", f"new{n}", {"n": n}), unconditional=True, apart=True) for n in range(30)]
        table.write(
            [Delete("p", "old", apart=True), *apart, Put(Item("p", "together")), Delete("p", "older", apart=True)]
        )
        assert {i.sk for i in table.query("p", limit=100)} == {"together", *(f"new{n}" for n in range(30))}
        assert found(table, sk="new7") == Item("p", "new7", {"n": 7}, version=1)

    def test_what_is_apart_may_be_alone(self, table: Table) -> None:
        table.write([Put(Item("p", "s", {"n": 1}, version=7), unconditional=True, apart=True)])
        assert found(table) == Item("p", "s", {"n": 1}, version=1)
        table.write([Delete("p", "s", apart=True)])
        assert stored(table) is None

    def test_deletions_that_are_apart_do_not_happen_where_the_rest_is_refused(self, table: Table) -> None:
        put_each(table, Item("p", "kept"))
        refused_key(table, Delete("p", "kept", apart=True), Put(Item("p", "absent", version=1)))
        assert found(table, sk="kept").version == 1

    def test_what_is_apart_does_not_count_towards_a_transaction(self, table: Table) -> None:
        table.write([Put(Item("p", f"{n}"), unconditional=True, apart=True) for n in range(MAX_OPERATIONS + 1)])
        assert len(table.query("p", limit=200)) == MAX_OPERATIONS + 1

    def test_what_is_apart_cannot_expect_anything(self) -> None:
        with pytest.raises(ValueError, match="cannot expect"):
            Put(Item("p", "s"), apart=True)
        with pytest.raises(ValueError, match="cannot expect"):
            Delete("p", "s", 1, apart=True)


class TestTransaction:
    def test_all_kinds_of_operations_in_one(self, table: Table) -> None:
        put_each(table, Item("p", "changed"), Item("p", "deleted"), Item("p", "required"))
        table.write(
            [
                Put(Item("p", "changed", version=1)),
                Put(Item("p", "new")),
                Delete("p", "deleted", version=1),
                Require("p", "required", 1),
                Add("p", "counter", {"n": 1}),
            ]
        )
        versions = {item.sk: item.version for item in table.query("p", limit=10)}
        assert versions == {"changed": 2, "new": 1, "required": 1, "counter": 1}

    @pytest.mark.parametrize(
        "failing", [Put(Item("p", "x")), Put(Item("p", "y", version=1)), Delete("p", "x", 2), Require("p", "x", 2)]
    )
    def test_one_failed_expectation_leaves_everything_as_it_was(
        self, table: Table, failing: Put | Delete | Require
    ) -> None:
        put_each(table, Item("p", "x"), Item("p", "kept"))
        before = table.query("p", limit=10)
        others: list[Operation] = [Put(Item("p", "new")), Delete("p", "kept"), Add("p", "n", {"n": 1})]
        assert refused_key(table, *others, failing, Put(Item("q", "last"))) == failing.key
        assert table.query("p", limit=10) == before
        assert stored(table, "q", "last") is None

    def test_first_of_several_failed_expectations_is_named(self, table: Table) -> None:
        operations: list[Operation] = [
            Add("p", "a", {"n": 1}),
            Put(Item("p", "b", version=1)),
            Require("p", "c", 1),
            Delete("p", "d", 1),
        ]
        assert refused_key(table, *operations) == ("p", "b")

    def test_two_operations_on_one_key_are_refused(self, table: Table) -> None:
        with pytest.raises(ValueError, match="the same key"):
            table.write([Put(Item("p", "s")), Put(Item("p", "t")), Add("p", "s", {"n": 1})])
        assert table.query("p", limit=10) == []

    def test_more_than_the_most_operations_are_refused(self, table: Table) -> None:
        with pytest.raises(ValueError, match="at most 100 operations, not 101"):
            table.write([Put(Item("p", str(n))) for n in range(MAX_OPERATIONS + 1)])
        assert table.query("p", limit=1) == []

    @not_on_dynamodb_local  # that of 2020 takes fewer in one transaction
    def test_the_most_operations_are_written(self, table: Table) -> None:
        table.write([Put(Item("p", str(n))) for n in range(MAX_OPERATIONS)])
        assert len(table.query("p", limit=MAX_OPERATIONS + 1)) == MAX_OPERATIONS

    def test_no_operations_are_no_mistake(self, table: Table) -> None:
        table.write([])


class TestQuery:
    @pytest.fixture(autouse=True)
    def five_items(self, table: Table) -> None:
        put_each(table, *[Item("p", sk, {"n": sk}) for sk in "bdace"], Item("o", "z"), Item("pp", "a"))

    @pytest.mark.parametrize(("newest_first", "expected"), [(True, "edcba"), (False, "abcde")])
    def test_order(self, table: Table, newest_first: bool, expected: str) -> None:
        assert sort_keys(table.query("p", limit=10, newest_first=newest_first)) == list(expected)

    @pytest.mark.parametrize(("newest_first", "expected"), [(True, "ed"), (False, "ab")])
    def test_limit(self, table: Table, newest_first: bool, expected: str) -> None:
        assert sort_keys(table.query("p", limit=2, newest_first=newest_first)) == list(expected)

    @pytest.mark.parametrize(("newest_first", "expected"), [(True, "ba"), (False, "de")])
    def test_after_is_exclusive(self, table: Table, newest_first: bool, expected: str) -> None:
        assert sort_keys(table.query("p", limit=10, after="c", newest_first=newest_first)) == list(expected)

    @pytest.mark.parametrize(("newest_first", "expected"), [(True, "cb"), (False, "cd")])
    def test_after_need_not_exist(self, table: Table, newest_first: bool, expected: str) -> None:
        after = "cc" if newest_first else "bb"
        assert sort_keys(table.query("p", limit=2, after=after, newest_first=newest_first)) == list(expected)

    def test_limit_of_nothing(self, table: Table) -> None:
        assert table.query("p", limit=0) == []

    def test_unknown_partition_is_empty(self, table: Table) -> None:
        assert table.query("unknown", limit=10) == []

    def test_items_come_whole(self, table: Table) -> None:
        assert table.query("p", limit=1) == [Item("p", "e", {"n": "e"}, version=1)]

    def test_more_than_an_engine_hands_out_at_once(self, table: Table) -> None:
        for n in range(5):  # a DynamoDB page is 1 MB
            table.write([Put(Item("big", str(n), {"text": "x" * 300_000}))])
        assert sort_keys(table.query("big", limit=10, newest_first=False)) == list("01234")

    def test_order_is_that_of_utf8(self, table: Table) -> None:
        put_each(table, *[Item("utf8", sk) for sk in ("a", "B", "é", "￿", "𐀀", "~")])
        assert sort_keys(table.query("utf8", limit=10, newest_first=False)) == ["B", "a", "~", "é", "￿", "𐀀"]


class TestIndex:
    @pytest.fixture(autouse=True)
    def four_items(self, table: Table) -> None:
        indexed = [Item(f"p{n}", "s", {"n": n}, index=("i", f"{9 - n}")) for n in range(3)]
        put_each(table, *indexed, Item("i", "0"), Item("p9", "s", index=("other", "0")))

    def partitions(self, table: Table, **options: Any) -> list[str]:
        return [item.pk for item in table.query("i", by_index=True, **options)]

    def test_order_is_that_of_the_sort_value(self, table: Table) -> None:
        assert self.partitions(table, limit=10) == ["p0", "p1", "p2"]
        assert self.partitions(table, limit=10, newest_first=False) == ["p2", "p1", "p0"]

    def test_limit_and_after(self, table: Table) -> None:
        assert self.partitions(table, limit=2) == ["p0", "p1"]
        assert self.partitions(table, limit=2, after="9") == ["p1", "p2"]
        assert self.partitions(table, limit=1, after="7", newest_first=False) == ["p1"]

    def test_items_come_whole(self, table: Table) -> None:
        assert table.query("i", limit=1, by_index=True) == [Item("p0", "s", {"n": 0}, 1, ("i", "9"))]

    def test_moved_item_is_found_in_its_new_place_only(self, table: Table) -> None:
        table.write([Put(Item("p1", "s", version=1, index=("other", "1")))])
        assert self.partitions(table, limit=10) == ["p0", "p2"]
        assert [item.pk for item in table.query("other", limit=10, by_index=True)] == ["p1", "p9"]

    def test_items_that_left_are_not_found(self, table: Table) -> None:
        table.write([Put(Item("p0", "s", version=1)), Delete("p1", "s")])
        assert self.partitions(table, limit=10) == ["p2"]

    def test_items_of_one_place_are_all_found(self, table: Table) -> None:
        put_each(table, *[Item(f"q{n}", "s", index=("i", "9")) for n in range(5)])
        assert len(table.query("i", limit=10, by_index=True)) == 8


class TestDue:
    def test_what_is_due_now_or_before_is_found(self, table: Table) -> None:
        put_each(
            table, Item("p", "early", due=10), Item("p", "now", due=20), Item("p", "late", due=21), Item("p", "no")
        )
        entries = table.due(20, limit=10)
        assert sorted(entries, key=lambda e: e.due) == [Due("p", "early", 10), Due("p", "now", 20)]

    def test_changed_due_time_moves_the_entry(self, table: Table) -> None:
        table.write([Put(Item("p", "s", due=10))])
        table.write([Put(Item("p", "s", version=1, due=30))])
        assert table.due(20, limit=10) == []
        assert table.due(30, limit=10) == [Due("p", "s", 30)]

    def test_items_no_longer_due_have_left(self, table: Table) -> None:
        put_each(table, Item("p", "put", due=10), Item("p", "deleted", due=10))
        table.write([Put(Item("p", "put", version=1)), Delete("p", "deleted")])
        assert table.due(20, limit=10) == []

    @pytest.mark.parametrize("page", [1, 7, 100])
    def test_pages_give_every_entry_once(self, table: Table, page: int) -> None:
        put_each(table, *[Item("p", f"{n}", due=n // 5) for n in range(40)], Item("p", "late", due=100))
        read: list[Due] = []
        while len(read) <= 40 and (entries := table.due(50, limit=page, after=read[-1] if read else None)):
            assert len(entries) <= page
            read += entries
        assert sorted(read, key=lambda e: int(e.sk)) == [Due("p", f"{n}", n // 5) for n in range(40)]

    def test_reading_goes_on_after_an_entry_that_is_gone(self, table: Table) -> None:
        put_each(table, *[Item("p", f"{n}", due=n) for n in range(20)])
        seen, after = 0, None
        while entries := table.due(50, limit=1, after=after):
            after = entries[0]
            table.write([Delete(after.pk, after.sk)])
            seen += 1
        assert seen == 20

    def test_limit_of_nothing(self, table: Table) -> None:
        table.write([Put(Item("p", "s", due=1))])
        assert table.due(5, limit=0) == []


class TestExpiry:
    @pytest.fixture(autouse=True)
    def expired(self, table: Table, clock: Clock) -> None:
        table.write([Put(Item("p", "s", {"n": 5}, index=("i", "1"), due=1, expires_at=NOW))])
        clock.now = NOW + 1

    def test_nothing_finds_an_expired_item(self, table: Table) -> None:
        assert table.get([("p", "s"), ("p", "t")]) == [None, None]
        assert stored(table) is None
        assert table.query("p", limit=10) == table.query("i", limit=10, by_index=True) == []
        assert table.due(10, limit=10) == []

    def test_item_lives_until_the_end_of_its_second(self, table: Table, clock: Clock) -> None:
        clock.now = NOW
        assert found(table).expires_at == NOW
        assert len(table.query("p", limit=1)) == len(table.query("i", limit=1, by_index=True)) == 1
        assert refused_key(table, Put(Item("p", "s"))) == ("p", "s")

    def test_expired_items_do_not_shorten_a_page(self, table: Table) -> None:
        ghosts = [Item("p", f"z{n}", index=("i", f"z{n}"), due=1, expires_at=NOW) for n in range(5)]
        alive = [Item("p", f"a{n}", index=("i", f"a{n}"), due=2) for n in range(3)]
        put_each(table, *ghosts, *alive)
        assert sort_keys(table.query("p", limit=2)) == ["a2", "a1"]
        assert sort_keys(table.query("i", limit=2, by_index=True)) == ["a2", "a1"]
        assert len(table.due(10, limit=3)) == 3

    def test_put_expecting_absence_replaces_it(self, table: Table) -> None:
        table.write([Put(Item("p", "s", {"m": 1}))])
        assert found(table) == Item("p", "s", {"m": 1}, version=1)

    @pytest.mark.parametrize(
        "operation", [Put(Item("p", "s", version=1)), Delete("p", "s", version=1), Require("p", "s", 1)]
    )
    def test_expecting_its_version_is_refused(self, table: Table, operation: Put | Delete | Require) -> None:
        assert refused_key(table, operation) == ("p", "s")

    def test_require_of_absence_holds(self, table: Table) -> None:
        table.write([Require("p", "s", 0), Put(Item("p", "t"))])
        assert stored(table, sk="t") is not None

    def test_add_starts_anew(self, table: Table) -> None:
        table.write([Add("p", "s", {"n": 1}), Put(Item("p", "t"))])
        assert found(table) == Item("p", "s", {"n": 1}, version=1)

    def test_add_beside_a_failed_expectation_names_that_one(self, table: Table) -> None:
        assert refused_key(table, Add("p", "s", {"n": 1}), Require("p", "t", 1)) == ("p", "t")
        assert stored(table) is None


@not_on_moto  # it does not keep threads apart, so it can be no judge of this
class TestConcurrency:
    THREADS = 6

    def in_threads(self, work: Callable[[], Any]) -> list[Any]:
        start = threading.Barrier(self.THREADS)

        def one() -> Any:
            start.wait()
            return work()

        with ThreadPoolExecutor(self.THREADS) as pool:
            return [future.result() for future in [pool.submit(one) for _ in range(self.THREADS)]]

    def test_one_writer_wins_each_version(self, table: Table) -> None:
        table.write([Put(Item("p", "s"))])

        def race() -> list[int]:
            won = []
            for _ in range(10):
                item = found(table)
                with suppress(ExpectationFailed):
                    table.write([Put(item), Put(Item("wins", f"{item.version}"))])
                    won.append(item.version)
            return won

        won = sorted(version for versions in self.in_threads(race) for version in versions)
        assert won == list(range(1, found(table).version))
        assert len(table.query("wins", limit=100)) == len(won) >= 10

    def test_one_writer_creates(self, table: Table) -> None:
        def create() -> bool:
            try:
                table.write([Put(Item("p", "s"))])
            except ExpectationFailed:
                return False
            return True

        assert sorted(self.in_threads(create)) == [False] * (self.THREADS - 1) + [True]

    def test_no_addition_is_lost(self, table: Table) -> None:
        def add() -> None:
            for _ in range(20):
                table.write([Add("p", "s", {"n": 1}), Add("p", "t", {"n": -1})])

        self.in_threads(add)
        total = 20 * self.THREADS
        assert [found(table, sk=sk).attributes["n"] for sk in ("s", "t")] == [total, -total]
