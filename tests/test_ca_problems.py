import json
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from certwright.ca.problems import CaProblem, CaUnavailable, error_of, links, parse_json_object, parse_retry_after

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACME = "urn:ietf:params:acme:error:"


def answer(status: int, body: Any, headers: dict[str, str] | None = None) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response.url = "https://ca.example/order/1"
    response.raw = BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
    response.headers.update(headers or {})
    return response


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        ("-30", 0),
        ("99999999999999999999", 86_400),
        ("Sun, 01 Mar 2026 12:05:00 GMT", 300),
        ("Sunday, 01-Mar-26 12:05:00 GMT", 300),
        ("Sun Mar  1 12:05:00 2026", 300),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Fri, 01 Mar 2126 12:00:00 GMT", 86_400),
    ],
)
def test_retry_after_is_read_in_every_form_and_kept_within_a_day(value: str, seconds: int) -> None:
    assert parse_retry_after(value, NOW) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("value", [None, "", "soon", "1.5", "9" * 5000, "-" + "9" * 400, "Sun, 99 Foo 2026"])
def test_retry_after_that_makes_no_sense_is_none(value: str | None) -> None:
    assert parse_retry_after(value, NOW) is None


@given(st.text())
def test_no_retry_after_header_crashes_or_leaves_the_day(value: str) -> None:
    assert NOW <= (parse_retry_after(value, NOW) or NOW) <= NOW + timedelta(days=1)


@given(st.text())
def test_no_link_header_crashes(value: str) -> None:
    assert isinstance(links({"Link": value}, "alternate", "https://ca.example/"), list)


def test_links_of_one_relation_are_all_found_and_made_absolute() -> None:
    header = '</a>;rel="alternate", <https://ca.example/b>; rel="alternate", </dir>;rel="index", <//[x>;rel="alternate"'
    assert links({"Link": header}, "alternate", "https://ca.example/cert/1") == [
        "https://ca.example/a",
        "https://ca.example/b",
    ]


def test_a_problem_document_is_kept_whole_and_read() -> None:
    document = {"type": ACME + "rejectedIdentifier", "detail": "no", "subproblems": [{"type": "x"}], "more": [1]}
    error = error_of(answer(403, document, {"Retry-After": "60", "Replay-Nonce": "abc"}), NOW)
    assert isinstance(error, CaProblem)
    assert (error.problem.document, error.code, error.status) == (document, "rejectedIdentifier", 403)
    assert (error.retry_after, error.nonce, str(error)) == (NOW + timedelta(seconds=60), "abc", "no")


def test_user_action_required_names_the_terms_to_agree_to() -> None:
    headers = {"Link": '<https://ca.example/terms/2>;rel="terms-of-service"'}
    error = error_of(answer(403, {"type": ACME + "userActionRequired"}, headers), NOW)
    assert isinstance(error, CaProblem)
    assert error.terms_of_service == "https://ca.example/terms/2"


@pytest.mark.parametrize(
    "document",
    [{}, {"type": None}, {"type": ["x"]}, {"type": 7, "status": "x", "detail": {}}, {"subproblems": "none"}],
)
def test_odd_problem_documents_do_not_crash(document: dict[str, Any]) -> None:
    error = error_of(answer(400, document), NOW)
    assert isinstance(error, CaProblem)
    assert (error.problem.subproblems, error.status, error.is_transient) == ([], 400, False)
    assert all(isinstance(text, str) for text in (str(error), error.code))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"no"', b"null", b"\xff\xfe", b"[" * 100_000])
def test_an_error_without_a_problem_document_is_unavailable(body: bytes) -> None:
    error = error_of(answer(503, body, {"Retry-After": "9"}), NOW)
    assert isinstance(error, CaUnavailable)
    assert (error.problem.status, error.retry_after, error.is_transient) == (503, NOW + timedelta(seconds=9), True)
    assert "https://ca.example/order/1" in (error.problem.detail or "")


@pytest.mark.parametrize(
    ("status", "code", "is_transient"),
    [
        (500, "serverInternal", True),
        (503, "unauthorized", True),
        (429, "rateLimited", True),
        (429, "unauthorized", True),
        (403, "rateLimited", True),
        (400, "badNonce", True),
        (400, "malformed", False),
        (403, "userActionRequired", False),
        (409, "alreadyReplaced", False),
        (400, "invalidProfile", False),
    ],
)
def test_only_what_may_pass_by_itself_is_transient(status: int, code: str, is_transient: bool) -> None:
    error = error_of(answer(status, {"type": ACME + code}), NOW)
    assert isinstance(error, CaProblem)
    assert (error.code, error.is_transient) == (code, is_transient)


@pytest.mark.parametrize("nonce", ["", "with space", 'quote"', "ünïcode"])
def test_a_nonce_that_is_not_base64url_is_ignored(nonce: str) -> None:
    error = error_of(answer(400, {"type": ACME + "badNonce"}, {"Replay-Nonce": nonce}), NOW)
    assert isinstance(error, CaProblem)
    assert error.nonce is None


def test_only_objects_are_json_objects() -> None:
    assert parse_json_object(b'{"a": 1}') == {"a": 1}
    assert parse_json_object(b"[1]") is None
