"""Orders whose challenges are answered by providers, through the API, against Pebble."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certwright.auth import DEFAULT_TENANT
from certwright.challenges.solver import SolverFailed
from certwright.config import Settings
from certwright.local.app import utc_now
from certwright.model import NameServer
from certwright.solvers import Dns
from tests.support.house import WAIT_SECONDS, GraphQLFailed, House, await_true, await_value
from tests.support.pebble import Pebble
from tests.support.stub_ca import StubCa
from tests.support.zone import Zone
from tests.test_fallback import Pair
from tests.test_subscriptions import subscribed


@pytest.fixture
def zone(pebble: Pebble) -> Zone:
    return Zone(pebble)


def house_of(folder: Path, pebble: Pebble, zone: Zone, *, dns: Dns | None = None, **settings: Any) -> House:
    base = replace(Settings.read({}, folder / "data"), **settings)
    return House(folder, pebble, settings=base, kinds={"test": zone.kind}, dns=dns or zone.dns)


@pytest.fixture
def house(tmp_path: Path, pebble: Pebble, zone: Zone) -> Iterator[House]:
    """With a short lease: what a step left undone that failed is taken up soon."""
    with house_of(tmp_path, pebble, zone, lease_seconds=2, propagation_seconds=3) as house:
        yield house


def provide(house: House, *zones: str, name: str = "the zone", token: str = "good") -> str:
    query = "mutation($i: CreateChallengeProviderInput!) { createChallengeProvider(input: $i) { id } }"
    settings = [{"name": "token", "value": token}]
    given = {"name": name, "kind": "test", "zones": zones, "settings": settings}
    return str(house.graphql(query, i=given)["createChallengeProvider"]["id"])


def order(house: House, *domains: str, **input: Any) -> str:
    return str(house.create_order(house.create_account()["id"], *domains, **input)["id"])


def solved(house: House, order_id: str) -> dict[str, Any]:
    query = """query($o: ID!) { order(id: $o) { status solver error { type detail subproblems { identifier detail } }
        delay { problem { type } } challenges { type status solver } presentations {
            challengeId record value state attempts problem { type detail } provider { id name }
            servers { name address agrees answered answer } } } }"""
    return dict(house.graphql(query, o=order_id)["order"])


def await_solved(house: House, order_id: str, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    return await_value(lambda: solved(house, order_id), is_it)


def await_tidy(house: House, order_id: str) -> None:
    await_solved(house, order_id, lambda o: o["presentations"] == [])


def most_at_once(house: House, order_id: str) -> int:
    """The most events of one commit, which share their time: DynamoDB takes 100 items in a transaction."""
    return max(Counter(record.at for record in house.app.store.chain(DEFAULT_TENANT, order_id)).values())


# What goes well


def test_order_in_a_providers_zone_needs_no_further_action(house: House, zone: Zone) -> None:
    provider = provide(house, "auto.example")
    order_id = order(house, "www.auto.example")
    house.await_order(order_id, "VALID")
    await_tidy(house, order_id)
    record = "_acme-challenge.www.auto.example"
    assert (zone.calls, zone.left) == ([("present", record), ("clean_up", record)], [])
    [answered] = [c for c in solved(house, order_id)["challenges"] if c["solver"]]
    assert answered == {"type": "dns-01", "status": "VALID", "solver": provider}
    assert house.audit_types(order_id) == [
        "OrderCreated", "OrderPlaced", "ChallengePresented", "ChallengeResponded", "ChallengeValidated",
        "OrderReady", "OrderFinalized", "OrderFulfilled", "ChallengeCleanedUp",
    ]  # fmt: skip


def test_apex_and_wildcard_have_their_values_side_by_side(house: House, zone: Zone) -> None:
    provide(house, "both.example")
    seen: list[int] = []
    zone.before = lambda verb: seen.append(len(zone.values["_acme-challenge.both.example"]) * (verb == "clean_up"))
    order_id = order(house, "both.example", "*.both.example")
    house.await_order(order_id, "VALID")
    await_tidy(house, order_id)
    assert seen == [0, 0, 2, 1]
    assert zone.left == []


def test_the_provider_of_the_longest_zone_answers(house: House, zone: Zone) -> None:
    for place, zones in enumerate(([], ["choice.example"], ["deep.choice.example", "x.example"])):
        provide(house, *zones, name=f"number {place}", token=f"good{place}")
    names = ["a.deep.choice.example", "choice.example", "other.example", "notchoice.example"]
    for name, token in zip(names, ["good2", "good1", "good0", "good0"], strict=True):
        order_id = order(house, name)
        house.await_order(order_id, "VALID")
        await_tidy(house, order_id)
        assert zone.tokens == [token, token], name
        zone.tokens.clear()


def test_order_may_name_its_provider(house: House, zone: Zone) -> None:
    provide(house, "named.example", token="good one")
    other = provide(house, "elsewhere.example", name="other", token="good other")
    order_id = order(house, "named.example", solver=other)
    house.await_order(order_id, "VALID")
    assert set(zone.tokens) == {"good other"}


def test_manual_order_waits_for_the_user(house: House, zone: Zone) -> None:
    provide(house, "byhand.example")
    order_id = order(house, "byhand.example", solver="manual")
    house.await_order(order_id, "PENDING")
    assert (zone.calls, solved(house, order_id)["solver"]) == ([], "manual")
    house.prove(order_id)
    house.await_order(order_id, "VALID")
    assert zone.calls == []


def test_names_that_no_provider_fits_wait_for_the_user_beside_those_that_one_does(house: House, zone: Zone) -> None:
    provide(house, "half.example")
    order_id = order(house, "www.half.example", "www.other-half.example")
    await_solved(
        house, order_id, lambda o: [c["type"] for c in o["challenges"] if c["status"] == "VALID"] == ["dns-01"]
    )
    await_tidy(house, order_id)
    assert house.order(order_id)["status"] == "PENDING"
    house.prove(order_id)
    house.await_order(order_id, "VALID")
    assert [record for _, record in zone.calls] == ["_acme-challenge.www.half.example"] * 2


def test_delegated_record_is_written_where_it_is(house: House, zone: Zone, pebble: Pebble) -> None:
    provide(house, "delegated.example", token="good for the name")
    provide(house, "validation.example", name="target", token="good for the target")
    pebble.management.set_cname("_acme-challenge.delegated.example", "abc.validation.example")
    order_id = order(house, "delegated.example")
    house.await_order(order_id, "VALID")
    await_tidy(house, order_id)
    assert set(zone.calls) == {("present", "abc.validation.example"), ("clean_up", "abc.validation.example")}
    assert set(zone.tokens) == {"good for the target"}


def test_subscribers_see_what_providers_do(house: House) -> None:
    provide(house, "watched.example")
    seen: list[tuple[str, list[str]]] = []
    with subscribed(house, "subscription { orderStatus { status presentations { state } } }") as socket:
        order(house, "watched.example")
        while not seen or seen[-1] != ("VALID", []):
            told = socket.get()["payload"]["data"]["orderStatus"]
            seen.append((told["status"], [p["state"] for p in told["presentations"]]))
    assert [state for state, _ in itertools.groupby(seen)] == [
        ("NEW", []), ("PENDING", ["PLANNED"]), ("PENDING", ["PRESENTED"]), ("PENDING", ["VISIBLE"]),
        ("READY", ["VISIBLE"]), ("PROCESSING", ["VISIBLE"]), ("VALID", ["VISIBLE"]), ("VALID", []),
    ]  # fmt: skip


def test_many_names_are_answered_all_together(house: House, zone: Zone) -> None:
    provide(house, "many.example")
    order_id = order(house, *(f"n{n}.many.example" for n in range(100)))
    house.await_order(order_id, "VALID")
    await_tidy(house, order_id)
    assert zone.left == []
    assert len(zone.calls) == 200
    assert most_at_once(house, order_id) <= 80


def test_all_are_presented_before_any_is_watched_and_answered_once_all_are_seen(
    tmp_path: Path, pebble: Pebble, zone: Zone
) -> None:
    done: list[str] = []

    def look(record: str, value: str) -> tuple[NameServer, ...]:
        done.append("look")
        return zone.look(record, value)

    zone.before = done.append
    zone.faults.extend([None, SolverFailed("later"), SolverFailed("later still")])
    with house_of(tmp_path, pebble, zone, dns=Dns(zone.follow, look)) as house:
        provide(house, "together.example")
        order_id = order(house, "a.together.example", "b.together.example")
        house.await_order(order_id, "VALID")
        await_tidy(house, order_id)
        told = house.audit_types(order_id)
    assert done == ["present"] * 4 + ["look"] * 2 + ["clean_up"] * 2
    assert told[: told.index("ChallengeValidated")][-2:] == ["ChallengeResponded"] * 2


# What goes wrong


def test_provider_that_fails_for_a_while_is_asked_again(house: House, zone: Zone) -> None:
    provide(house, "flaky.example")
    zone.faults.extend([SolverFailed("try later"), SolverFailed("try later still")])
    order_id = order(house, "flaky.example")
    waiting = await_solved(house, order_id, lambda o: any(p["attempts"] for p in o["presentations"]))
    assert waiting["presentations"][0]["problem"]["type"] == "urn:certwright:providerFailed"
    assert waiting["presentations"][0]["provider"]["name"] == "the zone"
    house.await_order(order_id, "VALID")
    assert house.audit_types(order_id).count("ChallengePresentationFailed") == 2


def test_refusing_provider_ends_the_order_by_its_name(house: House, zone: Zone) -> None:
    provide(house, "refused.example")
    zone.faults.append(SolverFailed("the key is not known", lasting=True))
    order_id = order(house, "*.refused.example")
    error = house.await_order(order_id, "INVALID")["error"]
    assert error["type"] == "urn:certwright:providerFailed"
    for told in ("'the zone'", "*.refused.example", "the key is not known"):
        assert told in error["detail"]
    assert error["subproblems"][0]["identifier"] == "*.refused.example"
    await_tidy(house, order_id)


def test_record_that_is_never_seen_ends_the_order_with_what_the_servers_say(house: House, zone: Zone) -> None:
    provide(house, "unseen.example")
    zone.publishes = False
    order_id = order(house, "unseen.example")
    [watched] = await_solved(house, order_id, lambda o: any(p["servers"] for p in o["presentations"]))["presentations"]
    assert watched["state"] == "PRESENTED"
    assert watched["servers"] == [
        {"name": "ns.test", "address": "127.0.0.1", "agrees": False, "answered": True, "answer": "0 other values"}
    ]
    error = house.await_order(order_id, "INVALID")["error"]
    assert error["type"] == "urn:certwright:notPropagated"
    assert "ns.test (127.0.0.1): 0 other values" in error["detail"]
    await_tidy(house, order_id)
    assert zone.left == []


def test_server_that_does_not_answer_is_passed_over_in_the_end(tmp_path: Path, pebble: Pebble, zone: Zone) -> None:
    dead = NameServer("dead.test", "192.0.2.1", agrees=False, answer="no answer", answered=False)
    dns = Dns(zone.follow, lambda record, value: (*zone.look(record, value), dead))
    with house_of(tmp_path, pebble, zone, dns=dns, propagation_seconds=1) as house:
        provide(house, "lame.example")
        order_id = order(house, "lame.example")
        await_solved(house, order_id, lambda o: any(p["servers"] for p in o["presentations"]))
        house.await_order(order_id, "VALID")


def test_unanswered_question_of_delegation_delays_the_order(tmp_path: Path, pebble: Pebble, zone: Zone) -> None:
    def follow(name: str) -> str:
        raise SolverFailed(f"{name} cannot be looked up")

    with house_of(tmp_path, pebble, zone, dns=Dns(follow, zone.look)) as house:
        provide(house, "blind.example")
        account = house.create_account()["id"]
        blind, other = (house.create_order(account, name)["id"] for name in ("blind.example", "other.example"))
        delay = await_solved(house, blind, lambda o: o["delay"] is not None)["delay"]
        assert delay["problem"]["type"] == "urn:certwright:PROVIDER_ERROR"
        house.prove(other)
        house.await_order(other, "VALID")


def test_record_is_cleaned_up_after_a_failed_validation(tmp_path: Path, pebble: Pebble, zone: Zone) -> None:
    blind = Dns(zone.follow, lambda *_: (NameServer("ns.test", "127.0.0.1", agrees=True),))
    zone.publishes = False
    with house_of(tmp_path, pebble, zone, dns=blind) as house:
        provide(house, "fails.example")
        order_id = order(house, "fails.example")
        assert "fails.example" in house.await_order(order_id, "INVALID")["error"]["detail"]
        await_tidy(house, order_id)
        assert zone.left == []


def test_record_of_a_cancelled_order_is_cleaned_up(house: House, zone: Zone) -> None:
    provide(house, "cancelled.example")
    zone.publishes = False
    order_id = order(house, "cancelled.example")
    await_solved(house, order_id, lambda o: [p["state"] for p in o["presentations"]] == ["PRESENTED"])
    house.graphql("mutation($o: ID!) { cancelOrder(id: $o) { id } }", o=order_id)
    await_tidy(house, order_id)
    assert (zone.left, house.order(order_id)["error"]["type"]) == ([], "urn:certwright:cancelled")


def test_order_cancelled_while_a_provider_is_at_work_leaves_nothing_behind(house: House, zone: Zone) -> None:
    provide(house, "crossed.example")
    order_id = order(house, "crossed.example", solver="manual")
    house.await_order(order_id, "PENDING")

    def cancel(_: str) -> None:
        zone.before = lambda _: None
        [crossed] = [o["id"] for o in _orders(house) if o["status"] == "PENDING" and o["id"] != order_id]
        house.graphql("mutation($o: ID!) { cancelOrder(id: $o) { id } }", o=crossed)

    zone.before = cancel
    crossed = order(house, "crossed.example")
    assert house.await_order(crossed, "INVALID")["error"]["type"] == "urn:certwright:cancelled"
    await_tidy(house, crossed)
    assert ([verb for verb, _ in zone.calls], zone.left) == (["present", "clean_up"], [])


def _orders(house: House) -> list[dict[str, Any]]:
    found = house.graphql("{ orders { edges { node { id status } } } }")["orders"]["edges"]
    return [edge["node"] for edge in found]


def test_provider_that_hangs_holds_back_nobody_else(house: House, zone: Zone) -> None:
    provide(house, "hangs.example")
    go_on = threading.Event()

    def hang(_: str) -> None:
        go_on.wait(WAIT_SECONDS)

    zone.before = hang
    account = house.create_account()["id"]
    for number in range(20):
        house.create_order(account, f"n{number}.hangs.example")
    await_true(lambda: len(_orders(house)) == 20 and all(o["status"] == "PENDING" for o in _orders(house)))
    try:
        house.issue(account, "by-hand.example")
    finally:
        go_on.set()


@pytest.mark.parametrize("verb", ["present", "clean_up"])
def test_step_that_dies_at_a_provider_is_taken_again(house: House, zone: Zone, verb: str) -> None:
    """The provider did its part, and nothing of that was stored: the lease's end brings the order back."""
    provide(house, "died.example")
    zone.faults.extend([RuntimeError("killed")] if verb == "present" else [None, RuntimeError("killed")])
    order_id = order(house, "died.example")
    house.await_order(order_id, "VALID")
    await_tidy(house, order_id)
    assert [v for v, _ in zone.calls].count(verb) == 2
    assert zone.left == []


def test_record_of_an_order_that_dies_unpresented_is_cleaned_up(house: House, zone: Zone) -> None:
    provide(house, "dead.example")
    zone.faults.append(RuntimeError("killed"))
    order_id = order(house, "dead.example")
    await_true(lambda: zone.calls != [])
    assert [p["state"] for p in solved(house, order_id)["presentations"]] == ["PLANNED"]
    assert zone.left != []
    house.graphql("mutation($o: ID!) { cancelOrder(id: $o) { id } }", o=order_id)
    await_tidy(house, order_id)
    assert zone.left == []


def test_failed_clean_up_is_tried_again(house: House, zone: Zone) -> None:
    provide(house, "untidy.example")
    zone.faults.extend([None, SolverFailed("busy"), SolverFailed("busy", lasting=True)])
    order_id = order(house, "untidy.example")
    house.await_order(order_id, "VALID")
    await_tidy(house, order_id)
    assert [verb for verb, _ in zone.calls] == ["present", *["clean_up"] * 3]
    assert zone.left == []


class Shifted:
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.by = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.by


def test_record_that_cannot_be_cleaned_up_for_a_day_is_told_of(tmp_path: Path, pebble: Pebble, zone: Zone) -> None:
    clock = Shifted()
    with House(tmp_path, pebble, clock=clock, kinds={"test": zone.kind}, dns=zone.dns) as house:
        provide(house, "left.example")
        zone.faults.extend([None, *[SolverFailed("gone away")] * 1000])
        order_id = order(house, "left.example")
        house.await_order(order_id, "VALID")
        await_solved(house, order_id, lambda o: [p["state"] for p in o["presentations"]] == ["REMOVING"])
        clock.by = timedelta(days=1, minutes=1)
        await_tidy(house, order_id)
        newest = house.audit(order_id)[0]
        assert (newest["type"], newest["outcome"]) == ("ChallengeLeftBehind", "FAILED")
        assert zone.values["_acme-challenge.left.example"][0] in newest["detail"]


def test_record_for_a_ca_that_the_order_left_is_cleaned_up(tmp_path: Path, stub: StubCa, zone: Zone) -> None:
    with StubCa(tmp_path / "second") as second:
        both = Pair.of(tmp_path, stub, second)
        base = replace(Settings.read({}, tmp_path / "data"), acme_servers=(second.directory_url,))
        with House(tmp_path, both, settings=base, kinds={"test": zone.kind}, dns=zone.dns) as house:
            provide(house)
            stub.fail_next("finalize", "rejectedIdentifier", status=403)
            fallback = house.create_account(acmeServer=second.directory_url)["id"]
            order_id = order(house, "a.example", fallbackAccountIds=[fallback])
            house.await_order(order_id, "VALID")
            await_tidy(house, order_id)
    assert [verb for verb, _ in zone.calls] == ["present", "clean_up", "present", "clean_up"]
    assert zone.left == []


# http-01 by this service itself


@pytest.fixture
def own_house(tmp_path: Path) -> Iterator[House]:
    from certwright.local.test_ca import free_port

    port = free_port()
    settings = replace(Settings.read({}, tmp_path / "data"), http_01_zones=("arrives.example",))
    with (
        Pebble(tmp_path / "pebble", http_port=port) as pebble,
        House(tmp_path, pebble, port=port, settings=settings, kinds={}) as house,
    ):
        yield house


def test_http01_that_arrives_here_needs_no_further_action(own_house: House) -> None:
    order_id = order(own_house, "www.arrives.example")
    assert own_house.await_order(order_id, "VALID")["certificate"]["names"] == ["www.arrives.example"]
    assert own_house.audit_types(order_id) == [
        "OrderCreated", "OrderPlaced", "ChallengeResponded", "ChallengeValidated",
        "OrderReady", "OrderFinalized", "OrderFulfilled",
    ]  # fmt: skip
    assert {e["actor"] for e in own_house.audit(order_id)} == {"token:admin", "certwright"}


def test_automatic_http01_costs_not_one_commit_more(own_house: House) -> None:
    automatic, manual = order(own_house, "a.arrives.example"), order(own_house, "b.arrives.example", solver="manual")
    [challenge] = [c for c in own_house.challenges(manual) if c["type"] == "http-01"]
    own_house.respond(challenge["id"])
    versions = {}
    for order_id in (automatic, manual):
        own_house.await_order(order_id, "VALID")
        versions[order_id] = own_house.app.store.order("default", order_id).version
    assert versions[automatic] < versions[manual]


def test_hundred_names_are_proved_by_http01(own_house: House) -> None:
    order_id = order(own_house, *(f"n{n}.arrives.example" for n in range(100)))
    assert len(own_house.await_order(order_id, "VALID")["certificate"]["names"]) == 100
    assert most_at_once(own_house, order_id) <= 80


def test_responding_to_what_certwright_answered_is_no_mistake(own_house: House) -> None:
    order_id = order(own_house, "again.arrives.example")
    own_house.await_order(order_id, "VALID")
    by_type = {c["type"]: c["id"] for c in own_house.challenges(order_id)}
    assert own_house.respond(by_type["http-01"])["status"] == "VALID"
    with pytest.raises(GraphQLFailed, match="only a pending order's challenges") as failed:
        own_house.respond(by_type["dns-01"])
    assert failed.value.code == "CONFLICT"


def test_wildcard_and_other_names_wait_for_the_user(own_house: House) -> None:
    wildcard, other = order(own_house, "*.arrives.example"), order(own_house, "www.elsewhere.example")
    for order_id in (wildcard, other):
        own_house.await_order(order_id, "PENDING")
        assert {c["status"] for c in own_house.challenges(order_id)} == {"PENDING"}
    with pytest.raises(GraphQLFailed, match="nothing else proves") as failed:
        order(own_house, "*.arrives.example", solver="http-01")
    assert failed.value.extensions["field"] == "solver"


def test_unknown_solver_is_refused(own_house: House) -> None:
    with pytest.raises(GraphQLFailed, match="there is no challenge provider 'nobody'") as failed:
        order(own_house, "a.example", solver="nobody")
    assert (failed.value.code, failed.value.extensions["field"]) == ("INVALID_INPUT", "solver")
