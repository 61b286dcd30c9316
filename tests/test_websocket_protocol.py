"""graphql-transport-ws on the real server: the table of cases, and what a table cannot say."""

import asyncio
import json
import logging
import resource
import socket as network
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from certwright.api.context import Patience
from certwright.config import Settings
from certwright.local.app import utc_now
from certwright.local.server import MAX_MESSAGE
from certwright.local.sockets import allow_many_sockets
from certwright.model import Role, system
from tests.support.house import House, await_true
from tests.support.issuer import Issuer, jwk
from tests.support.protocol_cases import CASES, STREAM, hold, subscribe
from tests.support.socket import PROTOCOL, Socket

NEWS = "subscription { auditEvents { type } }"
KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        issuer.keys = [jwk(KEY)]
        yield issuer


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("world")
    settings = replace(
        Settings.read({}, directory),
        oidc_issuer=issuer.url,
        oidc_audience="certwright",
        allowed_origins=("https://console.example",),
    )
    with House(directory, settings=settings) as house:
        yield house


@pytest.fixture(scope="module")
def tokens(world: House, issuer: Issuer) -> dict[str, str]:
    revoked, text = world.app.tokens.create("gone", Role.OPERATOR, system("default"))
    world.app.tokens.revoke(revoked.id, system("default"))
    return {
        "viewer": world.viewer,
        "operator": world.operator,
        "revoked": text,
        "unknown": world.operator[:-1] + "x",
        "session": session(issuer, minutes=5),
        "expired": session(issuer, minutes=-5),
    }


@pytest.fixture(autouse=True)
def nothing_is_logged_as_an_error(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What clients do wrong is no error of the server's. (What the tests' own client logs is not the server's.)"""
    yield
    errors = [r for r in caplog.get_records("call") if r.levelno >= logging.ERROR and r.name != "websockets.client"]
    assert [r.getMessage() for r in errors] == []


def session(issuer: Issuer, **lasts: float) -> str:
    """The token of a session that ends so long after now."""
    now = utc_now()
    start, end = min(now, now + timedelta(**lasts)) - timedelta(hours=1), now + timedelta(**lasts)
    return issuer.token(KEY, "ES256", iat=start.timestamp(), exp=end.timestamp())


@pytest.mark.parametrize("case", CASES)
def test_conversation(world: House, tokens: dict[str, str], case: str) -> None:
    with Socket(world.ws_url) as socket:
        hold(socket, CASES[case], tokens)


@pytest.mark.parametrize("protocols", [(), ("graphql-ws",), ("soap",)])
def test_other_subprotocols_are_closed_with_4406(world: House, protocols: tuple[str, ...]) -> None:
    with Socket(world.ws_url, protocols=protocols) as socket:
        assert (socket.protocol, socket.closed()) == (None, 4406)


def test_our_subprotocol_is_chosen_among_several(world: House) -> None:
    with Socket(world.ws_url, protocols=("graphql-ws", PROTOCOL)) as socket:
        assert socket.protocol == PROTOCOL


def test_socket_without_init_is_closed_with_4408(tmp_path: Path) -> None:
    with (
        House(tmp_path, patience=Patience(init=0.2)) as house,
        Socket(house.ws_url) as silent,
        Socket(house.ws_url) as greeting,
    ):
        greeting.init(house.viewer)
        assert silent.closed() == 4408
        assert greeting.execute("{ __typename }") == {"data": {"__typename": "Query"}}


def test_huge_frame_is_closed_with_1009(world: House) -> None:
    with Socket(world.ws_url) as socket:
        socket.init(world.viewer)
        socket.send("x" * (MAX_MESSAGE + 1))
        assert socket.closed() == 1009


def test_a_message_of_the_greatest_size_is_taken(world: House) -> None:
    with Socket(world.ws_url) as socket:
        frame = json.dumps({"type": "ping", "payload": {"a": ""}})
        socket.send(frame.replace('""', '"' + "x" * (MAX_MESSAGE - len(frame)) + '"'))
        assert socket.get()["type"] == "pong"


@pytest.mark.parametrize(
    ("origin", "is_let_in"),
    [("https://evil.example", False), ("null", False), ("https://console.example", True), ("SAME", True)],
)
def test_sockets_of_other_origins_are_refused_unless_allowed(world: House, origin: str, is_let_in: bool) -> None:
    headers = {"Origin": world.url if origin == "SAME" else origin}
    if is_let_in:
        with Socket(world.ws_url, headers=headers) as socket:
            socket.init(world.viewer)
    else:
        with pytest.raises(InvalidStatus, match="403"):
            Socket(world.ws_url, headers=headers)


def test_flood_of_subscriptions_is_refused_beyond_the_limit_without_hurting_the_others(world: House) -> None:
    with Socket(world.ws_url) as socket, Socket(world.ws_url) as other:
        socket.init(world.operator)
        other.init(world.operator)
        for id in range(130):
            socket.send(subscribe(STREAM, f"s{id}").message)
        refused = [socket.get() for _ in range(30)]
        assert {(r["type"], r["payload"][0]["extensions"]["code"]) for r in refused} == {("error", "UNAVAILABLE")}
        assert [r["id"] for r in refused] == [f"s{id}" for id in range(100, 130)]
        socket.send({"type": "complete", "id": "s7"})
        assert socket.execute("{ __typename }") == {"data": {"__typename": "Query"}}
        assert other.execute("{ __typename }") == {"data": {"__typename": "Query"}}


def test_malformed_frames_leave_another_socket_and_its_stream_undisturbed(world: House) -> None:
    with Socket(world.ws_url) as good:
        good.init(world.viewer)
        good.subscribe("1", STREAM["query"])
        for frame in ("nonsense", b"\x00", "[" * 9999, "x" * (MAX_MESSAGE + 1)):
            with Socket(world.ws_url) as bad:
                bad.send(frame)
                assert bad.closed() in (4400, 1009)
        assert good.execute("{ __typename }") == {"data": {"__typename": "Query"}}


def test_octets_that_are_no_frames_end_their_own_connection_alone(world: House) -> None:
    handshake = (
        f"GET /graphql HTTP/1.1\r\nHost: 127.0.0.1:{world.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n"
    )
    with Socket(world.ws_url) as good, network.create_connection(("127.0.0.1", world.port), timeout=5) as raw:
        good.init(world.viewer)
        raw.sendall(handshake.encode())
        assert raw.recv(10_000).startswith(b"HTTP/1.1 101")
        raw.sendall(b"\xff" * 100)
        while raw.recv(10_000):
            pass
        assert good.execute("{ __typename }") == {"data": {"__typename": "Query"}}


def test_clients_that_vanish_amid_their_streams_hurt_nobody(world: House) -> None:
    before = world.app.broadcast.listening
    with Socket(world.ws_url) as good:
        good.init(world.operator)
        good.subscribe("1", NEWS)
        vanishing = [Socket(world.ws_url) for _ in range(20)]
        for socket in vanishing:
            socket.init(world.operator)
            socket.subscribe("1", NEWS)
        await_true(lambda: world.app.broadcast.listening == before + 21)
        news = threading.Thread(target=lambda: [world.token(f"n{n}", Role.VIEWER) for n in range(30)])
        news.start()
        for socket in vanishing:
            socket.vanish()
        news.join()
        assert [good.get()["payload"]["data"]["auditEvents"]["type"] for _ in range(30)] == ["TokenCreated"] * 30
        await_true(lambda: world.app.broadcast.listening == before + 1)
    for socket in vanishing:
        socket.close()


def test_ended_subscriptions_and_sockets_leave_no_listener(world: House) -> None:
    before = world.app.broadcast.listening
    with Socket(world.ws_url) as socket:
        socket.init(world.viewer)
        for id in ("a", "b"):
            socket.send(subscribe(STREAM, id).message)
        await_true(lambda: world.app.broadcast.listening == before + 2)
        socket.send({"type": "complete", "id": "a"})
        await_true(lambda: world.app.broadcast.listening == before + 1)
    await_true(lambda: world.app.broadcast.listening == before)


def test_client_that_does_not_read_is_dropped_and_hurts_nobody(tmp_path: Path) -> None:
    with House(tmp_path, patience=Patience(stall=1)) as house, Socket(house.ws_url) as good, ExitStack() as stack:
        good.init(house.operator)
        good.subscribe("1", NEWS)
        stalled = stack.enter_context(Socket(house.ws_url, reads=False))
        stalled.send({"type": "connection_init", "payload": {"authorization": f"Bearer {house.operator}"}})
        stalled.send(subscribe({"query": NEWS}).message)
        await_true(lambda: house.app.broadcast.listening == 2)
        flood = threading.Thread(target=ping, args=(stalled,))
        flood.start()
        stack.callback(flood.join)
        stack.callback(stalled.vanish)
        house.token("news", Role.VIEWER)
        assert good.payloads("TokenCreated") == [{"auditEvents": {"type": "TokenCreated"}}]
        await_true(lambda: house.app.broadcast.listening == 1)


def ping(socket: Socket) -> None:
    """Ask for megabytes of pongs."""
    for _ in range(100):
        socket.send({"type": "ping", "payload": {"x": "x" * 100_000}})


def test_thousand_sockets_at_once(world: House) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, most), most))
    allow_many_sockets()  # Both ends of every socket are in this process.
    before = world.app.broadcast.listening

    async def converse() -> list[str]:
        async with AsyncExitStack() as stack:
            sockets = await asyncio.gather(*(open_stream(world, stack) for _ in range(1000)))
            while world.app.broadcast.listening < before + 1000:
                await asyncio.sleep(0.02)
            await asyncio.to_thread(world.token, "news", Role.VIEWER)
            told = await asyncio.gather(*(socket.recv() for socket in sockets))
        return [json.loads(message)["payload"]["data"]["auditEvents"]["type"] for message in told]

    assert asyncio.run(asyncio.wait_for(converse(), 60)) == ["TokenCreated"] * 1000


async def open_stream(house: House, stack: AsyncExitStack) -> ClientConnection:
    """A socket that is subscribed to the audit trail."""
    opening = connect_async(house.ws_url, subprotocols=[Subprotocol(PROTOCOL)], proxy=None, open_timeout=30)
    socket = await stack.enter_async_context(opening)
    await socket.send(json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {house.operator}"}}))
    await socket.recv()
    await socket.send(json.dumps(subscribe({"query": NEWS}).message))
    return socket
