"""The functions of the deployment on AWS in this process, their surroundings by moto: they are called as Lambda would.

    with Cloud(stub) as cloud:
        order = cloud.create_order(cloud.create_account()["id"], "a.example")
        cloud.work()

What the stream function does for the worker is done here by `announce`: it sends messages for what is due.
"""

import base64
import json
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import boto3
import httpx
from botocore.config import Config
from moto import mock_aws

from certwright import items
from certwright.auth import DEFAULT_TENANT, Tokens
from certwright.aws import http, worker
from certwright.aws.app import App, Handler, utc_now
from certwright.codec import microseconds
from certwright.model import Role, system
from certwright.table import Due
from tests.support.dynamo import create_table
from tests.support.house import AcmeServer, Operations
from tests.support.loop import Loop

REGION = "eu-central-1"
TABLE = "certwright"
FUNCTION_SECONDS = 120


class LambdaContext:
    """What a handler is told of its invocation."""

    aws_request_id = "8a3c"

    def __init__(self, seconds: float = FUNCTION_SECONDS) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


def client(service: str, **options: Any) -> Any:
    """A client with made-up credentials."""
    made_up = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    config = Config(max_pool_connections=32, retries={"mode": "standard"})
    return boto3.client(service, region_name=REGION, config=config, **made_up, **options)


def http_event(method: str, path: str, *, headers: dict[str, str] | None = None, body: str = "") -> dict[str, Any]:
    """What API Gateway gives an HTTP API's function, in payload version 2.0."""
    path, _, query = path.partition("?")
    request = {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.9", "userAgent": "test"}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": "api.example", "x-forwarded-proto": "https", "x-forwarded-port": "443", **(headers or {})},
        "requestContext": {"http": request, "stage": "$default", "requestId": "r", "apiId": "a", "domainName": "d"},
        "body": body,
        "isBase64Encoded": False,
    }


class Cloud(Operations):
    """A table, a key and a queue, and the http and worker functions with them."""

    def __init__(
        self,
        ca: AcmeServer | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
        settings: dict[str, str] | None = None,
    ) -> None:
        self._stack = ExitStack()
        self._stack.enter_context(mock_aws())
        create_table(client("dynamodb"), TABLE)
        self.sqs = client("sqs")
        self.queue_url = self.sqs.create_queue(QueueName="wake")["QueueUrl"]
        self.environment = {
            "CERTWRIGHT_STORE": f"dynamodb:{TABLE}",
            "STACK_KEY": client("kms").create_key()["KeyMetadata"]["Arn"],
            "STACK_WAKE_QUEUE": self.queue_url,
            **(settings or {}),
        }
        if ca is not None:
            self.environment["CERTWRIGHT_ACME_SERVERS"] = ca.directory_url
            self.environment["CERTWRIGHT_CA_BUNDLE"] = str(ca.ca_bundle)
        self.ca = ca
        self.clock = clock
        self.app = self.new_app()
        self._loop = Loop()
        self._http = http.serve(self.app)
        self._stack.callback(self._loop.close)
        self.worker: Handler = worker.serve(self.app)
        self.viewer, self.operator, self.admin = (self.token(role) for role in Role)

    def new_app(self) -> App:
        """What another process of a function would have."""
        return App(self.environment, clock=self.clock, client=client)

    def token(self, role: Role, tenant: str = DEFAULT_TENANT) -> str:
        return Tokens(self.app.store, self.clock).create(role.name.lower(), role, system(tenant))[1]

    def request(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, body: str = ""
    ) -> httpx.Response:
        """One request as the http function answers it."""
        self._loop.use()
        answer = self._http(http_event(method, path, headers=headers, body=body), LambdaContext())
        content = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"]
        return httpx.Response(answer["statusCode"], headers=answer["headers"], content=content)

    def post(self, document: object, token: str | None, headers: dict[str, str] | None = None) -> httpx.Response:
        authorization = {"authorization": f"Bearer {token}"} if token else {}
        given = {"content-type": "application/json", **authorization, **(headers or {})}
        return self.request("POST", "/graphql", headers=given, body=json.dumps(document))

    def due(self) -> list[Due]:
        """What is due now or within a minute, and exactly when: the index may have it earlier."""
        until = microseconds(self.clock()) // 1000 + 60_000
        keys = [(entry.pk, entry.sk) for entry in self.app.table.due(until, limit=1000)]
        exactly = [items.due(item) if item else None for item in self.app.table.get(keys)]
        return [Due(*key, at) for key, at in zip(keys, exactly, strict=True) if at is not None and at <= until]

    def announce(self) -> int:
        """Send a message for all that is due now or soon, as the stream function does. Returns how many."""
        return self.app.hints.send(self.due())

    def messages(self) -> list[dict[str, Any]]:
        """What is in the queue, taken from it, as the worker is given it."""
        records: list[dict[str, Any]] = []
        while found := self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
                records.append({"messageId": message["MessageId"], "body": message["Body"]})
        return records

    def deliver(self, records: list[dict[str, Any]], seconds: float = FUNCTION_SECONDS) -> list[str]:
        """Give messages to the worker; the ids of those that it failed."""
        answer = self.worker({"Records": records}, LambdaContext(seconds))
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def work(self) -> None:
        """One round: what is due is announced, and the worker is woken with it."""
        self.announce()
        assert self.deliver(self.messages()) == []

    def sweep(self) -> int:
        """The schedule's call; how many messages it sent."""
        sent: int = self.worker({"source": "aws.events", "detail-type": "Scheduled Event"}, LambdaContext())["sent"]
        return sent

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()
