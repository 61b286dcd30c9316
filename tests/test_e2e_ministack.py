"""The whole deployment on an emulator of AWS: packaged by osls, deployed, and used as a cloud team and its users do.

Everything between the endpoints and the emulator's services is what runs on AWS: the zips, in processes of their own,
woken by streams, queues and schedules. The CA is a real Pebble.
"""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.house import Operations, await_true, await_value
from tests.support.ministack import MiniStack, Stack, missing_for_deploy, package
from tests.support.pebble import Pebble
from tests.support.socket import Socket

ISSUANCE = ["NEW", "PENDING", "READY", "PROCESSING", "VALID"]


class Team(Operations):
    """The deployed service, as it is reached over HTTP; its tokens are made on the command line."""

    def __init__(self, aws: MiniStack, stack: Stack, pebble: Pebble) -> None:
        self.aws = aws
        self.stack = stack
        self.ca = self.pebble = pebble
        self._http = httpx.Client(timeout=30, trust_env=False)
        self.viewer, self.operator, self.admin = (self.token(role) for role in ("viewer", "operator", "admin"))

    def certwright(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A command as on the computer of somebody with rights to the account."""
        store = {"CERTWRIGHT_STORE": f"dynamodb:{self.stack.outputs['TableName']}"}
        return subprocess.run(
            [Path(sys.executable).with_name("certwright"), *arguments],
            env={"PATH": os.environ["PATH"], **self.aws.environment, **store},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def token(self, role: str) -> str:
        return self.certwright("token", "create", "--name", role, "--role", role).stdout.strip()

    def post(self, document: object, token: str | None, headers: dict[str, str] | None = None) -> httpx.Response:
        authorization = {"authorization": f"Bearer {token}"} if token else {}
        url = f"{self.stack.http_url}/graphql"
        return self._http.post(url, json=document, headers={**authorization, **(headers or {})})

    def get(self, path: str) -> httpx.Response:
        return self._http.get(self.stack.http_url + path)

    def archived(self) -> list[dict[str, Any]]:
        """The lines of the audit archive in S3."""
        s3, bucket = self.aws.client("s3"), self.stack.outputs["AuditBucketName"]
        lines: list[str] = []
        for entry in s3.list_objects_v2(Bucket=bucket, Prefix="audit/").get("Contents", ()):
            body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            lines += (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode().splitlines()
        return [json.loads(line) for line in lines]

    def log(self, group: str) -> list[str]:
        pages = self.aws.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
        return [event["message"] for page in pages for event in page["events"]]

    def subscriptions(self) -> int:
        """How many there are, on all sockets."""
        items = self.aws.client("dynamodb").scan(TableName=self.stack.outputs["TableName"], ConsistentRead=True)[
            "Items"
        ]
        return sum("#topic#" in item["pk"]["S"] for item in items)

    def close(self) -> None:
        self._http.close()


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, pebble: Pebble) -> Iterator[Team]:
    if reason := missing_for_deploy():
        pytest.skip(reason)
    folder, template = tmp_path_factory.mktemp("deploy"), package()
    settings = {"CERTWRIGHT_ACME_SERVERS": pebble.directory_url, "CERTWRIGHT_CA_BUNDLE": str(pebble.ca_bundle)}
    with MiniStack(folder / "ministack") as aws:
        stack = aws.deploy(template, settings)
        team = Team(aws, stack, pebble)
        yield team
        team.close()
        aws.destroy(stack)


@pytest.fixture(scope="module")
def account(team: Team) -> str:
    return str(team.create_account()["id"])


@pytest.fixture(scope="module")
def dropped(team: Team, account: str) -> str:
    """An order whose hint is lost: the queue gives nothing to the worker until the hint was taken from it."""
    functions, sqs = team.aws.client("lambda"), team.aws.client("sqs")
    mapping, queue = team.stack.resources["WorkerEventSourceMappingSQSWakeQueue"], team.stack.outputs["WakeQueueUrl"]
    functions.update_event_source_mapping(UUID=mapping, Enabled=False)
    order = str(team.create_order(account, "swept.example")["id"])

    def is_taken() -> bool:
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return any(json.loads(message["Body"])["sk"] == order for message in messages)

    await_true(is_taken)
    functions.update_event_source_mapping(UUID=mapping, Enabled=True)
    return order


def test_order_whose_hint_is_dropped_waits(team: Team, dropped: str) -> None:
    assert team.order(dropped)["status"] == "NEW"


def test_main_job_through_the_deployed_endpoint(team: Team, account: str, tmp_path: Path) -> None:
    order = team.issue(account, "example.com", "*.example.com")
    assert set(order["certificate"]["names"]) == {"example.com", "*.example.com"}
    (tmp_path / "root.pem").write_text(team.pebble.root_pem())
    (tmp_path / "chain.pem").write_text(order["certificate"]["chain"])
    verify = ["openssl", "verify", "-CAfile", "root.pem", "-untrusted", "chain.pem", "chain.pem"]
    verified = subprocess.run(verify, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert verified.stdout == "chain.pem: OK\n", verified.stderr


def test_sockets_see_every_challenge_and_order_change(team: Team, account: str) -> None:
    order = team.create_order(account, "socket.example")["id"]
    with Socket(team.stack.ws_url) as challenges, Socket(team.stack.ws_url) as orders, Socket(team.stack.ws_url) as all:
        for socket, token in ((challenges, team.viewer), (orders, team.viewer), (all, team.admin)):
            socket.init(token)
        challenges.subscribe("1", "subscription($o: ID!) { challengeStatus(orderId: $o) { type status } }", o=order)
        orders.subscribe("1", "subscription($o: ID!) { orderStatus(id: $o) { status } }", o=order)
        all.subscribe("1", "subscription { auditEvents { type subjectId } }")
        await_true(lambda: team.subscriptions() == 3)
        team.prove(order)
        seen = [data["orderStatus"]["status"] for data in orders.payloads("VALID", seconds=60)]
        changes = [data["challengeStatus"] for data in challenges.payloads('"VALID"', seconds=60)]
        told = [data["auditEvents"] for data in all.payloads("OrderFulfilled", seconds=60)]
    assert [c["status"] for c in changes if c["type"] == "dns-01"][-2:] == ["PROCESSING", "VALID"]
    statuses = list(dict.fromkeys(seen))
    assert statuses == [status for status in ISSUANCE if status in statuses]
    types = [event["type"] for event in told if event["subjectId"] == order]
    assert {"ChallengeResponded", "ChallengeValidated", "OrderReady"} <= set(types)
    assert sorted(types) == sorted(team.audit_types(order)[-len(types) :])


def test_every_audit_event_is_in_s3_and_in_the_log_group(team: Team, account: str) -> None:
    order = team.issue(account, "archive.example")["id"]

    def of_the_order(lines: list[dict[str, Any]]) -> list[str]:
        found = {line["sequence"]: line["type"] for line in lines if line["subject_id"] == order}
        return [found[sequence] for sequence in sorted(found)]

    await_value(lambda: of_the_order(team.archived()), lambda types: types == team.audit_types(order))
    logged = [json.loads(message) for message in team.log(team.stack.outputs["AuditLogName"])]
    assert of_the_order(logged) == team.audit_types(order)


def test_trail_is_proved_from_the_bucket_alone(team: Team, account: str) -> None:
    team.issue(account, "proof.example")
    bucket = team.stack.outputs["AuditBucketName"]
    whole = await_value(lambda: team.certwright("audit", "verify", f"s3://{bucket}"), lambda done: done.returncode == 0)
    assert whole.stdout.endswith("chains: whole\n")
    s3 = team.aws.client("s3")
    key = s3.list_objects_v2(Bucket=bucket, Prefix="audit/")["Contents"][-1]["Key"]
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=bucket, Key=key, Body=body.replace(b'"actor":"', b'"actor":"not ', 1))
    forged = team.certwright("audit", "verify", f"s3://{bucket}")
    s3.put_object(Bucket=bucket, Key=key, Body=body)
    assert forged.returncode == 1
    assert "was changed after it was written" in forged.stderr


def test_event_reaches_a_rule_on_the_bus(team: Team, account: str) -> None:
    sqs, events, bus = team.aws.client("sqs"), team.aws.client("events"), team.stack.outputs["EventBusName"]
    queue = sqs.create_queue(QueueName="dashboard")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["certwright"], "detail-type": ["OrderFulfilled"]}
    events.put_rule(Name="fulfilled", EventBusName=bus, EventPattern=json.dumps(pattern))
    events.put_targets(Rule="fulfilled", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    order = team.issue(account, "event.example")
    received = await_value(lambda: sqs.receive_message(QueueUrl=queue).get("Messages", []), bool)
    event = json.loads(received[0]["Body"])
    assert (event["detail-type"], event["detail"]["subjectId"]) == ("OrderFulfilled", order["id"])
    assert event["detail"]["facts"]["certificateId"] == order["certificate"]["id"]


def test_functions_log_json_without_secrets_and_without_errors(team: Team, account: str) -> None:
    team.issue(account, "log.example")
    secret = team.admin.split("_", 2)[2]
    for function in ("http", "websocket", "stream", "worker"):
        lines = team.log(f"/aws/lambda/certwright-test-{function}")
        logged = [json.loads(line) for line in lines if line.startswith("{")]
        assert [entry for entry in logged if entry.get("level") in ("ERROR", "CRITICAL")] == []
        leaked = [line.replace(secret, "(the secret)") for line in lines if secret in line or "PRIVATE KEY" in line]
        assert leaked == [], function


def test_nothing_was_given_up(team: Team) -> None:
    sqs = team.aws.client("sqs")
    for queue in ("WakeDeadLetters", "StreamDeadLetters"):
        url = team.stack.resources[queue]
        assert sqs.receive_message(QueueUrl=url).get("Messages", []) == []
    assert team.aws.complaints() == []


def test_sweep_recovers_the_order_whose_hint_was_dropped(team: Team, dropped: str) -> None:
    """Only the schedule is left. It comes with each tick of the emulator now, not to wait for the minute to pass."""
    rule = team.stack.resources["WorkerEventsRuleSchedule1"]
    team.aws.client("events").put_rule(Name=rule, ScheduleExpression="rate(0 minutes)", State="ENABLED")
    await_value(lambda: team.order(dropped)["status"], lambda status: status != "NEW")
    team.prove(dropped)
    assert team.await_order(dropped, "VALID")
