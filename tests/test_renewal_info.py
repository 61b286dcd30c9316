"""When a CA wants certificates to be renewed, as the client reads it (RFC 9773 §4)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certwright.ca.client import Ca
from certwright.ca.problems import FOREIGN_URL, MALFORMED_ANSWER, CaProblem, CaUnavailable
from certwright.ca.resources import RenewalInfo
from tests.support.stub_ca import Answer, StubCa

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
START, END = NOON + timedelta(days=50), NOON + timedelta(days=52)
WINDOW = {"start": START.isoformat(), "end": "2026-12-23T13:00:00+01:00"}


@pytest.fixture
def ca(stub: StubCa) -> Iterator[Ca]:
    stub.renewal_window = (START, END)
    ca = Ca(stub.directory_url, lambda: NOON, ca_bundle=stub.ca_bundle)
    yield ca
    ca.close()


def test_window_is_asked_for_without_a_signature(ca: Ca, stub: StubCa) -> None:
    info = ca.renewal_info("issuer.serial")
    assert info == RenewalInfo(START, END, f"{stub.base_url}/why", NOON + timedelta(hours=6))
    assert [(request.method, request.path) for request in stub.requests] == [
        ("GET", "/directory"),
        ("GET", "/renewalInfo/issuer.serial"),
    ]


def test_ca_that_has_no_windows_is_not_asked(ca: Ca, stub: StubCa) -> None:
    stub.renewal_window = None
    assert ca.renewal_info("issuer.serial") is None
    assert stub.operations() == ["directory"]


def test_window_is_not_asked_for_at_another_host(ca: Ca, stub: StubCa) -> None:
    names = ("newNonce", "newAccount", "newOrder")
    directory = {name: f"{stub.base_url}/{name}" for name in names} | {"renewalInfo": "https://localhost:1/ari"}
    stub.answer_next("directory", Answer(body=directory))
    with pytest.raises(CaUnavailable) as refused:
        ca.renewal_info("issuer.serial")
    assert refused.value.problem.type == FOREIGN_URL


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {},
        {"suggestedWindow": None},
        {"suggestedWindow": []},
        {"suggestedWindow": {"start": "2026-12-21T12:00:00Z"}},
        {"suggestedWindow": {"start": "tomorrow", "end": "2026-12-21T12:00:00Z"}},
        {"suggestedWindow": {"start": 1, "end": 2}},
    ],
)
def test_answer_without_a_window_is_none(ca: Ca, stub: StubCa, answer: Any) -> None:
    stub.answer_next("renewalInfo", Answer(body=answer))
    with pytest.raises(CaUnavailable) as refused:
        ca.renewal_info("issuer.serial")
    assert refused.value.problem.type == MALFORMED_ANSWER


@pytest.mark.parametrize("url", ["javascript:alert(1)", "", 5, None, "//ca.example/why"])
def test_explanation_that_is_no_web_page_is_not_shown(ca: Ca, stub: StubCa, url: Any) -> None:
    stub.answer_next("renewalInfo", Answer(body={"suggestedWindow": WINDOW, "explanationURL": url}))
    assert ca.renewal_info("issuer.serial") == RenewalInfo(START, END)


def test_refusal_is_the_cas_own(ca: Ca, stub: StubCa) -> None:
    stub.fail_next("renewalInfo", "malformed", status=404)
    with pytest.raises(CaProblem) as refused:
        ca.renewal_info("issuer.serial")
    assert (refused.value.status, refused.value.is_transient) == (404, False)
