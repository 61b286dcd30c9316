"""What SqliteTable promises beyond the contract of every Table: files, processes, crashes."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certwright.errors import Unavailable
from certwright.sqlite_table import SCHEMA_VERSION, NewerSchema, SqliteTable
from certwright.table import Add, ExpectationFailed, Item, Put, Value

NOW = 1_800_000_000

ADD_FROM_ANOTHER_PROCESS = """
import sys
from certwright.sqlite_table import SqliteTable
from certwright.table import Add
table = SqliteTable(sys.argv[1], lambda: 0)
for _ in range(int(sys.argv[2])):
    table.write([Add("p", "s", {"n": 1})])
table.close()
"""

WRITE_AND_ACKNOWLEDGE = """
import itertools, sys
from certwright.sqlite_table import SqliteTable
from certwright.table import Item, Put
table = SqliteTable(sys.argv[1], lambda: 0)
for n in itertools.count():
    pair = [Item(sys.argv[2], f"{n:06}-{half}", {"text": "x" * 2000}) for half in "ab"]
    table.write([Put(item) for item in pair])
    print(n, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table.db"


@pytest.fixture
def open_table(path: Path) -> Iterator[Callable[..., SqliteTable]]:
    tables = []

    def opened(now: int = NOW, busy_seconds: float = 30.0) -> SqliteTable:
        tables.append(SqliteTable(path, lambda: now, busy_seconds=busy_seconds))
        return tables[-1]

    yield opened
    for table in tables:
        table.close()


@pytest.fixture
def table(open_table: Callable[..., SqliteTable]) -> SqliteTable:
    return open_table()


def python(source: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", source, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def open_files(path: Path) -> int:
    links = [Path("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link).startswith(str(path)) for link in links if link.is_symlink())


class TestFiles:
    def test_stored_items_outlive_the_table_object(self, open_table: Callable[..., SqliteTable]) -> None:
        first = open_table()
        first.write([Put(Item("p", "s", {"n": 1}))])
        first.close()
        assert open_table().get([("p", "s")]) == [Item("p", "s", {"n": 1}, version=1)]

    def test_only_the_owner_may_read_the_files(self, table: SqliteTable, path: Path) -> None:
        table.write([Put(Item("p", "s"))])
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.glob("table.db*")}
        assert modes == {"table.db": 0o600, "table.db-wal": 0o600, "table.db-shm": 0o600}

    def test_too_open_a_file_is_closed_to_others(self, open_table: Callable[..., SqliteTable], path: Path) -> None:
        open_table().close()
        path.chmod(0o644)
        open_table()
        assert path.stat().st_mode & 0o777 == 0o600

    def test_commits_are_durable(self, table: SqliteTable) -> None:
        with table._connection() as connection:  # SQLite shows how it syncs to the connection itself only
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: fsync at every commit

    def test_file_of_a_newer_schema_is_refused(self, open_table: Callable[..., SqliteTable], path: Path) -> None:
        open_table().close()
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        connection.close()
        with pytest.raises(NewerSchema, match=r"table\.db has schema version 2, and this Certwright knows 1 at most"):
            open_table()
        assert open_files(path) == 0

    def test_file_that_is_no_database_is_refused_and_left_alone(
        self, open_table: Callable[..., SqliteTable], path: Path
    ) -> None:
        path.write_bytes(b"these are somebody's notes, which are no database" * 100)
        with pytest.raises(sqlite3.DatabaseError):
            open_table()
        assert path.read_bytes().startswith(b"these are somebody's notes")
        assert open_files(path) == 0

    def test_close_leaves_no_file_open(self, table: SqliteTable, path: Path) -> None:
        workers = [threading.Thread(target=table.get, args=([("p", "s")],)) for _ in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert open_files(path) > 0
        table.close()
        assert open_files(path) == 0
        with pytest.raises(RuntimeError, match="closed"):
            table.get([("p", "s")])

    def test_threads_that_come_and_go_leave_no_files_behind(self, table: SqliteTable, path: Path) -> None:
        before = open_files(path)
        for _ in range(20):
            worker = threading.Thread(target=table.get, args=([("p", "s")],))
            worker.start()
            worker.join()
        assert open_files(path) == before


class TestPurge:
    def test_purge_removes_the_expired_only(self, table: SqliteTable) -> None:
        table.write([Put(Item("p", f"{n}", expires_at=NOW - 3 + n)) for n in range(6)] + [Put(Item("p", "forever"))])
        assert [table.purge(2), table.purge(2), table.purge(2)] == [2, 1, 0]
        assert [item.sk for item in table.query("p", limit=10)] == ["forever", "5", "4", "3"]

    def test_purged_items_are_gone_for_an_earlier_clock_too(self, open_table: Callable[..., SqliteTable]) -> None:
        earlier, table = open_table(now=NOW - 100), open_table()
        table.write([Put(Item("p", "s", expires_at=NOW - 1))])
        assert earlier.get([("p", "s")]) != [None]
        table.purge(10)
        assert earlier.get([("p", "s")]) == [None]


class TestProcesses:
    def test_two_processes_write_at_the_same_time(self, table: SqliteTable, path: Path) -> None:
        with python(ADD_FROM_ANOTHER_PROCESS, path, 200) as other:
            for _ in range(200):
                table.write([Add("p", "s", {"n": 1})])
            assert other.wait(timeout=60) == 0
        (item,) = table.get([("p", "s")])
        assert item == Item("p", "s", {"n": 400}, version=1)

    def test_several_processes_may_be_the_first_to_open_the_file(
        self, path: Path, open_table: Callable[..., SqliteTable]
    ) -> None:
        others = [python(ADD_FROM_ANOTHER_PROCESS, path, 5) for _ in range(6)]
        for other in others:
            with other:
                assert other.wait(timeout=60) == 0
        (item,) = open_table().get([("p", "s")])
        assert item == Item("p", "s", {"n": 30}, version=1)

    def test_opening_waits_for_another_who_is_about_to_make_the_file(
        self, path: Path, open_table: Callable[..., SqliteTable]
    ) -> None:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for statement in ("CREATE TABLE x (y)", "BEGIN IMMEDIATE"):
            other.execute(statement).fetchall()
        release = threading.Timer(0.2, other.close)
        release.start()
        open_table().write([Put(Item("p", "s"))])
        release.join()

    def test_file_kept_busy_by_another_is_unavailable(self, path: Path, open_table: Callable[..., SqliteTable]) -> None:
        impatient = open_table(busy_seconds=0.05)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="try again later"):
            impatient.write([Put(Item("p", "s"))])
        assert impatient.get([("p", "s")]) == [None]
        other.close()
        impatient.write([Put(Item("p", "s"))])

    def test_killed_writer_loses_nothing_it_acknowledged(
        self, path: Path, open_table: Callable[..., SqliteTable]
    ) -> None:
        for life in range(8):
            with python(WRITE_AND_ACKNOWLEDGE, path, f"life{life}") as writer:
                assert writer.stdout is not None
                acknowledged = [int(writer.stdout.readline()) for _ in range(20 + 7 * life)]
                writer.kill()
                acknowledged += [int(line) for line in writer.stdout if line.endswith("\n")]
            table = open_table()
            kept = [item.sk for item in table.query(f"life{life}", limit=100_000, newest_first=False)]
            table.close()
            assert kept[: 2 * len(acknowledged)] == [f"{n:06}-{half}" for n in acknowledged for half in "ab"]
            assert len(kept) % 2 == 0  # no half of a transaction


class TestFailures:
    def test_table_goes_on_after_a_refused_transaction(self, table: SqliteTable) -> None:
        with pytest.raises(ExpectationFailed):
            table.write([Put(Item("p", "s")), Put(Item("p", "t", version=3))])
        table.write([Put(Item("p", "s"))])
        assert [item.version for item in table.query("p", limit=10)] == [1]

    def test_nothing_is_added_to_what_is_no_integer(self, table: SqliteTable) -> None:
        table.write([Put(Item("p", "s", {"n": "text", "flag": True}))])
        for name in ("n", "flag"):
            with pytest.raises(TypeError, match=f"'{name}' is not an integer"):
                table.write([Add("p", "s", {name: 1})])


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**38) + 1, 10**38 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(attributes=st.dictionaries(st.text(), values, max_size=5))
def test_any_attributes_come_back_as_they_were_put(table: SqliteTable, attributes: dict[str, Value]) -> None:
    table.write([Put(Item("p", "s", attributes), unconditional=True)])
    assert table.get([("p", "s")]) == [Item("p", "s", attributes, version=1)]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=st.floats(), around=st.sampled_from([lambda v: v, lambda v: [0, v], lambda v: {"x": {"y": [v]}}]))
def test_every_float_is_refused(table: SqliteTable, value: float, around: Callable[[object], Value]) -> None:
    with pytest.raises(TypeError, match="'ratio' holds a float"):
        table.write([Put(Item("p", "s", {"ratio": around(value)}), unconditional=True)])
    assert table.get([("p", "s")]) == [None]
