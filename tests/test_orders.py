"""Orders, their lists and their challenges through the API."""

import threading
from typing import Any

import pytest

from certwright import keys
from certwright.authorities import seal_context
from certwright.model import KeyType
from certwright.sealer import LocalSealer
from tests.support.house import GraphQLFailed, House
from tests.support.pebble import Pebble
from tests.support.stub_ca import StubCa


@pytest.fixture
def account(stub_house: House) -> str:
    return str(stub_house.create_account()["id"])


def test_domains_may_be_one_comma_separated_string(stub_house: House, account: str) -> None:
    query = """mutation($a: ID!) { createOrder(input: { accountId: $a, domains: "B.example, münchen.example" })
        { domains status } }"""
    assert stub_house.graphql(query, a=account)["createOrder"]["domains"] == ["b.example", "xn--mnchen-3ya.example"]


@pytest.mark.parametrize(
    ("domain", "reason"),
    [
        ("https://a.example/x", "https"),
        ("10.0.0.1:80", "port"),
        ("a.*.example", "wildcard"),
        ("co.uk", "public suffix"),
        ("-a.example", "hyphen"),
        ("a.example, A.example", "a.example"),
        ("a" * 64 + ".example", "63"),
        ("localhost", "localhost"),
        ("", "domain"),
    ],
)
def test_bad_name_is_refused_with_its_reason(stub_house: House, account: str, domain: str, reason: str) -> None:
    with pytest.raises(GraphQLFailed) as failed:
        stub_house.create_order(account, domain)
    assert (failed.value.code, failed.value.extensions["field"]) == ("INVALID_INPUT", "domains")
    assert reason in failed.value.message
    assert stub_house.graphql("{ orders { edges { cursor } } }")["orders"]["edges"] == []


def test_uploaded_csr_is_used_and_no_key_is_kept(house: House) -> None:
    key = keys.generate_key(KeyType.EC_P384)
    csr = keys.build_csr(key, ["csr.example", "www.csr.example"])
    order = house.issue(house.create_account()["id"], "www.csr.example", "csr.example", csr=csr)
    leaf = keys.check_leaf(order["certificate"]["chain"], csr, ["csr.example", "www.csr.example"])
    assert leaf.serial == order["certificate"]["serial"]
    with pytest.raises(GraphQLFailed, match="its CSR was brought along") as failed:
        house.graphql("mutation($c: ID!) { exportPrivateKey(certificateId: $c) }", c=order["certificate"]["id"])
    assert failed.value.code == "CONFLICT"


def test_csr_that_does_not_fit_is_refused(stub_house: House, account: str) -> None:
    csr = keys.build_csr(keys.generate_key(KeyType.EC_P256), ["other.example"])
    for text in (csr, "nonsense", ""):
        with pytest.raises(GraphQLFailed) as failed:
            stub_house.create_order(account, "a.example", csr=text)
        assert (failed.value.code, failed.value.extensions["field"]) == ("INVALID_INPUT", "csr")


def test_csr_with_the_accounts_own_key_is_refused(stub_house: House, account: str) -> None:
    stored = stub_house.app.store.account("default", account)
    sealer = LocalSealer(stub_house.data_dir / "sealing.key")
    key = sealer.open(stored.sealed_key, seal_context("default", account))
    with pytest.raises(GraphQLFailed, match="needs a key of its own") as failed:
        stub_house.create_order(account, "a.example", csr=keys.build_csr(key, ["a.example"]))
    assert failed.value.code == "INVALID_INPUT"


def test_profile_must_be_one_that_the_ca_offers(stub: StubCa, stub_house: House) -> None:
    stub.meta = {"profiles": {"classic": "ninety days", "shortlived": "a week"}}
    account = stub_house.create_account()["id"]
    with pytest.raises(GraphQLFailed, match="it offers classic, shortlived") as failed:
        stub_house.create_order(account, "a.example", profile="longlived")
    assert failed.value.extensions["field"] == "profile"
    stub_house.await_order(stub_house.create_order(account, "a.example", profile="shortlived")["id"], "PENDING")
    [placed] = [r for r in stub.requests if r.operation == "newOrder"]
    assert placed.payload["profile"] == "shortlived"


def test_order_for_an_unknown_account_is_refused(stub_house: House) -> None:
    with pytest.raises(GraphQLFailed, match="there is no account 'nobody'") as failed:
        stub_house.create_order("nobody", "a.example")
    assert failed.value.code == "NOT_FOUND"


def test_preparation_says_exactly_what_to_publish(stub_house: House, account: str) -> None:
    order = stub_house.create_order(account, "*.a.example", "a.example")
    dns = [c["preparation"] for c in stub_house.challenges(order["id"]) if c["type"] == "dns-01"]
    assert [record["name"] for record in dns] == ["_acme-challenge.a.example"] * 2
    assert {record["type"] for record in dns} == {"TXT"}
    assert len({record["value"] for record in dns}) == 2
    [http] = [c for c in stub_house.challenges(order["id"]) if c["type"] == "http-01" and not c["wildcard"]]
    file = http["preparation"]
    assert file["url"] == "http://a.example" + file["path"]
    assert file["content"].startswith(file["path"].rpartition("/")[2] + ".")


def test_nonsense_responses_are_refused(house: House) -> None:
    order = house.issue(house.create_account()["id"], "nonsense.example")
    for challenge in order["challenges"]:
        with pytest.raises(GraphQLFailed, match="only a pending order's challenges") as failed:
            house.respond(challenge["id"])
        assert failed.value.code == "CONFLICT"
    for id in ("", "x", order["id"], f"{order['id']}-99"):
        with pytest.raises(GraphQLFailed) as failed:
            house.respond(id)
        assert failed.value.code == "NOT_FOUND"
    assert "OperationFailed" in house.audit_types(order["id"])


def test_cancelled_order_stays_invalid(stub_house: House, account: str) -> None:
    order = stub_house.create_order(account, "a.example")
    stub_house.await_order(order["id"], "PENDING")
    cancel = "mutation($o: ID!) { cancelOrder(id: $o) { status error { type detail } } }"
    cancelled = stub_house.graphql(cancel, o=order["id"])["cancelOrder"]
    assert cancelled == {
        "status": "INVALID",
        "error": {"type": "urn:certwright:cancelled", "detail": "cancelled by token:admin"},
    }
    with pytest.raises(GraphQLFailed, match="is invalid already") as failed:
        stub_house.graphql(cancel, o=order["id"])
    assert failed.value.code == "CONFLICT"


def test_certificate_is_revoked_once(house: House, pebble: Pebble) -> None:
    certificate = house.issue(house.create_account()["id"], "revoke.example")["certificate"]
    query = "mutation($c: ID!) { revokeCertificate(id: $c, reason: SUPERSEDED) { status revokedAt } }"
    assert house.graphql(query, c=certificate["id"])["revokeCertificate"]["status"] == "REVOKED"
    assert pebble.certificate_status(int(certificate["serial"], 16)) == "Revoked"
    with pytest.raises(GraphQLFailed, match="is revoked already") as failed:
        house.graphql(query, c=certificate["id"])
    assert failed.value.code == "CONFLICT"


_PAGE = """query($n: Int, $after: String, $account: ID, $status: OrderStatus) {
    orders(first: $n, after: $after, accountId: $account, status: $status) {
        edges { node { id } cursor } pageInfo { hasNextPage hasPreviousPage endCursor } } }"""


def _pages(house: House, size: int, **filters: Any) -> list[str]:
    """The ids of all orders, read page by page."""
    ids: list[str] = []
    after = None
    while True:
        page = house.graphql(_PAGE, n=size, after=after, **filters)["orders"]
        ids += [edge["node"]["id"] for edge in page["edges"]]
        assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
        if not page["pageInfo"]["hasNextPage"]:
            return ids
        after = page["pageInfo"]["endCursor"]


def test_lists_are_newest_first_and_paged_without_gaps(stub_house: House, account: str) -> None:
    made = [stub_house.create_order(account, f"n{n}.example")["id"] for n in range(7)]
    for size in (1, 2, 3, 7, 8, 100):
        assert _pages(stub_house, size) == made[::-1]
        assert _pages(stub_house, size, account=account) == made[::-1]


def test_orders_are_listed_by_status(stub_house: House, account: str) -> None:
    made = [stub_house.create_order(account, f"n{n}.example")["id"] for n in range(5)]
    for id in made:
        stub_house.await_order(id, "PENDING")
    for id in made[:2]:
        stub_house.graphql("mutation($o: ID!) { cancelOrder(id: $o) { id } }", o=id)
    assert _pages(stub_house, 1, status="INVALID") == made[:2][::-1]
    assert _pages(stub_house, 2, status="PENDING") == made[2:][::-1]
    assert _pages(stub_house, 2, status="PENDING", account=account) == made[2:][::-1]
    assert _pages(stub_house, 2, status="VALID") == []
    counts = stub_house.graphql("{ dashboard { counts { orders ordersOpen ordersInvalid } } }")["dashboard"]["counts"]
    assert counts == {"orders": 5, "ordersOpen": 3, "ordersInvalid": 2}


@pytest.mark.parametrize("first", [0, -1, 101])
def test_page_size_is_bounded(stub_house: House, first: int) -> None:
    with pytest.raises(GraphQLFailed, match="must be from 1 to 100") as failed:
        stub_house.graphql("query($n: Int) { orders(first: $n) { edges { cursor } } }", n=first)
    assert failed.value.code == "INVALID_INPUT"


def test_two_calls_at_once_with_one_idempotency_key_make_one_order(stub_house: House, account: str) -> None:
    made: list[str] = []

    def create() -> None:
        made.append(stub_house.create_order(account, "a.example", idempotencyKey="once")["id"])

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    assert len(set(made)) == 1
    assert _pages(stub_house, 10) == made[:1]


@pytest.mark.parametrize(("given_up", "status"), [(False, "pending"), (True, "deactivated")])
def test_cancelling_gives_up_authorizations_where_wished(house: House, given_up: bool, status: str) -> None:
    order = house.create_order(house.create_account()["id"], "given-up.example")
    house.await_order(order["id"], "PENDING")
    query = "mutation($o: ID!, $d: Boolean!) { cancelOrder(id: $o, deactivateAuthorizations: $d) { status } }"
    assert house.graphql(query, o=order["id"], d=given_up)["cancelOrder"]["status"] == "INVALID"
    stored = house.app.store.order("default", order["id"])
    client = house.app.authorities.client(house.app.store.account("default", stored.account_id))
    assert client.fetch_authorization(stored.authorizations[0].url).status == status
