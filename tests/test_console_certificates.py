"""The console in a real browser: certificates, the audit trail, challenge providers, and lists of very many."""

import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certwright.api.context import Patience
from certwright.local.app import utc_now
from certwright.model import Role, system
from tests.bench.seed import multiply
from tests.support.browser import Script
from tests.support.house import GraphQLFailed, House
from tests.support.pebble import Pebble
from tests.support.stub_ca import StubCa, acme_problem
from tests.support.zone import Zone

MANY = 100_000
PASSWORD = "correct horse"
SECRET = "good and most secret"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def zone(pebble: Pebble) -> Zone:
    return Zone(pebble)


@pytest.fixture
def provided(tmp_path: Path, pebble: Pebble, zone: Zone) -> Iterator[House]:
    with House(tmp_path, pebble, kinds={"test": zone.kind}, dns=zone.dns) as house:
        yield house


def issue(house: House, stub: StubCa, *names: str) -> dict[str, Any]:
    stub.authorized = True
    order = house.create_order(house.create_account()["id"], *names)
    certificate: dict[str, Any] = house.await_order(order["id"], "VALID")["certificate"]
    return certificate


def openssl(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_files(directory: Path, chain: str) -> None:
    """The files hold the parts of the chain and its key, and openssl takes them."""
    text = {
        name: (directory / f"shop.example.{name}.pem").read_text() for name in ("fullchain", "cert", "chain", "key")
    }
    assert text["fullchain"] == text["cert"] + text["chain"] == chain
    assert text["cert"].count("BEGIN CERTIFICATE") == 1
    of_key = openssl(directory, "pkey", "-in", "shop.example.key.pem", "-pubout")
    assert of_key == openssl(directory, "x509", "-in", "shop.example.cert.pem", "-pubkey", "-noout")
    packed = openssl(directory, "pkcs12", "-in", "shop.example.p12", "-passin", f"pass:{PASSWORD}", "-nodes")
    assert packed.count("BEGIN CERTIFICATE") == 2
    assert "BEGIN PRIVATE KEY" in packed


def test_certificate_is_downloaded_renewed_and_revoked(stub_house: House, stub: StubCa, tmp_path: Path) -> None:
    now = utc_now()
    stub.renewal_window = (now + timedelta(days=20), now + timedelta(days=22))
    certificate = issue(stub_house, stub, "shop.example", "www.shop.example")
    given = {"token": stub_house.operator, "directory": str(tmp_path), "password": PASSWORD}
    with Script("certificate.mjs", stub_house, **given) as script:
        assert script.told() == "downloaded"
        check_files(tmp_path, certificate["chain"])
        exports = [e for e in stub_house.audit_types(certificate["id"]) if e == "PrivateKeyExported"]
        assert len(exports) == 2
        stub.authorized = False
        script.say()
        assert script.told() == "renewing"
        query = "query($c: ID!) { certificate(id: $c) { renewal { order { id } } } }"
        renewal = stub_house.graphql(query, c=certificate["id"])["certificate"]["renewal"]
        stub_house.prove(renewal["order"]["id"])
        script.say()
    assert [revocation["reason"] for revocation in stub.revocations] == [5]


def test_viewer_sees_certificates_come_until_the_token_is_revoked(tmp_path: Path) -> None:
    patience = Patience(watch=0.2)
    with StubCa(tmp_path / "ca", name=HOSTILE) as stub, House(tmp_path, stub, patience=patience) as house:
        certificate = issue(house, stub, "seen.example")
        token, text = house.app.tokens.create("leaving", Role.VIEWER, system("default"))
        given = {"token": text, "certificate": certificate["id"], "expected": ["status of 401|WebSocket connection"]}
        with Script("certificate_viewer.mjs", house, **given) as script:
            assert script.told() == "watching"
            issue(house, stub, "later.example")
            script.say()
            assert script.told() == "seen"
            house.app.tokens.revoke(token.id, system("default"))
            script.say()


def test_audit_trail_is_live_filtered_and_runs_nothing_of_a_hostile_ca(stub_house: House, stub: StubCa) -> None:
    for number in range(10):
        issue(stub_house, stub, f"n{number}.example")
    account = stub_house.create_account(email="one@example.com")
    given = {"account": account["id"], "records": len(stub_house.audit_types(account["id"]))}
    with Script("audit.mjs", stub_house, token=stub_house.operator, **given) as script:
        assert script.told() == "watching"
        stub.fail_next("newAccount", problem=acme_problem("malformed", HOSTILE), status=400)
        with pytest.raises(GraphQLFailed):
            stub_house.create_account()
        script.say()


def test_provider_is_added_tested_changed_and_deleted(provided: House, zone: Zone) -> None:
    with Script("providers.mjs", provided, token=provided.admin, secret=SECRET) as script:
        assert script.told() == "changed"
        [provider] = provided.graphql("{ challengeProviders { zones settings { name value } } }")["challengeProviders"]
        assert provider == {"zones": [], "settings": [{"name": "region", "value": "us"}]}
        script.say()
    assert zone.tokens[-1] == SECRET
    assert zone.left == []


def test_lists_of_very_many_are_gone_through_page_by_page(tmp_path: Path, stub: StubCa) -> None:
    with House(tmp_path, stub) as house:
        certificate = issue(house, stub, "many.example")
        [order] = house.graphql("{ orders { edges { node { id } } } }")["orders"]["edges"]
    for id in (certificate["id"], order["node"]["id"]):
        multiply(tmp_path / "data" / "certwright.db", id, 1, MANY - 1)
    with House(tmp_path, stub) as house:
        paths = ["/acme/certificates", "/acme/certificates?name=many.example", "/acme/orders"]
        with Script("many.mjs", house, token=house.viewer, paths=paths, size=25) as script:
            print("milliseconds from page to page:", script.told())  # noqa: T201  Measured, and shown by `pytest -s`.
            script.say()


def test_page_can_be_used_on_a_slow_machine(house: House) -> None:
    house.issue(house.create_account()["id"], "slow.example")
    with Script("speed.mjs", house, token=house.admin) as script:
        print("milliseconds to a usable dashboard:", script.told())  # noqa: T201  As above.
        script.say()
