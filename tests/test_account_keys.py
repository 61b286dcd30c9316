"""Keys of accounts: rollover, import of another client's account, revocation by the certificate's own key."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from josepy.jwk import JWKEC

from certwright import keys
from certwright.authorities import seal_context
from certwright.ca.client import Ca, Client
from certwright.ca.jws import load_key
from certwright.ca.problems import CaProblem
from certwright.events import KeyRolloverBegun
from certwright.local.app import utc_now
from certwright.model import Account, KeyType, system
from tests.support.house import GraphQLFailed, House, await_value
from tests.support.pebble import Pebble
from tests.support.stub_ca import StubCa

ROLL_OVER = "mutation($a: ID!) { rolloverAccountKey(id: $a) { id url status keyThumbprint } }"
IMPORT = "mutation($i: ImportAccountInput!) { importAccount(input: $i) { id email contact url status } }"
REVOKE = "mutation($c: ID!) { revokeCertificate(id: $c, byCertificateKey: true) { status } }"


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("pebble")) as pebble:
        yield pebble


@pytest.fixture
def house(pebble: Pebble, tmp_path: Path) -> Iterator[House]:
    with House(tmp_path, pebble) as house:
        yield house


def stored(house: House, id: str) -> Account:
    return house.app.store.account("default", id)


def test_account_goes_on_with_its_new_key(house: House) -> None:
    account = house.create_account()
    before = stored(house, account["id"])
    rolled = house.graphql(ROLL_OVER, a=account["id"])["rolloverAccountKey"]
    assert (rolled["url"], rolled["status"]) == (account["url"], "VALID")
    assert rolled["keyThumbprint"] != before.key_thumbprint
    assert house.issue(account["id"], "rolled.example")["status"] == "VALID"
    assert house.audit_types(account["id"])[-2:] == ["KeyRolloverBegun", "KeyRolledOver"]


def test_old_key_is_of_no_use_any_more(house: House, pebble: Pebble) -> None:
    account = house.create_account()
    before = stored(house, account["id"])
    old = load_key(house.app.sealer.open(before.sealed_key, seal_context("default", before.id)))
    house.graphql(ROLL_OVER, a=account["id"])
    client = Client(Ca(pebble.directory_url, utc_now, ca_bundle=pebble.ca_bundle), old, before.url)
    with pytest.raises(CaProblem, match="JWS verification error"):
        client.fetch_account()


@pytest.mark.parametrize("told", [False, True], ids=["before the CA heard", "after the CA took it"])
def test_rollover_that_was_cut_off_is_ended_by_the_worker(house: House, told: bool) -> None:
    """As after a kill: the next key is stored, and the CA knows of it or does not."""
    account = stored(house, house.create_account()["id"])
    key = keys.generate_account_key()
    sealed = house.app.sealer.seal(key, seal_context("default", account.id))
    begun = replace(account, sealed_next_key=sealed, due=utc_now())
    if told:
        house.app.authorities.client(account).change_key(house.app.authorities.successor(begun))
    event = KeyRolloverBegun(subject_id=account.id, next_thumbprint=keys.thumbprint(key))
    house.app.store.save(account, begun, events=[event], actor=system("default"))
    await_value(lambda: stored(house, account.id), lambda a: a.key_thumbprint == keys.thumbprint(key))
    assert stored(house, account.id).sealed_next_key is None
    assert house.issue(account.id, "cut-off.example")["status"] == "VALID"


def test_rollover_waits_for_pending_orders(house: House) -> None:
    account = house.create_account()
    order = house.create_order(account["id"], "pending.example")
    house.await_order(order["id"], "PENDING")
    with pytest.raises(GraphQLFailed, match=f"order '{order['id']}' .* waits for validation") as failed:
        house.graphql(ROLL_OVER, a=account["id"])
    assert failed.value.code == "CONFLICT"


def test_rollover_is_for_administrators(house: House) -> None:
    account = house.create_account()
    with pytest.raises(GraphQLFailed) as failed:
        house.graphql(ROLL_OVER, house.operator, a=account["id"])
    assert failed.value.code == "FORBIDDEN"


def test_refused_rollover_leaves_the_old_key(tmp_path: Path) -> None:
    with StubCa(tmp_path / "ca") as ca, House(tmp_path, ca) as house:
        account = house.create_account()
        before = stored(house, account["id"])
        with pytest.raises(GraphQLFailed) as failed:
            house.graphql(ROLL_OVER, a=account["id"])
        assert failed.value.code == "CA_ERROR"
        after = stored(house, account["id"])
        assert (after.sealed_key, after.sealed_next_key) == (before.sealed_key, None)
        assert house.audit_types(account["id"])[-1] == "OperationFailed"
        assert "KeyRolloverRefused" in house.audit_types(account["id"])


def registered(pebble: Pebble, *contact: str) -> tuple[bytes, str]:
    """A key that the CA has an account for, made by another client: PEM, and the account's URL."""
    pem = keys.generate_account_key()
    client = Client(Ca(pebble.directory_url, utc_now, ca_bundle=pebble.ca_bundle), load_key(pem))
    return pem, client.new_account(contact, terms_of_service_agreed=True).url


@pytest.mark.parametrize("form", ["pem", "jwk"])
def test_account_of_another_client_is_taken_over(house: House, pebble: Pebble, form: str) -> None:
    pem, url = registered(pebble, "mailto:old@example.com", "mailto:second@example.com")
    key = load_key(pem)
    assert isinstance(key, JWKEC)
    given = pem.decode() if form == "pem" else json.dumps(key.to_json())
    account = house.graphql(IMPORT, i={"acmeServer": pebble.directory_url, "privateKey": given})["importAccount"]
    assert (account["url"], account["email"], account["status"]) == (url, "old@example.com", "VALID")
    assert account["contact"] == ["mailto:second@example.com"]
    assert house.issue(account["id"], f"{form}.example")["status"] == "VALID"


def test_key_without_an_account_is_refused_and_nothing_is_kept(house: House, pebble: Pebble) -> None:
    given = {"acmeServer": pebble.directory_url, "privateKey": keys.generate_account_key().decode()}
    with pytest.raises(GraphQLFailed) as failed:
        house.graphql(IMPORT, i=given)
    assert failed.value.extensions["problem"]["type"] == "urn:ietf:params:acme:error:accountDoesNotExist"
    assert house.graphql("{ accounts { edges { cursor } } }")["accounts"]["edges"] == []


def test_account_is_imported_once(house: House, pebble: Pebble) -> None:
    pem, _ = registered(pebble, "mailto:old@example.com")
    given = {"acmeServer": pebble.directory_url, "privateKey": pem.decode()}
    house.graphql(IMPORT, i=given)
    with pytest.raises(GraphQLFailed, match="is here already") as failed:
        house.graphql(IMPORT, i=given)
    assert failed.value.code == "CONFLICT"


@pytest.mark.parametrize("text", ["", "no key", "{}", '{"kty": "oct", "k": "AAAA"}', '{"kty": "EC"}'])
def test_what_is_no_key_is_refused_without_showing_it(house: House, pebble: Pebble, text: str) -> None:
    with pytest.raises(GraphQLFailed, match="is no account key") as failed:
        house.graphql(IMPORT, i={"acmeServer": pebble.directory_url, "privateKey": text})
    assert (failed.value.code, failed.value.extensions["field"]) == ("INVALID_INPUT", "privateKey")


def test_address_is_asked_for_where_the_ca_tells_none(house: House, pebble: Pebble) -> None:
    pem, _ = registered(pebble)
    given = {"acmeServer": pebble.directory_url, "privateKey": pem.decode()}
    with pytest.raises(GraphQLFailed, match="names no e-mail address"):
        house.graphql(IMPORT, i=given)
    assert house.graphql(IMPORT, i={**given, "email": "me@example.com"})["importAccount"]["email"] == "me@example.com"


@pytest.mark.parametrize("key_type", [KeyType.EC_P384, KeyType.RSA_2048])
def test_certificate_is_revoked_by_its_own_key_without_its_account(
    house: House, pebble: Pebble, key_type: KeyType
) -> None:
    account = house.create_account()
    order = house.issue(account["id"], "own-key.example", keyType=key_type.name)
    house.graphql("mutation($a: ID!) { deactivateAccount(id: $a) { status } }", a=account["id"])
    certificate = order["certificate"]
    assert house.graphql(REVOKE, c=certificate["id"])["revokeCertificate"]["status"] == "REVOKED"
    assert pebble.certificate_status(int(certificate["serial"], 16)) == "Revoked"
