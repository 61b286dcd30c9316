"""The clients that frontends and programs use: npm graphql-ws and @apollo/client, and Python's gql."""

import asyncio
import itertools
from pathlib import Path

import pytest
from gql import Client, gql
from gql.transport.exceptions import TransportConnectionFailed, TransportQueryError
from gql.transport.httpx import HTTPXTransport
from gql.transport.websockets import WebsocketsTransport
from websockets.exceptions import ConnectionClosed

from certwright.local.test_ca import free_port
from certwright.model import Role, system
from tests.support.house import House, await_true
from tests.support.node import CLIENTS, NodeClient

WAIT_SECONDS = 20
ISSUANCE = ["NEW", "PENDING", "READY", "PROCESSING", "VALID"]
ORDERS = "subscription { orderStatus { id status } }"
NEWS = "subscription { auditEvents { type subjectId } }"


@pytest.fixture(params=CLIENTS)
def script(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_npm_client_sees_all_states_of_an_issuance_and_completes(house: House, script: str) -> None:
    account = house.create_account()
    with NodeClient(script, house.ws_url, house.viewer, ORDERS, '"VALID"') as client:
        await_true(lambda: house.app.broadcast.listening == 1)
        order = house.issue(account["id"], "npm.example")
        told = client.told_until("completed")
        await_true(lambda: house.app.broadcast.listening == 0)
    assert told[0] == {"connected": True}
    seen = [t["next"]["data"]["orderStatus"] for t in told if "next" in t]
    assert [status for status, _ in itertools.groupby(s["status"] for s in seen)] == ISSUANCE
    assert {s["id"] for s in seen} == {order["id"]}


def test_npm_client_goes_on_by_itself_after_the_server_was_started_again(tmp_path: Path, script: str) -> None:
    port = free_port()
    first = House(tmp_path, port=port)
    first.start()
    try:
        client = NodeClient(script, first.ws_url, first.operator, NEWS, "TokenRevoked")
        await_true(lambda: first.app.broadcast.listening == 1)
    finally:
        first.stop()
    with House(tmp_path, port=port) as second:
        await_true(lambda: second.app.broadcast.listening == 1)
        token, _ = second.app.tokens.create("leaver", Role.VIEWER, system("default"))
        second.app.tokens.revoke(token.id, system("default"))
        told = client.told_until("completed")
        assert client.end() == 0
    assert [t for t in told if "closed" not in t and "next" not in t] == [
        {"connected": True},
        {"connected": True},
        {"completed": True},
    ]
    assert {"closed": 1012} in told


def test_npm_client_gives_up_at_once_with_a_bad_token(house: House, script: str) -> None:
    with NodeClient(script, house.ws_url, "cw_not_good", ORDERS, "never") as client:
        closed, failed = client.told_until("failed")
    assert closed == {"closed": 4403}
    assert "4403" in str(failed["failed"])


def test_npm_client_gets_a_refusal_as_an_error_and_keeps_its_socket(house: House, script: str) -> None:
    with NodeClient(script, house.ws_url, house.viewer, NEWS, "never") as client:
        told = client.told_until("failed")
        assert told[0] == {"connected": True}
        assert told[-1]["failed"][0]["extensions"] == {"code": "FORBIDDEN"}


# Python


def over_http(house: House, token: str) -> Client:
    transport = HTTPXTransport(
        f"{house.url}/graphql", headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=20
    )
    return Client(transport=transport, fetch_schema_from_transport=True)


def over_websocket(house: House, token: str) -> Client:
    transport = WebsocketsTransport(
        house.ws_url, init_payload={"authorization": f"Bearer {token}"}, connect_args={"proxy": None}
    )
    return Client(transport=transport)


def test_gql_over_http_reads_the_schema_and_checks_its_query_by_it(house: House) -> None:
    with over_http(house, house.viewer) as session:
        assert session.execute(gql("{ viewer { role } }")) == {"viewer": {"role": "VIEWER"}}
        assert session.client.schema
        assert "Subscription" in session.client.schema.type_map


def test_gql_over_http_gets_our_codes(house: House) -> None:
    with over_http(house, house.viewer) as session, pytest.raises(TransportQueryError) as failed:
        session.execute(gql('mutation { cancelOrder(id: "x") { id } }'))
    assert failed.value.errors
    assert failed.value.errors[0]["extensions"] == {"code": "FORBIDDEN"}


def test_gql_over_websocket_sees_an_issuance_it_started_itself(house: House) -> None:
    account = house.create_account()

    async def issue() -> list[str]:
        async with over_websocket(house, house.operator) as session:
            seen: list[str] = []
            stream = session.subscribe(gql(ORDERS))
            pending = asyncio.ensure_future(anext(stream))
            await asyncio.to_thread(await_true, lambda: house.app.broadcast.listening == 1)
            working = asyncio.create_task(asyncio.to_thread(house.issue, account["id"], "gql.example"))
            while "VALID" not in seen:
                seen.append((await asyncio.wait_for(pending, WAIT_SECONDS))["orderStatus"]["status"])
                pending = asyncio.ensure_future(anext(stream))
            pending.cancel()
            await working
            return seen

    assert [status for status, _ in itertools.groupby(asyncio.run(issue()))] == ISSUANCE


def test_gql_over_websocket_is_refused_with_a_bad_token(house: House) -> None:
    async def connect() -> None:
        async with over_websocket(house, "cw_not_good"):
            pass

    with pytest.raises(TransportConnectionFailed) as failed:
        asyncio.run(connect())
    closed = failed.value.__cause__
    assert isinstance(closed, ConnectionClosed)
    assert closed.rcvd
    assert closed.rcvd.code == 4403
