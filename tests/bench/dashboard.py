"""The dashboard over HTTP: next to a bare app that has it all in memory, and with few orders and very many."""

import statistics
from pathlib import Path

from tests.bench.client import Call, latencies, rate
from tests.bench.processes import Bare, Service, settle
from tests.bench.seed import seed
from tests.bench.table import Row, Target

CONNECTIONS = 8
QUERY = """{ dashboard {
    counts { accounts orders ordersOpen ordersInvalid certificates }
    activeAccounts { id email status }
    recentOrders { id domains status createdAt account { id } }
} }"""


def measure(directory: Path, *, quick: bool = False) -> list[Row]:
    few, many, most = (10, 100, 200) if quick else (1_000, 100_000, 1_000_000)
    seed(directory / "few", few)
    seed(directory / "many", many)
    with Service(directory / "many") as service, Bare(directory / "bare.log") as bare:
        row = _rate(Call(service.url, service.token, QUERY), Call(bare.url, "", QUERY), many, quick)
    seed(directory / "many", most)
    with Service(directory / "many") as service, Service(directory / "few") as small:
        calls = [Call(service.url, service.token, QUERY), Call(small.url, small.token, QUERY)]
        return [row, _latency(calls, most, few, quick)]


def _rate(ours: Call, floor: Call, orders: int, quick: bool) -> Row:
    rounds, seconds = (1, 0.5) if quick else (3, 4)
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, rates in zip((ours, floor), found, strict=True):
            settle()
            rates.append(rate(call, connections=CONNECTIONS, seconds=seconds))
    what = f"dashboard of {orders:,} orders, {CONNECTIONS} connections; floor: bare Strawberry app, from memory"
    own, bare = map(statistics.median, found)
    return Row(what, "requests/s", own, bare, Target(0.7, at_least=True))


def _latency(calls: list[Call], most: int, few: int, quick: bool) -> Row:
    latencies(calls, 20)
    settle()
    ours, small = (statistics.median(taken) * 1000 for taken in latencies(calls, 20 if quick else 1000))
    return Row(
        f"dashboard of {most:,} orders, one request at a time; floor: of {few:,}", "ms", ours, small, Target(1.2)
    )
