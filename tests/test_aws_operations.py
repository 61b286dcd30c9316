"""What the deployment tells its operators: lines, metrics, and certificates that are close to their end."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certwright.aws import watch
from certwright.aws.observability import Log, measure, put_measures, put_metrics
from certwright.events import AccountDelayed, Event, OperationDenied, OrderDelayed, OrderFailed, OrderFulfilled, record
from certwright.model import Certificate, system
from tests.support.cloud import Cloud, LambdaContext

NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
WHEN = NOW.isoformat()


def certificate(id: str, days_left: float, *names: str, life: float = 90) -> Certificate:
    not_after = NOW + timedelta(days=days_left)
    return Certificate(
        id=id,
        tenant="default",
        order_id="o",
        account_id="a",
        names=names or (f"{id}.example",),
        serial="1",
        issuer="CA",
        not_before=not_after - timedelta(days=life),
        not_after=not_after,
        fingerprint_sha256="f",
        chain="",
    )


@pytest.mark.parametrize(
    ("left", "life", "is_closing"),
    [(89, 90, False), (23, 90, False), (22, 90, True), (0.1, 90, True), (-1, 90, False), (2, 6, False), (1, 6, True)],
)
def test_last_quarter_of_a_life_is_close_to_the_end(left: float, life: float, is_closing: bool) -> None:
    found = list(watch.closing([certificate("c", left, life=life)], NOW))
    assert bool(found) is is_closing


def test_certificate_that_is_replaced_or_revoked_is_not_watched() -> None:
    replaced = replace(certificate("replaced", 10), replaced_by="successor")
    revoked = replace(certificate("revoked", 5), revoked_at=NOW)
    alone = certificate("alone", 5)
    assert [c.id for c in watch.closing([replaced, revoked, alone], NOW)] == ["alone"]


def test_watch_counts_over_all_tenants(capsys: pytest.CaptureFixture[str]) -> None:
    with Cloud(clock=lambda: NOW) as cloud:
        for tenant, more_than_a_page in (("default", 101), ("other", 1)):
            for number in range(more_than_a_page):
                kept = replace(certificate(f"{number:03d}", 5 if number == 0 else 80), tenant=tenant)
                cloud.app.store.commit((None, kept), events=[], actor=system(tenant))
        assert watch.serve(cloud.app)({}, LambdaContext()) == {"found": 2}
    [metrics] = capsys.readouterr().out.splitlines()
    told = json.loads(metrics)
    assert (told["CertificatesCloseToExpiry"], told["service"]) == ([2], "watch")


def test_events_measure_cas_and_failures() -> None:
    about = {"subject_id": "o", "account_id": "a"}
    events: list[Event] = [
        OrderFulfilled(**about, certificate_id="c"),
        OrderFailed(**about, problem="p"),
        OrderDelayed(**about, problem="p", until=WHEN),
        AccountDelayed(subject_id="a", problem="p", until=WHEN),
        OperationDenied(operation="o", reason="r"),
    ]
    records = [record(event, system("default"), id="r", at=NOW, previous=None) for event in events]
    counts = {"CaAnswers": 1, "CertificatesIssued": 1, "OrdersFailed": 1, "CaErrors": 2, "Denials": 1}
    assert measure(records) == counts


def test_metrics_are_a_line_that_cloudwatch_reads(capsys: pytest.CaptureFixture[str]) -> None:
    put_metrics("worker", {"CertificatesIssued": 3})
    put_measures([])
    [text] = capsys.readouterr().out.splitlines()
    told = json.loads(text)
    assert (told["CertificatesIssued"], told["service"]) == ([3], "worker")
    [directive] = told["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("Certwright", [["service"]])


@pytest.fixture
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_restored")
def test_log_lines_are_json_with_the_request_they_belong_to(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log("http", "info")
    log.begin("r-1")
    logging.getLogger("certwright.store").info("it is %s", "so")
    logging.getLogger("botocore.endpoint").info("a request's body")
    logging.getLogger("certwright.store").debug("left out")
    [text] = capsys.readouterr().out.splitlines()
    told = json.loads(text)
    wanted = {"level": "INFO", "message": "it is so", "service": "http", "function_request_id": "r-1"}
    assert wanted.items() <= told.items()
