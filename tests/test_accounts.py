"""Accounts through the API."""

from pathlib import Path

import pytest

from tests.support.house import GraphQLFailed, House
from tests.support.pebble import Pebble
from tests.support.stub_ca import StubCa

EAB_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


def test_account_is_registered_at_the_ca(house: House) -> None:
    account = house.create_account(contact=["mailto:b@example.com"])
    assert account["status"] == "VALID"
    assert account["url"].startswith(house.app.reader.acme_servers()[0].url.removesuffix("/dir"))
    found = house.graphql(
        "query($a: ID!) { account(id: $a) { email contact acmeServer keyThumbprint } }", a=account["id"]
    )
    assert found["account"]["contact"] == ["mailto:b@example.com"]
    assert house.audit_types(account["id"]) == ["AccountCreated", "AccountRegistered"]


def test_terms_of_service_must_be_agreed_to(house: House) -> None:
    with pytest.raises(GraphQLFailed, match="terms of service must be agreed to: read data:text/plain") as failed:
        house.create_account(termsOfServiceAgreed=False)
    assert (failed.value.code, failed.value.extensions["field"]) == ("INVALID_INPUT", "termsOfServiceAgreed")
    assert house.graphql("{ accounts { edges { cursor } } }")["accounts"]["edges"] == []


@pytest.mark.parametrize("email", ["", "nobody", "a@b@c", "a@example.com, b@example.com", "mailto:a@example.com"])
def test_bad_email_is_refused_by_its_field(house: House, email: str) -> None:
    with pytest.raises(GraphQLFailed) as failed:
        house.create_account(email=email)
    assert (failed.value.code, failed.value.extensions["field"]) == ("INVALID_INPUT", "email")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/dir", "https://acme.example/dir", "https://localhost/dir", "ftp://x.example", "nonsense"]
)
def test_acme_server_that_is_not_allowed_is_refused(house: House, url: str) -> None:
    with pytest.raises(GraphQLFailed) as failed:
        house.create_account(acmeServer=url)
    assert (failed.value.code, failed.value.extensions["field"]) == ("INVALID_INPUT", "acmeServer")


def test_external_account_binding_is_asked_for_and_used(tmp_path: Path) -> None:
    with Pebble(tmp_path / "pebble", eab_keys={"kid-1": EAB_KEY}) as pebble, House(tmp_path, pebble) as house:
        with pytest.raises(GraphQLFailed, match="wants an external account binding"):
            house.create_account()
        account = house.create_account(externalAccountBinding={"keyId": "kid-1", "hmacKey": EAB_KEY})
        assert account["status"] == "VALID"
        assert house.app.store.account("default", account["id"]).sealed_binding is None


def test_wrong_external_account_binding_leaves_no_account(tmp_path: Path) -> None:
    with Pebble(tmp_path / "pebble", eab_keys={"kid-1": EAB_KEY}) as pebble, House(tmp_path, pebble) as house:
        with pytest.raises(GraphQLFailed) as failed:
            house.create_account(externalAccountBinding={"keyId": "kid-2", "hmacKey": EAB_KEY})
        assert failed.value.code == "CA_ERROR"
        assert EAB_KEY not in str(failed.value.errors)
        assert house.graphql("{ accounts { edges { cursor } } }")["accounts"]["edges"] == []
        assert "AccountRefused" in house.audit_types()


def test_unusable_hmac_key_is_refused_before_anything_is_recorded(house: House) -> None:
    with pytest.raises(GraphQLFailed, match="must be base64url") as failed:
        house.create_account(externalAccountBinding={"keyId": "kid", "hmacKey": "not base64!"})
    assert failed.value.extensions["field"] == "externalAccountBinding.hmacKey"
    assert "AccountCreated" not in house.audit_types()


def test_contacts_are_updated_at_the_ca_and_here(house: House) -> None:
    id = house.create_account()["id"]
    query = 'mutation($a: ID!) { updateAccount(id: $a, email: "new@example.com", contact: []) { email contact } }'
    assert house.graphql(query, a=id)["updateAccount"] == {"email": "new@example.com", "contact": []}
    account = house.app.store.account("default", id)
    at_ca = house.fetch_account(account)
    assert at_ca.contact == ("mailto:new@example.com",)


def test_deactivated_account_can_do_nothing_more(house: House) -> None:
    id = house.create_account()["id"]
    deactivate = "mutation($a: ID!) { deactivateAccount(id: $a) { status } }"
    assert house.graphql(deactivate, a=id)["deactivateAccount"]["status"] == "DEACTIVATED"
    update = 'mutation($a: ID!) { updateAccount(id: $a, email: "b@example.com") { status } }'
    for operation in (deactivate, update):
        with pytest.raises(GraphQLFailed, match="is deactivated; it must be valid"):
            house.graphql(operation, a=id)
    with pytest.raises(GraphQLFailed, match="is deactivated; it must be valid") as failed:
        house.create_order(id, "a.example")
    assert failed.value.code == "CONFLICT"
    assert house.graphql("{ dashboard { counts { accounts } } }")["dashboard"]["counts"]["accounts"] == 0


def test_repeat_with_the_same_idempotency_key_answers_with_the_first_account(house: House) -> None:
    first = house.create_account(idempotencyKey="k")
    assert house.create_account(idempotencyKey="k")["id"] == first["id"]
    with pytest.raises(GraphQLFailed, match="was used before with another input") as failed:
        house.create_account(idempotencyKey="k", email="other@example.com")
    assert (failed.value.code, failed.value.extensions["field"]) == ("CONFLICT", "idempotencyKey")
    assert len(house.graphql("{ accounts { edges { cursor } } }")["accounts"]["edges"]) == 1


def test_idempotency_key_of_an_account_that_the_ca_refused_is_spent(stub: StubCa, stub_house: House) -> None:
    stub.fail_next("newAccount", "invalidContact", status=400)
    with pytest.raises(GraphQLFailed) as failed:
        stub_house.create_account(idempotencyKey="k")
    assert failed.value.code == "CA_ERROR"
    with pytest.raises(GraphQLFailed, match="take a new key to try again") as failed:
        stub_house.create_account(idempotencyKey="k")
    assert failed.value.code == "CONFLICT"


def test_deactivation_whose_answer_was_lost_is_taken_up_again(stub: StubCa, stub_house: House) -> None:
    id = stub_house.create_account()["id"]
    stub.fail_next("account", "unauthorized", status=401)
    query = "mutation($a: ID!) { deactivateAccount(id: $a) { status } }"
    assert stub_house.graphql(query, a=id)["deactivateAccount"]["status"] == "DEACTIVATED"


def test_any_public_server_is_allowed_by_a_star_but_no_private_one(tmp_path: Path) -> None:
    from certwright.config import Settings

    settings = Settings.read({"CERTWRIGHT_ACME_SERVERS": "*"}, tmp_path / "data")
    with House(tmp_path, settings=settings) as house:
        query = """mutation($u: String!) { createAccount(input: { email: "a@example.com", acmeServer: $u }) { id } }"""
        for url in ("https://10.0.0.1/dir", "https://[::1]/dir", "https://ca.internal/dir", "https://localhost/dir"):
            with pytest.raises(GraphQLFailed) as failed:
                house.graphql(query, u=url)
            assert (failed.value.code, failed.value.extensions["field"]) == ("INVALID_INPUT", "acmeServer")


def test_acme_servers_list_the_test_ca_and_the_public_ones(house: House) -> None:
    servers = house.graphql("{ acmeServers { name url staging externalAccountRequired } }")["acmeServers"]
    by_name = {server["name"]: server for server in servers}
    assert by_name["Let's Encrypt Staging"]["staging"]
    assert by_name["ZeroSSL"]["externalAccountRequired"]
