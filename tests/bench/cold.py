"""Cold starts of the functions on AWS, from the zips that are deployed: import, setting up, and the first answer.

Each is a process of its own that sees nothing but the zip's contents, as in Lambda. The table is a DynamoDB Local, the
sockets are those of an emulator of API Gateway, and the other services answer at once. The functions take turns, so
that what else the machine does slows down all alike.
"""

import compileall
import importlib.metadata
import json
import py_compile
import shutil
import statistics
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tools.package import distributions

from certwright.auth import Tokens
from certwright.aws.app import App, utc_now
from certwright.events import OrderReady
from certwright.model import Role
from tests.bench.processes import OWNER, ROOT
from tests.bench.seed import new_account, new_order
from tests.bench.table import Row, Target
from tests.support.cloud import http_event
from tests.support.dynamo import UNKNOWN_TO_DYNAMODB_LOCAL, create_table, dynamodb_local
from tests.support.first import First, answers, surroundings
from tests.support.gateway import ApiGateway
from tests.support.house import await_true
from tests.support.ministack import NATIVE, zips
from tests.support.socket import Socket
from tests.support.stream import Stream

TABLE = "cold"
QUERY = "{ dashboard { counts { accounts orders } } }"
ORDERS = "subscription { orderStatus { id status } }"
WEBSOCKET = ("connect", "init", "subscribe", "disconnect")
MINIMAL = Path(__file__).with_name("minimal.py")


def measure(directory: Path, *, quick: bool = False) -> list[Row]:
    """The first turn, which finds nothing in the caches of the disk, is left out."""
    unpack(directory)
    with dynamodb_local() as dynamodb, answers() as others:
        create_table(dynamodb, TABLE, UNKNOWN_TO_DYNAMODB_LOCAL)
        with ApiGateway(lambda: turns.websocket) as sockets:
            turns = Turns(directory, dynamodb, others, sockets)
            for _ in range(2 if quick else 21):
                turns.take()
    return rows({what: statistics.median(taken[1:]) * 1000 for what, taken in turns.seconds.items()})


def rows(found: Mapping[str, float]) -> list[Row]:
    """That of a batch with a subscriber has no target: GraphQL, which is imported for the first one, is part of it."""
    http, below = found["http"], Target(1)
    floor = "the least of Strawberry, Mangum and boto3"
    return [
        Row(f"cold start of http, to the first dashboard; floor: {floor}", "ms", http, found["minimal"], Target(1.25)),
        Row("cold start of websocket, to connection_ack; floor: http", "ms", found["init"], http, below),
        Row("cold start of websocket, to a subscription; floor: http", "ms", found["subscribe"], http, below),
        Row("cold start of stream, to the end of a batch; floor: http", "ms", found["stream"], http, below),
        Row("— of a batch with a subscriber", "ms", found["told"], http),
    ]


def unpack(directory: Path) -> None:
    """The functions as they are deployed, and the floor as pip would install it, compiled as the functions are."""
    command = [sys.executable, str(ROOT / "tools" / "package.py"), "--architecture", NATIVE]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    for name in ("http", "websocket", "stream"):
        with zipfile.ZipFile(zips() / f"{name}.zip") as archive:
            archive.extractall(directory / name)
    for file in _installed({"strawberry", "starlette", "mangum", "boto3"}):
        if file.parts[:2] != ("botocore", "data") or len(file.parts) == 3 or file.parts[2] == "dynamodb":
            target = directory / "minimal" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), target)
    shutil.copy(MINIMAL, directory / "minimal")
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    assert compileall.compile_dir(directory / "minimal", quiet=2, workers=0, invalidation_mode=unchecked)


def _installed(packages: set[str]) -> Iterator[importlib.metadata.PackagePath]:
    for name in distributions(packages):
        yield from (file for file in importlib.metadata.files(name) or () if file.suffix != ".pyc")


class Turns:
    """`seconds` that each kind of start took."""

    def __init__(self, directory: Path, dynamodb: Any, others: str, sockets: ApiGateway) -> None:
        url = dynamodb.meta.endpoint_url
        environment = surroundings(TABLE, dynamodb=url, others=others, sockets=sockets.url)
        app = App(environment, client=lambda *_, **__: dynamodb)
        self._sockets = sockets
        self._token = Tokens(app.store, utc_now).create("bench", Role.VIEWER, OWNER)[1]
        account = new_account(app.store, 1)
        self._stream = Stream(dynamodb, TABLE)
        self._stream.read()
        order = new_order(app.store, account.id)
        ready = OrderReady(subject_id=order.id, account_id=account.id)
        app.store.save(order, replace(order, due=utc_now()), events=[ready], actor=OWNER)
        self._batch = {"Records": self._stream.read()}
        self.minimal = First("minimal", {**environment, "TABLE": TABLE}, directory / "minimal")
        self.http, self.websocket, self.stream = (
            First(f"certwright.aws.{name}", environment, directory / name) for name in ("http", "websocket", "stream")
        )
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def take(self) -> None:
        """One of each. The websocket function is called with every message of a socket, and with its two ends."""
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        event = http_event("POST", "/graphql", headers=headers, body=json.dumps({"query": QUERY}))
        for what, function in (("minimal", self.minimal), ("http", self.http)):
            assert "orders" in function(event)["body"]
            self._note(what, function)
        self._stream_batch("stream")
        with Socket(self._sockets.ws_url) as socket:
            self._websocket_call("connect")
            socket.init(self._token)
            self._websocket_call("init")
            socket.subscribe("1", ORDERS)
            self._websocket_call("subscribe")
            self._stream_batch("told")
            assert socket.get()["type"] == "next"
        self._websocket_call("disconnect")

    def _websocket_call(self, what: str) -> None:
        """Await its end: a client is answered before that."""
        calls = sum(len(self.seconds[kind]) for kind in WEBSOCKET)
        await_true(lambda: len(self.websocket.told) > calls)
        self._note(what, self.websocket)

    def _stream_batch(self, what: str) -> None:
        assert self.stream(self._batch) == {"batchItemFailures": []}
        self._note(what, self.stream)

    def _note(self, what: str, function: First) -> None:
        self.seconds[what].append(function.told[-1].seconds)
