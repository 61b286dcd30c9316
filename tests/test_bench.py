"""The benches run and find figures; how good these are is for `make bench` to say, on a quiet machine."""

from pathlib import Path

import pytest

from tests.bench import dashboard, delivery, issuance, memory
from tests.bench.table import Row, Target, markdown

LOWEST, HIGHEST = 0.001, 100_000


def assert_sane(rows: list[Row], count: int) -> None:
    assert len(rows) == count
    for row in rows:
        assert LOWEST < row.ours < HIGHEST, row
        assert row.floor is not None, row
        assert LOWEST < row.floor < HIGHEST, row


def test_issuance_is_measured(tmp_path: Path) -> None:
    rows = issuance.measure(tmp_path, quick=True)
    assert_sane(rows, 5)
    requests = rows[2]
    assert 7 <= requests.ours < 20  # newOrder, authorization twice, challenge, finalize, order, certificate


def test_dashboard_is_measured(tmp_path: Path) -> None:
    assert_sane(dashboard.measure(tmp_path, quick=True), 2)


def test_delivery_is_measured(tmp_path: Path) -> None:
    rows = delivery.measure(tmp_path, quick=True)
    assert_sane(rows, 4)
    assert rows[0].ours <= rows[1].ours  # p50, p99


def test_memory_is_measured(tmp_path: Path) -> None:
    idle, subscribed = memory.measure(tmp_path, quick=True)
    assert 10 < idle.ours <= subscribed.ours < 1000


@pytest.mark.parametrize(
    ("ours", "target", "is_met"),
    [(12, Target(1.2, at_least=True), True), (11, Target(1.2, at_least=True), False), (16, Target(1.5), False)],
)
def test_target_is_held_against_the_ratio(ours: float, target: Target, is_met: bool) -> None:
    row = Row("what", "ms", ours, 10, target)
    assert row.is_met is is_met
    assert ("(missed)" in markdown([row])) is not is_met


def test_absolute_target_is_held_against_our_figure() -> None:
    assert Row("requests", "/certificate", 7.5, 1, Target(8, absolute=True)).is_met
