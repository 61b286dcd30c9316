"""Challenges answered by the real service in processes of its own, and by the functions on AWS."""

import json
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from certwright.local.app import utc_now
from tests.support.cloud import Cloud
from tests.support.house import WAIT_SECONDS, AcmeServer, Operations, await_true
from tests.support.pebble import Pebble
from tests.support.program import Server, environment, serving
from tests.support.stub_ca import StubCa
from tests.support.web_server import Request, Response, WebServer


class Shifted:
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.by = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.by


class Hook:
    """A hook that serves http-01 files by Pebble's own test server. Each of `strikes` is called once, at its action;
    what is asked while it is `ill` is done, and answered with 503."""

    def __init__(self, pebble: Pebble) -> None:
        self._pebble = pebble
        self.files: set[str] = set()
        self.actions: list[str] = []
        self.strikes: dict[str, Callable[[], None]] = {}
        self.ill = False

    def __call__(self, request: Request) -> Response:
        told = json.loads(request.body)
        token = told["path"].rpartition("/")[2]
        self.actions.append(told["action"])
        if told["action"] == "present":
            self._pebble.management.add_http01(token, told["content"])
            self.files.add(token)
        else:
            self._pebble.management.remove_http01(token)
            self.files.discard(token)
        self.strikes.pop(told["action"], lambda: None)()
        return (503 if self.ill else 204), b"", {}


@dataclass
class Directory:
    """Where a CA is; what signs it, the server knows already."""

    directory_url: str
    ca_bundle: Path


def directory_of(server: Server) -> str:
    """The test CA's, which the server prints."""
    found = re.search(r"https://127\.0\.0\.1:\d+/dir", server.welcome)
    assert found
    return found[0]


class Program(Operations):
    """`certwright serve`, as a user of the API meets it."""

    def __init__(self, server: Server, ca: AcmeServer) -> None:
        assert server.token
        self.server = server
        self.ca = ca
        self.admin = self.operator = self.viewer = server.token

    def post(self, document: object, token: str | None, headers: dict[str, str] | None = None) -> httpx.Response:
        credential = {"authorization": f"Bearer {token}", **(headers or {})}
        return httpx.post(f"{self.server.url}/graphql", json=document, headers=credential, trust_env=False)


def provide(service: Operations, url: str, zone: str) -> str:
    query = "mutation($i: CreateChallengeProviderInput!) { createChallengeProvider(input: $i) { id } }"
    settings = [{"name": "url", "value": url}, {"name": "secret", "value": "the hook's own secret"}]
    given = {"name": "hook", "kind": "http-hook-file", "zones": [zone], "settings": settings}
    return str(service.graphql(query, i=given)["createChallengeProvider"]["id"])


def presentations(service: Operations, order_id: str) -> list[dict[str, Any]]:
    query = "query($o: ID!) { order(id: $o) { presentations { state record } } }"
    return list(service.graphql(query, o=order_id)["order"]["presentations"])


@pytest.mark.parametrize("action", ["present", "clean_up"])
def test_killed_while_a_provider_is_at_work_it_goes_on_and_leaves_nothing(
    tmp_path: Path, pebble: Pebble, action: str
) -> None:
    env = environment(
        CERTWRIGHT_ACME_SERVERS=pebble.directory_url,
        CERTWRIGHT_CA_BUNDLE=str(pebble.ca_bundle),
        CERTWRIGHT_PROVIDER_NETWORKS="127.0.0.0/8",
        CERTWRIGHT_DNS_SERVERS=f"127.0.0.1:{pebble.dns_port}",
        CERTWRIGHT_LEASE_SECONDS="1",
    )
    hook, dead = Hook(pebble), threading.Event()
    with WebServer(hook) as web:
        with serving(tmp_path, env=env) as server:
            program = Program(server, pebble)

            def kill() -> None:
                server.end(signal.SIGKILL)
                dead.set()

            hook.strikes[action] = kill
            provide(program, web.url, "killed.example")
            order = program.create_order(program.create_account()["id"], "a.killed.example", "b.killed.example")
            assert dead.wait(WAIT_SECONDS)
        assert hook.files
        with serving(tmp_path, env=env) as program.server:
            program.await_order(order["id"], "VALID")
            await_true(lambda: presentations(program, order["id"]) == [])
    assert hook.files == set()
    assert hook.actions.count(action) >= 3


def test_one_mutation_ends_with_a_certificate_beside_the_test_ca(tmp_path: Path, pebble: Pebble) -> None:
    with serving(tmp_path, "--test-ca") as server:
        program = Program(server, Directory(directory_of(server), pebble.ca_bundle))
        account = program.create_account()["id"]
        order = program.create_order(account, "www.example.com")
        assert program.await_order(order["id"], "VALID")["certificate"]["names"] == ["www.example.com"]
        manual = program.create_order(account, "by-hand.example.com", solver="manual")
        program.await_order(manual["id"], "PENDING")


# On AWS


def cloud_of(stub: StubCa, pebble: Pebble, *, zones: str = "", clock: Callable[[], datetime] = utc_now) -> Cloud:
    settings = {
        "CERTWRIGHT_HTTP_01_ZONES": zones,
        "CERTWRIGHT_DNS_SERVERS": f"127.0.0.1:{pebble.dns_port}",
        "CERTWRIGHT_PROVIDER_NETWORKS": "127.0.0.0/8",
    }
    return Cloud(stub, settings=settings, clock=clock)


def work_until(cloud: Cloud, is_it: Callable[[], bool]) -> None:
    def look() -> bool:
        cloud.work()
        return is_it()

    await_true(look)


def test_http01_that_arrives_at_the_functions_needs_no_further_action(stub: StubCa, pebble: Pebble) -> None:
    with cloud_of(stub, pebble, zones="*") as cloud:
        order = cloud.create_order(cloud.create_account()["id"], "a.example")
        work_until(cloud, lambda: cloud.order(order["id"])["status"] == "VALID")


def test_hundred_names_fit_into_the_functions_transactions(stub: StubCa, pebble: Pebble) -> None:
    """DynamoDB takes 100 items in one, and each response and each validation has its event."""
    with cloud_of(stub, pebble, zones="*") as cloud:
        names = [f"n{n}.example" for n in range(100)]
        order = cloud.create_order(cloud.create_account()["id"], *names)
        work_until(cloud, lambda: cloud.order(order["id"])["status"] == "VALID")
        told = cloud.audit_types(order["id"])
    assert told.count("ChallengeValidated") + told.count("ChallengeResponded") >= 95


def test_functions_present_and_clean_up_by_a_provider(stub: StubCa, pebble: Pebble) -> None:
    hook = Hook(pebble)
    with WebServer(hook) as web, cloud_of(stub, pebble) as cloud:
        provide(cloud, web.url, "a.example")
        order = cloud.create_order(cloud.create_account()["id"], "a.example")
        work_until(cloud, lambda: cloud.order(order["id"])["status"] == "VALID")
        work_until(cloud, lambda: presentations(cloud, order["id"]) == [])
        assert (hook.actions, hook.files, cloud.due()) == (["present", "clean_up"], set(), [])


def test_functions_clean_up_after_a_cancelled_order(stub: StubCa, pebble: Pebble) -> None:
    """Nobody is woken by the call itself there: only what is due is done. What may be under way is waited for."""
    hook, clock = Hook(pebble), Shifted()
    hook.ill = True
    with WebServer(hook) as web, cloud_of(stub, pebble, clock=clock) as cloud:
        provide(cloud, web.url, "a.example")
        order = cloud.create_order(cloud.create_account()["id"], "a.example")
        work_until(cloud, lambda: [p["state"] for p in presentations(cloud, order["id"])] == ["PLANNED"])
        work_until(cloud, lambda: hook.files != set())
        hook.ill = False
        cloud.graphql("mutation($o: ID!) { cancelOrder(id: $o) { id } }", o=order["id"])
        cloud.work()
        assert hook.files
        clock.by = timedelta(minutes=2)
        work_until(cloud, lambda: presentations(cloud, order["id"]) == [])
        assert hook.files == set()
