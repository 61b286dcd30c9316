"""GraphQL over HTTP on the real server: the public audits, sign-in, errors and their codes, and what is refused."""

import json
import logging
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from graphql import build_client_schema, get_introspection_query

from certwright.api.limits import MAX_BODY
from certwright.config import Settings
from certwright.model import Role
from tests.support.house import GraphQLFailed, House
from tests.support.issuer import Issuer, jwk
from tests.support.node import require_node
from tests.support.socket import Socket
from tests.support.stub_ca import StubCa

JS = Path(__file__).parent / "js"
RESPONSE_JSON = "application/graphql-response+json"
ORIGIN = "https://console.example"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A service without a CA, for what needs none."""
    directory = tmp_path_factory.mktemp("served")
    with House(directory, settings=replace(Settings.read({}, directory), allowed_origins=(ORIGIN,))) as house:
        yield house


@pytest.fixture(scope="module")
def audits(served: House) -> dict[str, dict[str, str]]:
    require_node()
    command = ["node", str(JS / "http_audits.mjs"), f"{served.url}/graphql", served.viewer]
    output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    return {audit["id"]: audit for audit in json.loads(output)}


def test_all_audits_of_graphql_over_http_pass(audits: dict[str, dict[str, str]]) -> None:
    failed = [f"{a['id']} {a['name']}: {a['reason']}" for a in audits.values() if a["status"] != "ok"]
    assert (len(audits), failed) == (61, [])


def body(response: httpx.Response) -> Any:
    return response.json()["errors"][0]


# Sign-in


@pytest.mark.parametrize("query", ["{ __typename }", "{ __schema { types { name } } }", "{ nope", ""])
def test_nothing_is_answered_without_a_token(served: House, query: str) -> None:
    refused = served.post({"query": query}, None)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert body(refused)["extensions"] == {"code": "UNAUTHENTICATED"}
    assert "Authorization: Bearer TOKEN" in body(refused)["message"]


@pytest.mark.parametrize("token", ["cw_x_y", "cw__", "e30.e30.e30", "x"])
def test_bad_token_is_refused_and_not_repeated_in_the_answer(served: House, token: str) -> None:
    refused = served.post({"query": "{ __typename }"}, token)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
    assert body(refused)["extensions"] == {"code": "UNAUTHENTICATED"}
    assert token == "x" or token not in refused.text


def test_another_scheme_is_refused(served: House) -> None:
    refused = served.post({"query": "{ __typename }"}, None, {"authorization": f"Basic {served.viewer}"})
    assert refused.status_code == 401


def test_issuer_that_cannot_be_asked_is_a_503_and_a_close_to_try_again_after(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    with Issuer() as issuer:
        issuer.keys = [jwk(key)]
        issuer.answers["/.well-known/openid-configuration"] = (500, {}, b"")
        settings = Settings.read({}, tmp_path)
        settings = replace(settings, oidc_issuer=issuer.url, oidc_audience="certwright")
        token = issuer.token(key, "ES256")
        with House(tmp_path, settings=settings) as house, Socket(house.ws_url) as socket:
            refused = house.post({"query": "{ __typename }"}, token)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            assert body(refused)["extensions"] == {"code": "UNAVAILABLE"}
            socket.send({"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}})
            assert socket.closed() == 1013


def test_own_request_id_comes_back_in_the_audit_trail(served: House) -> None:
    query = {"query": 'mutation { cancelOrder(id: "x") { id } }'}
    for request_id in ("deploy-7.1", "not one of ours"):
        served.post(query, served.operator, {"x-request-id": request_id})
    newest, before = served.audit()[:2]
    assert before["requestId"] == "deploy-7.1"
    assert re.fullmatch("[0-9a-f]{16}", newest["requestId"])
    assert newest["sourceIp"] == "127.0.0.1"


# Errors and their codes


def failure(house: House, query: str, token: str | None = None, **variables: Any) -> GraphQLFailed:
    with pytest.raises(GraphQLFailed) as failed:
        house.graphql(query, token, **variables)
    return failed.value


def test_wrong_value_is_invalid_input_with_its_field(served: House) -> None:
    failed = failure(served, "{ accounts(first: 0) { edges { cursor } } }")
    assert failed.extensions == {"code": "INVALID_INPUT", "field": "first"}
    assert "must be from 1 to 100" in failed.message


@pytest.mark.parametrize(
    "query", ["{ nope }", "{ nope", "query($n: Int!) { accounts(first: $n) { edges { cursor } } }"]
)
def test_faults_of_the_document_stay_readable(served: House, query: str) -> None:
    failed = failure(served, query)
    assert failed.extensions == {"code": "INVALID_INPUT"}
    assert "nope" in failed.message or "Syntax" in failed.message or "$n" in failed.message


def test_missing_object_is_not_found(served: House) -> None:
    assert failure(served, 'mutation { cancelOrder(id: "x") { id } }').extensions == {"code": "NOT_FOUND"}


def test_role_that_is_too_low_is_forbidden(served: House) -> None:
    failed = failure(served, 'mutation { cancelOrder(id: "x") { id } }', served.viewer)
    assert failed.extensions == {"code": "FORBIDDEN"}


def test_state_that_forbids_an_operation_is_a_conflict(stub_house: House) -> None:
    account = stub_house.create_account()
    stub_house.graphql("mutation($a: ID!) { deactivateAccount(id: $a) { id } }", a=account["id"])
    with pytest.raises(GraphQLFailed) as failed:
        stub_house.create_order(account["id"], "a.example")
    assert failed.value.extensions == {"code": "CONFLICT", "field": "accountId"}


UPDATE = 'mutation($a: ID!) { updateAccount(id: $a, email: "b@example.com") { id } }'


def test_refusal_of_the_ca_comes_with_its_problem_document(stub_house: House, stub: StubCa) -> None:
    account = stub_house.create_account()
    stub.fail_next("account", "invalidContact", status=400)
    failed = failure(stub_house, UPDATE, a=account["id"])
    assert failed.code == "CA_ERROR"
    assert failed.extensions["problem"]["type"] == "urn:ietf:params:acme:error:invalidContact"


def test_rate_limit_of_the_ca_says_when_to_try_again(stub_house: House, stub: StubCa) -> None:
    account = stub_house.create_account()
    stub.fail_next("account", "rateLimited", status=429, headers={"Retry-After": "30"}, times=10)
    failed = failure(stub_house, UPDATE, a=account["id"])
    assert failed.code == "RATE_LIMITED"
    assert re.match(r"\d{4}-\d\d-\d\dT", failed.extensions["retryAfter"])
    assert failed.extensions["problem"]["type"].endswith("rateLimited")


def break_item(house: House, pk: str) -> None:
    """Make the stored things of a kind unreadable."""
    with sqlite3.connect(house.data_dir / "certwright.db") as database:
        assert database.execute("UPDATE item SET attributes = '{}' WHERE pk = ?", (pk,)).rowcount
    database.close()


def test_fault_of_ours_is_masked_and_its_reference_is_in_the_log(
    stub_house: House, caplog: pytest.LogCaptureFixture
) -> None:
    account = stub_house.create_account()
    break_item(stub_house, "default#account")
    failed = failure(stub_house, "query($a: ID!) { account(id: $a) { id } }", a=account["id"])
    reference = failed.extensions["reference"]
    assert failed.extensions == {"code": "INTERNAL", "reference": reference}
    assert failed.message == f"internal error; its reference is {reference}"
    [logged] = [r for r in caplog.records if r.levelno == logging.ERROR and reference in r.getMessage()]
    assert logged.exc_info


def test_fault_of_ours_at_sign_in_is_masked_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with House(tmp_path) as house:
        break_item(house, "token")
        failed = house.post({"query": "{ __typename }"}, house.viewer)
        assert (failed.status_code, body(failed)["extensions"]["code"]) == (500, "INTERNAL")
        assert body(failed)["extensions"]["reference"] in caplog.text
        with Socket(house.ws_url) as socket:
            socket.send({"type": "connection_init", "payload": {"authorization": f"Bearer {house.viewer}"}})
            assert socket.closed() == 4500


# What is taken, and what is not


def test_request_error_is_a_400_in_its_own_media_type_and_200_in_plain_json(served: House) -> None:
    for accept, status in ((RESPONSE_JSON, 400), (f"{RESPONSE_JSON}, application/json", 400), ("*/*", 200)):
        answered = served.post({"query": "{ nope }"}, served.viewer, {"accept": accept})
        assert (answered.status_code, "data" in answered.json()) == (status, False)


def test_error_in_execution_is_a_200_in_either_media_type(served: House) -> None:
    for accept in (RESPONSE_JSON, "application/json"):
        query = {"query": "{ a: __typename accounts(first: 0) { edges { cursor } } }"}
        answered = served.post(query, served.viewer, {"accept": accept})
        assert (answered.status_code, answered.headers["content-type"]) == (200, accept)
        assert answered.json()["data"] is None


def get(house: House, query: str, accept: str = "application/json") -> httpx.Response:
    headers = {"authorization": f"Bearer {house.viewer}", "accept": accept}
    return house.http.get("/graphql", params={"query": query}, headers=headers)


def test_query_by_get_is_answered(served: House) -> None:
    assert get(served, "{ __typename }").json() == {"data": {"__typename": "Query"}}


def test_mutation_by_get_is_refused(served: House) -> None:
    refused = get(served, 'mutation { cancelOrder(id: "x") { id } }')
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert body(refused)["message"] == "mutations must be sent by POST"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(served: House, method: str) -> None:
    refused = served.http.request(method, "/graphql")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, POST")


def test_subscription_over_http_is_sent_to_the_socket(served: House) -> None:
    query = "subscription { dashboard { counts { orders } } }"
    for refused in (get(served, query), served.post({"query": query}, served.viewer)):
        assert refused.status_code == 400
        assert "WebSocket" in body(refused)["message"]


def test_one_of_several_operations_must_be_named(served: House) -> None:
    query = "query A { a: __typename } query B { b: __typename }"
    assert "operationName" in failure(served, query).message
    named = served.post({"query": query, "operationName": "B"}, served.viewer)
    assert named.json() == {"data": {"b": "Query"}}


def post_text(house: House, content: bytes, content_type: str = "application/json") -> httpx.Response:
    headers = {"authorization": f"Bearer {house.viewer}", "content-type": content_type}
    return house.http.post("/graphql", content=content, headers=headers)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"null",
        b"5",
        b'"{ __typename }"',
        b"[]",
        b'[{"query": "{ __typename }"}]',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"query": 5}',
        b'{"query": "{ __typename }", "variables": []}',
        b'{"query": "{ __typename }", "extensions": "x"}',
        b'{"query": "{ __typename }", "operationName": {}}',
        b'{"query": "{ __typename }", "variables": {"a": ' + b"1" * 5000 + b"}}",
        b'{"query": "{ __typename }", "variables": {"a": "\\ud800"}}',
        b"{}",
    ],
)
def test_body_that_is_no_request_is_a_400(served: House, content: bytes) -> None:
    refused = post_text(served, content)
    assert (refused.status_code, body(refused)["extensions"]) == (400, {"code": "INVALID_INPUT"})


def test_character_outside_the_basic_plane_is_taken_in_either_form(served: House) -> None:
    for text in ('"\\ud83d\\ude00"', '"\N{GRINNING FACE}"'):
        query = f'{{"query": "query($i: ID!) {{ order(id: $i) {{ id }} }}", "variables": {{"i": {text}}}}}'
        assert post_text(served, query.encode()).json() == {"data": {"order": None}}


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_other_content_types_are_refused(served: House, content_type: str) -> None:
    assert post_text(served, b'{"query": "{ __typename }"}', content_type).status_code == 415


def test_body_beyond_the_limit_is_a_413_announced_or_not(served: House) -> None:
    document = b'{"query": "{ __typename }", "variables": {"a": "' + b"x" * MAX_BODY + b'"}}'
    assert post_text(served, document).status_code == 413
    headers = {"authorization": f"Bearer {served.viewer}", "content-type": "application/json"}
    refused = served.http.post("/graphql", content=iter([document[:600_000], document[600_000:]]), headers=headers)
    assert (refused.status_code, body(refused)["extensions"]) == (413, {"code": "INVALID_INPUT"})
    assert post_text(served, b'{"query": "{ __typename }"}').status_code == 200


def test_answers_are_neither_stored_nor_sniffed(served: House) -> None:
    for answer in (served.post({"query": "{ __typename }"}, served.viewer), served.post({}, None)):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_browser_gets_an_ide_without_a_token_that_cannot_be_framed(served: House) -> None:
    page = served.http.get("/graphql", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "graphiql" in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"


def test_health_needs_no_token(served: House) -> None:
    assert served.http.get("/healthz").json() == {"status": "ok"}


def test_allowed_origin_may_ask_and_another_may_not(served: House) -> None:
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    allowed = served.http.options("/graphql", headers={"origin": ORIGIN, **asks})
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    refused = served.http.options("/graphql", headers={"origin": "https://evil.example", **asks})
    assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (400, False)
    answer = served.post({"query": "{ __typename }"}, None, {"origin": ORIGIN})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, ORIGIN)


def test_introspection_gives_the_whole_schema(served: House) -> None:
    schema = build_client_schema(served.graphql(get_introspection_query(), served.viewer))  # type: ignore[arg-type]  # JSON
    assert schema.subscription_type
    assert set(schema.subscription_type.fields) == {"challengeStatus", "orderStatus", "dashboard", "auditEvents"}


def test_tokens_of_every_role_may_ask(served: House) -> None:
    for role, token in ((Role.VIEWER, served.viewer), (Role.OPERATOR, served.operator), (Role.ADMIN, served.admin)):
        assert served.graphql("{ viewer { role } }", token) == {"viewer": {"role": role.name}}
