"""From the table's stream to a thousand subscriptions on AWS: what one event costs in calls, and how long it takes.

The stream function is a process of its own, over a DynamoDB Local, and posts to an emulator of API Gateway that has
real sockets. The emulator takes its time for each post beside the function, on the same cores.
"""

import json
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from certwright.aws.app import utc_now
from certwright.events import OrderReady
from certwright.model import Order, Role
from tests.bench.processes import OWNER, Server
from tests.bench.seed import new_account, new_order
from tests.bench.table import Row
from tests.support.dynamo import dynamodb_local
from tests.support.first import answers, as_lambda_writes, surroundings
from tests.support.house import await_true
from tests.support.lambdas import Cloud, cloud
from tests.support.socket import Socket
from tests.support.stream import Stream

ORDERS = "subscription { orderStatus { id status updatedAt } }"
NUMBERED = "subscription {{ orderStatus {{ id{}: id status updatedAt }} }}"
PER_SOCKET = 100


def measure(directory: Path, *, quick: bool = False) -> list[Row]:
    number, rounds = (20, 2) if quick else (1_000, 8)
    with dynamodb_local() as dynamodb, answers() as others, cloud(dynamodb) as world:
        environment = surroundings(
            world.table_name, dynamodb=dynamodb.meta.endpoint_url, others=others, sockets=world.sockets.url
        )
        with Server(["-m", "tests.bench.teller"], directory / "teller.log", environment) as teller:
            feed = Feed(world, teller)
            return [*_rows(feed, number, rounds, "alike"), *_rows(feed, number, rounds, "each another")]


def _rows(feed: "Feed", number: int, rounds: int, kind: str) -> list[Row]:
    with feed.subscribed(number, alike=kind == "alike"):
        told = [feed.tell(number) for _ in range(rounds)][1:]
    what = f"one event to {number:,} subscriptions on AWS, {kind}"
    calls = told[-1]["calls"]
    tables = sum(count for name, count in calls.items() if name.startswith("dynamodb "))
    return [
        Row(what, "ms", statistics.median(one["seconds"] for one in told) * 1000),
        Row("— calls to DynamoDB", "calls", tables),
        Row("— posts to API Gateway", "calls", calls["apigatewaymanagementapi PostToConnection"]),
    ]


class Feed:
    """An order whose changes are told."""

    def __init__(self, world: Cloud, teller: Server) -> None:
        self._world = world
        self._teller = teller
        self._stream = Stream(world.client, world.table_name)
        self._token = world.token("bench", Role.VIEWER, OWNER.tenant)
        self._order: Order = new_order(world.own.store, new_account(world.own.store, 1).id)

    @contextmanager
    def subscribed(self, number: int, *, alike: bool) -> Iterator[None]:
        """So many subscriptions; with a document of its own each where they are not `alike`."""
        with ExitStack() as stack:
            sockets = [stack.enter_context(Socket(self._world.sockets.ws_url)) for _ in range(-(-number // PER_SOCKET))]
            for socket in sockets:
                socket.init(self._token)
            for place in range(number):
                query = ORDERS if alike else NUMBERED.format(place)
                sockets[place % len(sockets)].subscribe(str(place), query)
            await_true(lambda: len(self._world.rows("#topic#")) == number, 120)
            self._sockets = sockets
            yield
        await_true(lambda: not self._world.rows("#topic#"), 120)

    def tell(self, number: int) -> Any:
        """What the function says of its call with one event, when all have heard of it."""
        self._stream.read()
        changed = replace(self._order, updated_at=utc_now())
        fact = OrderReady(subject_id=changed.id, account_id=changed.account_id)
        self._order = self._world.own.store.save(self._order, changed, events=[fact], actor=OWNER)
        event = json.dumps({"Records": self._stream.read()}, default=as_lambda_writes)
        told = self._teller.ask(json.loads(event))
        assert told["answer"] == {"batchItemFailures": []}
        for place in range(number):
            assert self._sockets[place % len(self._sockets)].get()["type"] == "next"
        return told
