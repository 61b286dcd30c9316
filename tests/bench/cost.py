"""What DynamoDB is asked, and what it charges, for each operation of the deployment on AWS.

The http, worker and stream functions run in this process over DynamoDB Local and Pebble, each with its own parts, as
processes of their own would. A data key of KMS has the length that it has there.
"""

import json
import secrets
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from certwright.aws import http
from certwright.aws.app import App, utc_now
from certwright.aws.kms_sealer import KmsSealer
from certwright.aws.worker import Runner
from certwright.model import Role
from tests.bench.table import Row, Target
from tests.bench.units import Meter, Spent
from tests.support.cloud import LambdaContext, http_event
from tests.support.dynamo import dynamodb_local
from tests.support.house import AcmeServer, Operations, await_true
from tests.support.lambdas import Cloud, cloud
from tests.support.loop import Loop
from tests.support.pebble import Pebble
from tests.support.socket import Socket
from tests.support.stream import Stream

DATA_KEY_OCTETS = 184
"""The length of an AES-256 data key as KMS encrypts it."""

MOST_WRITE_UNITS = 40
MOST_DASHBOARD_CALLS = 3
STREAM = "stream function"
CREDENTIAL_SECONDS = 1.1
"""After this long, an API token that was good is looked at again."""

_MINUTE = timedelta(minutes=1)
_DASHBOARD = "{ dashboard { counts { orders } activeAccounts { id } recentOrders { id status account { id } } } }"
_ORDERS = "subscription { orderStatus { id status } }"


def measure(directory: Path, *, quick: bool = False) -> list[Row]:
    """The rows. Each figure is that of one operation, and comes out the same each time: `quick` changes nothing."""
    del quick
    with functions(directory) as (made, pebble):
        account = made.create_account()["id"]
        issue(made, pebble, account, "warm.example")
        spent = issue(made, pebble, account, "a.example")
        rows = [row for name in ("createOrder", "respondChallenge") for row in _rows(name, spent[name])]
        told = spent.pop(STREAM)
        rows += _rows("one certificate, from createOrder to VALID", _sum(spent.values()), most_writes=MOST_WRITE_UNITS)
        rows += _rows("— the stream function meanwhile, nobody subscribed", told)
        time.sleep(CREDENTIAL_SECONDS)
        with made.meter.measured() as first:
            made.graphql(_DASHBOARD)
        with made.meter.measured() as dashboard:
            made.graphql(_DASHBOARD)
        rows += _rows("dashboard", dashboard, most_calls=MOST_DASHBOARD_CALLS)
        rows += _rows("— with an API token that was not looked at for a second", first)
        for number in (0, 1, 100):
            rows += _rows(f"one event to {number} subscriptions", told_to(made, account, number))
        return rows


def _rows(what: str, spent: Spent, *, most_calls: int | None = None, most_writes: int | None = None) -> list[Row]:
    def target(most: int | None) -> Target | None:
        return None if most is None else Target(most, absolute=True)

    figures = (
        ("calls", spent.calls, target(most_calls)),
        ("write units", spent.writes, target(most_writes)),
        ("read units", spent.reads, None),
    )
    return [Row(f"DynamoDB: {what}", unit, value, target=target) for unit, value, target in figures if value or target]


def _sum(parts: Iterable[Spent]) -> Spent:
    total = Spent()
    for part in parts:
        total += part
    return total


class Kms:
    """As much of KMS as a KmsSealer asks of it."""

    def __init__(self) -> None:
        self._keys: dict[bytes, bytes] = {}

    def generate_data_key(self, **_: Any) -> dict[str, bytes]:
        wrapped, key = secrets.token_bytes(DATA_KEY_OCTETS), secrets.token_bytes(32)
        self._keys[wrapped] = key
        return {"CiphertextBlob": wrapped, "Plaintext": key}

    def decrypt(self, CiphertextBlob: bytes, **_: Any) -> dict[str, bytes]:  # noqa: N803  As boto3 has it.
        return {"Plaintext": self._keys[CiphertextBlob]}


class Functions(Operations):
    """The http, worker and stream functions, called one after the other; what each spends is counted."""

    def __init__(self, cloud: Cloud, meter: Meter, ca: AcmeServer) -> None:
        self.cloud, self.meter, self.ca = cloud, meter, ca
        self._kms = Kms()
        self.loop = Loop()
        self._http = http.serve(self._process())
        worker = self._process()
        self._runner = Runner(worker.store, worker.steps, clock=utc_now)
        self._tell = cloud.stream()
        self.table_stream = Stream(cloud.client, cloud.table_name)
        self.viewer, self.operator, self.admin = (cloud.token(role.name.lower(), role) for role in Role)

    def _process(self) -> App:
        app = self.cloud.app()
        app.sealer = KmsSealer(lambda: self._kms, "key")
        return app

    def post(self, document: object, token: str | None, headers: dict[str, str] | None = None) -> httpx.Response:
        given = {"content-type": "application/json", "authorization": f"Bearer {token}", **(headers or {})}
        event = http_event("POST", "/graphql", headers=given, body=json.dumps(document))
        self.loop.use()
        answer = self._http(event, LambdaContext())
        return httpx.Response(answer["statusCode"], content=answer["body"])

    def work(self, order_id: str) -> None:
        """What a wake-up of the worker does."""
        self._runner.run(("default#order", order_id), utc_now() + _MINUTE)

    def deliver(self) -> None:
        """What the stream function does with what was committed since the last call."""
        if records := self.table_stream.read():
            # In a thread of its own: it runs an event loop of its own, which takes Mangum's away.
            with ThreadPoolExecutor(1) as thread:
                answer = thread.submit(self._tell, {"Records": records}).result()
            assert answer["batchItemFailures"] == []


@contextmanager
def functions(directory: Path) -> Iterator[tuple[Functions, Pebble]]:
    """The functions over a DynamoDB of their own, and a Pebble."""
    with ExitStack() as stack:
        pebble = stack.enter_context(Pebble(directory / "pebble"))
        client = stack.enter_context(dynamodb_local())
        meter = Meter(client)
        settings = {"CERTWRIGHT_ACME_SERVERS": pebble.directory_url, "CERTWRIGHT_CA_BUNDLE": str(pebble.ca_bundle)}
        running = stack.enter_context(cloud(client, settings=settings))
        made = Functions(running, meter, pebble)
        stack.enter_context(closing(made.loop))
        stack.enter_context(closing(made.table_stream))
        yield made, pebble


def issue(functions: Functions, pebble: Pebble, account_id: str, domain: str) -> dict[str, Spent]:
    """One certificate for one name by http-01, from start to end: what each step of it spends."""
    spent: dict[str, Spent] = {STREAM: Spent()}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        with functions.meter.measured() as spent[name]:
            yield
        with functions.meter.measured() as taken:
            functions.deliver()
        spent[STREAM] += taken

    with step("createOrder"):
        order = functions.create_order(account_id, domain)["id"]
    with step("worker: to the challenges"):
        functions.work(order)
    with step("challenges"):
        [challenge] = [c for c in functions.challenges(order) if c["type"] == "http-01"]
    file = challenge["preparation"]
    pebble.management.add_http01(file["path"].rpartition("/")[2], file["content"])
    with step("respondChallenge"):
        functions.respond(challenge["id"])
    with step("worker: to the certificate"):
        functions.work(order)
    assert functions.order(order)["status"] == "VALID"
    return spent


def told_to(functions: Functions, account_id: str, number: int) -> Spent:
    """What the stream function spends on telling so many subscriptions of one event."""
    with Socket(functions.cloud.sockets.ws_url) as socket:
        socket.init(functions.operator)
        for id in range(number):
            socket.subscribe(f"{id}", _ORDERS)
        await_true(lambda: len(functions.cloud.rows("#topic#")) == number)
        functions.deliver()
        functions.create_order(account_id, f"{number}.example")
        with functions.meter.measured() as spent:
            functions.deliver()
        assert {socket.get()["type"] for _ in range(number)} <= {"next"}
    await_true(lambda: not functions.cloud.rows("#topic#"))
    return spent
