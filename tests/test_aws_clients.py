"""The clients that frontends and programs use, at the websocket function: a whole issuance, a socket that breaks."""

import asyncio
import itertools
import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from gql import Client, gql
from gql.transport.exceptions import TransportError
from gql.transport.websockets import WebsocketsTransport

from certwright.model import Role, system
from tests.support.lambdas import cloud
from tests.support.node import CLIENTS, NodeClient, require_node
from tests.support.pebble import Pebble
from tests.support.site import Site
from tests.support.stream import EventSourceMapping, Stream

SCRIPT = Path(__file__).parent / "js" / "subscribe.mjs"
WAIT_SECONDS = 40
ISSUANCE = ["NEW", "PENDING", "READY", "PROCESSING", "VALID"]
ORDERS = "subscription { orderStatus { id status } }"
SYSTEM = system("default")
NEWS = "subscription { auditEvents { id type } }"


@pytest.fixture(scope="module")
def site(dynamodb: Any, pebble: Pebble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = {"CERTWRIGHT_ACME_SERVERS": pebble.directory_url, "CERTWRIGHT_CA_BUNDLE": str(pebble.ca_bundle)}
    key = tmp_path_factory.mktemp("site") / "sealing.key"
    with cloud(dynamodb, settings=settings, sealing_key=key) as running:
        site = Site(running, pebble)
        stream = Stream(dynamodb, running.table_name)
        with site.working(), EventSourceMapping(stream, running.stream()):
            yield site


@contextmanager
def node(site: Site, token: str, query: str, until: str) -> Iterator[Future[list[dict[str, Any]]]]:
    """The npm client `graphql-ws`, subscribed; in the end, all that happened to it."""
    require_node()
    command = ["node", str(SCRIPT), site.cloud.sockets.ws_url, token, query, until]

    def run() -> list[dict[str, Any]]:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=True)
        return [json.loads(line) for line in ended.stdout.splitlines()]

    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(run)


def test_npm_client_sees_every_change_of_an_issuance_and_completes(site: Site) -> None:
    account = site.create_account()
    with node(site, site.viewer, ORDERS, '"VALID"') as client:
        site.await_subscribers(1)
        order = site.issue(account["id"], "npm.example")
        happened = client.result(WAIT_SECONDS)
        site.await_subscribers(0)
    assert happened[0] == {"connected": True}
    assert {"completed": True} in happened
    seen = [h["next"]["data"]["orderStatus"] for h in happened if "next" in h]
    assert {state["id"] for state in seen} == {order["id"]}
    statuses = [status for status, _ in itertools.groupby(state["status"] for state in seen)]
    assert statuses[-1] == "VALID"
    assert statuses == [status for status in ISSUANCE if status in statuses]


def test_npm_client_goes_on_by_itself_after_its_socket_broke(site: Site) -> None:
    with node(site, site.operator, NEWS, "TokenRevoked") as client:
        site.await_subscribers(1)
        subscribed = site.subscriptions
        site.cloud.sockets.drop_all()
        site.await_others(subscribed)
        token, _ = site.cloud.tokens.create("leaver", Role.VIEWER, SYSTEM)
        site.cloud.tokens.revoke(token.id, SYSTEM)
        happened = client.result(WAIT_SECONDS)
    assert [h for h in happened if "connected" in h] == [{"connected": True}] * 2
    told = [h["next"]["data"]["auditEvents"] for h in happened if "next" in h]
    assert [event["type"] for event in told] == ["TokenCreated", "TokenRevoked"]


@pytest.mark.parametrize("script", CLIENTS)
def test_npm_clients_whose_socket_api_gateway_closes_come_back_once(site: Site, script: str) -> None:
    """It closes with 1000: they come back at once, without waiting, and would do so without end."""
    site.await_subscribers(0)
    sockets, before = site.cloud.sockets, len(site.cloud.sockets.events)
    with NodeClient(script, sockets.ws_url, site.operator, NEWS, "TokenRevoked") as client:
        site.await_subscribers(1)
        subscribed = site.subscriptions
        site.cloud.app().gateway(sockets.url).disconnect(sockets.newest)
        site.await_others(subscribed)
        token, _ = site.cloud.tokens.create("leaver", Role.VIEWER, SYSTEM)
        site.cloud.tokens.revoke(token.id, SYSTEM)
        told = client.told_to_the_end()
    site.await_subscribers(0)
    happened = [thing for thing in told if "next" not in thing]
    assert happened[:3] == [{"connected": True}, {"closed": 1000}, {"connected": True}]
    connects = [e for e in sockets.events[before:] if e["requestContext"]["eventType"] == "CONNECT"]
    assert len(connects) == 2


def test_npm_client_gives_up_with_a_bad_token_instead_of_trying_for_ever(site: Site) -> None:
    before = len(site.cloud.sockets.events)
    with node(site, "cw_not_good", ORDERS, "never") as client:
        assert {"failed": "First message cannot be of type error"} in client.result(WAIT_SECONDS)
    connects = [e for e in site.cloud.sockets.events[before:] if e["requestContext"]["eventType"] == "CONNECT"]
    assert len(connects) == 1


def test_npm_client_gets_a_refusal_as_an_error(site: Site) -> None:
    with node(site, site.viewer, NEWS, "never") as client:
        [failed] = [h["failed"] for h in client.result(WAIT_SECONDS) if "failed" in h]
    assert failed[0]["extensions"] == {"code": "FORBIDDEN"}


def over_websocket(site: Site, token: str) -> Client:
    payload = {"authorization": f"Bearer {token}"}
    transport = WebsocketsTransport(site.cloud.sockets.ws_url, init_payload=payload, connect_args={"proxy": None})
    return Client(transport=transport)


def test_gql_sees_an_issuance_it_started_itself(site: Site) -> None:
    account = site.create_account()

    async def issue() -> list[str]:
        async with over_websocket(site, site.operator) as session:
            seen: list[str] = []
            stream = session.subscribe(gql(ORDERS))
            pending = asyncio.ensure_future(anext(stream))
            await asyncio.to_thread(site.await_subscribers, 1)
            working = asyncio.create_task(asyncio.to_thread(site.issue, account["id"], "gql.example"))
            while "VALID" not in seen:
                seen.append((await asyncio.wait_for(pending, WAIT_SECONDS))["orderStatus"]["status"])
                pending = asyncio.ensure_future(anext(stream))
            pending.cancel()
            await working
            return seen

    statuses = [status for status, _ in itertools.groupby(asyncio.run(issue()))]
    assert statuses == [status for status in ISSUANCE if status in statuses]


def test_gql_is_told_that_its_token_is_not_good(site: Site) -> None:
    async def connect() -> None:
        async with over_websocket(site, "cw_not_good"):
            pass

    with pytest.raises(TransportError):
        asyncio.run(asyncio.wait_for(connect(), WAIT_SECONDS))
