"""The table in one SQLite file: the engine of `certwright serve`.

WAL with synchronous=FULL, so that a commit is on the disk when `write` returns. Connections are pooled rather than
kept per thread: threads of a server come and go, and each would leave an open file behind. Writers of this process
queue at a lock, as SQLite's own waiting is a poll with sleeps; that one is left for a second process.
"""

import json
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from certwright.errors import CertwrightError, Unavailable
from certwright.table import (
    Add,
    Delete,
    Due,
    ExpectationFailed,
    Item,
    Key,
    Operation,
    Put,
    Require,
    Value,
    check_transaction,
)

SCHEMA_VERSION = 1

_SCHEMA = (
    """CREATE TABLE item (
        pk TEXT NOT NULL, sk TEXT NOT NULL, attributes TEXT NOT NULL, version INTEGER NOT NULL,
        index_pk TEXT, index_sk TEXT, due INTEGER, expires_at INTEGER, PRIMARY KEY (pk, sk)
    ) WITHOUT ROWID""",
    "CREATE INDEX item_index ON item (index_pk, index_sk) WHERE index_pk IS NOT NULL",
    "CREATE INDEX item_due ON item (due, pk, sk) WHERE due IS NOT NULL",
    "CREATE INDEX item_expires_at ON item (expires_at) WHERE expires_at IS NOT NULL",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

_GET = """SELECT * FROM item WHERE pk = ? AND sk = ? AND (expires_at IS NULL OR expires_at >= ?)"""
_GET_VERSION = """SELECT version FROM item WHERE pk = ? AND sk = ? AND (expires_at IS NULL OR expires_at >= ?)"""
_QUERY = {  # keyed by whether by_index, and whether newest_first
    (False, False): """SELECT * FROM item WHERE pk = ? AND sk > ? AND (expires_at IS NULL OR expires_at >= ?)
        ORDER BY sk LIMIT ?""",
    (False, True): """SELECT * FROM item WHERE pk = ? AND sk < ? AND (expires_at IS NULL OR expires_at >= ?)
        ORDER BY sk DESC LIMIT ?""",
    (True, False): """SELECT * FROM item WHERE index_pk = ? AND index_sk > ?
        AND (expires_at IS NULL OR expires_at >= ?) ORDER BY index_sk LIMIT ?""",
    (True, True): """SELECT * FROM item WHERE index_pk = ? AND index_sk < ?
        AND (expires_at IS NULL OR expires_at >= ?) ORDER BY index_sk DESC LIMIT ?""",
}
_BEFORE_ALL: str = ""
_AFTER_ALL: bytes = b""  # SQLite sorts any blob after every text
_DUE = """SELECT pk, sk, due FROM item WHERE due <= ? AND (due, pk, sk) > (?, ?, ?)
    AND (expires_at IS NULL OR expires_at >= ?) ORDER BY due, pk, sk LIMIT ?"""
_FIRST_DUE = (-(2**63), "", "")
_PUT = "INSERT OR REPLACE INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_DELETE = "DELETE FROM item WHERE pk = ? AND sk = ?"
_PURGE = "DELETE FROM item WHERE (pk, sk) IN (SELECT pk, sk FROM item WHERE expires_at < ? LIMIT ?)"


class NewerSchema(CertwrightError):
    """The file was written by a newer Certwright than this one."""


class SqliteTable:
    """`certwright.table.Table` in the file at `path`, which is made (mode 0600) when absent.

    `clock` gives seconds since the epoch, for expiry. Raises NewerSchema when the file is from a newer version;
    its methods raise Unavailable when another process held the file for `busy_seconds`.
    """

    def __init__(self, path: Path | str, clock: Callable[[], int], *, busy_seconds: float = 30.0) -> None:
        self._path = Path(path)
        self._clock = clock
        self._busy_seconds = busy_seconds
        self._free: list[sqlite3.Connection] = []
        self._open = True
        self._pool = threading.Lock()
        self._writing = threading.Lock()
        _make_private(self._path)
        try:
            with self._transaction() as connection:
                _migrate(connection, self._path)
        except BaseException:
            self.close()
            raise

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        now = self._clock()
        with self._connection() as connection:
            rows = [connection.execute(_GET, (pk, sk, now)).fetchone() for pk, sk in keys]
        return [_item(row) if row else None for row in rows]

    def query(
        self, pk: str, *, limit: int, after: str | None = None, newest_first: bool = True, by_index: bool = False
    ) -> list[Item]:
        start = after if after is not None else _AFTER_ALL if newest_first else _BEFORE_ALL
        parameters = (pk, start, self._clock(), max(limit, 0))
        with self._connection() as connection:
            rows = connection.execute(_QUERY[by_index, newest_first], parameters).fetchall()
        return [_item(row) for row in rows]

    def due(self, now: int, *, limit: int, after: Due | None = None) -> list[Due]:
        start = (after.due, after.pk, after.sk) if after else _FIRST_DUE
        with self._connection() as connection:
            rows = connection.execute(_DUE, (now, *start, self._clock(), max(limit, 0))).fetchall()
        return [Due(*row) for row in rows]

    def write(self, operations: Sequence[Operation]) -> None:
        check_transaction(operations)
        now = self._clock()
        with self._transaction() as connection:
            for operation in operations:
                _apply(connection, operation, now)

    def purge(self, limit: int) -> int:
        """Remove at most `limit` expired items, and say how many there were."""
        with self._transaction() as connection:
            return connection.execute(_PURGE, (self._clock(), limit)).rowcount

    def close(self) -> None:
        """Close every connection; one that is in use, as soon as it is free."""
        with self._pool:
            self._open = False
            connections, self._free = self._free, []
        for connection in connections:
            connection.close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._pool:
            if not self._open:
                raise RuntimeError("the table is closed")
            connection = self._free.pop() if self._free else None
        try:
            connection = connection or _connect(self._path, self._busy_seconds)
            yield connection
        except sqlite3.OperationalError as error:
            if _is_busy(error):
                raise Unavailable("another process keeps the database busy; try again later") from error
            raise
        finally:
            if connection is not None:
                self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._pool:
            if self._open:
                self._free.append(connection)
                return
        connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing, self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")


def _make_private(path: Path) -> None:
    """SQLite gives its -wal and -shm files the mode of the main file."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        path.chmod(0o600)  # without opening it: closing it again would drop the locks this process may have on it


def _connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        _use_wal(connection, busy_seconds)
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """SQLite does not wait for the lock that changing the mode takes, so two first openers may collide."""
    give_up = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return


def _is_busy(error: sqlite3.OperationalError) -> bool:
    primary_code = error.sqlite_errorcode & 0xFF
    return primary_code == sqlite3.SQLITE_BUSY


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise NewerSchema(
            f"{path} has schema version {version}, and this Certwright knows {SCHEMA_VERSION} at most: "
            "it was written by a newer Certwright; run that one, or give another file"
        )
    if version == 0:
        for statement in _SCHEMA:
            connection.execute(statement)


def _apply(connection: sqlite3.Connection, operation: Operation, now: int) -> None:
    expected = _expected_version(operation)
    if expected is not None:
        row = connection.execute(_GET_VERSION, (*operation.key, now)).fetchone()
        if expected != (row[0] if row else 0):
            raise ExpectationFailed(operation.key)
    match operation:
        case Put(item=item, unconditional=unconditional):
            _store(connection, item, 1 if unconditional else item.version + 1)
        case Add(pk=pk, sk=sk, amounts=amounts):
            row = connection.execute(_GET, (pk, sk, now)).fetchone()
            present = _item(row) if row else Item(pk, sk, version=1)
            _store(connection, replace(present, attributes=_added(present.attributes, amounts)), present.version)
        case Delete():
            connection.execute(_DELETE, operation.key)
        case Require():
            pass


def _expected_version(operation: Operation) -> int | None:
    match operation:
        case Put(item=item, unconditional=unconditional):
            return None if unconditional else item.version
        case Delete(version=version) | Require(version=version):
            return version
        case Add():
            return None


def _added(attributes: Mapping[str, Value], amounts: Mapping[str, int]) -> Mapping[str, Value]:
    sums = dict(attributes)
    for name, amount in amounts.items():
        present = sums.get(name, 0)
        if not isinstance(present, int) or isinstance(present, bool):
            raise TypeError(f"attribute {name!r} is not an integer, so nothing can be added to it")
        sums[name] = present + amount
    return sums


def _store(connection: sqlite3.Connection, item: Item, version: int) -> None:
    index_pk, index_sk = item.index or (None, None)
    attributes = _encode(item.attributes)
    connection.execute(_PUT, (item.pk, item.sk, attributes, version, index_pk, index_sk, item.due, item.expires_at))


def _item(row: tuple[Any, ...]) -> Item:
    pk, sk, attributes, version, index_pk, index_sk, due, expires_at = row
    index = None if index_pk is None else (index_pk, index_sk)
    return Item(pk, sk, json.loads(attributes), version, index, due, expires_at)


def _dict(value: object) -> dict[str, Value]:
    """What the encoder asks for when it meets something that is no dict, list, str, number, bool or None."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=_dict)
_PERHAPS_A_FLOAT = re.compile(r"[:\[,](?:-?\d+[.e]|NaN|-?Infinity)")


def _encode(attributes: Mapping[str, Value]) -> str:
    """JSON. The encoder writes floats without a word; they are searched for only where its text may hold one."""
    try:
        text = _ENCODER.encode(attributes)
    except TypeError:
        _refuse_misfits(attributes)
        raise
    if _PERHAPS_A_FLOAT.search(text):
        _refuse_misfits(attributes)
    return text


def _refuse_misfits(attributes: Mapping[str, Value]) -> None:
    for name, value in attributes.items():
        for misfit in _misfits(value):
            raise TypeError(f"attribute {name!r} holds a {type(misfit).__name__}, which a table cannot keep")


def _misfits(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _misfits(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _misfits(inner)
    elif value is not None and not isinstance(value, str | int):
        yield value
