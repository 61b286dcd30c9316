"""What the functions' processes import before their first answer: as little as they can do with.

Each call here is the first of a process, as a cold start in Lambda is. How long that takes, `make bench` measures.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from certwright.model import Role
from tests.support.first import First, answers, surroundings
from tests.support.gateway import ApiGateway
from tests.support.house import await_true
from tests.support.lambdas import Cloud, cloud
from tests.support.socket import Socket
from tests.support.stream import Stream

HEAVY = {"acme", "josepy", "requests", "cryptography", "OpenSSL", "jwt", "publicsuffixlist", "dns", "lexicon", "boto3"}
GRAPHQL = {"strawberry", "graphql", "starlette"}
POWERTOOLS = {"aws_lambda_powertools"}
NEWS = "subscription { auditEvents { type } }"


@dataclass
class World:
    """The functions, every call of them the first of a process, and a table that is theirs."""

    cloud: Cloud
    websocket: First
    stream: First
    sockets: ApiGateway


@pytest.fixture
def world(dynamodb: Any) -> Iterator[World]:
    with cloud(dynamodb) as running, answers() as others, ApiGateway(lambda: websocket) as sockets:
        environment = surroundings(
            running.table_name, dynamodb=dynamodb.meta.endpoint_url, others=others, sockets=sockets.url
        )
        websocket, stream = (First(f"certwright.aws.{name}", environment) for name in ("websocket", "stream"))
        yield World(running, websocket, stream, sockets)
        await_true(lambda: len(websocket.told) in (0, 4))  # The end of its socket is a call too.


def news(world: World, name: str) -> dict[str, Any]:
    """The batch of an event, a token's making, and the token."""
    stream = Stream(world.cloud.client, world.cloud.table_name)
    stream.read()
    world.cloud.token(name, Role.VIEWER)
    batch = {"Records": stream.read()}
    stream.close()
    return batch


def test_websocket_function_imports_neither_the_acme_library_nor_cryptography(world: World) -> None:
    with Socket(world.sockets.ws_url) as socket:
        socket.init(world.cloud.token("operator", Role.OPERATOR))
        socket.subscribe("1", NEWS)
        await_true(lambda: len(world.websocket.told) == 3)
        assert len(world.cloud.rows("#topic#")) == 1
        assert [told.modules & (HEAVY | POWERTOOLS) for told in world.websocket.told] == [set()] * 3


def test_stream_function_comes_without_graphql_as_long_as_nobody_listens(world: World) -> None:
    assert world.stream(news(world, "unheard")) == {"batchItemFailures": []}
    assert not world.stream.told[0].modules & (HEAVY | GRAPHQL)
    with Socket(world.sockets.ws_url) as socket:
        socket.init(world.cloud.token("operator", Role.OPERATOR))
        socket.subscribe("1", NEWS)
        await_true(lambda: len(world.websocket.told) == 3)
        assert world.stream(news(world, "heard")) == {"batchItemFailures": []}
        assert socket.get()["payload"]["data"] == {"auditEvents": {"type": "TokenCreated"}}
    assert not world.stream.told[1].modules & HEAVY


def test_garbage_is_looked_for_again_when_the_function_is_put_together(world: World) -> None:
    assert world.stream(news(world, "any")) == {"batchItemFailures": []}
    assert world.stream.told[0].collects
