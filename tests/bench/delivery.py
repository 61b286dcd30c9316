"""From a commit to its subscribers, with many live subscriptions, each on a socket of its own.

Ours: a change of an order is committed, and its subscribers get a GraphQL document made for each. The floor: a bare
server sends the same bytes to its sockets in a loop.
"""

import asyncio
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.processes import Bare, Server
from tests.bench.sockets import Sockets
from tests.bench.table import Row

ONE = "subscription($id: ID) { orderStatus(id: $id) { id status updatedAt } }"
PAUSE_SECONDS = 0.005


def measure(directory: Path, *, quick: bool = False) -> list[Row]:
    count, rounds, singles = (20, 2, 20) if quick else (1_000, 15, 500)
    data = str(directory / "service")
    with Server(["-m", "tests.bench.feeder", data, str(count)], directory / "feeder.log") as feeder:
        port, token, ids = feeder.ask()
        own = [{"query": ONE, "variables": {"id": id}} for id in ids]
        alike = [{"query": ONE, "variables": {}} for _ in ids]
        single, message = asyncio.run(_times(Sockets(port, "/graphql", own, token), feeder, ids[:singles], 1))
        every, _ = asyncio.run(_times(Sockets(port, "/graphql", alike, token), feeder, ids[:1] * rounds, count))
    with Bare(directory / "bare.log", message.decode()) as bare:
        nobody: list[dict[str, Any]] = [{}] * count
        turns = [[number % count, 1] for number in range(singles)]
        floor_single, _ = asyncio.run(_times(Sockets(bare.port, "/feed", nobody), bare, turns, 1))
        floor_every, _ = asyncio.run(_times(Sockets(bare.port, "/feed", nobody), bare, [[0, count]] * rounds, count))
    return [
        *_rows(f"commit → its one subscriber, of {count:,} live subscriptions", single, floor_single),
        *_rows(f"commit → each of {count:,} subscribers to it", every, floor_every),
    ]


async def _times(sockets: Sockets, server: Server, commands: list[Any], hearers: int) -> tuple[list[float], bytes]:
    """Seconds from each commanded commit to each arrival of it, and one of the messages."""
    taken: list[float] = []
    async with sockets:
        for command in commands:
            start = await asyncio.to_thread(server.ask, command)
            await sockets.arrived(hearers)
            for socket in sockets.sockets:
                taken += [arrival - start for arrival in socket.arrivals]
                socket.arrivals = []
            await asyncio.sleep(PAUSE_SECONDS)
        return taken, next(socket.last for socket in sockets.sockets if socket.last)


def _rows(what: str, ours: list[float], floor: list[float]) -> list[Row]:
    figures: dict[str, Callable[[list[float]], float]] = {
        "p50": statistics.median,
        "p99": lambda taken: statistics.quantiles(taken, n=100)[98],
    }
    return [Row(f"{what}, {name}", "ms", find(ours) * 1000, find(floor) * 1000) for name, find in figures.items()]
