"""Renewals as users meet them: by GraphQL, with a real Pebble whose certificates last for seconds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.house import GraphQLFailed, House, await_true, await_value
from tests.support.pebble import Pebble
from tests.support.socket import Socket

SHORT = 16


@pytest.fixture(scope="module")
def short_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """A Pebble that takes what was proved once for proved."""
    with Pebble(tmp_path_factory.mktemp("short"), certificate_seconds=SHORT, authz_reuse=100) as pebble:
        yield pebble


def certificate(house: House, id: str) -> dict[str, Any]:
    query = """query($c: ID!) { certificate(id: $c) {
        id status names notAfter chain
        renewal { at source attempts windowStart windowEnd explanationUrl order { id status } }
        replaces { id } replacedBy { id status replaces { id } order { replaces { id } } } } }"""
    return dict(house.graphql(query, c=id)["certificate"])


def renewing(house: House) -> list[str]:
    query = "{ dashboard { renewingNext { id renewal { at } } } }"
    return [found["id"] for found in house.graphql(query)["dashboard"]["renewingNext"]]


def renew(house: House, id: str, token: str | None = None) -> dict[str, Any]:
    query = "mutation($c: ID!) { renewCertificate(id: $c) { id status domains replaces { id } } }"
    return dict(house.graphql(query, token, c=id)["renewCertificate"])


def test_short_lived_certificate_is_seen_renewing_by_itself(short_lived: Pebble, tmp_path: Path) -> None:
    with House(tmp_path, short_lived) as house:
        first = house.issue(house.create_account()["id"], "brief.example")["certificate"]["id"]
        shown = certificate(house, first)["renewal"]
        assert (shown["source"], shown["attempts"], shown["windowStart"], shown["order"]) == ("lifetime", 0, None, None)
        assert renewing(house) == [first]
        old = await_value(lambda: certificate(house, first), lambda found: found["replacedBy"] is not None)
        assert (old["status"], old["renewal"]) == ("REPLACED", None)
        second = old["replacedBy"]
        assert (second["replaces"]["id"], second["order"]["replaces"]["id"]) == (first, first)
        third = await_value(lambda: certificate(house, second["id"]), lambda found: found["replacedBy"] is not None)
        assert third["replacedBy"]["id"] in renewing(house)
        assert not {first, second["id"]} & set(renewing(house))


def test_certificate_is_renewed_at_once_when_a_user_asks(house: House) -> None:
    first = house.issue(house.create_account()["id"], "now.example")["certificate"]["id"]
    order = renew(house, first)
    assert (order["domains"], order["replaces"]["id"]) == (["now.example"], first)
    assert certificate(house, first)["renewal"]["order"]["id"] == order["id"]
    assert renew(house, first)["id"] == order["id"]
    house.prove(order["id"])
    house.await_order(order["id"], "VALID")
    assert certificate(house, first)["status"] == "REPLACED"
    with pytest.raises(GraphQLFailed, match="is replaced") as refused:
        renew(house, first)
    assert refused.value.code == "CONFLICT"


def test_viewer_may_look_at_renewals_and_not_ask_for_one(house: House) -> None:
    first = house.issue(house.create_account()["id"], "seen.example")["certificate"]["id"]
    [next_one] = house.graphql("{ dashboard { renewingNext { id chain } } }")["dashboard"]["renewingNext"]
    assert (next_one["id"], next_one["chain"]) == (first, certificate(house, first)["chain"])
    with pytest.raises(GraphQLFailed) as refused:
        renew(house, first, house.viewer)
    assert refused.value.code == "FORBIDDEN"


def test_revoked_certificate_is_not_among_those_that_renew(house: House) -> None:
    first = house.issue(house.create_account()["id"], "gone.example")["certificate"]["id"]
    house.graphql("mutation($c: ID!) { revokeCertificate(id: $c) { id } }", c=first)
    assert certificate(house, first)["renewal"] is None
    assert first not in renewing(house)


def test_dashboard_is_sent_anew_when_a_renewal_begins(house: House) -> None:
    first = house.issue(house.create_account()["id"], "live.example")["certificate"]["id"]
    with Socket(house.ws_url) as socket:
        socket.init(house.operator)
        socket.subscribe("1", "subscription { dashboard { renewingNext { id renewal { order { id } } } } }")
        await_true(lambda: house.app.broadcast.listening == 1)
        renew(house, first)

        def orders() -> dict[str, Any]:
            found = socket.get()["payload"]["data"]["dashboard"]["renewingNext"]
            return {one["id"]: one["renewal"]["order"] for one in found}

        await_value(orders, lambda told: told.get(first) is not None)


def test_ten_nearest_renewals_are_shown_in_their_order(house: House) -> None:
    account = house.create_account()["id"]
    issued = {house.issue(account, f"n{n}.ten.example")["certificate"]["id"] for n in range(11)}
    query = "{ dashboard { renewingNext { id renewal { at } } } }"
    shown = house.graphql(query)["dashboard"]["renewingNext"]
    times = [one["renewal"]["at"] for one in shown]
    assert (len(shown), times) == (10, sorted(times))
    assert {one["id"] for one in shown} < issued
