"""graphql-transport-ws behind API Gateway: the same table of cases as on one machine, and what only happens there."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.exceptions import InvalidStatus

from certwright.aws.app import App, utc_now
from certwright.aws.connections import Connections, Subscription
from certwright.aws.dynamo_item import decode_item
from certwright.aws.websocket import serve
from certwright.errors import Conflict, Unauthenticated
from certwright.model import Role, system
from certwright.table import Item, Key, Table
from tests.support.gateway import MAX_FRAME, MAX_MESSAGE
from tests.support.house import await_true
from tests.support.issuer import Issuer, jwk
from tests.support.lambdas import Cloud, cloud
from tests.support.protocol_cases import CASES, STREAM, hold, subscribe
from tests.support.socket import PROTOCOL, Socket

KEY = ec.generate_private_key(ec.SECP256R1())


class Framed(Socket):
    """A client that keeps API Gateway's limits: frames of at most 32 KB."""

    def send(self, message: object) -> None:
        text = message if isinstance(message, str | bytes) else json.dumps(message)
        if isinstance(text, str) and len(text) > MAX_FRAME:
            self._connection.send(text[start : start + MAX_FRAME] for start in range(0, len(text), MAX_FRAME))
        else:
            super().send(text)


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        issuer.keys = [jwk(KEY)]
        yield issuer


@pytest.fixture(scope="module")
def world(dynamodb: Any, issuer: Issuer) -> Iterator[Cloud]:
    settings = {
        "CERTWRIGHT_OIDC_ISSUER": issuer.url,
        "CERTWRIGHT_OIDC_AUDIENCE": "certwright",
        "CERTWRIGHT_ALLOWED_ORIGINS": "https://console.example",
    }
    with cloud(dynamodb, settings=settings, in_order=True) as world:
        yield world


@pytest.fixture(scope="module")
def tokens(world: Cloud, issuer: Issuer) -> dict[str, str]:
    revoked, text = world.tokens.create("gone", Role.OPERATOR, system("default"))
    world.tokens.revoke(revoked.id, system("default"))
    operator = world.token("operator", Role.OPERATOR)
    return {
        "viewer": world.token("viewer", Role.VIEWER),
        "operator": operator,
        "revoked": text,
        "unknown": operator[:-1] + "x",
        "session": session(issuer, minutes=5),
        "expired": session(issuer, minutes=-5),
    }


def session(issuer: Issuer, **lasts: float) -> str:
    now = utc_now()
    start, end = min(now, now + timedelta(**lasts)) - timedelta(hours=1), now + timedelta(**lasts)
    return issuer.token(KEY, "ES256", iat=start.timestamp(), exp=end.timestamp())


@pytest.mark.parametrize("case", CASES)
def test_conversation(world: Cloud, tokens: dict[str, str], case: str) -> None:
    with Framed(world.sockets.ws_url) as socket:
        hold(socket, CASES[case], tokens, closes=False)


# Connecting


def test_our_subprotocol_is_chosen_among_several(world: Cloud) -> None:
    with Socket(world.sockets.ws_url, protocols=("graphql-ws", PROTOCOL)) as socket:
        assert socket.protocol == PROTOCOL


@pytest.mark.parametrize("protocols", [(), ("graphql-ws",), ("soap", "graphql-ws")])
def test_other_subprotocols_are_refused_while_connecting(world: Cloud, protocols: Sequence[str]) -> None:
    with pytest.raises(InvalidStatus, match="400"):
        Socket(world.sockets.ws_url, protocols=protocols)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://["])
def test_sockets_of_other_origins_are_refused_while_connecting(world: Cloud, origin: str) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        Socket(world.sockets.ws_url, headers={"Origin": origin})


@pytest.mark.parametrize("origin", ["https://console.example", "https://sockets.example"])
def test_sockets_of_allowed_origins_and_of_the_api_itself_are_let_in(world: Cloud, origin: str) -> None:
    with Socket(world.sockets.ws_url, headers={"Origin": origin}) as socket:
        assert socket.protocol == PROTOCOL


def test_connecting_leaves_nothing_in_the_table(world: Cloud) -> None:
    with Socket(world.sockets.ws_url) as socket:
        socket.send({"type": "complete", "id": "1"})
        socket.send({"type": "ping"})
        assert socket.get() == {"type": "pong"}
        assert world.rows(f"socket#{world.sockets.newest}") == []


def test_socket_is_recorded_before_it_is_told_so_and_without_its_credential(
    world: Cloud, tokens: dict[str, str]
) -> None:
    with Socket(world.sockets.ws_url) as socket:
        id = world.sockets.newest
        world.sockets.stall(id, 30)
        socket.send({"type": "connection_init", "payload": {"authorization": f"Bearer {tokens['viewer']}"}})
        await_true(lambda: world.rows(f"socket#{id}") == [f"socket#{id} connection"])
        [row] = world.items(f"socket#{id}")
        assert tokens["viewer"].split("_", 2)[2] not in str(decode_item(row))
        with pytest.raises(TimeoutError):
            socket.get(seconds=0.1)
        world.sockets.release(id)


@pytest.mark.parametrize(
    ("stack", "endpoint"),
    [
        ({}, "https://own.example/prod"),
        ({"STACK_SOCKETS": "https://api.example/live"}, "https://api.example/live"),
    ],
)
def test_sockets_are_posted_to_where_they_came_from_unless_the_stack_says_otherwise(
    stack: dict[str, str], endpoint: str
) -> None:
    asked = {}

    def client(service: str, **options: Any) -> object:
        asked[service] = options.get("endpoint_url")
        return object()

    request = {"connectionId": "c", "domainName": "own.example", "stage": "prod", "requestTimeEpoch": 1}
    function = serve(App({"CERTWRIGHT_STORE": "dynamodb:t", **stack}, client=client))
    function({"requestContext": {"eventType": "MESSAGE", **request}, "body": '{"type": "pong"}'}, None)
    assert asked["apigatewaymanagementapi"] == endpoint


# Large messages


def test_message_of_the_greatest_size_is_taken_in_frames_and_answered(world: Cloud) -> None:
    with Framed(world.sockets.ws_url) as socket:
        frame = json.dumps({"type": "ping", "payload": {"a": ""}}, separators=(",", ":"))
        filler = "x" * (MAX_MESSAGE - len(frame))
        socket.send(frame.replace('""', f'"{filler}"'))
        assert socket.get() == {"type": "pong", "payload": {"a": filler}}


def test_answer_that_is_too_large_is_refused_and_the_socket_goes_on(world: Cloud, tokens: dict[str, str]) -> None:
    fields = "{ types { name description fields { name description args { name description } } } }"
    with Framed(world.sockets.ws_url) as socket:
        socket.init(tokens["viewer"])
        socket.subscribe("1", "{" + " ".join(f"s{n}: __schema {fields}" for n in range(10)) + "}")
        refused = socket.get()
        assert (refused["type"], refused["id"]) == ("error", "1")
        assert "ask for less" in refused["payload"][0]["message"]
        assert socket.execute("{ __typename }") == {"data": {"__typename": "Query"}}


# Operations


def test_mutation_over_the_socket_is_audited_with_its_source(world: Cloud, tokens: dict[str, str]) -> None:
    with Socket(world.sockets.ws_url) as socket:
        socket.init(tokens["operator"])
        answer = socket.execute('mutation { cancelOrder(id: "nothing") { id } }')
        assert answer["errors"][0]["extensions"]["code"] == "NOT_FOUND"
        [record] = world.own.store.records("default", first=1, after=None).nodes
        assert (record.type, record.source_ip, record.request_id) == (
            "OperationFailed",
            "192.0.2.7",
            world.sockets.newest,
        )


def test_subscription_beyond_the_limit_is_refused_without_hurting_the_others(
    world: Cloud, tokens: dict[str, str]
) -> None:
    with Socket(world.sockets.ws_url) as socket:
        socket.init(tokens["operator"])
        id, connections = world.sockets.newest, world.own.connections
        connection = connections.find(id)
        assert connection
        for number in range(100):
            listening = Subscription(id, f"s{number}", STREAM, connection.session, ("default", None))
            connections.add(listening, 0)
        socket.send(subscribe(STREAM, "more").message)
        refused = socket.get()
        assert (refused["id"], refused["payload"][0]["extensions"]["code"]) == ("more", "UNAVAILABLE")
        socket.send({"type": "complete", "id": "s7"})
        socket.subscribe("more", STREAM["query"])
        socket.send({"type": "ping"})
        assert socket.get() == {"type": "pong"}
        assert len(world.rows("default#topic#-")) == 100
    await_true(lambda: world.rows("#topic#") == [])


def test_completed_and_disconnected_leave_nothing_behind(world: Cloud, tokens: dict[str, str]) -> None:
    with Socket(world.sockets.ws_url) as socket:
        socket.init(tokens["operator"])
        id = world.sockets.newest
        for name in ("a", "b"):
            socket.send(subscribe(STREAM, name).message)
        socket.send({"type": "complete", "id": "a"})
        socket.send({"type": "complete", "id": "never"})
        socket.execute("{ __typename }")
        assert len(world.rows("default#topic#-")) == 1
        assert len(world.rows(f"socket#{id}")) == 3
    await_true(lambda: world.rows(f"socket#{id}") + world.rows("#topic#") == [])


def test_everything_about_a_socket_expires_with_the_longest_life_it_can_have(
    world: Cloud, tokens: dict[str, str]
) -> None:
    with Socket(world.sockets.ws_url) as socket:
        socket.init(tokens["operator"])
        socket.send(subscribe(STREAM, "a").message)
        socket.send({"type": "complete", "id": "b"})
        socket.execute("{ __typename }")
        rows = world.items(f"socket#{world.sockets.newest}") + world.items("default#topic#")
        assert len(rows) == 4
        lives = [int(row["ttl"]["N"]) - utc_now().timestamp() for row in rows]
        assert all(0 < life <= 2 * 3600 + 600 for life in lives)


# Credentials and faults


def test_expired_socket_and_ended_sessions_are_found_out_at_the_next_operation(dynamodb: Any, issuer: Issuer) -> None:
    now = [utc_now()]
    settings = {"CERTWRIGHT_OIDC_ISSUER": issuer.url, "CERTWRIGHT_OIDC_AUDIENCE": "certwright"}
    with (
        cloud(dynamodb, settings=settings, clock=lambda: now[0], in_order=True) as world,
        Socket(world.sockets.ws_url) as user,
        Socket(world.sockets.ws_url) as program,
        Socket(world.sockets.ws_url) as other,
    ):
        user.init(session(issuer, minutes=5))
        token, text = world.tokens.create("leaver", Role.OPERATOR, system("default"))
        program.init(text)
        other.init(world.token("stays", Role.VIEWER))
        now[0] += timedelta(minutes=6)
        world.tokens.revoke(token.id, system("default"))
        for ended in (user, program):
            ended.subscribe("1", "{ __typename }")
            assert ended.get()["payload"][0]["extensions"] == {"code": "UNAUTHENTICATED", "closeCode": 4403}
        assert other.execute("{ __typename }")["data"]
        now[0] += timedelta(hours=3)
        other.subscribe("1", "{ __typename }")
        assert other.get()["payload"][0]["extensions"] == {"code": "UNAUTHENTICATED", "closeCode": 4401}


def test_fault_of_ours_is_told_masked_and_logged(dynamodb: Any, caplog: pytest.LogCaptureFixture) -> None:
    with cloud(dynamodb, in_order=True) as world, Socket(world.sockets.ws_url) as socket:
        token = world.token("viewer", Role.VIEWER)
        socket.init(token)
        dynamodb.delete_table(TableName=world.table_name)
        socket.subscribe("1", "{ __typename }")
        [error] = socket.get()["payload"]
        assert (error["extensions"]["code"], error["extensions"]["closeCode"]) == ("INTERNAL", 4500)
        assert error["extensions"]["reference"] in caplog.text
        socket.send({"type": "ping"})
        assert socket.get() == {"type": "pong"}


def test_database_that_is_too_busy_makes_an_operation_fail_and_the_socket_goes_on(dynamodb: Any) -> None:
    with cloud(dynamodb, in_order=True) as world, Socket(world.sockets.ws_url) as socket:
        socket.init(world.token("viewer", Role.VIEWER))
        with world.throttled(every=1):
            socket.subscribe("1", "{ __typename }")
            assert socket.get()["payload"][0]["extensions"] == {"code": "UNAVAILABLE"}
        assert socket.execute("{ __typename }")["data"]


def test_socket_that_is_gone_when_it_is_answered_is_forgotten(world: Cloud, tokens: dict[str, str]) -> None:
    with Socket(world.sockets.ws_url) as socket:
        socket.init(tokens["operator"])
        id = world.sockets.newest
        socket.send(subscribe(STREAM).message)
        await_true(lambda: len(world.rows(f"socket#{id}")) == 2)
        world.sockets.fail(id, 410)
        socket.send({"type": "ping"})
        await_true(lambda: world.rows(f"socket#{id}") + world.rows("default#topic#") == [])


# Messages of one socket, taken at once


@pytest.fixture(scope="module")
def parallel(dynamodb: Any) -> Iterator[Cloud]:
    with cloud(dynamodb) as parallel:
        yield parallel


def test_of_two_inits_at_once_one_is_acknowledged(parallel: Cloud) -> None:
    token = parallel.token("viewer", Role.VIEWER)
    with parallel.together("connection_init", 2), Socket(parallel.sockets.ws_url) as socket:
        for _ in range(2):
            socket.send({"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}})
        answers = sorted([socket.get(), socket.get()], key=lambda answer: str(answer["type"]))
    assert [answer["type"] for answer in answers] == ["connection_ack", "error"]
    assert answers[1]["payload"][0]["extensions"] == {"code": "CONFLICT", "closeCode": 4429}


def test_of_two_subscriptions_with_one_id_at_once_one_is_kept(parallel: Cloud) -> None:
    with parallel.together("subscribe", 2), Socket(parallel.sockets.ws_url) as socket:
        socket.init(parallel.token("viewer", Role.VIEWER))
        for _ in range(2):
            socket.send(subscribe(STREAM).message)
        assert socket.get()["payload"][0]["extensions"] == {"code": "CONFLICT", "closeCode": 4409}
        assert len(parallel.rows("default#topic#-")) == 1
    await_true(lambda: parallel.rows("#topic#") == [])


def test_complete_that_overtakes_its_subscribe_ends_it_all_the_same(parallel: Cloud) -> None:
    with Socket(parallel.sockets.ws_url) as socket:
        socket.init(parallel.token("viewer", Role.VIEWER))
        with parallel.delayed("subscribe") as go:
            socket.send(subscribe(STREAM).message)
            socket.send({"type": "complete", "id": "1"})
            await_true(lambda: len(parallel.rows(f"socket#{parallel.sockets.newest}")) == 2)
            go.set()
            parallel.sockets.settle()
        assert parallel.rows("#topic#") == []
        socket.subscribe("1", STREAM["query"])
        await_true(lambda: len(parallel.rows("#topic#")) == 1)
    await_true(lambda: parallel.rows("#topic#") == [])


def test_complete_that_comes_late_leaves_a_later_operation_with_its_id_alone(parallel: Cloud) -> None:
    with Socket(parallel.sockets.ws_url) as socket:
        socket.init(parallel.token("viewer", Role.VIEWER))
        with parallel.delayed("complete") as go:
            socket.send({"type": "complete", "id": "1"})
            time.sleep(0.005)  # The times of messages count milliseconds.
            socket.send(subscribe(STREAM).message)
            await_true(lambda: len(parallel.rows("#topic#")) == 1)
            go.set()
            parallel.sockets.settle()
        assert len(parallel.rows("#topic#")) == 1
    await_true(lambda: parallel.rows("#topic#") == [])


def test_subscribe_that_comes_after_the_end_of_its_socket_leaves_nothing(parallel: Cloud) -> None:
    with parallel.delayed("subscribe") as go:
        with Socket(parallel.sockets.ws_url) as socket:
            socket.init(parallel.token("viewer", Role.VIEWER))
            id = parallel.sockets.newest
            socket.send(subscribe(STREAM).message)
            await_true(lambda: len(parallel.sockets.held) == 1)
        await_true(lambda: parallel.rows(f"socket#{id}") == [])
        go.set()
        parallel.sockets.settle()
    assert parallel.rows(f"socket#{id}") + parallel.rows("#topic#") == []


class Interrupted:
    """A table where something else happens between what is read and what follows from it."""

    def __init__(self, table: Table, meanwhile: Callable[[], None]) -> None:
        self.write = table.write
        self._table = table
        self._meanwhile = meanwhile

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        found = self._table.get(keys)
        self._meanwhile()
        return found

    def query(self, pk: str, **options: Any) -> list[Item]:
        found = self._table.query(pk, **options)
        self._meanwhile()
        return found


def interrupted(cloud: Cloud, meanwhile: Callable[[], None]) -> Connections:
    table: Any = Interrupted(cloud.own.table, meanwhile)
    return Connections(table, cloud.own.seconds)


def test_complete_at_the_end_of_its_socket_leaves_nothing(parallel: Cloud) -> None:
    with Socket(parallel.sockets.ws_url) as socket:
        socket.init(parallel.token("viewer", Role.VIEWER))
        id = parallel.sockets.newest
        interrupted(parallel, lambda: parallel.own.connections.forget(id)).complete(id, "1", 1)
        assert parallel.rows(f"socket#{id}") == []


def test_subscribe_at_the_end_of_its_socket_leaves_nothing(parallel: Cloud) -> None:
    with Socket(parallel.sockets.ws_url) as socket:
        socket.init(parallel.token("viewer", Role.VIEWER))
        id, connections = parallel.sockets.newest, parallel.own.connections
        connection = connections.find(id)
        assert connection
        late = Subscription(id, "1", STREAM, connection.session, ("default", None))

        def subscribe_meanwhile() -> None:
            with suppress(Conflict, Unauthenticated):
                connections.add(late, 1)

        interrupted(parallel, subscribe_meanwhile).forget(id)
        assert parallel.rows(f"socket#{id}") + parallel.rows("#topic#") == []
