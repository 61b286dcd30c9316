"""Resident memory of the server: idle, and with many live subscriptions."""

import asyncio
from pathlib import Path
from typing import Any

from tests.bench.processes import Bare, Server, Service, settle
from tests.bench.sockets import Sockets
from tests.bench.table import Row

QUERY = "subscription { orderStatus { id status } }"


def measure(directory: Path, *, quick: bool = False) -> list[Row]:
    count = 20 if quick else 1_000
    payloads: list[dict[str, Any]] = [{"query": QUERY}] * count
    with Service(directory / "service") as service, Bare(directory / "bare.log") as bare:
        settle()
        ours, floor = [service.memory], [bare.memory]
        ours.append(asyncio.run(_with(Sockets(service.port, "/graphql", payloads, service.token), service)))
        floor.append(asyncio.run(_with(Sockets(bare.port, "/feed", payloads), bare)))
    states = ("idle", f"with {count:,} subscriptions")
    return [
        Row(f"memory of the server, {state}; floor: bare Strawberry app, bare sockets", "MiB", own, bare_one)
        for state, own, bare_one in zip(states, ours, floor, strict=True)
    ]


async def _with(sockets: Sockets, server: Server) -> float:
    async with sockets:
        return server.memory
