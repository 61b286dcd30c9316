"""Subscriptions through the real server: each change once and in order, to those alone who may see it."""

import asyncio
import itertools
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from graphql import ExecutionResult

from certwright.api.context import Context, Notices, Patience
from certwright.api.schema import schema
from certwright.config import Settings
from certwright.errors import Unavailable
from certwright.events import TokenCreated, record
from certwright.local.app import utc_now
from certwright.local.broadcast import Broadcast
from certwright.model import Actor, Role, system
from certwright.store import Notice
from tests.support.house import House, await_true
from tests.support.issuer import Issuer, jwk
from tests.support.socket import Socket
from tests.support.stub_ca import StubCa

ISSUANCE = ["NEW", "PENDING", "READY", "PROCESSING", "VALID"]
NEWS = "subscription { auditEvents { type } }"


@contextmanager
def subscribed(house: House, query: str, token: str | None = None, **variables: Any) -> Iterator[Socket]:
    """A socket with a subscription that is listening already, as operation 1."""
    before = house.app.broadcast.listening
    with Socket(house.ws_url) as socket:
        socket.init(token or house.operator)
        socket.subscribe("1", query, **variables)
        await_true(lambda: house.app.broadcast.listening == before + 1)
        yield socket


def statuses(payloads: list[dict[str, Any]]) -> list[str]:
    """The order's statuses, a repeated one told once."""
    return [status for status, _ in itertools.groupby(p["orderStatus"]["status"] for p in payloads)]


# What is seen


def test_every_change_of_an_order_is_seen_once_and_in_order(house: House) -> None:
    account = house.create_account()
    query = "subscription($a: ID) { orderStatus(accountId: $a) { id status updatedAt certificate { names } } }"
    with (
        subscribed(house, query, a=account["id"]) as socket,
        subscribed(house, "subscription { auditEvents { type subjectId } }") as trail,
    ):
        order = house.issue(account["id"], "seen.example")
        seen = socket.payloads('"VALID"')
        told = [e["auditEvents"]["type"] for e in trail.payloads("OrderFulfilled") if _about(e, order["id"])]
    assert statuses(seen) == ISSUANCE
    assert seen[-1]["orderStatus"]["certificate"] == {"names": ["seen.example"]}
    assert {s["orderStatus"]["id"] for s in seen} == {order["id"]}
    assert [s["orderStatus"]["updatedAt"] for s in seen] == sorted(s["orderStatus"]["updatedAt"] for s in seen)
    assert told == house.audit_types(order["id"])


def _about(event: dict[str, Any], subject_id: str) -> bool:
    return bool(event["auditEvents"]["subjectId"] == subject_id)


def test_one_order_the_account_and_the_tenant_see_the_same_changes(house: House) -> None:
    account = house.create_account()
    order = house.create_order(account["id"], "three.example")
    house.challenges(order["id"])
    queries = (
        f'subscription {{ orderStatus(id: "{order["id"]}") {{ id status }} }}',
        f'subscription {{ orderStatus(accountId: "{account["id"]}") {{ id status }} }}',
        "subscription { orderStatus { id status } }",
    )
    with (
        subscribed(house, queries[0]) as one,
        subscribed(house, queries[1]) as two,
        subscribed(house, queries[2]) as three,
    ):
        house.prove(order["id"])
        seen = [socket.payloads('"VALID"') for socket in (one, two, three)]
    assert statuses(seen[0]) == ISSUANCE[1:]
    assert seen[0] == seen[1] == seen[2]


def test_order_status_by_id_and_account_is_silent_about_others(stub_house: House) -> None:
    account, other = stub_house.create_account(), stub_house.create_account(email="b@example.com")
    query = "subscription($a: ID) { orderStatus(accountId: $a) { id } }"
    with subscribed(stub_house, query, a=account["id"]) as socket:
        stub_house.create_order(other["id"], "other.example")
        order = stub_house.create_order(account["id"], "mine.example")
        assert socket.get()["payload"]["data"] == {"orderStatus": {"id": order["id"]}}


def test_challenge_status_shows_each_challenge_from_placing_to_valid(house: House) -> None:
    order = house.create_order(house.create_account()["id"], "challenge.example", "second.example")
    house.challenges(order["id"])
    query = "subscription($o: ID!) { challengeStatus(orderId: $o) { id type identifier status validatedAt } }"
    with subscribed(house, query, o=order["id"]) as socket:
        answered = house.prove(order["id"])
        seen = [socket.get()["payload"]["data"]["challengeStatus"] for _ in range(4)]
    for challenge in answered:
        mine = [s for s in seen if s["id"] == challenge["id"]]
        assert [s["status"] for s in mine] == ["PROCESSING", "VALID"]
        assert (mine[0]["validatedAt"], bool(mine[1]["validatedAt"])) == (None, True)


def test_failed_challenge_is_seen_with_its_error(stub_house: House, stub: StubCa) -> None:
    order = stub_house.create_order(stub_house.create_account()["id"], "fails.example")
    stub.validation = "invalid"
    [challenge] = [c for c in stub_house.challenges(order["id"]) if c["type"] == "dns-01"]
    query = "subscription($o: ID!) { challengeStatus(orderId: $o) { status error { type } } }"
    with subscribed(stub_house, query, o=order["id"]) as socket:
        stub_house.respond(challenge["id"])
        assert [s["challengeStatus"]["status"] for s in socket.payloads('"INVALID"')] == ["PROCESSING", "INVALID"]


def test_watching_what_a_challenge_asks_for_is_audited_as_a_viewing(stub_house: House) -> None:
    order = stub_house.create_order(stub_house.create_account()["id"], "viewed.example")
    stub_house.challenges(order["id"])
    for fields, viewings in (("status", 1), ("status preparation { __typename }", 2)):
        query = f"subscription($o: ID!) {{ challengeStatus(orderId: $o) {{ {fields} }} }}"
        with subscribed(stub_house, query, o=order["id"]):
            assert stub_house.audit_types(order["id"]).count("ChallengesViewed") == viewings


def test_dashboard_shows_many_changes_by_few_messages_and_ends_with_the_newest(tmp_path: Path, stub: StubCa) -> None:
    with House(tmp_path, stub, patience=Patience(dashboard=1)) as house:
        account = house.create_account()
        with subscribed(house, "subscription { dashboard { counts { orders ordersOpen } } }") as socket:
            for number in range(20):
                house.create_order(account["id"], f"n{number}.example")
            seen = socket.payloads('"orders": 20')
    assert 2 <= len(seen) <= 12
    orders = [s["dashboard"]["counts"]["orders"] for s in seen]
    assert orders == sorted(orders)


def test_dashboard_that_shows_challenges_does_not_feed_itself(tmp_path: Path, stub: StubCa) -> None:
    query = "subscription { dashboard { recentOrders { id challenges { preparation { __typename } } } } }"
    with House(tmp_path, stub, patience=Patience(dashboard=0)) as house:
        order = house.create_order(house.create_account()["id"], "loop.example")
        house.challenges(order["id"])
        with subscribed(house, query) as socket:
            house.graphql("mutation($o: ID!) { cancelOrder(id: $o) { id } }", o=order["id"])
            socket.get()
            with pytest.raises(TimeoutError):
                socket.get(seconds=0.5)
        assert house.audit_types(order["id"]).count("ChallengesViewed") == 2


def test_queries_on_a_socket_see_the_present_state_each_time(stub_house: House) -> None:
    order = stub_house.create_order(stub_house.create_account()["id"], "fresh.example")
    stub_house.challenges(order["id"])
    query = "query($o: ID!) { order(id: $o) { status } }"
    with Socket(stub_house.ws_url) as socket:
        socket.init(stub_house.operator)
        assert socket.execute(query, o=order["id"])["data"] == {"order": {"status": "PENDING"}}
        socket.execute("mutation($o: ID!) { cancelOrder(id: $o) { id } }", o=order["id"])
        assert socket.execute(query, o=order["id"])["data"] == {"order": {"status": "INVALID"}}


# Who may see it


def test_tenants_hear_nothing_of_each_other(stub_house: House) -> None:
    theirs = stub_house.token("them", Role.OPERATOR, tenant="theirs")
    queries = (
        "subscription { orderStatus { id } }",
        "subscription { dashboard { counts { orders } } }",
        "subscription { auditEvents { type } }",
    )
    with (
        subscribed(stub_house, queries[0], theirs) as orders,
        subscribed(stub_house, queries[1], theirs) as dashboard,
        subscribed(stub_house, queries[2], theirs) as events,
    ):
        stub_house.create_order(stub_house.create_account()["id"], "ours.example")
        stub_house.token("theirs too", Role.VIEWER, tenant="theirs")
        assert events.get()["payload"]["data"] == {"auditEvents": {"type": "TokenCreated"}}
        assert dashboard.get()["payload"]["data"] == {"dashboard": {"counts": {"orders": 0}}}
        with pytest.raises(TimeoutError):
            orders.get(seconds=0.2)


@pytest.mark.parametrize("field", ["orderStatus(id: $id) { id }", "challengeStatus(orderId: $id) { id }"])
def test_order_of_another_tenant_is_not_found(stub_house: House, field: str) -> None:
    order = stub_house.create_order(stub_house.create_account()["id"], "ours.example")
    with Socket(stub_house.ws_url) as socket:
        socket.init(stub_house.token("them", Role.ADMIN, tenant="theirs"))
        socket.subscribe("1", f"subscription($id: ID!) {{ {field} }}", id=order["id"])
        refused = socket.get()
    assert (refused["type"], refused["payload"][0]["extensions"]) == ("error", {"code": "NOT_FOUND"})


def test_refused_watching_of_the_audit_trail_is_written_down(stub_house: House) -> None:
    with Socket(stub_house.ws_url) as socket:
        socket.init(stub_house.viewer)
        socket.subscribe("1", NEWS)
        assert socket.get()["payload"][0]["extensions"] == {"code": "FORBIDDEN"}
    assert stub_house.audit()[0]["type"] == "OperationDenied"


def test_stream_of_a_revoked_token_ends_with_unauthenticated(tmp_path: Path) -> None:
    with House(tmp_path, patience=Patience(recheck=0.1, watch=60)) as house:
        token, text = house.app.tokens.create("leaver", Role.OPERATOR, system("default"))
        with subscribed(house, NEWS, text) as socket:
            house.app.tokens.revoke(token.id, system("default"))
            while "errors" not in (last := socket.get())["payload"]:
                house.token("news", Role.VIEWER)
            [error] = last["payload"]["errors"]
            assert error["extensions"] == {"code": "UNAUTHENTICATED"}
            assert socket.get() == {"type": "complete", "id": "1"}
            socket.subscribe("2", "{ __typename }")
            assert socket.closed() == 4403


def test_idle_socket_of_a_revoked_token_is_closed(tmp_path: Path) -> None:
    with House(tmp_path, patience=Patience(recheck=0.1, watch=0.1)) as house, Socket(house.ws_url) as staying:
        staying.init(house.operator)
        token, text = house.app.tokens.create("leaver", Role.OPERATOR, system("default"))
        with Socket(house.ws_url) as socket:
            socket.init(text)
            house.app.tokens.revoke(token.id, system("default"))
            assert socket.closed() == 4403
        assert staying.execute("{ __typename }") == {"data": {"__typename": "Query"}}


class Clock:
    """The time of day, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


def test_socket_ends_with_the_session_it_was_opened_with(tmp_path: Path) -> None:
    key, clock = ec.generate_private_key(ec.SECP256R1()), Clock()
    with Issuer() as issuer:
        issuer.keys = [jwk(key)]
        settings = replace(Settings.read({}, tmp_path), oidc_issuer=issuer.url, oidc_audience="certwright")
        now = utc_now()
        token = issuer.token(
            key, "ES256", iat=now.timestamp(), exp=(now + timedelta(minutes=5)).timestamp(), tenant="default"
        )
        house = House(tmp_path, settings=settings, clock=clock, patience=Patience(watch=0.1))
        with house, subscribed(house, NEWS, token) as socket:
            house.token("news", Role.VIEWER)
            assert socket.get()["payload"]["data"] == {"auditEvents": {"type": "TokenCreated"}}
            clock.ahead = timedelta(minutes=7)
            assert socket.closed() == 4403


# The event sources


def notice(sequence: int, subject_id: str = "s") -> Notice:
    actor = Actor("tester", Role.ADMIN, "default")
    told = record(
        TokenCreated(subject_id=subject_id, name="n", role="ADMIN"), actor, id="r", at=utc_now(), previous=None
    )
    return Notice(replace(told, sequence=sequence), None)


async def heard(broadcast: Broadcast, notices: list[Notice], number: int) -> list[int]:
    """The sequence numbers that a listener hears of notices published in this order."""
    broadcast.bind(asyncio.get_running_loop())
    listener = broadcast.listen("default", None)
    for one in notices:
        broadcast.publish([one])
    return [(await asyncio.wait_for(anext(listener), 5)).record.sequence for _ in range(number)]


def test_commits_told_crosswise_are_heard_in_their_order() -> None:
    told = [notice(number) for number in (1, 3, 4, 2, 5)]
    assert asyncio.run(heard(Broadcast(), told, 5)) == [1, 2, 3, 4, 5]


def test_commit_of_another_process_is_waited_for_in_vain_but_not_for_long() -> None:
    told = [notice(number) for number in (1, 4, 3, 5)]
    assert asyncio.run(heard(Broadcast(), told, 4)) == [1, 3, 4, 5]


def test_commits_of_different_subjects_do_not_wait_for_each_other() -> None:
    told = [notice(1, "a"), notice(3, "a"), notice(1, "b"), notice(2, "b")]
    assert asyncio.run(heard(Broadcast(), told, 4)) == [1, 1, 2, 3]


def test_listener_that_falls_behind_is_ended_and_others_are_not() -> None:
    async def fall_behind() -> None:
        broadcast = Broadcast()
        broadcast.bind(asyncio.get_running_loop())
        slow, quick = broadcast.listen("default", None), broadcast.listen("default", None)
        for number in range(1, 1502):
            broadcast.publish([notice(number)])
            assert (await anext(quick)).record.sequence == number
        with pytest.raises(Unavailable):
            await anext(slow)

    asyncio.run(fall_behind())


@dataclass
class OneShot:
    """An event source as a transport without live sockets has it: it yields one notice, or none, and ends."""

    notices: list[Notice]
    topics: list[tuple[str, str | None]] = field(default_factory=list)

    def listen(self, tenant: str, subject_id: str | None) -> Notices:
        self.topics.append((tenant, subject_id))
        return self._told()

    async def _told(self) -> AsyncGenerator[Notice, None]:
        for one in self.notices:
            yield one


def results(house: House, source: OneShot, token: str, query: str) -> list[Any]:
    """What `schema.subscribe` yields with another event source than the process's own."""

    async def collect() -> list[Any]:
        context = Context(replace(house.app.api, events=source), "r-1", None, lasts=True)
        await context.sign_in(f"Bearer {token}")
        stream = await schema.subscribe(query, context_value=context)
        assert not isinstance(stream, ExecutionResult)
        return [result async for result in stream]

    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(asyncio.run(collect())))
    thread.start()
    thread.join()
    return found


def test_subscription_runs_over_any_event_source(stub_house: House) -> None:
    order = stub_house.create_order(stub_house.create_account()["id"], "replayed.example")
    stored = stub_house.app.store.order("default", order["id"])
    source = OneShot([Notice(notice(1, order["id"]).record, stored)])
    query = f'subscription {{ orderStatus(id: "{order["id"]}") {{ domains }} }}'
    [result] = results(stub_house, source, stub_house.viewer, query)
    assert result.data == {"orderStatus": {"domains": ["replayed.example"]}}
    assert source.topics == [("default", order["id"])]
    assert results(stub_house, OneShot([]), stub_house.viewer, query) == []


def test_permissions_are_checked_before_an_event_source_is_asked(stub_house: House) -> None:
    source = OneShot([notice(1)])
    [result] = results(stub_house, source, stub_house.viewer, NEWS)
    assert (result.errors[0].extensions, source.topics) == ({"code": "FORBIDDEN"}, [])
