"""The benches run and find figures; how good these are is for `make bench` to say, on a quiet machine."""

from pathlib import Path

import pytest

from tests.bench import cold, cost, dashboard, delivery, fanout, issuance, memory
from tests.bench.table import Row, Target, markdown
from tests.support.dynamo import missing_for_dynamodb_local

LOWEST, HIGHEST = 0.001, 100_000

WRITE_UNITS = 60
"""What one certificate takes; the target is lower."""


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


def test_cost_on_dynamodb_is_measured(tmp_path: Path) -> None:
    """These figures are exact, so they are held: what makes a certificate dearer has to say so here."""
    if reason := missing_for_dynamodb_local():
        pytest.skip(reason)
    figures = {(row.what.removeprefix("DynamoDB: "), row.unit): row.ours for row in cost.measure(tmp_path)}
    assert figures["one certificate, from createOrder to VALID", "write units"] <= WRITE_UNITS
    assert figures["dashboard", "calls"] <= cost.MOST_DASHBOARD_CALLS
    assert figures["one event to 100 subscriptions", "calls"] <= 5 + 100 // 4


def test_cold_starts_are_measured(tmp_path: Path) -> None:
    if reason := missing_for_dynamodb_local():
        pytest.skip(reason)
    assert_sane(cold.measure(tmp_path, quick=True), 5)


def test_fan_out_on_aws_is_measured(tmp_path: Path) -> None:
    if reason := missing_for_dynamodb_local():
        pytest.skip(reason)
    time, calls, posts, _, _, same_posts = fanout.measure(tmp_path, quick=True)
    assert LOWEST < time.ours < HIGHEST
    assert calls.ours < 2 * posts.ours
    assert (posts.ours, same_posts.ours) == (20, 20)


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
