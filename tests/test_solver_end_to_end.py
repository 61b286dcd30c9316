"""From one mutation to a certificate by way of real DNS servers, which Pebble asks, too."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from certwright.challenges.kinds import kinds
from certwright.challenges.propagation import Propagation
from certwright.local.app import utc_now
from certwright.solvers import Dns
from tests.support.acmedns import Account, AcmeDnsServer
from tests.support.bind import Bind
from tests.support.house import House, await_true
from tests.support.pebble import Pebble
from tests.support.web_server import Request, Response, WebServer

ZONES = {"auth.example": "", "a.example": "", "b.example": "_acme-challenge.there CNAME x.a.example."}


@pytest.fixture
def bind(tmp_path: Path) -> Iterator[Bind]:
    with Bind(tmp_path / "named", ZONES) as bind:
        yield bind


@pytest.fixture
def house(tmp_path: Path, bind: Bind) -> Iterator[House]:
    propagation = Propagation([bind.place], port=bind.port)
    offered = kinds(clock=utc_now, watch=lambda: propagation, networks=["127.0.0.0/8"])
    with (
        Pebble(tmp_path / "pebble", dns_server=bind.place) as pebble,
        House(tmp_path, pebble, kinds=offered, dns=Dns.of(lambda: propagation)) as house,
    ):
        yield house


def provide(house: House, kind: str, *zones: str, **settings: str) -> None:
    query = "mutation($i: CreateChallengeProviderInput!) { createChallengeProvider(input: $i) { id } }"
    given = [{"name": name, "value": value} for name, value in settings.items()]
    house.graphql(query, i={"name": kind, "kind": kind, "zones": zones, "settings": given})


def issue(house: House, *domains: str) -> None:
    """One mutation, and no more."""
    order = house.create_order(house.create_account()["id"], *domains)
    house.await_order(order["id"], "VALID")


def test_an_order_by_rfc2136_needs_one_mutation_and_leaves_nothing(bind: Bind, house: House) -> None:
    provide(house, "rfc2136", server=bind.address, port=str(bind.port), keyName="update", secret=bind.secret)
    issue(house, "a.example", "*.a.example", "there.b.example", "www.b.example")
    names = ["_acme-challenge.a.example", "x.a.example", "_acme-challenge.www.b.example"]
    await_true(lambda: not any(map(bind.values, names)))
    assert all(f"adding an RR at '{name}' TXT" in bind.log for name in names)


def test_an_order_by_a_hook_needs_one_mutation(bind: Bind, house: House) -> None:
    def change(request: Request) -> Response:
        told = json.loads(request.body)
        act = bind.add if told["action"] == "present" else bind.remove
        act("a.example", told["name"] + ".", "TXT", told["value"])
        return 204, b"", {}

    with WebServer(change) as hook:
        provide(house, "http-hook", "a.example", url=hook.url, secret="hook secret of the test")
        issue(house, "a.example", "*.a.example")
        await_true(lambda: len(hook.requests) >= 4 and not bind.values("_acme-challenge.a.example"))


def test_an_order_by_acme_dns_needs_one_mutation_and_one_cname(bind: Bind, house: House) -> None:
    def publish(account: Account) -> None:
        for value in bind.values(account.fulldomain) - set(account.values):
            bind.remove("auth.example", account.subdomain, "TXT", value)
        for value in filter(None, account.values):
            bind.add("auth.example", account.subdomain, "TXT", value)

    with AcmeDnsServer() as server:
        server.publish = publish
        account = server.register()
        bind.add("a.example", "_acme-challenge", "CNAME", account.fulldomain + ".")
        login = {"username": account.username, "password": account.password, "subdomain": account.subdomain}
        provide(house, "acme-dns", url=server.url, **login)
        issue(house, "a.example", "*.a.example")
    assert len(server.requests) == 2
