"""dns-persist-01: a record that is published once proves every later order of the account, with nobody responding."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from certwright.challenges.solver import SolverFailed
from certwright.model import NameServer
from certwright.solvers import Dns
from tests.support.house import House
from tests.support.stub_ca import StubCa


class Records:
    """What two name servers have; the second may lag behind."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.lags = False
        self.is_down = False
        self.dns = Dns(lambda name: name, self.look)

    def look(self, record: str, value: str) -> tuple[NameServer, ...]:
        if self.is_down:
            raise SolverFailed("the name servers cannot be found")
        has = self.values.get(record) == value
        return NameServer("ns1", "192.0.2.1", has), NameServer("ns2", "192.0.2.2", has and not self.lags)


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def house(tmp_path: Path, records: Records) -> Iterator[House]:
    with StubCa(tmp_path / "ca") as ca, House(tmp_path, ca, dns=records.dns) as house:
        ca.challenge_types = ("dns-persist-01", "http-01")
        yield house


@pytest.fixture
def account(house: House) -> str:
    return str(house.create_account()["id"])


def published(house: House, records: Records, account: str, *names: str) -> None:
    """The records of a first order, which the user proves by hand."""
    order = house.create_order(account, *names)
    house.await_order(order["id"], "PENDING")
    for challenge in house.challenges(order["id"]):
        if challenge["type"] == "dns-persist-01":
            records.values[challenge["preparation"]["name"]] = challenge["preparation"]["value"]
            house.respond(challenge["id"])
    house.await_order(order["id"], "VALID")


def test_later_orders_need_no_response(house: House, records: Records, account: str) -> None:
    published(house, records, account, "a.example", "b.example")
    order = house.create_order(account, "b.example", "a.example")
    house.await_order(order["id"], "VALID")
    assert house.audit_types(order["id"]).count("ChallengeResponded") == 2
    assert {e["actor"] for e in house.audit(order["id"]) if e["type"] == "ChallengeResponded"} == {"certwright"}


def test_record_that_is_not_everywhere_waits_for_the_user(house: House, records: Records, account: str) -> None:
    published(house, records, account, "a.example")
    records.lags = True
    order = house.create_order(account, "a.example")
    house.await_order(order["id"], "PENDING")
    assert {c["status"] for c in house.challenges(order["id"])} == {"PENDING"}


def test_unknown_records_wait_for_the_user(house: House, records: Records, account: str) -> None:
    published(house, records, account, "a.example")
    records.is_down = True
    order = house.create_order(account, "a.example")
    house.await_order(order["id"], "PENDING")
    assert {c["status"] for c in house.challenges(order["id"])} == {"PENDING"}


def test_manual_order_waits_and_its_renewal_does_not(house: House, records: Records, account: str) -> None:
    published(house, records, account, "a.example")
    order = house.create_order(account, "a.example", solver="manual")
    house.await_order(order["id"], "PENDING")
    [challenge] = [c for c in house.challenges(order["id"]) if c["type"] == "dns-persist-01"]
    house.respond(challenge["id"])
    certificate = house.await_order(order["id"], "VALID")["certificate"]
    renew = "mutation($c: ID!) { renewCertificate(id: $c) { id } }"
    renewal = house.graphql(renew, c=certificate["id"])["renewCertificate"]
    house.await_order(renewal["id"], "VALID")
