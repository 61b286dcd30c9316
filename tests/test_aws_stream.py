"""What is committed reaches its subscribers through the table's stream: once, in order, and whatever goes wrong."""

import copy
import itertools
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certwright.aws.app import utc_now
from certwright.aws.told import Told
from certwright.errors import Unavailable
from certwright.events import (
    ChallengeResponded,
    ChallengesViewed,
    ChallengeValidated,
    Event,
    OrderCreated,
    OrderFinalized,
    OrderReady,
)
from certwright.local.test_ca import free_port
from certwright.model import (
    Account,
    AccountStatus,
    Authorization,
    Challenge,
    ChallengeStatus,
    Order,
    OrderStatus,
    Role,
    system,
)
from tests.support.house import await_true
from tests.support.lambdas import Cloud, cloud
from tests.support.socket import Socket
from tests.support.stream import EventSourceMapping, Stream

NEWS = "subscription { auditEvents { id type } }"
ORDERS = "subscription { orderStatus { id status } }"
SYSTEM = system("default")


class World:
    """A cloud, its table's stream, and sockets that are subscribed."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.store = cloud.own.store
        self.operator = cloud.token("operator", Role.OPERATOR)
        self.stream = Stream(cloud.client, cloud.table_name)
        self.tell = cloud.stream()
        self.records()

    def records(self) -> list[dict[str, Any]]:
        """What the stream told since the last call: of events, accounts and orders."""
        return [r for r in self.stream.read() if "socket#" not in r["dynamodb"]["Keys"]["pk"]["S"]]

    def deliver(self, records: Sequence[dict[str, Any]] | None = None) -> list[str]:
        """Give records to the stream function; the numbers of those that failed."""
        answer = self.tell({"Records": self.records() if records is None else records})
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    @contextmanager
    def subscribed(self, query: str, token: str | None = None, **variables: Any) -> Iterator[Socket]:
        before = len(self.cloud.rows("#topic#"))
        with Socket(self.cloud.sockets.ws_url) as socket:
            socket.init(token or self.operator)
            socket.subscribe("1", query, **variables)
            await_true(lambda: len(self.cloud.rows("#topic#")) == before + 1)
            self.records()
            yield socket

    def news(self, *names: str) -> list[dict[str, Any]]:
        """The records of the making of tokens."""
        for name in names:
            self.cloud.token(name, Role.VIEWER)
        return self.records()

    def demote(self, token_id: str) -> None:
        """Leave a viewer's rights to an API token."""
        token = self.store.token(token_id)
        assert token
        self.store.commit((token, replace(token, role=Role.VIEWER)), events=[], actor=SYSTEM)

    def account(self) -> Account:
        now = utc_now()
        account = Account(
            id=self.store.new_id(),
            tenant="default",
            email="a@example.com",
            contact=(),
            acme_server="https://ca.example/dir",
            status=AccountStatus.VALID,
            sealed_key="sealed",
            key_thumbprint="thumbprint",
            created_at=now,
            updated_at=now,
        )
        return self.store.save(None, account, events=[], actor=SYSTEM)

    def order(self, account_id: str = "account", tenant: str = "default") -> Order:
        now, id = utc_now(), self.store.new_id()
        order = Order(
            id=id,
            tenant=tenant,
            account_id=account_id,
            acme_server="https://ca.example/dir",
            domains=("a.example",),
            status=OrderStatus.NEW,
            csr="csr",
            created_at=now,
            updated_at=now,
        )
        created = OrderCreated(subject_id=id, account_id=account_id, domains=order.domains)
        return self.store.save(None, order, events=[created], actor=system(tenant))

    def advance(self, order: Order, *kinds: Any, **changes: Any) -> Order:
        """A commit of the order with events of these kinds."""
        events: list[Event] = [kind(subject_id=order.id, account_id=order.account_id) for kind in kinds]
        return self.store.save(order, replace(order, **changes), events=events, actor=system(order.tenant))


def quiet(socket: Socket) -> bool:
    """Whether nothing more was sent: messages of one socket come in the order of their sending."""
    socket.send({"type": "ping"})
    return bool(socket.get() == {"type": "pong"})


def results(socket: Socket, number: int) -> list[Any]:
    """So many results of a subscription."""
    found = [socket.get() for _ in range(number)]
    assert {message["type"] for message in found} <= {"next"}, found
    return [next(iter(message["payload"]["data"].values())) for message in found]


def told(socket: Socket, number: int) -> list[Any]:
    """So many results of a subscription, and no more."""
    found = results(socket, number)
    assert quiet(socket)
    return found


@pytest.fixture
def world(dynamodb: Any) -> Iterator[World]:
    with cloud(dynamodb) as running:
        yield World(running)


def each(records: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Every record in a batch of its own."""
    return [[record] for record in records]


# Who is told of what


def test_event_is_told_to_those_who_listen_to_it_and_to_nobody_else(world: World) -> None:
    other = world.cloud.token("other", Role.ADMIN, tenant="other")
    order, elsewhere = world.order(), world.order()
    mine = f'subscription {{ orderStatus(id: "{order.id}") {{ id status }} }}'
    theirs = f'subscription {{ orderStatus(id: "{elsewhere.id}") {{ id status }} }}'
    with (
        world.subscribed(mine) as one,
        world.subscribed(ORDERS) as all,
        world.subscribed(theirs) as silent,
        world.subscribed(ORDERS, other) as foreign,
    ):
        world.advance(order, OrderFinalized, status=OrderStatus.PENDING)
        assert world.deliver() == []
        seen = {"id": order.id, "status": "PENDING"}
        assert (told(one, 1), told(all, 1)) == ([seen], [seen])
        assert quiet(silent)
        assert quiet(foreign)


def test_event_reads_the_subscriptions_of_its_own_topics_alone(world: World) -> None:
    account, elsewhere = world.account(), world.order()
    order = world.order(account.id)
    with world.subscribed(f'subscription {{ orderStatus(id: "{elsewhere.id}") {{ id }} }}'):
        world.advance(order, OrderFinalized)
        with world.cloud.counted() as calls:
            assert world.deliver() == []
    read = {name: number for name, number in calls.items() if "#topic#" in name}
    assert read == {f"Query default#topic#{subject}": 1 for subject in ("-", order.id, account.id)}
    assert not any(name.startswith("Scan") for name in calls)


def test_orders_of_an_account_are_told_to_those_who_listen_to_it(world: World) -> None:
    account, other = world.account(), world.account()
    query = f'subscription {{ orderStatus(accountId: "{account.id}") {{ id }} }}'
    with world.subscribed(query) as socket:
        order = world.order(account.id)
        world.order(other.id)
        assert world.deliver() == []
        assert told(socket, 1) == [{"id": order.id}]


def test_states_are_shown_as_they_were_and_once_for_each_commit(world: World) -> None:
    order = world.order()
    with world.subscribed(ORDERS) as socket:
        placed = world.advance(order, OrderFinalized, ChallengesViewed, status=OrderStatus.PENDING)
        world.advance(placed, OrderReady, status=OrderStatus.READY)
        assert world.deliver() == []
        assert [seen["status"] for seen in told(socket, 2)] == ["PENDING", "READY"]


def test_state_that_was_overtaken_is_left_to_the_event_that_overtook_it(world: World) -> None:
    order = world.order()
    with world.subscribed(ORDERS) as socket:
        placed = world.advance(order, OrderFinalized, ChallengesViewed, status=OrderStatus.PENDING)
        ready = world.advance(placed, OrderReady, status=OrderStatus.READY)
        world.store.claim(ready, utc_now() + timedelta(minutes=1))
        events = [r for r in world.records() if "#event#" in r["dynamodb"]["Keys"]["pk"]["S"]]
        assert [world.deliver(batch) for batch in each(events)] == [[], []]
        assert [seen["status"] for seen in told(socket, 1)] == ["READY"]


def test_challenges_are_shown_with_each_of_their_changes(world: World) -> None:
    challenge = Challenge("c", "dns-01", "https://ca.example/c", ChallengeStatus.PENDING, token="t")
    authorization = Authorization("https://ca.example/a", "a.example", challenges=(challenge,))
    order = world.advance(world.order(world.account().id), OrderFinalized, authorizations=(authorization,))
    query = f'subscription {{ challengeStatus(orderId: "{order.id}") {{ id status preparation {{ __typename }} }} }}'
    with world.subscribed(query) as socket:
        for status, kind in (
            (ChallengeStatus.PROCESSING, ChallengeResponded),
            (ChallengeStatus.VALID, ChallengeValidated),
        ):
            changed = replace(authorization, challenges=(replace(challenge, status=status),))
            event = kind(
                subject_id=order.id,
                account_id=order.account_id,
                challenge_id="c",
                identifier="a.example",
                challenge_type="dns-01",
            )
            order = world.store.save(order, replace(order, authorizations=(changed,)), events=[event], actor=SYSTEM)
        assert world.deliver() == []
        assert [seen["status"] for seen in told(socket, 2)] == ["PROCESSING", "VALID"]
        viewings = [
            r for r in world.store.records("default", first=50, after=None).nodes if r.type == "ChallengesViewed"
        ]
        assert len(viewings) == 1


def test_dashboard_is_shown_once_for_a_batch(world: World) -> None:
    with world.subscribed("subscription { dashboard { counts { orders } } }") as socket:
        for _ in range(5):
            world.order()
        assert world.deliver() == []
        assert told(socket, 1) == [{"counts": {"orders": 5}}]
        assert world.deliver(world.news("no order")) == []
        assert quiet(socket)


def test_every_message_has_a_name_of_its_own(world: World) -> None:
    with world.subscribed(NEWS) as socket:
        world.deliver(world.news("a", "b"))
        messages = [socket.get(), socket.get()]
        ids = [message["payload"]["data"]["auditEvents"]["id"] for message in messages]
        assert [message["payload"]["extensions"]["messageId"] for message in messages] == [f"{id}/0" for id in ids]


# Permissions, when it is told


def test_subscription_of_a_revoked_token_ends_instead_of_being_told(world: World) -> None:
    token, text = world.cloud.tokens.create("leaver", Role.OPERATOR, SYSTEM)
    with world.subscribed(NEWS, text) as socket, world.subscribed(NEWS) as other:
        world.cloud.tokens.revoke(token.id, SYSTEM)
        assert world.deliver() == []
        assert socket.get()["payload"][0]["extensions"] == {"code": "UNAUTHENTICATED", "closeCode": 4403}
        assert [seen["type"] for seen in told(other, 1)] == ["TokenRevoked"]
        assert len(world.cloud.rows("#topic#")) == 1
        world.deliver(world.news("more"))
        assert quiet(socket)


def test_subscription_that_is_refused_now_ends_and_is_told_so(world: World) -> None:
    order = world.order()
    with world.subscribed(f'subscription {{ orderStatus(id: "{order.id}") {{ id }} }}') as socket:
        world.advance(order, OrderFinalized)
        key = {"pk": {"S": "default#order"}, "sk": {"S": order.id}}
        events = [r for r in world.records() if "#event#" in r["dynamodb"]["Keys"]["pk"]["S"]]
        world.cloud.client.delete_item(TableName=world.cloud.table_name, Key=key)
        assert world.deliver(events) == []
        assert socket.get()["payload"][0]["extensions"]["code"] == "NOT_FOUND"
        assert world.cloud.rows("#topic#") == []


@pytest.mark.parametrize(("roles", "executions"), [("V", 1), ("VVVV", 1), ("VOV", 2)])
def test_same_operation_is_executed_once_for_all_with_the_same_rights(
    world: World, roles: str, executions: int
) -> None:
    order = world.order(world.account().id)
    query = f'subscription {{ challengeStatus(orderId: "{order.id}") {{ id }} }}'
    tokens = {"V": world.cloud.token("viewer", Role.VIEWER), "O": world.operator}
    with ExitStack() as stack:
        for role in roles:
            stack.enter_context(world.subscribed(query, tokens[role]))
        world.advance(order, OrderFinalized)
        with world.cloud.counted() as calls:
            assert world.deliver() == []
    assert calls["GetItem default#account"] == executions


def test_rights_are_looked_at_for_each_who_subscribed_to_the_same(world: World) -> None:
    token, text = world.cloud.tokens.create("demoted", Role.OPERATOR, SYSTEM)
    with world.subscribed(NEWS) as before, world.subscribed(NEWS, text) as demoted, world.subscribed(NEWS) as after:
        world.demote(token.id)
        assert world.deliver(world.news("more")) == []
        assert demoted.get()["payload"][0]["extensions"]["code"] == "FORBIDDEN"
        assert [[seen["type"] for seen in told(socket, 1)] for socket in (before, after)] == [["TokenCreated"]] * 2


def test_each_is_refused_by_itself_what_all_asked_for(world: World) -> None:
    names = ("one", "two")
    tokens = [world.cloud.tokens.create(name, Role.OPERATOR, SYSTEM) for name in names]
    with world.subscribed(NEWS, tokens[0][1]) as one, world.subscribed(NEWS, tokens[1][1]) as two:
        for token, _ in tokens:
            world.demote(token.id)
        assert world.deliver(world.news("more")) == []
        assert [socket.get()["type"] for socket in (one, two)] == ["error", "error"]
    denied = [r for r in world.store.records("default", first=20, after=None).nodes if r.type == "OperationDenied"]
    assert {record.actor for record in denied} == {f"token:{name}" for name in names}


# Sockets that fail


def test_gone_socket_is_forgotten_and_fails_nobody(world: World) -> None:
    with world.subscribed(NEWS), world.subscribed(NEWS) as good:
        gone = next(iter(world.cloud.sockets.connected))
        world.cloud.sockets.fail(gone, 410)
        assert world.deliver(world.news("a")) == []
        assert len(told(good, 1)) == 1
        assert [row for row in world.cloud.rows("#topic#") + world.cloud.rows("socket#") if gone in row] == []


@pytest.mark.parametrize("status", [500, None])
def test_socket_that_takes_nothing_is_closed_and_neither_delays_nor_fails_the_others(
    world: World, status: int | None
) -> None:
    with world.subscribed(NEWS) as dead, world.subscribed(NEWS) as good:
        id = next(iter(world.cloud.sockets.connected))
        if status is None:
            world.cloud.sockets.stall(id, 30)
        else:
            world.cloud.sockets.fail(id, status)
        records = world.news("a", "b", "c")
        began = time.monotonic()
        assert world.deliver(records) == []
        assert time.monotonic() - began < 4
        assert len(told(good, 3)) == 3
        assert dead.closed() == 1000
        assert [row for row in world.cloud.rows("#topic#") if id in row] == []


def test_hundred_gone_sockets_are_forgotten_and_fail_nobody(world: World) -> None:
    with world.subscribed(NEWS) as good:
        connections = world.cloud.own.connections
        [mine] = connections.subscribers(("default", None))
        for number in range(100):
            connections.open(f"dead{number}", mine.session)
            connections.add(replace(mine, connection_id=f"dead{number}"), 0)
        world.records()
        assert world.deliver(world.news("a")) == []
        assert len(told(good, 1)) == 1
        assert len(world.cloud.rows("#topic#")) == 1


def test_event_is_told_again_when_api_gateway_takes_nothing_at_all(world: World) -> None:
    with world.subscribed(NEWS) as socket:
        id = world.cloud.sockets.newest
        records = world.news("a")
        world.cloud.sockets.fail(id, 429)
        assert len(world.deliver(records)) == 1
        world.cloud.sockets.recover(id)
        assert world.deliver(records) == []
        assert len(told(socket, 1)) == 1


def test_socket_is_not_blamed_for_an_api_gateway_that_cannot_be_reached(world: World) -> None:
    with world.subscribed(NEWS) as socket:
        records = world.news("a")
        world.tell = world.cloud.stream(endpoint=f"http://127.0.0.1:{free_port()}/live")
        assert len(world.deliver(records)) == 1
        assert len(world.cloud.rows("#topic#")) == 1
        world.tell = world.cloud.stream()
        assert world.deliver(records) == []
        assert len(told(socket, 1)) == 1


def test_message_that_is_too_large_ends_its_subscription_alone(world: World) -> None:
    huge = "subscription { orderStatus { " + " ".join(f"d{n}: domains" for n in range(29)) + " id } }"
    with world.subscribed(huge) as socket, world.subscribed(ORDERS) as good:
        order = world.order()
        world.records()
        names = tuple(f"{'n' * 50}{n}.example" for n in range(100))
        world.advance(order, OrderFinalized, domains=names)
        assert world.deliver() == []
        refused = socket.get()
        assert (refused["type"], refused["payload"][0]["extensions"]["code"]) == ("error", "INVALID_INPUT")
        assert len(told(good, 1)) == 1
        assert len(world.cloud.rows("#topic#")) == 1


# Records that come twice, late, crosswise or not at all


def test_records_that_come_again_are_told_to_nobody_twice(world: World) -> None:
    with world.subscribed(NEWS) as socket, world.subscribed(NEWS) as other:
        records = world.news("a", "b", "c")
        events = [r for r in records if "#event#" in r["dynamodb"]["Keys"]["pk"]["S"]]
        batches = [records, records, events[1:], [*events, *events], events[:1]]
        assert [world.deliver(batch) for batch in batches] == [[]] * 5
        assert len(told(socket, 3)) == len(told(other, 3)) == 3


def test_records_in_the_wrong_order_are_told_in_the_right_one_and_none_is_lost(world: World) -> None:
    order = world.order()
    with world.subscribed(NEWS) as trail, world.subscribed(ORDERS) as socket:
        placed = world.advance(order, OrderFinalized, status=OrderStatus.PENDING)
        world.advance(placed, OrderReady, status=OrderStatus.READY)
        assert world.deliver(world.records()[::-1]) == []
        assert [seen["type"] for seen in told(trail, 2)] == ["OrderFinalized", "OrderReady"]
        assert [seen["status"] for seen in told(socket, 2)] == ["PENDING", "READY"]


def test_batches_in_the_wrong_order_end_with_the_newest_state(world: World) -> None:
    order = world.order()
    with world.subscribed(NEWS) as trail, world.subscribed(ORDERS) as socket:
        placed = world.advance(order, OrderFinalized, status=OrderStatus.PENDING)
        world.advance(placed, OrderReady, status=OrderStatus.READY)
        events = [r for r in world.records() if "#event#" in r["dynamodb"]["Keys"]["pk"]["S"]]
        assert [world.deliver(batch) for batch in each(events[::-1])] == [[], []]
        assert sorted(seen["type"] for seen in told(trail, 2)) == ["OrderFinalized", "OrderReady"]
        assert [seen["status"] for seen in told(socket, 1)] == ["READY"]


def test_poison_record_fails_for_itself_alone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with world.subscribed(NEWS) as socket:
        records = world.news("a", "b", "c")
        events = [r for r in records if "#event#" in r["dynamodb"]["Keys"]["pk"]["S"]]
        poison = copy.deepcopy(events[1])
        poison["dynamodb"]["NewImage"]["_at"] = {"S": "not a time"}
        batch = [events[0], poison, events[2]]
        for _ in range(3):
            assert world.deliver(batch) == [poison["dynamodb"]["SequenceNumber"]]
        assert len(told(socket, 2)) == 2
        assert len(world.cloud.shipped.records) == 2
        assert poison["dynamodb"]["SequenceNumber"] in caplog.text


def test_stream_goes_on_after_a_poison_record_which_reaches_the_failure_destination(world: World) -> None:
    with world.subscribed(NEWS) as socket:
        events = [r for r in world.news(*"abcdef") if "#event#" in r["dynamodb"]["Keys"]["pk"]["S"]]
        poison = copy.deepcopy(events[2])
        del poison["dynamodb"]["NewImage"]["b"]
        mapping = EventSourceMapping(world.stream, world.cloud.stream())
        mapping.take([*events[:2], poison, *events[3:]])
        assert mapping.failed == [poison]
        assert len(told(socket, 5)) == 5


class Killed(BaseException):
    """The process ends here."""


def test_function_that_was_killed_after_telling_some_tells_the_others_and_nobody_twice(world: World) -> None:
    with world.subscribed(NEWS) as one, world.subscribed(NEWS) as two:
        records = world.news("a")
        second = list(world.cloud.sockets.connected)[1]
        world.cloud.sockets.fail(second, 429)
        assert len(world.deliver(records)) == 1
        world.cloud.sockets.recover(second)
        world.tell = world.cloud.stream()
        assert world.deliver(records) == []
        assert len(told(one, 1)) == len(told(two, 1)) == 1


class Forgetful(Told):
    """A process that ends before it has noted whom it told."""

    def note(self, tenant: str, told: Mapping[str, Collection[str]]) -> None:  # noqa: ARG002
        raise Killed


def test_message_that_could_not_be_noted_before_the_end_is_repeated_under_the_same_name(world: World) -> None:
    with world.subscribed(NEWS) as socket:
        records = world.news("a")
        world.tell = world.cloud.stream(told=lambda app: Forgetful(app.table, app.seconds, app.store.new_id))
        with pytest.raises(Killed):
            world.deliver(records)
        world.tell = world.cloud.stream()
        assert world.deliver(records) == []
        first, second = socket.get(), socket.get()
        assert first == second
        assert quiet(socket)


def test_throttled_table_loses_nothing_and_tells_nobody_twice(world: World) -> None:
    with (
        world.subscribed(NEWS) as socket,
        world.subscribed(ORDERS) as orders,
        world.cloud.throttled(every=3) as refused,
    ):
        order = world.order()
        world.advance(order, OrderFinalized, status=OrderStatus.PENDING)
        world.cloud.token("last", Role.VIEWER)
        with EventSourceMapping(world.stream, world.cloud.stream(), most=2, attempts=20) as mapping:
            seen = [message["type"] for message in results(socket, 3)]
            states = [seen["orderStatus"]["status"] for seen in orders.payloads('"PENDING"')]
        assert quiet(socket)
        assert quiet(orders)
    assert sorted(seen) == ["OrderCreated", "OrderFinalized", "TokenCreated"]
    assert states in (["NEW", "PENDING"], ["PENDING"])
    assert mapping.failed == []
    assert len(refused) > 5


def test_telling_stops_in_time_and_goes_on_with_the_next_call(world: World) -> None:
    with world.subscribed(NEWS) as socket:
        records = world.news("a", "b")
        times = itertools.chain([0, 0], itertools.repeat(1000))
        world.tell = world.cloud.stream(monotonic=lambda: next(times))
        assert len(world.deliver(records)) >= 1
        world.tell = world.cloud.stream()
        assert world.deliver(records) == []
        assert len(told(socket, 2)) == 2


# Beyond subscribers


def test_events_are_shipped_once_and_due_work_is_announced(world: World) -> None:
    due = utc_now() + timedelta(seconds=5)
    order = world.order()
    world.advance(order, OrderFinalized, due=due)
    records = world.records()
    assert world.deliver(records) == []
    assert [record.type for record in world.cloud.shipped.records] == ["OrderCreated", "OrderFinalized"]
    [entry] = world.cloud.shipped.due
    assert (entry.pk, entry.sk, entry.due) == ("default#order", order.id, int(due.timestamp() * 1000))


def test_events_that_cannot_be_shipped_come_again_and_subscribers_do_not_wait(world: World) -> None:
    def refuse(_: object) -> None:
        raise Unavailable("not now")

    with world.subscribed(NEWS) as socket:
        records = world.news("a")
        world.tell = world.cloud.stream(ship=refuse)
        assert len(world.deliver(records)) == 1
        assert len(told(socket, 1)) == 1
        world.tell = world.cloud.stream()
        assert world.deliver(records) == []
        assert quiet(socket)
    assert [record.type for record in world.cloud.shipped.records] == ["TokenCreated"]
