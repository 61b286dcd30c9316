"""Commits: all or nothing, chained events, links and counters that follow from the entities."""

import itertools
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
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
from certwright.table import ExpectationFailed, Item, Operation, Put

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


def test_place_in_a_chain_that_the_entity_shows_to_be_taken_is_not_tried(store: Store, table: SqliteTable) -> None:
    refused: list[ExpectationFailed] = []

    class Watched:
        get, query, due = table.get, table.query, table.due

        def write(self, operations: Sequence[Operation]) -> None:
            try:
                table.write(operations)
            except ExpectationFailed as failure:
                refused.append(failure)
                raise

    other = Store(Watched(), clock=clock, new_id=Ulids(clock, secrets.randbits))
    order = other.save(None, fresh := make_order(store), events=[created(fresh)], actor=ANN)
    order = store.save(order, replace(order, url="1"), events=[viewed(order)], actor=ANN)
    other.commit(events=[viewed(order)], actor=ANN, about=order)
    order = store.save(order, replace(order, url="2"), events=[viewed(order)], actor=ANN)
    other.save(order, replace(order, url="3"), events=[viewed(order)], actor=ANN)
    assert (refused, other.last_sequence("acme", order.id)) == ([], 5)


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


def chained(count: int, leaf: str) -> str:
    return "".join(
        f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n" for name in (leaf, *"ABC"[:count])
    )


def issue(store: Store, order: Order, **fields: object) -> Certificate:
    certificate = Certificate(
        id=store.new_id(),
        tenant="acme",
        order_id=order.id,
        account_id="account",
        names=("a.example",),
        serial="01",
        issuer="CN=ca",
        not_before=NOON,
        not_after=NOON,
        fingerprint_sha256="00",
        chain="pem",
    )
    certificate = replace(certificate, **fields)  # type: ignore[arg-type]  # fields are as varied as a certificate's
    return store.save(None, certificate, events=[], actor=ANN)


def rows(database: Path, prefix: str) -> int:
    with closing(sqlite3.connect(database)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM item WHERE pk LIKE ?", (f"{prefix}%",)).fetchone()
    return int(count)


def test_order_is_read_with_its_csr_and_key_and_listed_without(store: Store) -> None:
    fresh = make_order(store, csr="the csr", sealed_key="sealed", due=NOON)
    order = store.save(None, fresh, events=[created(fresh)], actor=ANN)
    assert (order.csr, order.sealed_key) == ("the csr", "sealed")
    assert store.order("acme", order.id) == order
    assert store.many(Order, "acme", [order.id]) == store.find_due(store.due(NOON, limit=1)) == [order]
    [listed] = store.orders("acme", first=1, after=None).nodes
    assert listed == replace(order, csr="", sealed_key=None)


def test_order_that_was_listed_keeps_its_csr_and_key_when_it_is_changed(store: Store) -> None:
    fresh = make_order(store, csr="the csr", sealed_key="sealed")
    store.save(None, fresh, events=[created(fresh)], actor=ANN)
    [listed] = store.orders("acme", first=1, after=None).nodes
    store.save(listed, replace(listed, url="url"), events=[], actor=ANN)
    read = store.order("acme", fresh.id)
    assert (read.csr, read.sealed_key, read.url) == ("the csr", "sealed", "url")


def test_chains_come_back_as_they_were_and_share_their_issuers(store: Store, tmp_path: Path) -> None:
    order = store.save(None, fresh := make_order(store), events=[created(fresh)], actor=ANN)
    chains = {"chain": chained(2, "leaf1"), "alternate_chains": (chained(3, "leaf1"), "no PEM at all")}
    first, second = issue(store, order, **chains), issue(store, order, chain=chained(2, "leaf2") + "\n")
    assert store.certificate("acme", first.id) == first
    assert store.certificates("acme", first=2, after=None).nodes == [second, first]
    assert rows(tmp_path / "store.db", "pem#") == len(
        {"leaf1", "leaf2", "A", "B", "C", "no PEM at all", "B and a line"}
    )


def test_links_that_a_process_left_behind_are_passed_over(store: Store, table: SqliteTable) -> None:
    orders = [store.save(None, fresh := make_order(store), events=[created(fresh)], actor=ANN) for _ in range(3)]
    table.write([Put(Item("acme#order-in#valid", id)) for id in (orders[0].id, "gone")])
    assert store.orders("acme", first=9, after=None, status=OrderStatus.VALID).nodes == []
    assert len(store.orders("acme", first=9, after=None, status=OrderStatus.NEW).nodes) == 3


def test_audit_trail_is_read_page_by_page_through_commits_of_many_events(store: Store) -> None:
    order, other = make_order(store), make_order(store)
    stored = store.save(None, order, events=[created(order), viewed(order), viewed(order)], actor=ANN)
    store.save(None, other, events=[created(other)], actor=ANN)
    store.save(stored, replace(stored, url="u"), events=[viewed(order), viewed(order)], actor=ANN)
    for subject_id, ids in ((order.id, [5, 4, 3, 2, 1]), (None, [5, 4, 1, 3, 2, 1])):
        for size in (1, 2, 3, 6):
            read: list[int] = []
            page = store.records("acme", first=size, after=None, subject_id=subject_id)
            while True:
                read += [record.sequence for record in page.nodes]
                assert len(page.nodes) == size or not page.has_next
                if not page.has_next:
                    break
                page = store.records("acme", first=size, after=page.cursors[-1], subject_id=subject_id)
            assert read == ids


def test_lease_leaves_the_due_index_alone_and_a_long_wait_does_not(store: Store, table: SqliteTable) -> None:
    def listed() -> int:
        [entry] = table.due(2**60, limit=10)
        return entry.due - int(NOON.timestamp() * 1000)

    order = store.save(None, fresh := make_order(store, due=NOON), events=[created(fresh)], actor=ANN)
    order = store.claim(order, NOON + timedelta(seconds=90))
    assert (listed(), store.due(NOON + timedelta(seconds=89), limit=10)) == (0, [])
    assert [entry.sk for entry in store.due(NOON + timedelta(seconds=90), limit=10)] == [order.id]
    for due, at in ((90, 0), (3600, 3_600_000), (3500, 3_500_000)):
        order = store.claim(store.order("acme", order.id), NOON + timedelta(seconds=due))
        assert listed() == at
        assert store.order("acme", order.id).due == NOON + timedelta(seconds=due)


def test_what_is_due_is_found_behind_many_that_are_listed_early(store: Store) -> None:
    fresh = [make_order(store, due=NOON + timedelta(milliseconds=n)) for n in range(5)]
    orders = [store.save(None, order, events=[created(order)], actor=ANN) for order in fresh]
    for order in orders[:4]:
        store.claim(order, NOON + timedelta(seconds=90))
    found = store.due(NOON + timedelta(seconds=1), limit=2)
    assert [entry.sk for entry in found] == [orders[4].id]


def test_ids_sort_as_they_were_made_even_when_the_clock_steps_back() -> None:
    times = iter([NOON, NOON, NOON - timedelta(seconds=5), NOON + timedelta(milliseconds=1)])
    new_id = Ulids(lambda: next(times), secrets.randbits)
    made = [new_id() for _ in range(4)]
    assert made == sorted(made)
    assert len(set(made)) == 4
    assert {len(id) for id in made} == {26}
