"""`certwright serve` is killed by SIGKILL at every step of its work, and started again: nothing is lost or doubled."""

import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certwright.audit import verify
from certwright.local.app import open_store, utc_now
from certwright.sqlite_table import SqliteTable
from tests.support.house import await_value
from tests.support.pebble import Pebble
from tests.support.program import Server, certwright, environment
from tests.support.proxy import Moment, Proxy

LEASE = "1"
SECONDS = 40

POINTS = [
    ("newAccount", 1),
    ("newOrder", 1),
    ("authorization", 1),  # the first name's, when the order was placed
    ("authorization", 2),  # the second name's
    ("challenge", 1),
    ("challenge", 2),
    ("authorization", 3),  # a poll
    ("finalize", 1),
    ("order", 1),  # a poll
    ("certificate", 1),
]


@dataclass
class Ca:
    """A Pebble whose log says what it did."""

    pebble: Pebble
    log: Path

    def count(self, what: str) -> int:
        return len(re.findall(what, self.log.read_text()))

    @property
    def issued(self) -> int:
        return self.count("Issued certificate")

    @property
    def accounts(self) -> int:
        return self.count(r"There are now \d+ accounts")


@pytest.fixture
def ca(tmp_path: Path) -> Iterator[Ca]:
    with Pebble(tmp_path / "pebble") as pebble:
        yield Ca(pebble, tmp_path / "pebble" / "pebble.log")


@dataclass
class Life:
    """A server that is started again whenever it dies, and a user who does not give up."""

    folder: Path
    proxy: Proxy
    deaths: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        self._env = environment(
            CERTWRIGHT_DATA_DIR=str(self.folder / "data"),
            CERTWRIGHT_ACME_SERVERS=self.proxy.directory_url,
            CERTWRIGHT_CA_BUNDLE=str(self.proxy.ca_bundle),
            CERTWRIGHT_LEASE_SECONDS=LEASE,
        )
        self.server = Server(self.folder, env=self._env)
        self._token = self.server.token
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.server.close()

    def kill(self) -> None:
        self.server.end(signal.SIGKILL)

    def revive(self, dead: Server) -> None:
        with self._lock:
            if self.server is dead:
                assert dead.end(signal.SIGKILL) == -signal.SIGKILL, dead.log
                self.deaths += 1
                self.server = Server(self.folder, env=self._env)

    def call(self, query: str, **variables: Any) -> dict[str, Any]:
        """GraphQL; asked again when the server died of it. Conflicts are told as data, other errors are raised."""
        until = time.monotonic() + SECONDS
        while True:
            server = self.server
            try:
                answer = httpx.post(
                    f"{server.url}/graphql",
                    json={"query": query, "variables": variables},
                    headers={"authorization": f"Bearer {self._token}"},
                    timeout=SECONDS,
                    trust_env=False,
                ).json()
            except httpx.TransportError:
                assert time.monotonic() < until
                self.revive(server)
                continue
            errors = [e for e in answer.get("errors", []) if e["extensions"]["code"] != "CONFLICT"]
            assert not errors, errors
            return dict(answer.get("data") or {})

    def create_account(self) -> str:
        given = {
            "email": "a@example.com",
            "acmeServer": self.proxy.directory_url,
            "termsOfServiceAgreed": True,
            "idempotencyKey": "the account",
        }
        query = "mutation($i: CreateAccountInput!) { createAccount(input: $i) { id } }"
        id = self.call(query, i=given)["createAccount"]["id"]
        query = "query($a: ID!) { account(id: $a) { status } }"
        await_value(lambda: self.call(query, a=id)["account"]["status"], lambda s: s == "VALID", SECONDS)
        return str(id)

    def issue(self, account: str, *names: str) -> dict[str, Any]:
        """An order, seen through to its end."""
        given = {"accountId": account, "domains": names, "idempotencyKey": names[0]}
        query = "mutation($i: CreateOrderInput!) { createOrder(input: $i) { id } }"
        id = self.call(query, i=given)["createOrder"]["id"]
        return await_value(lambda: self._attend(id), lambda o: o["status"] in ("VALID", "INVALID"), SECONDS)

    def _attend(self, id: str) -> dict[str, Any]:
        """Look at an order, and respond where it wants a response."""
        query = """query($o: ID!) { order(id: $o) { status error { detail } certificate { id chain }
            challenges { id type status preparation { ... on DnsRecord { name value } } } } }"""
        order = dict(self.call(query, o=id)["order"])
        for challenge in order["challenges"] if order["status"] == "PENDING" else ():
            if challenge["type"] == "dns-01" and challenge["status"] == "PENDING":
                record = challenge["preparation"]
                self.proxy.pebble.management.set_txt(record["name"], record["value"])
                self.call("mutation($c: ID!) { respondChallenge(id: $c) { id } }", c=challenge["id"])
        return order

    def check(self, order: dict[str, Any]) -> None:
        """The order is valid, and the key that is kept is its certificate's."""
        assert order["status"] == "VALID", order
        certificate = order["certificate"]
        query = "mutation($c: ID!) { exportPrivateKey(certificateId: $c) }"
        key = load_pem_private_key(self.call(query, c=certificate["id"])["exportPrivateKey"].encode(), None)
        leaf = x509.load_pem_x509_certificate(certificate["chain"].encode())
        assert key.public_key() == leaf.public_key()

    def counts(self) -> dict[str, int]:
        query = "{ dashboard { counts { accounts orders ordersOpen ordersInvalid certificates } } }"
        return dict(self.call(query)["dashboard"]["counts"])


def faults(folder: Path) -> list[str]:
    """What the audit trail's verification finds."""
    table = SqliteTable(folder / "data" / "certwright.db", lambda: 0)
    try:
        return verify(open_store(table, utc_now)).faults
    finally:
        table.close()


def live_through(folder: Path, ca: Ca, operation: str, number: int, moment: Moment) -> None:
    """One account, one order of two names, and one death at this point."""
    with Proxy(folder / "proxy", ca.pebble) as proxy, Life(folder, proxy) as life:
        proxy.strike(operation, number, moment, life.kill)
        order = life.issue(life.create_account(), f"a.{folder.name}.example", f"b.{folder.name}.example")
        life.check(order)
        assert life.deaths == 1
        assert life.counts() == {"accounts": 1, "orders": 1, "ordersOpen": 0, "ordersInvalid": 0, "certificates": 1}
        assert faults(folder) == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_server_killed_at_any_request_to_the_ca_goes_on_where_it_was(ca: Ca, tmp_path: Path, moment: Moment) -> None:
    with ThreadPoolExecutor(4) as lives:
        points = {f"{operation.lower()}-{number}": (operation, number) for operation, number in POINTS}
        futures = {
            name: lives.submit(live_through, tmp_path / name, ca, *point, moment) for name, point in points.items()
        }
        failures = {name: error for name, future in futures.items() if (error := future.exception())}
    assert failures == {}
    assert (ca.accounts, ca.issued) == (len(POINTS), len(POINTS))


@pytest.mark.parametrize("seed", [1])
def test_server_killed_again_and_again_under_load_loses_and_doubles_nothing(ca: Ca, tmp_path: Path, seed: int) -> None:
    moments = random.Random(seed)
    with Proxy(tmp_path / "proxy", ca.pebble) as proxy, Life(tmp_path / "life", proxy) as life:
        account = life.create_account()
        with ThreadPoolExecutor(20) as users:
            orders = [users.submit(life.issue, account, f"n{n}.example") for n in range(20)]
            for _ in range(6):
                time.sleep(moments.uniform(0.1, 1))
                life.revive(life.server)
        for order in orders:
            life.check(order.result())
        counts = life.counts()
        assert counts == {"accounts": 1, "orders": 20, "ordersOpen": 0, "ordersInvalid": 0, "certificates": 20}
        told = certwright(tmp_path, "audit", "verify", "--data-dir", str(tmp_path / "life" / "data"))
        assert (told.returncode, told.stderr) == (0, "")
    assert (ca.accounts, ca.issued) == (1, 20)
