"""The worker alone: whose steps are run when, with steps that do as the test says; and how often CAs are looked at."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from certwright.events import OrderCreated
from certwright.local.app import utc_now
from certwright.model import Order, OrderStatus, system
from certwright.pace import Pace
from certwright.sqlite_table import SqliteTable
from certwright.steps import Job, Steps, Work
from certwright.store import Store
from certwright.table import Due
from certwright.worker import Worker
from tests.support.house import House, await_true, await_value
from tests.support.stub_ca import Answer, StubCa, acme_problem

SWEEP = timedelta(seconds=0.05)


class Script:
    """Steps that only note whose they are, and then do what `step` does: give the time to go on, None, or raise."""

    def __init__(self, step: Callable[[Work], datetime | None] = lambda _: None) -> None:
        self.step = step
        self.taken: list[str] = []
        self.given_back: list[str] = []
        self.running = self.most_running = 0
        self.stopping = False
        self._lock = threading.Lock()

    def run(self, work: Work) -> datetime | None:
        with self._lock:
            self.taken.append(work.job.id)
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            work.take_news()
            return self.step(work)
        finally:
            with self._lock:
                self.running -= 1

    def stop(self) -> None:
        self.stopping = True

    def give_back(self, work: Work) -> None:
        self.given_back.append(work.job.id)


class CountingStore(Store):
    """Counts how often the due index is read, and fails for the first `faults` times."""

    reads = faults = 0

    def due(self, now: datetime, *, limit: int, after: Due | None = None) -> list[Due]:
        self.reads += 1
        if self.reads <= self.faults:
            raise OSError("the disk is away")
        return super().due(now, limit=limit, after=after)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CountingStore]:
    table = SqliteTable(tmp_path / "table.db", lambda: int(time.time()))
    ids = iter(f"{n:06d}" for n in range(10**6))
    yield CountingStore(table, clock=utc_now, new_id=lambda: next(ids))
    table.close()


@contextmanager
def working(store: Store, script: Script, *, lane: int = 16) -> Iterator[Worker]:
    worker = Worker(store, cast(Steps, script), clock=utc_now, sweep=SWEEP, lane=lane)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def order(store: Store, due: datetime | None = None, *, server: str = "https://ca.example/dir") -> Order:
    """A stored order, due now or then."""
    now = utc_now()
    made = Order(store.new_id(), "t", "a", server, ("a.example",), OrderStatus.NEW, "csr", now, now, due=due or now)
    created = OrderCreated(subject_id=made.id, account_id="a", domains=made.domains)
    return store.save(None, made, events=[created], actor=system("t"))


def test_everything_due_is_taken_however_much_it_is(store: CountingStore) -> None:
    orders = [order(store).id for _ in range(450)]
    script = Script()
    with working(store, script):
        await_true(lambda: set(script.taken) >= set(orders))


def test_leased_order_is_taken_when_its_lease_ends_and_not_before(store: CountingStore) -> None:
    lease = utc_now() + timedelta(seconds=0.5)
    order(store, lease)
    at: list[datetime] = []
    script = Script(lambda _: at.append(utc_now()))
    with working(store, script):
        await_true(lambda: bool(at))
    assert at[0] >= lease - timedelta(milliseconds=1)


def test_full_lane_of_one_ca_leaves_the_others_free(store: CountingStore) -> None:
    free = threading.Event()
    slow = [order(store, server="https://slow.example/dir") for _ in range(5)]

    def step(work: Work) -> None:
        if work.job.acme_server == "https://slow.example/dir":
            free.wait(10)

    script = Script(step)
    with working(store, script, lane=2):
        await_true(lambda: script.running == 2)
        quick = order(store)
        await_true(lambda: quick.id in script.taken)
        assert script.running == 2
        free.set()
        await_true(lambda: {o.id for o in slow} < set(script.taken))


def test_one_order_is_never_worked_on_twice_at_once(store: CountingStore) -> None:
    newest = order(store, utc_now() + timedelta(seconds=60))
    script = Script(lambda _: time.sleep(0.05))
    with working(store, script) as worker:
        for _ in range(5):
            worker.wake(newest)
            newest = store.claim(newest, utc_now() + timedelta(seconds=60))
            time.sleep(0.02)
        worker.wake(newest)
        await_true(lambda: len(script.taken) >= 2 and script.running == 0)
    assert script.most_running == 1


def test_news_that_came_during_a_step_are_gone_on_with(store: CountingStore) -> None:
    begun, free, seen = threading.Event(), threading.Event(), list[int]()
    first = order(store, utc_now() + timedelta(seconds=60))

    def step(work: Work) -> None:
        seen.append(work.job.version)
        begun.set()
        free.wait(10)

    with working(store, Script(step)) as worker:
        worker.wake(first)
        begun.wait(10)
        worker.wake(replace(first, version=first.version + 1))
        free.set()
        await_true(lambda: len(seen) == 2)
    assert seen == [first.version, first.version + 1]


def test_order_rings_once_at_its_time(store: CountingStore) -> None:
    job = order(store, utc_now() + timedelta(seconds=60))
    script = Script()
    script.step = lambda _: utc_now() + timedelta(seconds=0.2 if len(script.taken) < 6 else 60)
    with working(store, script) as worker:
        for _ in range(5):
            worker.wake(job)
            time.sleep(0.02)
        await_true(lambda: len(script.taken) == 6)
        time.sleep(0.4)
        assert len(script.taken) == 6


def test_fault_in_a_step_ends_that_step_alone(store: CountingStore, caplog: pytest.LogCaptureFixture) -> None:
    bad = order(store)

    def step(work: Work) -> None:
        if work.job.id == bad.id:
            raise ZeroDivisionError

    script = Script(step)
    with caplog.at_level(logging.ERROR, "certwright.worker"), working(store, script):
        await_true(lambda: bad.id in script.taken)
        good = order(store)
        await_true(lambda: good.id in script.taken)
    assert f"a step of {bad.id} failed" in caplog.text


def test_worker_outlives_a_store_that_fails(store: CountingStore, caplog: pytest.LogCaptureFixture) -> None:
    store.faults = 3
    job, script = order(store), Script()
    with working(store, script):
        await_true(lambda: job.id in script.taken)
    assert "what is due could not be read" in caplog.text


def test_idle_worker_only_sweeps(store: CountingStore) -> None:
    with working(store, Script()):
        reads, cpu = store.reads, time.process_time()
        time.sleep(0.5)
        assert store.reads - reads <= 11
        assert time.process_time() - cpu < 0.25


def test_stopping_gives_back_what_is_held_and_not_begun(store: CountingStore) -> None:
    far = utc_now() + timedelta(seconds=60)
    held, script = order(store, far), Script(lambda _: far)
    with working(store, script) as worker:
        worker.wake(held)
        await_true(lambda: held.id in script.taken and script.running == 0)
    assert script.given_back == [held.id]


def test_waking_a_worker_that_has_stopped_is_harmless(store: CountingStore) -> None:
    script = Script()
    with working(store, script) as worker:
        pass
    worker.wake(order(store))
    assert script.taken == []


# With the whole service


def test_order_of_a_service_that_was_stopped_goes_on_at_once_in_the_next(stub: StubCa, tmp_path: Path) -> None:
    with House(tmp_path, stub) as one:
        limited = acme_problem("rateLimited", "too many")
        stub.answer_next("newOrder", Answer(429, limited, {"Retry-After": "2"}))
        order_id = one.create_order(one.create_account()["id"], "held.example")["id"]
        await_value(lambda: one.order(order_id), lambda o: o["delay"] is not None)
    with House(tmp_path, stub) as two:
        await_true(lambda: len(two.order(order_id)["challenges"]) > 0)
        stub.answer_next("finalize", Answer(500, b"", wait=0.5, performs=True))
        two.prove(order_id)
        await_true(lambda: "finalize" in stub.operations())
    with House(tmp_path, stub) as three:
        three.await_order(order_id, "VALID")
        assert stub.operations().count("newOrder") == 2
        assert stub.operations().count("finalize") == 1


# Pace


NOW = datetime(2026, 11, 1, tzinfo=UTC)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def learnt(took: float, times: int = 60) -> Pace:
    pace = Pace()
    for _ in range(times):
        pace.learn("ca", seconds(took), looks=2)
    return pace


@pytest.mark.parametrize("took", [0.05, 0.5, 5.0])
def test_first_look_comes_when_the_ca_was_done_before(took: float) -> None:
    pace = learnt(took)
    assert pace.wait("ca", seconds(0)).total_seconds() == pytest.approx(took, rel=0.05)
    assert pace.wait("ca", seconds(took / 2)).total_seconds() == pytest.approx(took / 2, rel=0.1)


def test_later_looks_come_at_growing_intervals_within_bounds() -> None:
    pace = Pace()
    waits = [pace.wait("ca", seconds(passed)).total_seconds() for passed in (0.05, 0.2, 1, 10, 1000, 10**6)]
    assert waits == [0.025, 0.1, 0.5, 5, 10, 10]


def test_pace_of_a_ca_that_becomes_faster_is_found_again() -> None:
    pace = learnt(5.0)
    for _ in range(300):
        pace.learn("ca", seconds(4.0), looks=1)
    assert pace.wait("ca", seconds(0)) < seconds(0.05)


def test_pace_of_one_ca_is_not_anothers() -> None:
    assert learnt(5.0).wait("other", seconds(0)) == seconds(0.05)


def test_look_that_is_planned_stays_when_the_ca_is_told_more() -> None:
    pace = Pace()
    watch = pace.look("ca", None, NOW, told=True)
    planned = watch.next
    watch = pace.look("ca", watch, NOW + seconds(0.03), told=True)
    assert (watch.next, watch.looks) == (planned, 1)
    watch = pace.look("ca", watch, NOW + seconds(0.05), told=False)
    assert (watch.next, watch.looks) == (NOW + seconds(0.075), 2)


def test_time_that_users_took_between_responses_is_not_learnt_as_the_cas() -> None:
    pace = Pace()
    watch = pace.look("ca", None, NOW, told=True)
    watch = pace.look("ca", watch, NOW + seconds(0.05), told=False)
    watch = pace.look("ca", watch, NOW + seconds(60), told=True)
    pace.done("ca", watch, NOW + seconds(60.1))
    assert pace.wait("ca", seconds(0)) < seconds(0.1)


def test_job_that_another_thread_changed_is_gone_on_with_as_it_is_now(store: CountingStore) -> None:
    job: Job = order(store)
    work = Work(job, news=replace(job, version=job.version - 1))
    work.take_news()
    assert work.job is job
