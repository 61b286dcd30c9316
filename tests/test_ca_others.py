"""The main job at CAs by other hands than Pebble's, each with ways of its own: Caddy and acme2certifier."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.acme2certifier import Acme2Certifier
from tests.support.caddy import Caddy
from tests.support.house import GraphQLFailed, House, await_value
from tests.support.pebble import Management, Pebble
from tests.test_ca_grid import EAB_KEY, registered, verified

ROLL_OVER = "mutation($a: ID!) { rolloverAccountKey(id: $a) { keyThumbprint } }"
THUMBPRINT = "query($a: ID!) { account(id: $a) { keyThumbprint } }"
REVOKE = "mutation($c: ID!) { revokeCertificate(id: $c) { status } }"


@pytest.fixture(scope="module")
def caddy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caddy]:
    with Caddy(tmp_path_factory.mktemp("caddy") / "caddy") as caddy:
        yield caddy


@pytest.fixture
def caddy_house(caddy: Caddy, tmp_path: Path) -> Iterator[House]:
    with House(tmp_path, caddy) as house:
        yield house


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """Of which only the name server is used."""
    with Pebble(tmp_path_factory.mktemp("names")) as names:
        yield names


@pytest.fixture(scope="module")
def acme2certifier(tmp_path_factory: pytest.TempPathFactory, names: Pebble) -> Iterator[Acme2Certifier]:
    with Acme2Certifier(tmp_path_factory.mktemp("a2c") / "a2c", names.dns_port) as ca:
        yield ca


@pytest.fixture
def a2c_house(acme2certifier: Acme2Certifier, tmp_path: Path) -> Iterator[House]:
    with House(tmp_path, acme2certifier) as house:
        yield house


def issue(house: House, names: Management, *domains: str, **input: object) -> dict[str, object]:
    order = house.create_order(registered(house), *domains, **input)
    house.prove(order["id"], names)
    return dict(house.await_order(order["id"], "VALID")["certificate"])


def test_caddy_issues_and_revokes(caddy_house: House, caddy: Caddy, tmp_path: Path) -> None:
    certificate = issue(caddy_house, caddy.management, "caddy.example", "*.caddy.example")
    assert verified(str(certificate["chain"]), caddy.root_pem, tmp_path)
    assert caddy_house.graphql(REVOKE, c=certificate["id"])["revokeCertificate"]["status"] == "REVOKED"


def test_caddy_cannot_change_keys_and_the_old_one_stays(caddy_house: House) -> None:
    account = registered(caddy_house)
    before = caddy_house.graphql(THUMBPRINT, a=account)
    with pytest.raises(GraphQLFailed) as failed:
        caddy_house.graphql(ROLL_OVER, a=account)
    assert failed.value.code == "CA_ERROR"
    assert caddy_house.graphql(THUMBPRINT, a=account) == before


def test_validation_that_failed_at_caddy_ends_the_order_with_the_reason(caddy_house: House) -> None:
    """Caddy leaves the challenge pending, with an error: only another response would have it look again."""
    order = caddy_house.create_order(registered(caddy_house), "absent.example")
    [challenge] = [c for c in caddy_house.challenges(order["id"]) if c["type"] == "dns-01"]
    caddy_house.respond(challenge["id"])
    error = caddy_house.await_order(order["id"], "INVALID")["error"]
    assert "absent.example" in error["detail"]


def test_acme2certifier_issues_and_revokes(
    a2c_house: House, acme2certifier: Acme2Certifier, names: Pebble, tmp_path: Path
) -> None:
    certificate = issue(a2c_house, names.management, "a2c.example", "*.a2c.example")
    assert verified(str(certificate["chain"]), acme2certifier.root_pem, tmp_path)
    assert a2c_house.graphql(REVOKE, c=certificate["id"])["revokeCertificate"]["status"] == "REVOKED"


def test_acme2certifier_changes_keys(a2c_house: House, names: Pebble) -> None:
    account = registered(a2c_house)
    before = a2c_house.graphql(THUMBPRINT, a=account)
    a2c_house.graphql(ROLL_OVER, a=account)
    assert a2c_house.graphql(THUMBPRINT, a=account) != before
    order = a2c_house.create_order(account, "changed.example")
    a2c_house.prove(order["id"], names.management)
    a2c_house.await_order(order["id"], "VALID")


def test_validation_that_failed_at_acme2certifier_ends_the_order(a2c_house: House) -> None:
    """acme2certifier gives no reason and leaves the order pending for ever."""
    order = a2c_house.create_order(registered(a2c_house), "absent.example")
    [challenge] = [c for c in a2c_house.challenges(order["id"]) if c["type"] == "dns-01"]
    a2c_house.respond(challenge["id"])
    error = a2c_house.await_order(order["id"], "INVALID")["error"]
    assert "absent.example" in error["detail"]


def test_external_account_and_profile_of_acme2certifier(tmp_path: Path, names: Pebble) -> None:
    options = {"eab_keys": {"kid-1": EAB_KEY}, "profiles": {"short": "https://ca.example/short"}}
    with Acme2Certifier(tmp_path / "a2c", names.dns_port, **options) as ca, House(tmp_path, ca) as house:  # type: ignore[arg-type]  # of two types
        with pytest.raises(GraphQLFailed, match="wants an external account binding"):
            house.create_account()
        account = registered(house, externalAccountBinding={"keyId": "kid-1", "hmacKey": EAB_KEY})
        with pytest.raises(GraphQLFailed, match="has no profile 'long'; it offers short"):
            house.create_order(account, "p.example", profile="long")
        order = house.create_order(account, "p.example", profile="short")
        house.prove(order["id"], names.management)
        house.await_order(order["id"], "VALID")


def test_acme2certifier_is_asked_when_to_renew(a2c_house: House, names: Pebble) -> None:
    """Its window ends with the certificate, which is later than Certwright leaves it to."""
    certificate = issue(a2c_house, names.management, "ari.example")
    query = "query($c: ID!) { certificate(id: $c) { notAfter renewal { at source windowStart windowEnd } } }"
    found = await_value(
        lambda: a2c_house.graphql(query, c=certificate["id"])["certificate"],
        lambda found: found["renewal"]["windowStart"] is not None,
    )
    renewal = found["renewal"]
    assert renewal["at"] < renewal["windowStart"] < renewal["windowEnd"] == found["notAfter"]
    assert renewal["source"] == "lifetime"


def test_certificate_of_acme2certifier_is_renewed_and_replaced(a2c_house: House, names: Pebble) -> None:
    certificate = issue(a2c_house, names.management, "renewed.example")
    renewal = a2c_house.graphql("mutation($c: ID!) { renewCertificate(id: $c) { id } }", c=certificate["id"])
    order = renewal["renewCertificate"]["id"]
    a2c_house.await_order(order, "PENDING")
    a2c_house.prove(order, names.management)
    successor = a2c_house.await_order(order, "VALID")["certificate"]
    replaced = a2c_house.graphql("query($c: ID!) { certificate(id: $c) { replacedBy { id } } }", c=certificate["id"])
    assert replaced["certificate"]["replacedBy"]["id"] == successor["id"]
