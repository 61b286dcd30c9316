"""The trail's proof: whole as it is, broken by any change."""

import json
import sqlite3
from pathlib import Path

import pytest

from certwright.audit import verify
from certwright.local.app import open_store, utc_now
from certwright.sqlite_table import SqliteTable
from tests.support.house import House


@pytest.fixture
def database(house: House) -> Path:
    """The database of a service that issued a certificate."""
    house.issue(house.create_account()["id"], "audit.example")
    return house.data_dir / "certwright.db"


def faults(database: Path) -> list[str]:
    table = SqliteTable(database, lambda: 0)
    try:
        return verify(open_store(table, utc_now)).faults
    finally:
        table.close()


def change(database: Path, statement: str, *parameters: object) -> None:
    connection = sqlite3.connect(database)
    with connection:
        assert connection.execute(statement, parameters).rowcount == 1
    connection.close()


def an_event(database: Path, type: str) -> tuple[str, str, dict[str, object]]:
    connection = sqlite3.connect(database)
    rows = connection.execute("SELECT pk, sk, attributes FROM item WHERE pk LIKE '%#event#%'").fetchall()
    connection.close()
    return next((pk, sk, json.loads(a)) for pk, sk, a in rows if json.loads(a)["type"] == type)


def test_untouched_trail_is_whole(house: House, database: Path) -> None:
    verdict = verify(house.app.store)
    assert verdict.faults == []
    assert verdict.records >= 13
    assert database.exists()


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("actor", "nobody"), ("type", "OrderReady"), ("at", 1), ("detail", "other"), ("source_ip", "192.0.2.9")],
)
def test_edited_event_is_found(database: Path, attribute: str, value: object) -> None:
    pk, sk, attributes = an_event(database, "ChallengeResponded")
    edited = json.dumps({**attributes, attribute: value})
    change(database, "UPDATE item SET attributes = ? WHERE pk = ? AND sk = ?", edited, pk, sk)
    assert any("was changed after it was written" in fault for fault in faults(database))


def test_edited_fact_is_found(database: Path) -> None:
    pk, sk, attributes = an_event(database, "OrderCreated")
    edited = json.dumps({**attributes, "facts": {**attributes["facts"], "domains": ["evil.example"]}})  # type: ignore[dict-item]
    change(database, "UPDATE item SET attributes = ? WHERE pk = ? AND sk = ?", edited, pk, sk)
    assert any("was changed after it was written" in fault for fault in faults(database))


def test_removed_event_is_found(database: Path) -> None:
    pk, sk, _ = an_event(database, "ChallengeValidated")
    change(database, "DELETE FROM item WHERE pk = ? AND sk = ?", pk, sk)
    assert any("missing" in fault for fault in faults(database))


def test_cut_off_end_is_found(database: Path) -> None:
    pk, sk, _ = an_event(database, "OrderFulfilled")
    change(database, "DELETE FROM item WHERE pk = ? AND sk = ?", pk, sk)
    assert any("its chain ends at" in fault for fault in faults(database))


def test_event_rewritten_with_a_new_hash_no_longer_fits_its_successor(database: Path) -> None:
    pk, sk, attributes = an_event(database, "OrderCreated")
    edited = json.dumps({**attributes, "hash": "0" * 64})
    change(database, "UPDATE item SET attributes = ? WHERE pk = ? AND sk = ?", edited, pk, sk)
    assert any("does not follow from" in fault for fault in faults(database))
