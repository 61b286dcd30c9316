"""The http function, called as Lambda calls it, with moto around it; its first request also in a process of its own."""

import base64
import gzip
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certwright.auth import Tokens
from certwright.aws.app import App, utc_now
from certwright.aws.dynamo_table import DynamoTable
from certwright.aws.http import serve
from certwright.errors import InvalidInput
from certwright.ids import Ulids
from certwright.model import Role, system
from certwright.store import Store
from tests.support.browser import require_console
from tests.support.cloud import Cloud, LambdaContext, client, http_event
from tests.support.dynamo import UNKNOWN_TO_DYNAMODB_LOCAL, create_table
from tests.support.house import GraphQLFailed
from tests.support.stub_ca import StubCa

DASHBOARD = "{ dashboard { counts { accounts orders } recentOrders { id } activeAccounts { id } } }"
NOT_IMPORTED = ("acme", "josepy", "requests", "cryptography", "jwt", "idna", "publicsuffixlist", "uvicorn", "sqlite3")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with StubCa(tmp_path / "stub") as stub, Cloud(stub) as cloud:
        yield cloud


def test_main_job_by_http_and_worker_functions(cloud: Cloud) -> None:
    order = cloud.create_order(cloud.create_account()["id"], "a.example", "*.a.example")
    cloud.work()
    cloud.prove(order["id"])
    cloud.work()
    done = cloud.order(order["id"])
    assert (done["status"], done["certificate"]["names"]) == ("VALID", ["a.example", "*.a.example"])
    assert cloud.audit_types(order["id"]) == [
        "OrderCreated", "OrderPlaced", "ChallengesViewed", "ChallengeResponded", "ChallengeResponded",
        "ChallengeValidated", "ChallengeValidated", "OrderReady", "OrderFulfilled",
    ]  # fmt: skip


def test_keys_are_sealed_with_kms_and_can_be_exported(cloud: Cloud) -> None:
    account = cloud.create_account()
    order = cloud.create_order(account["id"], "a.example")
    stored = cloud.app.store.order("default", order["id"]), cloud.app.store.account("default", account["id"])
    assert [entity.sealed_key[:7] for entity in stored if entity.sealed_key] == ["kms:v1:", "kms:v1:"]
    cloud.work()
    cloud.prove(order["id"])
    cloud.work()
    certificate = cloud.order(order["id"])["certificate"]
    query = "mutation($c: ID!) { exportPrivateKey(certificateId: $c) }"
    assert "BEGIN PRIVATE KEY" in cloud.graphql(query, c=certificate["id"])["exportPrivateKey"]


def test_committed_work_is_due_at_once_and_nobody_is_woken_by_hand(cloud: Cloud) -> None:
    order = cloud.create_order(cloud.create_account()["id"], "a.example")
    [entry] = cloud.due()
    assert (entry.sk, entry.due <= utc_now().timestamp() * 1000) == (order["id"], True)
    assert cloud.messages() == []


@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json"])
def test_answers_are_text_in_either_media_type(cloud: Cloud, accept: str) -> None:
    headers = {"authorization": f"Bearer {cloud.viewer}", "content-type": "application/json", "accept": accept}
    event = http_event("POST", "/graphql", headers=headers, body=json.dumps({"query": DASHBOARD}))
    answer = serve(cloud.app)(event, LambdaContext())
    assert (answer["headers"]["content-type"].startswith(accept), answer["isBase64Encoded"]) == (True, False)
    assert json.loads(answer["body"])["data"]["dashboard"]["counts"] == {"accounts": 0, "orders": 0}


def test_body_in_base64_and_query_string_are_understood(cloud: Cloud) -> None:
    headers = {"authorization": f"Bearer {cloud.viewer}", "content-type": "application/json"}
    event = http_event("POST", "/graphql", headers=headers)
    event |= {"body": base64.b64encode(b'{"query": "{ __typename }"}').decode(), "isBase64Encoded": True}
    assert json.loads(serve(cloud.app)(event, LambdaContext())["body"]) == {"data": {"__typename": "Query"}}
    got = cloud.request("GET", "/graphql?query=%7B__typename%7D", headers=headers | {"accept": "application/json"})
    assert got.json() == {"data": {"__typename": "Query"}}


def test_nobody_is_served_without_a_token(cloud: Cloud) -> None:
    answer = cloud.post({"query": "{ __schema { types { name } } }"}, None)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_audit_knows_the_request_and_where_it_came_from(cloud: Cloud) -> None:
    cloud.post({"query": DASHBOARD}, "cw_1_wrong", {"x-request-id": "r-77"})
    refused = cloud.audit()[0]
    assert (refused["type"], refused["requestId"], refused["sourceIp"]) == ("SignInRefused", "r-77", "203.0.113.9")


def test_another_tenant_sees_nothing(cloud: Cloud) -> None:
    account = cloud.create_account()
    cloud.admin = cloud.token(Role.ADMIN, "other")
    assert cloud.graphql(DASHBOARD)["dashboard"]["activeAccounts"] == []
    with pytest.raises(GraphQLFailed) as refused:
        cloud.create_order(account["id"], "a.example")
    assert refused.value.code == "NOT_FOUND"


def test_http01_challenge_is_served_and_health_answers(cloud: Cloud) -> None:
    order = cloud.create_order(cloud.create_account()["id"], "a.example")
    cloud.work()
    file = next(c["preparation"] for c in cloud.challenges(order["id"]) if c["type"] == "http-01")
    assert cloud.request("GET", file["path"]).text == file["content"]
    assert cloud.request("GET", "/.well-known/acme-challenge/none").status_code == 404
    assert cloud.request("GET", "/healthz").json() == {"status": "ok"}


def test_subscriptions_are_refused_over_http(cloud: Cloud) -> None:
    answer = cloud.post({"query": "subscription { orderStatus { id } }"}, cloud.viewer)
    assert answer.status_code == 400
    assert "WebSocket" in answer.json()["errors"][0]["message"]


def test_origin_that_is_allowed_may_ask() -> None:
    with Cloud(settings={"CERTWRIGHT_ALLOWED_ORIGINS": "https://app.example"}) as cloud:
        asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
        answer = cloud.request("OPTIONS", "/graphql", headers=asked)
    assert answer.headers["access-control-allow-origin"] == "https://app.example"


@pytest.mark.parametrize(("setting", "value"), [("CERTWRIGHT_STORE", "sqlite:x"), ("CERTWRIGHT_STOER", "dynamodb:t")])
def test_setting_that_is_missing_or_wrong_is_named(cloud: Cloud, setting: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=setting):
        serve(App({**cloud.environment, setting: value}, client=client))


def test_console_comes_compressed_through_the_gateway(cloud: Cloud) -> None:
    require_console()
    site, headers = serve(cloud.app), {"accept-encoding": "gzip", "host": "api.example"}
    page = site(http_event("GET", "/acme/orders", headers=headers), LambdaContext())
    assert (page["statusCode"], page["isBase64Encoded"]) == (200, True)
    text = gzip.decompress(base64.b64decode(page["body"])).decode()
    [script] = re.findall(r'src="(/acme/assets/[^"]+)"', text)
    for encoding in ("gzip", "identity"):
        answer = site(http_event("GET", script, headers=headers | {"accept-encoding": encoding}), LambdaContext())
        assert answer["headers"].get("content-encoding", "identity") == encoding
        assert answer["isBase64Encoded"] == (encoding == "gzip")


FIRST_REQUEST = """
import json, sys
from certwright.aws.http import handler
class Context: aws_request_id = "1"
answer = handler(json.loads(sys.argv[1]), Context())
again = handler(json.loads(sys.argv[1]), Context())
json.dump({"answers": [answer, again], "modules": sorted({name.partition(".")[0] for name in sys.modules})}, sys.stderr)
"""


def test_first_dashboard_imports_neither_the_acme_library_nor_cryptography(dynamodb: Any) -> None:
    create_table(dynamodb, "cold-start", UNKNOWN_TO_DYNAMODB_LOCAL)
    table = DynamoTable(dynamodb, "cold-start", lambda: int(utc_now().timestamp()))
    store = Store(table, clock=utc_now, new_id=Ulids(utc_now, secrets.randbits))
    _, token = Tokens(store, utc_now).create("cold", Role.VIEWER, system("default"))
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    event = http_event("POST", "/graphql", headers=headers, body=json.dumps({"query": DASHBOARD}))
    environment = {
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.meta.endpoint_url,
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_LAMBDA_FUNCTION_NAME": "http",
        "CERTWRIGHT_STORE": "dynamodb:cold-start",
        "STACK_KEY": "alias/none",
    }
    told = subprocess.run(
        [sys.executable, "-c", FIRST_REQUEST, json.dumps(event)],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = json.loads(told.stderr)
    for answer in found["answers"]:
        assert json.loads(answer["body"])["data"]["dashboard"]["counts"] == {"accounts": 0, "orders": 0}
    assert [name for name in NOT_IMPORTED if name in found["modules"]] == []
    assert all(json.loads(line)["function_request_id"] == "1" for line in told.stdout.splitlines())
