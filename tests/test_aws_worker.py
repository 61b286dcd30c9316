"""The worker function: hints and what becomes of them, the sweep, and a process that is killed at a bad moment."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from certwright.aws import worker
from certwright.aws.app import App, utc_now
from certwright.aws.dynamo_table import DynamoTable
from certwright.aws.hints import LONGEST_DELAY, Hints
from certwright.codec import microseconds
from certwright.table import Due, Operation, Table
from tests.support.cloud import TABLE, Cloud, LambdaContext, client
from tests.support.dynamo import throttling
from tests.support.stub_ca import StubCa


class Clock:
    """The present, or what a test makes of it."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubCa]:
    with StubCa(tmp_path / "stub") as stub:
        yield stub


@pytest.fixture
def cloud(stub: StubCa, clock: Clock) -> Iterator[Cloud]:
    with Cloud(stub, clock=clock) as cloud:
        yield cloud


@pytest.fixture
def order(cloud: Cloud) -> str:
    return str(cloud.create_order(cloud.create_account()["id"], "a.example")["id"])


def status(cloud: Cloud, order: str) -> str:
    return str(cloud.order(order)["status"])


def hint(order: str, message: str = "m1") -> dict[str, Any]:
    return {"messageId": message, "body": json.dumps({"pk": "default#order", "sk": order})}


def test_hint_brings_an_order_as_far_as_it_goes(cloud: Cloud, stub: StubCa, order: str) -> None:
    cloud.work()
    assert (status(cloud, order), stub.operations().count("newOrder")) == ("PENDING", 1)
    cloud.prove(order)
    cloud.work()
    assert status(cloud, order) == "VALID"
    assert cloud.due() == []


def test_hint_that_comes_many_times_does_no_more_than_one(cloud: Cloud, stub: StubCa, order: str) -> None:
    cloud.deliver([hint(order, f"m{n}") for n in range(10)])
    cloud.deliver([hint(order)])
    assert stub.operations().count("newOrder") == 1


def test_hint_of_what_is_leased_or_gone_or_done_is_passed_over(cloud: Cloud, stub: StubCa, order: str) -> None:
    store = cloud.app.store
    store.claim(store.order("default", order), utc_now() + timedelta(seconds=90))
    assert cloud.deliver([hint(order), hint("01GONE", "m2")]) == []
    assert "newOrder" not in stub.operations()


def test_hints_that_come_late_and_crosswise_change_nothing(cloud: Cloud, stub: StubCa, order: str) -> None:
    other = str(cloud.create_order(cloud.create_account()["id"], "b.example")["id"])
    hints = [[hint(order, "m1")], [hint(other, "m2")], [hint(order, "m3")]]
    assert [cloud.deliver(batch) for batch in hints[::-1]] == [[]] * 3
    for pending in (order, other):
        cloud.prove(pending)
    assert [cloud.deliver(batch) for batch in hints] == [[]] * 3
    assert {status(cloud, order), status(cloud, other)} == {"VALID"}
    asked = stub.operations()
    assert [cloud.deliver(batch) for batch in hints[::-1]] == [[]] * 3
    assert stub.operations() == asked


def test_sweep_recovers_an_order_whose_hint_was_dropped(cloud: Cloud, order: str) -> None:
    cloud.announce()
    assert len(cloud.messages()) == 1  # Taken, and lost.
    assert cloud.sweep() == 1
    assert cloud.deliver(cloud.messages()) == []
    assert status(cloud, order) == "PENDING"
    assert cloud.sweep() == 0


def test_sweep_announces_each_job_once_and_what_is_not_due_never(cloud: Cloud, clock: Clock, order: str) -> None:
    account = cloud.create_account()["id"]
    orders = {order, *(cloud.create_order(account, f"{n}.example")["id"] for n in range(4))}
    store = cloud.app.store
    store.claim(store.order("default", order), utc_now() + timedelta(seconds=90))
    assert cloud.sweep() == 4
    assert {json.loads(message["body"])["sk"] for message in cloud.messages()} == orders - {order}
    clock.ahead = timedelta(seconds=91)
    assert cloud.sweep() == 5


class ManyDue:
    """A store and a queue with nothing in them but numbers."""

    def __init__(self, due: int, waiting: int) -> None:
        self.entries = [Due("p", f"{n:05d}", n) for n in range(due)]
        self.waiting = lambda: waiting
        self.sent: list[Due] = []

    def due(self, _: datetime, *, limit: int, after: Due | None = None) -> list[Due]:
        start = self.entries.index(after) + 1 if after else 0
        return self.entries[start : start + limit]

    def send(self, entries: Sequence[Due]) -> int:
        self.sent += entries
        return len(entries)


@pytest.mark.parametrize(("due", "waiting", "sent"), [(450, 0, 450), (6000, 0, 5000), (6000, 4900, 100), (9, 5000, 0)])
def test_sweep_lets_no_more_wait_than_the_worker_can_take(due: int, waiting: int, sent: int) -> None:
    many: Any = ManyDue(due, waiting)
    assert worker.sweep(many, many, utc_now()) == sent
    assert many.sent == many.entries[:sent]


def test_message_that_is_no_hint_fails_alone(cloud: Cloud, order: str) -> None:
    bodies = ["{", "[]", "{}", json.dumps({"pk": 1, "sk": None})]
    poison = [{"messageId": f"p{n}", "body": body} for n, body in enumerate(bodies)]
    assert cloud.deliver([*poison, hint(order)]) == ["p0", "p1", "p2", "p3"]
    assert status(cloud, order) == "PENDING"


class Cut(BaseException):
    """The process is gone."""


class CutTable:
    """A table that reads, and whose writes `fails` judges: what it raises comes instead of the write."""

    def __init__(self, table: Table, fails: Callable[[Sequence[Operation]], None]) -> None:
        self.get, self.query, self.due = table.get, table.query, table.due
        self._table = table
        self._fails = fails

    def write(self, operations: Sequence[Operation]) -> None:
        self._fails(operations)
        self._table.write(operations)


def doomed(cloud: Cloud, fails: Callable[[Sequence[Operation]], None]) -> App:
    """The parts of another process, whose writes go as `fails` says."""
    app = cloud.new_app()
    app.table = CutTable(app.table, fails)
    return app


def throttled(every: int) -> Any:
    """A "dynamodb" client for which each `every`th answer is that there is too much to do."""
    dynamodb, calls = client("dynamodb"), itertools.count(1)

    def refuse(request: Any, **_: Any) -> AWSResponse | None:
        if next(calls) % every:
            return None
        request.headers["X-Amz-Target"] = "DynamoDB_20120810.ListTables"  # moto is called all the same.
        return throttling(request.url)

    dynamodb.meta.events.register_first("before-send.dynamodb", refuse)
    return dynamodb


def test_throttled_table_loses_nothing(cloud: Cloud, stub: StubCa, order: str) -> None:
    app = cloud.new_app()
    app.table = DynamoTable(throttled(every=3), TABLE, lambda: int(utc_now().timestamp()))
    handler = worker.serve(app)
    handler({"Records": [hint(order)]}, LambdaContext())
    cloud.prove(order)
    handler({"Records": [hint(order)]}, LambdaContext())
    assert status(cloud, order) == "VALID"
    assert stub.operations().count("newOrder") == 1


def test_job_that_fails_does_not_fail_the_others_of_its_batch(cloud: Cloud, order: str) -> None:
    other = cloud.create_order(cloud.create_account()["id"], "b.example")["id"]

    def fails(operations: Sequence[Operation]) -> None:
        if any(operation.key[1] == other for operation in operations):
            raise RuntimeError("a fault of our own")

    handler = worker.serve(doomed(cloud, fails))
    answer = handler({"Records": [hint(other, "m1"), hint(order, "m2")]}, LambdaContext())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert status(cloud, order) == "PENDING"


@pytest.mark.parametrize("operation", ["newOrder", "authorization", "challenge", "finalize", "certificate"])
def test_process_killed_between_ca_call_and_commit_loses_and_doubles_nothing(
    cloud: Cloud, stub: StubCa, clock: Clock, order: str, operation: str
) -> None:
    if operation not in ("newOrder", "authorization"):
        cloud.work()
        cloud.prove(order)
    before = stub.operations().count(operation)

    def fails(_: Sequence[Operation]) -> None:
        if stub.operations().count(operation) > before:
            raise Cut

    handler = worker.serve(doomed(cloud, fails))
    with pytest.raises(Cut):
        handler({"Records": [hint(order)]}, LambdaContext())
    assert cloud.sweep() == 0  # It is leased still.
    clock.ahead = timedelta(seconds=91)
    cloud.sweep()
    cloud.deliver(cloud.messages())
    if status(cloud, order) == "PENDING":
        cloud.prove(order)
        cloud.work()
    assert status(cloud, order) == "VALID"
    issued = cloud.graphql("{ certificates { edges { node { serial } } } }")["certificates"]["edges"]
    assert (len(issued), stub.operations().count("finalize")) == (1, 1)


def run(cloud: Cloud, clock: Clock, order: str) -> list[float]:
    """Run an order's steps; the pauses between them, in which only the clock goes on."""
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.ahead += timedelta(seconds=seconds)

    runner = worker.Runner(cloud.app.store, cloud.app.steps, clock=clock, sleep=sleep)
    runner.run(("default#order", order), clock() + timedelta(seconds=60))
    return pauses


def test_slow_ca_is_not_waited_for_but_asked_again_later(cloud: Cloud, stub: StubCa, clock: Clock, order: str) -> None:
    stub.processing_polls = 20
    cloud.work()
    cloud.prove(order)
    assert 0 < sum(run(cloud, clock, order)) <= worker.PATIENCE
    [entry] = cloud.due()
    assert status(cloud, order) == "PROCESSING"
    assert 0 < entry.due - microseconds(clock()) // 1000 <= 10_000
    for _ in range(20):
        clock.ahead += timedelta(seconds=11)
        cloud.work()
    assert status(cloud, order) == "VALID"


def test_ca_that_names_a_time_is_asked_then(cloud: Cloud, stub: StubCa, clock: Clock, order: str) -> None:
    stub.processing_polls, stub.poll_headers = 10_000, {"Retry-After": "30"}
    cloud.work()
    cloud.prove(order)
    assert sum(run(cloud, clock, order)) < 1
    [entry] = cloud.due()
    assert 25_000 < entry.due - microseconds(clock()) // 1000 <= 30_000
    assert cloud.announce() == 1


def test_function_that_is_about_to_end_gives_its_work_back(cloud: Cloud, stub: StubCa, order: str) -> None:
    stub.processing_polls = 10_000
    cloud.work()
    cloud.prove(order)
    assert cloud.deliver([hint(order)], seconds=1) == []
    [entry] = cloud.due()
    assert entry.due - microseconds(utc_now()) // 1000 < 3000


def test_ca_that_cannot_be_asked_is_tried_again_by_itself(cloud: Cloud, stub: StubCa, clock: Clock, order: str) -> None:
    stub.fail_next("newOrder", status=503, headers={"Retry-After": "20"})
    cloud.work()
    assert cloud.order(order)["delay"]["attempts"] == 1
    assert cloud.deliver([hint(order)]) == []
    assert stub.operations().count("newOrder") == 1
    clock.ahead = timedelta(seconds=21)
    cloud.sweep()
    cloud.deliver(cloud.messages())
    assert status(cloud, order) == "PENDING"


class Queue:
    """An SQS client that notes what it is sent, and refuses what a test wants refused."""

    def __init__(self, refused: Sequence[str] = ()) -> None:
        self.delays: dict[str, int] = {}
        self.batches: list[int] = []
        self._refused = refused

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: ARG002, N803
        self.batches.append(len(Entries))
        for entry in Entries:
            self.delays[json.loads(entry["MessageBody"])["sk"]] = entry["DelaySeconds"]
        failed = [entry for entry in Entries if json.loads(entry["MessageBody"])["sk"] in self._refused]
        taken = [{"Id": entry["Id"]} for entry in Entries if entry not in failed]
        return {"Successful": taken, "Failed": [{"Id": entry["Id"], "Code": "InternalError"} for entry in failed]}


def due_in(milliseconds: int, id: str) -> Due:
    return Due("default#order", id, 1_800_000_000_000 + milliseconds)


def at_1_800_000_000() -> datetime:
    return datetime.fromisoformat("2027-01-15T08:00:00+00:00")


def test_hints_come_when_work_is_due_and_not_before() -> None:
    queue = Queue()
    entries = [
        due_in(-5000, "past"),
        due_in(0, "now"),
        due_in(1, "soon"),
        due_in(9001, "later"),
        due_in(60_000, "minute"),
    ]
    assert Hints(queue, "q", at_1_800_000_000).send([*entries, due_in(60_001, "lease")]) == 5
    assert queue.delays == {"past": 0, "now": 0, "soon": 1, "later": 10, "minute": LONGEST_DELAY}


def test_hints_go_ten_at_a_time_and_each_job_once() -> None:
    queue = Queue(refused=["7"])
    entries = [due_in(0, str(n)) for n in range(25)]
    assert Hints(queue, "q", at_1_800_000_000).send([*entries, *entries]) == 24
    assert queue.batches == [10, 10, 5]


def test_queue_that_is_not_there_is_no_reason_to_fail(cloud: Cloud, order: str) -> None:
    assert order
    hints = Hints(client("sqs"), cloud.queue_url + "-gone", utc_now)
    assert hints.send(cloud.due()) == 0
