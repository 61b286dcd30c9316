"""Issuance: many orders at once against a plain loop over the library, and a lone one against the CA's own time.

Ours is `certwright serve` with its durable store, used over GraphQL as its users do: createOrder, challenges,
respondChallenge, and a subscription that tells the end. The clients' time counts against us. Every certificate has one
name, a key of its own and a dns-01 record; good nonces are refused as often as Pebble does by default.
"""

import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import connect
from websockets.typing import Subprotocol

from certwright.ca.client import Ca, Client
from certwright.ca.jws import load_key, thumbprint
from certwright.ca.resources import OrderResource
from certwright.challenges.preparation import dns01_value, key_authorization
from certwright.keys import build_csr, csr_der, generate_account_key, generate_key
from certwright.local.app import utc_now
from certwright.model import KeyType
from tests.bench import client
from tests.bench.library import Library
from tests.bench.processes import Service, settle
from tests.bench.table import Row, Target
from tests.support.pebble import Pebble

THREADS = 32
CA_POLL_SECONDS = 0.002
WAIT_SECONDS = 60
PROTOCOL = "graphql-transport-ws"


@dataclass
class Spent:
    """What one batch of certificates took."""

    certificates: int
    seconds: float
    cpu_seconds: float
    requests: int


@dataclass
class Batches:
    """The batches of one side."""

    spent: list[Spent] = field(default_factory=list)

    def median(self, figure: Callable[[Spent], float]) -> float:
        return statistics.median(map(figure, self.spent))


def measure(directory: Path, *, quick: bool = False) -> list[Row]:
    """The rows, from a Pebble and a service that are started for them."""
    orders, rounds, lone = (6, 1, 3) if quick else (300, 3, 25)
    with Pebble(directory / "pebble", strict=False, nonce_reject=5) as ca, trusting(ca.ca_bundle):
        log = directory / "pebble" / "pebble.log"
        with Service(directory / "service", ca) as service, Customer(service, ca) as customer:
            library = Library(ca)
            ours, floor = Batches(), Batches()
            for round in range(rounds):
                settle()
                names = [f"ours{round}x{n}.example" for n in range(orders)]
                ours.spent.append(_batch(customer.issue, names, lambda: service.cpu_seconds, log))
                settle()
                names = [f"loop{round}x{n}.example" for n in range(orders)]
                floor.spent.append(_batch(library.issue, names, time.process_time, log))
            return [*_batch_rows(ours, floor, orders), *_lone_rows(customer, ca, lone)]


@contextmanager
def trusting(ca_bundle: Path) -> Iterator[None]:
    """How the library is told to trust Pebble."""
    before = os.environ.get("REQUESTS_CA_BUNDLE")
    os.environ["REQUESTS_CA_BUNDLE"] = str(ca_bundle)
    try:
        yield
    finally:
        del os.environ["REQUESTS_CA_BUNDLE"]
        if before is not None:
            os.environ["REQUESTS_CA_BUNDLE"] = before


def _batch(issue: Callable[[str], object], names: Sequence[str], cpu: Callable[[], float], log: Path) -> Spent:
    requests, cpu_before, start = _requests(log), cpu(), time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(issue, names))
    seconds = time.perf_counter() - start
    return Spent(len(names), seconds, cpu() - cpu_before, _requests(log) - requests)


def _requests(log: Path) -> int:
    """How many requests Pebble has been sent so far."""
    return log.read_bytes().count(b" -> calling handler()")


def _batch_rows(ours: Batches, floor: Batches, orders: int) -> list[Row]:
    def row(what: str, unit: str, figure: Callable[[Spent], float], target: Target | None = None) -> Row:
        return Row(what, unit, ours.median(figure), floor.median(figure), target)

    return [
        row(
            f"{orders} orders, {THREADS} at a time, over HTTP; floor: loop over `acme`, stores nothing",
            "certificates/s",
            lambda spent: spent.certificates / spent.seconds,
            Target(1.2, at_least=True),
        ),
        row("— CPU of the process", "ms/certificate", lambda spent: spent.cpu_seconds / spent.certificates * 1000),
        row(
            "— requests to the CA",
            "/certificate",
            lambda spent: spent.requests / spent.certificates,
            Target(8, absolute=True),
        ),
    ]


class Customer:
    """Uses the service as a frontend does: calls over HTTP, and one subscription to every order's status."""

    def __init__(self, service: Service, ca: Pebble) -> None:
        self._service = service
        self._ca = ca
        self._local = threading.local()
        self._clients: list[client.Client] = []
        self._ended: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._account = self._create_account()
        self._connecting = connect(f"{service.ws_url}/graphql", subprotocols=[Subprotocol(PROTOCOL)], proxy=None)

    def issue(self, domain: str) -> tuple[float, float]:
        """From start to end; returns the seconds from createOrder, and from respondChallenge, to VALID."""
        start = time.perf_counter()
        query = "mutation($i: CreateOrderInput!) { createOrder(input: $i) { id } }"
        order_id = self._graphql(query, i={"accountId": self._account, "domains": [domain]})["createOrder"]["id"]
        query = "query($o: ID!) { challenges(orderId: $o) { id type preparation { ... on DnsRecord { name value } } } }"
        found = self._graphql(query, o=order_id)["challenges"]
        [challenge] = [c for c in found if c["type"] == "dns-01"]
        self._ca.management.set_txt(challenge["preparation"]["name"], challenge["preparation"]["value"])
        responded = time.perf_counter()
        self._graphql("mutation($c: ID!) { respondChallenge(id: $c) { id } }", c=challenge["id"])
        assert self._end_of(order_id).wait(WAIT_SECONDS), order_id
        end = time.perf_counter()
        return end - start, end - responded

    def _graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        if not hasattr(self._local, "client"):
            self._local.client = client.Client(self._service.url, self._service.token)
            self._clients.append(self._local.client)
        data: dict[str, Any] = self._local.client.graphql(query, **variables)
        return data

    def _create_account(self) -> str:
        given = {"email": "a@example.com", "acmeServer": self._ca.directory_url, "termsOfServiceAgreed": True}
        query = "mutation($i: CreateAccountInput!) { createAccount(input: $i) { id } }"
        return str(self._graphql(query, i=given)["createAccount"]["id"])

    def _subscribe(self) -> None:
        authorization = f"Bearer {self._service.token}"
        self._socket.send(json.dumps({"type": "connection_init", "payload": {"authorization": authorization}}))
        assert json.loads(self._socket.recv(timeout=WAIT_SECONDS))["type"] == "connection_ack"
        payload = {"query": "subscription { orderStatus { id status } }"}
        self._socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))

    def _watch_orders(self) -> None:
        for message in self._socket:
            order = json.loads(message)["payload"]["data"]["orderStatus"]
            assert order["status"] != "INVALID", order
            if order["status"] == "VALID":
                self._end_of(order["id"]).set()

    def _end_of(self, order_id: str) -> threading.Event:
        with self._lock:
            return self._ended.setdefault(order_id, threading.Event())

    def __enter__(self) -> Self:
        self._socket = self._connecting.__enter__()
        self._subscribe()
        self._watch = threading.Thread(target=self._watch_orders, name="watch")
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._connecting.__exit__(None, None, None)
        self._watch.join(WAIT_SECONDS)
        for connection in self._clients:
            connection.close()


def _lone_rows(customer: Customer, ca: Pebble, count: int) -> list[Row]:
    names = [f"{n}.lone.example" for n in range(count)]
    with closing(Ca(ca.directory_url, utc_now, ca_bundle=ca.ca_bundle)) as connections:
        prompt = Prompt(ca, connections)
        pairs = [(customer.issue(f"ours{name}"), prompt.issue(f"ca{name}")) for name in names]
    target = Target(1.5)
    rows = []
    for number, since in enumerate(("createOrder", "respondChallenge")):
        ours, floor = (statistics.median(pair[side][number] for pair in pairs) * 1000 for side in (0, 1))
        what = f"a lone order, {since} → VALID; floor: the CA, asked every {CA_POLL_SECONDS * 1000:.0f} ms"
        rows.append(Row(what, "ms", ours, floor, target))
    return rows


class Prompt:
    """How long the CA itself needs: a client that does nothing else and looks again at once."""

    def __init__(self, ca: Pebble, connections: Ca) -> None:
        self._ca = ca
        self._key = load_key(generate_account_key())
        self._client = Client(connections, self._key)
        self._client.new_account(["mailto:a@example.com"], terms_of_service_agreed=True)

    def issue(self, domain: str) -> tuple[float, float]:
        """Seconds from newOrder, and from the response to the challenge, to the chain."""
        csr = csr_der(build_csr(generate_key(KeyType.EC_P256), [domain]))
        start = time.perf_counter()
        order = self._client.new_order([("dns", domain)])
        url = order.authorizations[0]
        [challenge] = [c for c in self._client.fetch_authorization(url).challenges if c.type == "dns-01"]
        value = dns01_value(key_authorization(challenge.token or "", thumbprint(self._key)))
        self._ca.management.set_txt(f"_acme-challenge.{domain}", value)
        responded = time.perf_counter()
        self._client.respond_challenge(challenge.url)
        while self._client.fetch_authorization(url).status != "valid":
            time.sleep(CA_POLL_SECONDS)
        self._client.download_certificate(self._finalized(order, csr).certificate or "")
        end = time.perf_counter()
        return end - start, end - responded

    def _finalized(self, order: OrderResource, csr: bytes) -> OrderResource:
        finalized = self._client.finalize(order.finalize, csr, order_url=order.url)
        while finalized.status == "processing":
            time.sleep(CA_POLL_SECONDS)
            finalized = self._client.fetch_order(order.url)
        assert finalized.status == "valid", finalized
        return finalized
