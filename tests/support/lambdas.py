"""The functions of the deployment on AWS in this process, over a DynamoDB that is given: `cloud.sockets` is an
ApiGateway with the websocket function behind it, `cloud.stream` calls the stream function.

Several instances of a function work at once, each with parts of its own, as processes of Lambda do.
"""

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from certwright.auth import Tokens
from certwright.aws.app import App, utc_now
from certwright.aws.fanout import FanOut
from certwright.aws.stream import StreamFunction
from certwright.aws.told import Told
from certwright.aws.websocket import serve
from certwright.events import Record
from certwright.model import Role, system
from certwright.sealer import LocalSealer
from certwright.table import Due
from tests.support.dynamo import UNKNOWN_TO_DYNAMODB_LOCAL, create_table, throttling
from tests.support.gateway import ApiGateway

_names = (f"table-{number}" for number in itertools.count())
_CREDENTIALS = {"region_name": "eu-central-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}


@dataclass
class Shipped:
    """What the stream function sent elsewhere."""

    records: list[Record] = field(default_factory=list)
    due: list[Due] = field(default_factory=list)


class Cloud:
    """`client` is one of "dynamodb"; `settings` are further variables of the environment."""

    def __init__(
        self,
        client: Any,
        *,
        settings: Mapping[str, str] | None = None,
        clock: Callable[[], datetime] = utc_now,
        in_order: bool = False,
        sealing_key: Path | None = None,
    ) -> None:
        self.client = client
        self._sealing_key = sealing_key
        self.table_name = next(_names)
        create_table(client, self.table_name, without=UNKNOWN_TO_DYNAMODB_LOCAL)
        self.clock = clock
        self._settings = dict(settings or {})
        self.shipped = Shipped()
        self.sockets = ApiGateway(lambda: serve(self.app()), in_order=in_order)
        self.own = self.app()
        self.tokens = Tokens(self.own.store, clock)

    def app(self, *, endpoint: str | None = None) -> App:
        """The parts of one process; `endpoint` is where it looks for sockets, by default where they are."""

        def client(service: str, *, endpoint_url: str | None = None, config: Config | None = None) -> Any:
            if service == "dynamodb":
                return self.client
            return boto3.client(service, endpoint_url=endpoint_url, config=config, **_CREDENTIALS)

        environment = {
            "CERTWRIGHT_STORE": f"dynamodb:{self.table_name}",
            "STACK_SOCKETS": endpoint or self.sockets.url,
            **self._settings,
        }
        app = App(environment, clock=self.clock, client=client)
        if self._sealing_key:
            app.sealer = LocalSealer(self._sealing_key)  # Instead of KMS, which is not here.
        return app

    def stream(
        self,
        *,
        told: Callable[[App], Told] | None = None,
        ship: Callable[[Sequence[Record]], object] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        endpoint: str | None = None,
    ) -> StreamFunction:
        """The stream function of one process; what it ships is found in `shipped`."""
        app = self.app(endpoint=endpoint)
        noted = told(app) if told else Told(app.table, app.seconds, app.store.new_id)
        gateway = app.gateway(self.sockets.url)
        fan_out = FanOut(app.api, app.store, app.connections, gateway, noted, monotonic=monotonic)
        ways = [ship or self.shipped.records.extend]
        return StreamFunction(fan_out.tell, noted, wake=self.shipped.due.extend, ship=ways)

    def token(self, name: str, role: Role, tenant: str = "default") -> str:
        return self.tokens.create(name, role, system(tenant))[1]

    def items(self, prefix: str) -> list[dict[str, Any]]:
        """The images of the items whose partition's key holds this text."""
        pages = self.client.get_paginator("scan").paginate(TableName=self.table_name, ConsistentRead=True)
        return [item for page in pages for item in page["Items"] if prefix in item["pk"]["S"]]

    def rows(self, prefix: str) -> list[str]:
        """The keys of those items, as "pk sk"."""
        return sorted(f"{item['pk']['S']} {item['sk']['S']}" for item in self.items(prefix))

    @contextmanager
    def counted(self) -> Iterator[Counter[str]]:
        """The calls to DynamoDB meanwhile, each as its name and the partition where it names one."""
        counts: Counter[str] = Counter()

        def note(params: Any, model: Any, **_: Any) -> None:
            named = params.get("Key", {}).get("pk") or params.get("ExpressionAttributeValues", {}).get(":pk")
            counts[f"{model.name} {named['S'] if named else ''}".strip()] += 1

        self.client.meta.events.register("before-parameter-build.dynamodb", note)
        try:
            yield counts
        finally:
            self.client.meta.events.unregister("before-parameter-build.dynamodb", note)

    # Faults

    @contextmanager
    def throttled(self, every: int) -> Iterator[list[str]]:
        """Have DynamoDB refuse every so many-th call for the moment, as it does when a table is asked too much.

        Gives what was refused.
        """
        numbers = itertools.count(1)
        refused: list[str] = []

        def refuse(request: Any, event_name: str, **_: Any) -> AWSResponse | None:
            if next(numbers) % every:
                return None
            refused.append(event_name)
            return throttling(request.url)

        self.client.meta.events.register("before-send.dynamodb", refuse)
        try:
            yield refused
        finally:
            self.client.meta.events.unregister("before-send.dynamodb", refuse)

    @contextmanager
    def delayed(self, kind: str) -> Iterator[threading.Event]:
        """Keep messages of this type from the function until the event is set."""
        go = threading.Event()
        with self._holding(kind, lambda: go.wait(30)):
            try:
                yield go
            finally:
                go.set()

    @contextmanager
    def together(self, kind: str, number: int) -> Iterator[None]:
        """Keep messages of this type from the function until there are so many, and let them in at once."""
        barrier = threading.Barrier(number)
        with self._holding(kind, lambda: barrier.wait(30)):
            yield

    @contextmanager
    def _holding(self, kind: str, wait: Callable[[], object]) -> Iterator[None]:
        self.sockets.hold = lambda message: wait() if json.loads(message).get("type") == kind else None
        try:
            yield
        finally:
            self.sockets.hold = lambda _: None


@contextmanager
def cloud(client: Any, **options: Any) -> Iterator[Cloud]:
    running = Cloud(client, **options)
    with running.sockets:
        yield running
