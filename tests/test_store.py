"""Commits: all or nothing, chained events, links and counters that follow from the entities."""

import itertools
import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certwright.errors import Conflict
from certwright.events import CertificateIssued, ChallengesViewed, OrderCreated, OrderFailed, digest
from certwright.ids import Ulids
from certwright.items import Idempotency
from certwright.model import Actor, Certificate, Counts, Order, OrderStatus, Problem, Role
from certwright.sqlite_table import SqliteTable
from certwright.store import Notice, Repeated, Store
from certwright.table import Item, Put

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
ANN = Actor("ann", Role.OPERATOR, "acme", "r-1", "192.0.2.1")


def clock() -> datetime:
    return NOON


def make_order(store: Store, **fields: object) -> Order:
    order = Order(
        id=store.new_id(),
        tenant="acme",
        account_id="account",
        acme_server="https://ca.example/dir",
        domains=("a.example",),
        status=OrderStatus.NEW,
        csr="csr",
        created_at=NOON,
        updated_at=NOON,
    )
    return replace(order, **fields)  # type: ignore[arg-type]  # fields are as varied as an order's


def created(order: Order) -> OrderCreated:
    return OrderCreated(subject_id=order.id, account_id=order.account_id, domains=order.domains)


def viewed(order: Order) -> ChallengesViewed:
    return ChallengesViewed(subject_id=order.id, account_id=order.account_id)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[SqliteTable]:
    table = SqliteTable(tmp_path / "store.db", lambda: int(NOON.timestamp()))
    yield table
    table.close()


@pytest.fixture
def heard() -> list[Notice]:
    return []


@pytest.fixture
def store(table: SqliteTable, heard: list[Notice]) -> Store:
    return Store(table, clock=clock, new_id=Ulids(clock, secrets.randbits), publish=heard.extend)


def test_what_is_committed_is_read_back_whole(store: Store) -> None:
    order = make_order(store, due=NOON + timedelta(seconds=5), error=Problem({"type": "x", "ratio": 0.5, "deep": [1]}))
    stored = store.save(None, order, events=[created(order)], actor=ANN)
    assert stored == replace(order, version=1)
    assert store.order("acme", order.id) == stored


def test_notice_tells_subscribers_the_event_and_the_entity(store: Store, heard: list[Notice]) -> None:
    order = make_order(store)
    stored = store.save(None, order, events=[created(order)], actor=ANN)
    [notice] = heard
    assert notice.entity == stored
    told = notice.record
    assert (told.type, told.actor, told.request_id, told.source_ip) == ("OrderCreated", "ann", "r-1", "192.0.2.1")


def test_stale_change_writes_neither_state_nor_event(store: Store, heard: list[Notice]) -> None:
    order = make_order(store)
    stored = store.save(None, order, events=[created(order)], actor=ANN)
    store.save(stored, replace(stored, url="first"), events=[viewed(order)], actor=ANN)
    with pytest.raises(Conflict):
        store.save(stored, replace(stored, url="second"), events=[viewed(order)], actor=ANN)
    assert store.order("acme", order.id).url == "first"
    assert len(list(store.chain("acme", order.id))) == 2
    assert len(heard) == 2


def test_events_of_one_subject_are_chained(store: Store) -> None:
    order = make_order(store)
    store.save(None, order, events=[created(order), viewed(order)], actor=ANN)
    store.commit(events=[viewed(order)], actor=ANN)
    first, second, third = store.chain("acme", order.id)
    assert [r.sequence for r in (first, second, third)] == [1, 2, 3]
    assert [first.previous_hash, second.previous_hash, third.previous_hash] == [None, first.hash, second.hash]
    assert all(r.hash == digest(r) for r in (first, second, third))


def test_events_at_once_about_one_subject_take_each_its_place(store: Store) -> None:
    order = make_order(store)
    store.save(None, order, events=[created(order)], actor=ANN)
    threads = [
        threading.Thread(target=lambda: [store.commit(events=[viewed(order)], actor=ANN) for _ in range(10)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chain = list(store.chain("acme", order.id))
    assert [r.sequence for r in chain] == list(range(1, 42))
    assert all(after.previous_hash == before.hash for before, after in itertools.pairwise(chain))


def test_stores_of_two_processes_continue_each_others_chains(store: Store, table: SqliteTable) -> None:
    other = Store(table, clock=clock, new_id=Ulids(clock, secrets.randbits))
    order = make_order(store)
    store.save(None, order, events=[created(order)], actor=ANN)
    for writer in (other, store, store, other, other, store):
        writer.commit(events=[viewed(order)], actor=ANN)
    chain = list(store.chain("acme", order.id))
    assert [r.sequence for r in chain] == list(range(1, 8))
    assert all(after.previous_hash == before.hash for before, after in itertools.pairwise(chain))


def test_due_item_that_cannot_be_read_hides_no_other(store: Store, table: SqliteTable) -> None:
    fresh = make_order(store, due=NOON)
    order = store.save(None, fresh, events=[created(fresh)], actor=ANN)
    table.write([Put(Item("acme#order", "spoilt", {"status": "nonsense"}, due=0))])
    found = store.due(NOON, limit=10)
    assert sorted(entry.sk for entry in found) == sorted([order.id, "spoilt"])
    assert store.find_due(found) == [order]


def test_counters_follow_from_what_is_committed(store: Store) -> None:
    orders = [make_order(store) for _ in range(5)]
    stored = [store.save(None, order, events=[created(order)], actor=ANN) for order in orders]
    for order in stored[:2]:
        failed = replace(order, status=OrderStatus.INVALID)
        event = OrderFailed(subject_id=order.id, account_id=order.account_id, problem="no")
        store.save(order, failed, events=[event], actor=ANN)
    assert store.counts("acme") == Counts(orders=5, orders_open=3, orders_invalid=2)
    assert store.counts("other") == Counts()


def test_certificate_with_more_names_than_a_transaction_holds_is_found_by_each(store: Store) -> None:
    order = store.save(None, fresh := make_order(store), events=[created(fresh)], actor=ANN)
    names = tuple(f"n{n}.example" for n in range(100))
    certificate = Certificate(
        id=store.new_id(),
        tenant="acme",
        order_id=order.id,
        account_id="account",
        names=names,
        serial="01",
        issuer="CN=ca",
        not_before=NOON,
        not_after=NOON,
        fingerprint_sha256="00",
        chain="pem",
    )
    issued = CertificateIssued(subject_id=certificate.id, order_id=order.id, names=names, serial="01", not_after="")
    fulfilled = replace(order, status=OrderStatus.VALID, certificate_id=certificate.id)
    store.commit((order, fulfilled), (None, certificate), events=[issued], actor=ANN)
    for name in (names[0], names[50], names[99]):
        page = store.certificates("acme", first=1, after=None, name=name)
        assert [c.id for c in page.nodes] == [certificate.id]


def test_idempotency_key_stands_for_the_first_thing_made(store: Store) -> None:
    key = Idempotency("createOrder", "k", "digest")
    order = make_order(store)
    store.save(None, order, events=[created(order)], actor=ANN, idempotency=key)
    second = make_order(store)
    with pytest.raises(Repeated) as repeated:
        store.save(None, second, events=[created(second)], actor=ANN, idempotency=key)
    assert repeated.value.id == order.id
    with pytest.raises(Conflict, match="another input"):
        store.repeated("acme", Idempotency("createOrder", "k", "other"))
    assert store.counts("acme").orders == 1


def test_claimed_order_is_not_due_before_its_lease_ends(store: Store) -> None:
    fresh = make_order(store, due=NOON)
    order = store.save(None, fresh, events=[created(fresh)], actor=ANN)
    [entry] = store.due(NOON, limit=10)
    assert store.find_due([entry]) == [order]
    claimed = store.claim(order, NOON + timedelta(minutes=1))
    assert store.due(NOON, limit=10) == []
    assert [e.sk for e in store.due(NOON + timedelta(minutes=1), limit=10)] == [order.id]
    with pytest.raises(Conflict, match="another worker"):
        store.claim(order, NOON + timedelta(minutes=1))
    assert store.order("acme", order.id) == claimed


def test_http01_answer_is_served_until_the_order_expires(tmp_path: Path) -> None:
    now = [NOON]
    table = SqliteTable(tmp_path / "store.db", lambda: int(now[0].timestamp()))
    store = Store(table, clock=lambda: now[0], new_id=Ulids(clock, secrets.randbits))
    store.commit(events=[], actor=ANN, responses=[("token", "token.thumbprint", NOON + timedelta(hours=1))])
    assert store.response("token") == "token.thumbprint"
    assert store.response("other") is None
    now[0] += timedelta(hours=2)
    assert store.response("token") is None
    table.close()


def test_ids_sort_as_they_were_made_even_when_the_clock_steps_back() -> None:
    times = iter([NOON, NOON, NOON - timedelta(seconds=5), NOON + timedelta(milliseconds=1)])
    new_id = Ulids(lambda: next(times), secrets.randbits)
    made = [new_id() for _ in range(4)]
    assert made == sorted(made)
    assert len(set(made)) == 4
    assert {len(id) for id in made} == {26}
