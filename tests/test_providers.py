"""Challenge providers through the API: what can be meant is kept, what is secret stays so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certwright.challenges.http01 import HTTP01
from certwright.challenges.solver import SolverFailed
from certwright.model import Role
from tests.support.house import GraphQLFailed, House, await_true
from tests.support.pebble import Pebble
from tests.support.stub_ca import StubCa
from tests.support.zone import Zone

FIELDS = "id name kind zones settings { name value } createdAt updatedAt"
SECRET = "good and most secret"


@pytest.fixture
def zone(pebble: Pebble) -> Zone:
    return Zone(pebble)


@pytest.fixture
def house(tmp_path: Path, pebble: Pebble, zone: Zone) -> Iterator[House]:
    with House(tmp_path, pebble, kinds={"test": zone.kind}, dns=zone.dns) as house:
        yield house


def settings(**given: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in given.items()]


def create(house: House, token: str | None = None, **input: Any) -> dict[str, Any]:
    given = {"name": "mine", "kind": "test", "zones": ["mine.example"], "settings": settings(token=SECRET), **input}
    query = f"mutation($i: CreateChallengeProviderInput!) {{ createChallengeProvider(input: $i) {{ {FIELDS} }} }}"
    return dict(house.graphql(query, token, i=given)["createChallengeProvider"])


def update(house: House, id: str, **input: Any) -> dict[str, Any]:
    query = f"mutation($i: UpdateChallengeProviderInput!) {{ updateChallengeProvider(input: $i) {{ {FIELDS} }} }}"
    return dict(house.graphql(query, i={"id": id, **input})["updateChallengeProvider"])


def delete(house: House, id: str) -> None:
    house.graphql("mutation($p: ID!) { deleteChallengeProvider(id: $p) { id } }", p=id)


def try_out(house: House, id: str, name: str) -> dict[str, Any]:
    query = """mutation($p: ID!, $n: String!) { testChallengeProvider(id: $p, name: $n) {
        record value visible servers { name address agrees answered answer } } }"""
    return dict(house.graphql(query, p=id, n=name)["testChallengeProvider"])


def refusal(house: House, **input: Any) -> tuple[str, str | None, str]:
    with pytest.raises(GraphQLFailed) as failed:
        create(house, **input)
    return failed.value.code or "", failed.value.extensions.get("field"), failed.value.message


def test_kinds_say_what_they_need(house: House) -> None:
    query = """{ challengeProviderKinds { name title challengeType
        settings { name meaning secret required default } } }"""
    own, kind = house.graphql(query, house.viewer)["challengeProviderKinds"]
    assert own == {"name": "http-01", "title": HTTP01.title, "challengeType": "http-01", "settings": []}
    assert (kind["name"], kind["challengeType"]) == ("test", "dns-01")
    token, region = kind["settings"]
    assert (token["secret"], token["required"]) == (True, True)
    assert (region["secret"], region["required"], region["default"]) == (False, False, "eu")


def test_provider_is_kept_and_listed(house: House) -> None:
    first = create(house, zones=["Mine.example.", "münchen.example", "mine.example", "co.uk"])
    assert first["zones"] == ["mine.example", "xn--mnchen-3ya.example", "co.uk"]
    assert first["settings"] == settings(region="eu")
    second = create(house, name="another", zones=[])
    listed = house.graphql(f"{{ challengeProviders {{ {FIELDS} }} }}", house.viewer)["challengeProviders"]
    assert listed == [first, second]
    query = f"query($p: ID!) {{ challengeProvider(id: $p) {{ {FIELDS} }} }}"
    assert house.graphql(query, house.viewer, p=second["id"])["challengeProvider"] == second
    assert house.graphql(query, p="nothing")["challengeProvider"] is None


def test_secret_is_nowhere_to_be_read(house: House) -> None:
    provider = create(house)
    update(house, provider["id"], settings=settings(region="us"))
    told = str(house.audit(provider["id"])) + str(house.graphql(f"{{ challengeProviders {{ {FIELDS} }} }}"))
    stored = b"".join(path.read_bytes() for path in house.data_dir.glob("certwright.db*"))
    assert SECRET not in told
    assert SECRET.encode() not in stored
    assert house.audit_types(provider["id"]) == ["ProviderCreated", "ProviderUpdated"]


def test_settings_that_are_not_given_stay_as_they_are(house: House, zone: Zone) -> None:
    provider = create(house)
    updated = update(house, provider["id"], name="renamed", settings=settings(region="us"))
    assert (updated["name"], updated["zones"], updated["settings"]) == (
        "renamed",
        ["mine.example"],
        settings(region="us"),
    )
    assert try_out(house, provider["id"], "mine.example")["visible"]
    assert set(zone.tokens) == {SECRET}
    update(house, provider["id"], settings=settings(token="good anew"), zones=[])
    try_out(house, provider["id"], "mine.example")
    assert zone.tokens[-1] == "good anew"
    with pytest.raises(GraphQLFailed, match="needs token"):
        update(house, provider["id"], settings=settings(token=" "))


@pytest.mark.parametrize(
    ("input", "field", "told"),
    [
        ({"kind": "magic"}, "kind", "there are http-01, test"),
        ({"settings": []}, "settings", "needs token"),
        ({"settings": settings(token="good", colour="red")}, "settings", "'colour' is no setting"),
        ({"settings": settings(token="bad")}, "token", "does not begin with good"),
        ({"settings": settings(token="good" * 5000)}, "settings", "10000 characters"),
        ({"kind": "http-01"}, "settings", "it has none"),
        ({"name": " "}, "name", "1 to 100"),
        ({"zones": ["*.mine.example"]}, "zones", "without the *."),
        ({"zones": ["https://mine.example/"]}, "zones", "is a URL"),
    ],
)
def test_what_cannot_be_meant_is_refused(house: House, input: dict[str, Any], field: str, told: str) -> None:
    code, where, message = refusal(house, **input)
    assert (code, where) == ("INVALID_INPUT", field)
    assert told in message
    assert "bad" not in message


def test_name_is_taken_once(house: House) -> None:
    create(house)
    assert refusal(house)[1:] == ("name", "there is a challenge provider 'mine' already; take another name")


def test_only_administrators_change_providers(house: House) -> None:
    for token in (house.viewer, house.operator):
        with pytest.raises(GraphQLFailed, match="needs the role admin") as failed:
            create(house, token)
        assert failed.value.code == "FORBIDDEN"
    other = create(house)["id"]
    foreign = house.token("admin", Role.ADMIN, "other tenant")
    assert house.graphql("{ challengeProviders { id } }", foreign)["challengeProviders"] == []
    with pytest.raises(GraphQLFailed, match="there is no provider"):
        house.graphql("mutation($p: ID!) { deleteChallengeProvider(id: $p) { id } }", foreign, p=other)


def test_test_tells_what_each_server_has_and_leaves_nothing(house: House, zone: Zone) -> None:
    provider = create(house)
    found = try_out(house, provider["id"], "*.mine.example")
    assert (found["record"], found["visible"]) == ("_acme-challenge.mine.example", True)
    assert [s["agrees"] for s in found["servers"]] == [True]
    assert ([verb for verb, _ in zone.calls], zone.left) == (["present", "clean_up"], [])
    assert house.audit_types(provider["id"])[-1] == "ProviderTested"


def test_test_tells_why_a_provider_fails(house: House, zone: Zone) -> None:
    provider = create(house)
    zone.faults.append(SolverFailed("the key is not known", lasting=True))
    with pytest.raises(GraphQLFailed, match="the key is not known") as failed:
        try_out(house, provider["id"], "mine.example")
    assert failed.value.code == "PROVIDER_ERROR"
    assert [verb for verb, _ in zone.calls] == ["present", "clean_up"]
    assert house.audit_types(provider["id"])[-1] == "OperationFailed"


def test_provider_in_use_stays(house: House, zone: Zone) -> None:
    provider = create(house)
    zone.publishes = False
    order = house.create_order(house.create_account()["id"], "mine.example")
    await_true(lambda: zone.calls != [])
    with pytest.raises(GraphQLFailed, match=f"order '{order['id']}' has records in place") as failed:
        delete(house, provider["id"])
    assert failed.value.code == "CONFLICT"
    house.graphql("mutation($o: ID!) { cancelOrder(id: $o) { id } }", o=order["id"])
    delete(house, provider["id"])
    assert house.graphql("{ challengeProviders { id } }")["challengeProviders"] == []
    assert house.audit_types(provider["id"])[-1] == "ProviderDeleted"


def test_order_goes_on_by_another_provider_where_its_own_was_deleted(tmp_path: Path, stub: StubCa, zone: Zone) -> None:
    with House(tmp_path, stub, kinds={"test": zone.kind}, dns=zone.dns) as house:
        named = create(house, name="named", settings=settings(token="good, and deleted"))
        create(house, name="other", zones=[], settings=settings(token="good, and there"))
        stub.fail_next("newOrder", status=503)
        order = house.create_order(house.create_account()["id"], "a.example", solver=named["id"])
        delete(house, named["id"])
        house.await_order(order["id"], "VALID")
        assert set(zone.tokens) == {"good, and there"}
