"""The main job through the API, against Pebble."""

import subprocess
from pathlib import Path

import pytest

from tests.support.house import House
from tests.support.pebble import Pebble


def test_dns01_order_ends_with_a_certificate_that_openssl_accepts(house: House, pebble: Pebble, tmp_path: Path) -> None:
    account = house.create_account()
    order = house.issue(account["id"], "example.com", "*.example.com", "www.example.org")
    certificate = order["certificate"]
    assert set(certificate["names"]) == {"example.com", "*.example.com", "www.example.org"}
    (tmp_path / "root.pem").write_text(pebble.root_pem())
    (tmp_path / "chain.pem").write_text(certificate["chain"])
    verified = subprocess.run(
        ["openssl", "verify", "-CAfile", "root.pem", "-untrusted", "chain.pem", "chain.pem"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.stdout == "chain.pem: OK\n", verified.stderr


def test_audit_trail_tells_the_whole_story_of_an_order(house: House) -> None:
    order = house.issue(house.create_account()["id"], "story.example")
    assert house.audit_types(order["id"]) == [
        "OrderCreated", "OrderPlaced", "ChallengesViewed", "ChallengeResponded", "ChallengeValidated",
        "OrderReady", "OrderFinalized", "OrderFulfilled",
    ]  # fmt: skip


def test_hundred_names_in_one_order(house: House) -> None:
    names = [f"n{n}.example.net" for n in range(100)]
    order = house.issue(house.create_account()["id"], *names)
    assert sorted(order["certificate"]["names"]) == sorted(names)
    found = house.graphql('{ certificates(name: "n99.example.net") { edges { node { id } } } }')
    assert [e["node"]["id"] for e in found["certificates"]["edges"]] == [order["certificate"]["id"]]


def test_http01_is_answered_by_the_service_itself(tmp_path: Path) -> None:
    from certwright.local.test_ca import free_port

    port = free_port()
    with Pebble(tmp_path / "pebble", http_port=port) as pebble, House(tmp_path, pebble, port=port) as house:
        order = house.create_order(house.create_account()["id"], "http.example")
        [challenge] = [c for c in house.challenges(order["id"]) if c["type"] == "http-01"]
        served = house.http.get(challenge["preparation"]["path"])
        assert (served.status_code, served.text) == (200, challenge["preparation"]["content"])
        house.respond(challenge["id"])
        assert house.await_order(order["id"], "VALID")["certificate"]["names"] == ["http.example"]


@pytest.mark.parametrize("key_type", ["EC_P384", "RSA_2048"])
def test_key_of_the_wished_type_can_be_exported(house: House, key_type: str) -> None:
    order = house.issue(house.create_account()["id"], "key.example", keyType=key_type)
    query = "mutation($c: ID!) { exportPrivateKey(certificateId: $c) }"
    key = house.graphql(query, house.operator, c=order["certificate"]["id"])["exportPrivateKey"]
    assert key.startswith("-----BEGIN PRIVATE KEY-----")
    assert house.audit(order["certificate"]["id"])[0]["type"] == "PrivateKeyExported"


def test_failed_challenge_makes_the_order_invalid_with_the_cas_reason(house: House) -> None:
    order = house.create_order(house.create_account()["id"], "fails.example", "good.example")
    for challenge in house.challenges(order["id"]):
        if challenge["type"] == "dns-01" and challenge["identifier"] == "fails.example":
            house.respond(challenge["id"])
    error = house.await_order(order["id"], "INVALID")["error"]
    assert "fails.example" in error["detail"]
    assert [s["identifier"] for s in error["subproblems"]] == ["fails.example"]
