"""The floors that are servers: a Strawberry app that answers from memory, and sockets fed by a plain loop.

`python -m tests.bench.bare MESSAGE` prints its port. Each line on its standard input, [first, how many], sends MESSAGE
to so many of its sockets, one after the other; it then prints when it began (CLOCK_MONOTONIC, in seconds).
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import strawberry
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from strawberry.asgi import GraphQL

from certwright.local.server import MAX_MESSAGE
from certwright.local.test_ca import free_port


@strawberry.type
class Account:
    id: strawberry.ID
    email: str
    status: str


@strawberry.type
class Order:
    id: strawberry.ID
    domains: list[str]
    status: str
    created_at: datetime
    account: Account


@strawberry.type
class Counts:
    accounts: int
    orders: int
    orders_open: int
    orders_invalid: int
    certificates: int


@strawberry.type
class Dashboard:
    active_accounts: list[Account]
    recent_orders: list[Order]
    counts: Counts


ACCOUNTS = [Account(id=strawberry.ID(f"{n:026}"), email=f"a{n}@example.com", status="VALID") for n in range(3)]
ORDERS = [
    Order(
        id=strawberry.ID(f"{n:026}"),
        domains=["a.example"],
        status="VALID",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        account=ACCOUNTS[-1],
    )
    for n in range(10)
]
DASHBOARD = Dashboard(
    active_accounts=ACCOUNTS,
    recent_orders=ORDERS,
    counts=Counts(accounts=3, orders=100_000, orders_open=0, orders_invalid=0, certificates=0),
)


@strawberry.type
class Query:
    @strawberry.field
    async def dashboard(self) -> Dashboard:
        return DASHBOARD


class Feed:
    """Keeps every socket that connects, and sends to them."""

    def __init__(self, message: str) -> None:
        self._message = message
        self._sockets: list[WebSocket] = []

    async def connect(self, socket: WebSocket) -> None:
        await socket.accept("graphql-transport-ws")
        self._sockets.append(socket)
        try:
            await socket.receive_text()
            await socket.send_text('{"type":"connection_ack"}')
            while True:
                await socket.receive_text()
        except WebSocketDisconnect:
            self._sockets.remove(socket)

    async def send(self, first: int, count: int) -> float:
        """Returns when it began."""
        start = time.monotonic()
        for socket in self._sockets[first : first + count]:
            await socket.send_text(self._message)
        return start


def main(message: str) -> None:
    feed, port = Feed(message), free_port()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        commands = asyncio.create_task(_obey(feed, port))
        yield
        commands.cancel()

    app = Starlette(
        routes=[Route("/graphql", GraphQL(strawberry.Schema(Query))), WebSocketRoute("/feed", feed.connect)],
        lifespan=lifespan,
    )
    # As in certwright.local.server.
    uvicorn.run(
        app,
        port=port,
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )


async def _obey(feed: Feed, port: int) -> None:
    await asyncio.sleep(0.2)  # uvicorn listens only after the lifespan has begun.
    sys.stdout.write(f"{json.dumps(port)}\n")
    sys.stdout.flush()
    while line := await asyncio.to_thread(sys.stdin.readline):
        sys.stdout.write(f"{json.dumps(await feed.send(*json.loads(line)))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
