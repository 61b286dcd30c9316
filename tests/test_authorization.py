"""Who may do what: credentials, roles, tenants."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from certwright.config import Settings
from certwright.model import Role, system
from tests.support.house import GraphQLFailed, House, await_true
from tests.support.issuer import Issuer, jwk

OPERATIONS: dict[str, tuple[Role, str]] = {
    "viewer": (Role.VIEWER, "{ viewer { name role tenant } }"),
    "dashboard": (Role.VIEWER, "{ dashboard { counts { orders } } }"),
    "acmeServers": (Role.VIEWER, "{ acmeServers { url } }"),
    "account": (Role.VIEWER, '{ account(id: "x") { id } }'),
    "accounts": (Role.VIEWER, "{ accounts { edges { cursor } } }"),
    "order": (Role.VIEWER, '{ order(id: "x") { id } }'),
    "orders": (Role.VIEWER, "{ orders { edges { cursor } } }"),
    "challenges": (Role.VIEWER, '{ challenges(orderId: "x") { id } }'),
    "certificate": (Role.VIEWER, '{ certificate(id: "x") { id } }'),
    "certificates": (Role.VIEWER, "{ certificates { edges { cursor } } }"),
    "certificateChains": (Role.VIEWER, '{ certificateChains(certificateId: "x") { pem } }'),
    "acmeDirectory": (Role.OPERATOR, '{ acmeDirectory(url: "x") { website } }'),
    "checkDomains": (Role.VIEWER, '{ checkDomains(domains: "x") { given } }'),
    "rateLimits": (Role.VIEWER, '{ rateLimits(accountId: "x", domains: "a.example") { name } }'),
    "challengeProviderKinds": (Role.VIEWER, "{ challengeProviderKinds { name } }"),
    "challengeProviders": (Role.VIEWER, "{ challengeProviders { id } }"),
    "challengeProvider": (Role.VIEWER, '{ challengeProvider(id: "x") { id } }'),
    "auditEvents": (Role.OPERATOR, "{ auditEvents { edges { cursor } } }"),
    "createOrder": (Role.OPERATOR, 'mutation { createOrder(input: {accountId: "x", domains: "a.example"}) { id } }'),
    "respondChallenge": (Role.OPERATOR, 'mutation { respondChallenge(id: "x-1") { id } }'),
    "cancelOrder": (Role.OPERATOR, 'mutation { cancelOrder(id: "x") { id } }'),
    "renewCertificate": (Role.OPERATOR, 'mutation { renewCertificate(id: "x") { id } }'),
    "revokeCertificate": (Role.OPERATOR, 'mutation { revokeCertificate(id: "x") { id } }'),
    "exportPrivateKey": (Role.OPERATOR, 'mutation { exportPrivateKey(certificateId: "x") }'),
    "exportPkcs12": (Role.OPERATOR, 'mutation { exportPkcs12(certificateId: "x", password: "x") }'),
    "createAccount": (Role.ADMIN, 'mutation { createAccount(input: {email: "", acmeServer: ""}) { id } }'),
    "updateAccount": (Role.ADMIN, 'mutation { updateAccount(id: "x") { id } }'),
    "importAccount": (
        Role.ADMIN,
        'mutation { importAccount(input: {acmeServer: "", privateKey: ""}) { id } }',
    ),
    "rolloverAccountKey": (Role.ADMIN, 'mutation { rolloverAccountKey(id: "x") { id } }'),
    "createChallengeProvider": (
        Role.ADMIN,
        'mutation { createChallengeProvider(input: {name: "", kind: ""}) { id } }',
    ),
    "updateChallengeProvider": (Role.ADMIN, 'mutation { updateChallengeProvider(input: {id: "x"}) { id } }'),
    "deleteChallengeProvider": (Role.ADMIN, 'mutation { deleteChallengeProvider(id: "x") { id } }'),
    "testChallengeProvider": (Role.ADMIN, 'mutation { testChallengeProvider(id: "x", name: "x") { record } }'),
    "deactivateAccount": (Role.ADMIN, 'mutation { deactivateAccount(id: "x") { id } }'),
}


def code_of(house: House, query: str, token: str | None) -> str | None:
    errors: list[dict[str, Any]] = house.post({"query": query}, token).json().get("errors", [])
    return errors[0]["extensions"]["code"] if errors else None


def test_every_operation_has_its_role_in_the_table(house: House) -> None:
    fields = house.graphql("{ __schema { queryType { fields { name } } mutationType { fields { name } } } }")[
        "__schema"
    ]
    assert {f["name"] for kind in fields.values() for f in kind["fields"]} == set(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operation_is_for_its_role_and_higher_ones_only(house: House, operation: str) -> None:
    needed, query = OPERATIONS[operation]
    for role, token in ((Role.VIEWER, house.viewer), (Role.OPERATOR, house.operator), (Role.ADMIN, house.admin)):
        assert (code_of(house, query, token) == "FORBIDDEN") == (role < needed), role
    assert code_of(house, query, None) == "UNAUTHENTICATED"


def test_denied_operation_is_in_the_audit_trail(house: House) -> None:
    assert code_of(house, OPERATIONS["createOrder"][1], house.viewer) == "FORBIDDEN"
    denied = house.audit()[0]
    assert (denied["type"], denied["outcome"], denied["actor"]) == ("OperationDenied", "DENIED", "token:viewer")
    assert "createOrder needs the role operator" in denied["detail"]


UNSIGNED = "eyJhbGciOiJub25lIn0.e30."


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Basic abc", "Bearer nonsense", "Bearer cw_", "Bearer cw_x_y", f"Bearer {UNSIGNED}"]
)
def test_bad_credential_is_refused_and_written_down(house: House, authorization: str) -> None:
    answer = house.post({"query": "{ viewer { name } }"}, None, {"authorization": authorization})
    assert answer.status_code == 401
    assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    refusal = house.audit()[0]
    assert (refusal["type"], refusal["outcome"], refusal["sourceIp"]) == ("SignInRefused", "DENIED", "127.0.0.1")


def test_secret_of_another_token_does_not_fit(house: House) -> None:
    id = house.viewer.split("_")[1]
    mixed = f"cw_{id}_{house.admin.split('_', 2)[2]}"
    assert house.post({"query": "{ viewer { name } }"}, mixed).status_code == 401


def test_revoked_token_is_refused_within_moments(house: House) -> None:
    assert house.graphql("{ viewer { name } }", house.viewer)["viewer"]["name"] == "token:viewer"
    house.app.tokens.revoke(house.viewer.split("_")[1], system("default"))
    await_true(lambda: house.post({"query": "{ viewer { name } }"}, house.viewer).status_code == 401, 5)


def test_refusals_without_end_are_counted_not_all_written(house: House) -> None:
    for _ in range(40):
        assert house.post({"query": "{ viewer { name } }"}, "guess").status_code == 401
    written = [event for event in house.audit() if event["type"] == "SignInRefused"]
    assert len(written) == 10


@pytest.fixture
def other(house: House) -> str:
    return house.token("stranger", Role.ADMIN, "other")


def test_one_tenant_never_sees_anothers_objects(house: House, other: str) -> None:
    account = house.create_account()["id"]
    order = house.issue(account, "tenant.example")
    challenge, certificate = order["challenges"][0]["id"], order["certificate"]["id"]
    for query in (
        f'{{ account(id: "{account}") {{ id }} }}',
        f'{{ order(id: "{order["id"]}") {{ id }} }}',
        f'{{ certificate(id: "{certificate}") {{ id }} }}',
    ):
        assert list(house.graphql(query, other).values()) == [None]
    for query in (
        f'{{ challenges(orderId: "{order["id"]}") {{ id }} }}',
        f'mutation {{ respondChallenge(id: "{challenge}") {{ id }} }}',
        f'mutation {{ cancelOrder(id: "{order["id"]}") {{ id }} }}',
        f'mutation {{ updateAccount(id: "{account}", email: "x@example.com") {{ id }} }}',
        f'mutation {{ deactivateAccount(id: "{account}") {{ id }} }}',
        f'mutation {{ revokeCertificate(id: "{certificate}") {{ id }} }}',
        f'mutation {{ exportPrivateKey(certificateId: "{certificate}") }}',
        f'mutation {{ createOrder(input: {{accountId: "{account}", domains: "a.example"}}) {{ id }} }}',
    ):
        assert code_of(house, query, other) == "NOT_FOUND", query


def test_one_tenants_lists_and_trail_hold_its_own_only(house: House, other: str) -> None:
    order = house.issue(house.create_account()["id"], "lists.example")
    seen = house.graphql(
        """query($s: ID!) { accounts { edges { cursor } } orders { edges { cursor } }
        certificates(name: "lists.example") { edges { cursor } } auditEvents(subjectId: $s) { edges { cursor } }
        dashboard { counts { accounts orders certificates } recentOrders { id } activeAccounts { id } } }""",
        other,
        s=order["id"],
    )
    assert [seen[name]["edges"] for name in ("accounts", "orders", "certificates", "auditEvents")] == [[], [], [], []]
    assert seen["dashboard"] == {
        "counts": {"accounts": 0, "orders": 0, "certificates": 0}, "recentOrders": [], "activeAccounts": [],
    }  # fmt: skip
    trail = house.graphql("{ auditEvents { edges { node { type } } } }", other)["auditEvents"]["edges"]
    assert [edge["node"]["type"] for edge in trail] == ["TokenCreated"]


def test_failed_operations_are_in_the_trail_of_their_subject(house: House) -> None:
    account = house.create_account()["id"]
    with pytest.raises(GraphQLFailed):
        house.graphql('mutation($a: ID!) { updateAccount(id: $a, email: "") { id } }', a=account)
    failed = house.audit(account)[0]
    assert (failed["type"], failed["outcome"], failed["actor"]) == ("OperationFailed", "FAILED", "token:admin")
    assert "operation: updateAccount; code: INVALID_INPUT" in failed["detail"]


def test_oidc_user_signs_in_with_tenant_and_role_of_the_token(tmp_path: Path) -> None:
    key, issuer = ec.generate_private_key(ec.SECP256R1()), Issuer()
    issuer.keys = [jwk(key)]
    environment = {"CERTWRIGHT_OIDC_ISSUER": issuer.url, "CERTWRIGHT_OIDC_AUDIENCE": "certwright"}
    with issuer, House(tmp_path, settings=Settings.read(environment, tmp_path / "data")) as house:
        now = datetime.now(UTC).timestamp()
        token = issuer.token(key, "ES256", iat=now, exp=now + 60, tenant="acme", email="ann@acme.example")
        viewer = house.graphql("{ viewer { name role tenant } }", token)["viewer"]
        assert viewer == {"name": "ann@acme.example", "role": "OPERATOR", "tenant": "acme"}
        expired = issuer.token(key, "ES256", iat=now - 900, exp=now - 600)
        assert house.post({"query": "{ viewer { name } }"}, expired).status_code == 401
