"""The console's pages of orders and challenges in a real browser, at the real service with a real CA; and the query by
which its form checks names."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certwright.config import Settings
from tests.support.browser import Script, drive
from tests.support.house import GraphQLFailed, House
from tests.support.pebble import Pebble
from tests.support.stub_ca import StubCa, acme_problem
from tests.support.zone import Zone
from tests.test_advising import Outspoken
from tests.test_solving import await_solved, provide

OUTAGE = ["WebSocket connection", "ERR_CONNECTION"]
HOSTILE = "<img src=x onerror=alert(1)>"


def test_an_order_is_made_proved_and_turns_green_without_reloading(house: House, pebble: Pebble) -> None:
    account = house.create_account()["id"]
    with Script("order_path.mjs", house, token=house.operator, account=account) as script:
        for _ in range(2):
            record = script.told()
            pebble.management.set_txt(record["name"], record["value"])
            script.say()
    assert house.audit_types().count("ChallengesViewed") == 1


def test_a_viewer_watches_through_a_restart_and_is_offered_nothing(tmp_path: Path, pebble: Pebble) -> None:
    with House(tmp_path, pebble) as house:
        order = house.create_order(house.create_account()["id"], "watched.example")["id"]
        house.await_order(order, "PENDING")
        with Script("order_viewer.mjs", house, token=house.viewer, expected=OUTAGE) as script:
            assert script.told() == "watching"
            house.stop()
            script.say()
            assert script.told() == "noticed"
            with House(tmp_path, pebble, port=house.port) as again:
                again.prove(order)
                again.await_order(order, "VALID")
                script.say()
                script.finish()


def test_a_hundred_names_are_ordered_and_answered_at_once_by_keyboard(house: House, pebble: Pebble) -> None:
    account, names = house.create_account()["id"], [f"n{number}.many.example" for number in range(100)]
    with Script("order_many.mjs", house, token=house.operator, account=account, names=names) as script:
        for line in script.told():
            name, _, _, _, value = line.split(" ")
            pebble.management.set_txt(name, value.strip('"'))
        script.say()


def test_a_failed_proof_is_told_in_plain_words_and_ordered_again(tmp_path: Path, stub: StubCa) -> None:
    stub.meta = {"caaIdentities": ["ca.example"], "profiles": {"short": "Six days"}}
    stub.validation = "invalid"
    stub.validation_error = acme_problem("unauthorized", HOSTILE, status=403, instance="javascript:alert(1)")
    with House(tmp_path, stub, adviser=Outspoken()) as house:
        order = house.create_order(house.create_account()["id"], "bad.example", "good.example")["id"]
        house.await_order(order, "PENDING")
        drive("order_invalid.mjs", house, token=house.operator, order=order)
        assert house.audit_types()[-1] == "OrderCancelled"


def test_an_order_at_a_ca_that_is_down_says_so_and_goes_on(stub_house: House, stub: StubCa) -> None:
    stub_house.create_account()
    stub.fail_next("newOrder", status=503, headers={"Retry-After": "3"}, times=3)
    with Script("order_outage.mjs", stub_house, token=stub_house.operator) as script:
        assert script.told() == "went on"
        stub.stop()
        script.say()


def test_the_list_is_paged_and_keeps_what_was_chosen(stub_house: House) -> None:
    account = stub_house.create_account()["id"]
    for number in range(27):
        last = stub_house.create_order(account, f"n{number}.example")["id"]
    stub_house.await_order(last, "PENDING")
    drive("orders_paged.mjs", stub_house, token=stub_house.operator, account=account)


def test_what_providers_do_is_shown_as_theirs(tmp_path: Path, pebble: Pebble) -> None:
    zone = Zone(pebble)
    settings = replace(Settings.read({}, tmp_path / "data"), propagation_seconds=60)
    with House(tmp_path, pebble, settings=settings, kinds={"test": zone.kind}, dns=zone.dns) as house:
        provide(house, "auto.example")
        zone.publishes = False
        order = house.create_order(house.create_account()["id"], "www.auto.example")["id"]
        await_solved(house, order, lambda o: any(p["servers"] for p in o["presentations"]))
        with Script("order_automatic.mjs", house, token=house.viewer, order=order) as script:
            assert script.told() == "watching"
            [presentation] = await_solved(house, order, lambda _: True)["presentations"]
            pebble.management.set_txt(presentation["record"], presentation["value"])
            script.say()


# Names, as they are typed


def checked(house: House, *domains: str) -> list[dict[str, Any]]:
    query = "query($d: [String!]!) { checkDomains(domains: $d) { given name problem } }"
    return list(house.graphql(query, house.viewer, d=domains)["checkDomains"])


def test_each_name_is_checked_for_itself_and_among_the_others(house: House) -> None:
    found = checked(house, "Bücher.example", "localhost", "*.a.example, www.a.example", "bücher.example")
    assert found[0] == {"given": "Bücher.example", "name": "xn--bcher-kva.example", "problem": None}
    assert (found[1]["name"], found[1]["problem"][:10]) == (None, "has no dot")
    assert (found[2]["name"], found[2]["problem"]) == ("*.a.example", None)
    assert found[3]["problem"] == "is already covered by *.a.example in the same order: leave one of them out"
    assert found[4]["problem"] == "is the same name as 'Bücher.example': leave one of them out"


def test_what_is_checked_as_good_can_be_ordered(house: House) -> None:
    names = [check["name"] for check in checked(house, "WWW.Example.COM.", "[2001:db8::1]")]
    order = house.create_order(house.create_account()["id"], *names)
    assert order["domains"] == names == ["www.example.com", "2001:db8::1"]


def test_more_names_than_fit_are_refused_as_a_whole(house: House) -> None:
    with pytest.raises(GraphQLFailed, match="101 domain names are given") as caught:
        checked(house, *(f"n{number}.example" for number in range(101)))
    assert (caught.value.code, caught.value.extensions["field"]) == ("INVALID_INPUT", "domains")
