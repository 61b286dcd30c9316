"""When certificates are renewed: tables, and properties over all lifetimes, windows and moments."""

from base64 import urlsafe_b64decode
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certwright import renewal
from certwright.ca.resources import RenewalInfo
from certwright.model import Certificate, Renewal
from certwright.renewal import Span

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
START = datetime(2026, 11, 1, tzinfo=UTC)
NINETY = Span(START, START + 90 * DAY)
SHORT = Span(START, START + timedelta(hours=160))

lives = st.timedeltas(timedelta(minutes=2), timedelta(days=825))
spans = lives.map(lambda life: Span(START, START + life))
fractions = st.floats(0, 1, exclude_max=True)
moments = st.floats(-0.5, 1.5)
"""Of a life, before and after it included."""


def at(span: Span, fraction: float) -> datetime:
    return span.start + span.life * fraction


def plan(span: Span, picked: float = 0.5) -> Renewal:
    return renewal.by_lifetime(span, span.start, lambda: picked)


def window(start: datetime, end: datetime, retry_after: datetime | None = None) -> RenewalInfo:
    return RenewalInfo(start, end, "https://ca.example/why", retry_after)


# The name that ARI has for a certificate


def test_certificate_is_named_as_in_rfc_9773() -> None:
    issuer = bytes.fromhex("69885b6b87464041e1b37b847ba0ae2cde01c8d4")
    assert renewal.cert_id(issuer, 0x87654321) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


@given(st.binary(min_size=1, max_size=32), st.integers(0, 2**160 - 1))
def test_name_gives_back_issuer_and_serial_as_der_has_it(issuer: bytes, serial: int) -> None:
    named = [urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in renewal.cert_id(issuer, serial).split(".")]
    assert named[0] == issuer
    assert int.from_bytes(named[1], signed=True) == serial
    assert len(named[1]) == 1 or int.from_bytes(named[1][1:], signed=True) != serial, "DER's integers are minimal"


# The backstop


@pytest.mark.parametrize(
    ("life", "left"),
    [
        (90 * DAY, 30 * DAY),
        (45 * DAY, 15 * DAY),
        (10 * DAY, 10 * DAY / 3),
        (10 * DAY - MINUTE, (10 * DAY - MINUTE) / 2),
        (160 * HOUR, 80 * HOUR),
        (10 * MINUTE, 5 * MINUTE),
    ],
)
def test_backstop_leaves_a_third_of_a_long_life_and_half_of_a_short_one(life: timedelta, left: timedelta) -> None:
    assert Span(START, START + life).backstop == START + life - left


@given(spans, fractions)
def test_time_of_our_own_is_spread_before_the_backstop(span: Span, picked: float) -> None:
    planned = plan(span, picked)
    assert span.backstop - span.life / 11 < planned.at < span.backstop
    assert planned.source == "lifetime"


@pytest.mark.parametrize("late", [0.9, 0.999])
def test_certificate_that_is_nearly_over_when_it_comes_is_not_renewed_at_once(late: float) -> None:
    now = at(NINETY, late)
    assert renewal.by_lifetime(NINETY, now, lambda: 0.5).at == now + min(DAY, (NINETY.end - now) / 4)


# The CA's window


@given(spans, moments, moments, moments, fractions, fractions)
def test_plan_is_never_later_than_the_backstop(
    span: Span, start: float, end: float, now: float, picked: float, other: float
) -> None:
    before, moment = plan(span, picked), at(span, now)
    after = renewal.by_window(before, span, window(at(span, start), at(span, end)), moment, lambda: other)
    assert after.at <= max(span.backstop, moment)
    assert after.at >= min(before.at, moment, at(span, start))


@given(spans, st.floats(0.3, 0.5), st.floats(0.01, 0.3), fractions)
def test_time_is_picked_from_the_window(span: Span, start: float, length: float, picked: float) -> None:
    info = window(at(span, start), at(span, start + length))
    after = renewal.by_window(plan(span, 0), span, info, span.start, lambda: picked)
    assert info.start <= after.at <= info.end
    assert (after.window_start, after.window_end, after.source) == (info.start, info.end, "ari")
    assert after.explanation_url == "https://ca.example/why"


def test_times_are_uniform_within_the_window() -> None:
    info = window(at(NINETY, 0.3), at(NINETY, 0.4))
    hundredths = iter(n / 100 for n in range(100))
    picks = [renewal.by_window(plan(NINETY), NINETY, info, START, lambda: next(hundredths)).at for _ in range(100)]
    assert picks == [info.start + n * (info.end - info.start) / 100 for n in range(100)]


@given(spans, st.floats(0.3, 0.5), st.floats(0.01, 0.3), fractions, fractions)
def test_window_that_still_holds_the_time_keeps_it(
    span: Span, start: float, length: float, picked: float, other: float
) -> None:
    info = window(at(span, start), at(span, start + length))
    once = renewal.by_window(plan(span, 0), span, info, span.start, lambda: picked)
    wider = window(info.start - HOUR, info.end)
    assert renewal.by_window(once, span, wider, span.start, lambda: other).at == once.at


def test_window_that_moved_away_from_the_time_picks_another() -> None:
    once = renewal.by_window(plan(NINETY), NINETY, window(at(NINETY, 0.5), at(NINETY, 0.6)), START, lambda: 0.5)
    sooner = renewal.by_window(once, NINETY, window(at(NINETY, 0.2), at(NINETY, 0.3)), START, lambda: 0.5)
    assert sooner.at == at(NINETY, 0.25)


def test_window_in_the_past_means_now() -> None:
    now = at(NINETY, 0.3)
    past = window(at(NINETY, 0.1), at(NINETY, 0.2))
    assert renewal.by_window(plan(NINETY), NINETY, past, now, lambda: 0.5).at == now


def test_ca_whose_window_is_always_open_is_not_asked_for_one_certificate_after_another() -> None:
    past = window(START - 2 * DAY, START - DAY)
    assert renewal.by_window(plan(NINETY), NINETY, past, START, lambda: 0.5).at == START + DAY
    brief = Span(START, START + 20 * MINUTE)
    assert renewal.by_window(plan(brief), brief, past, START, lambda: 0.5).at == START + 5 * MINUTE


@pytest.mark.parametrize("length", [timedelta(0), -DAY])
def test_window_that_ends_before_it_starts_is_no_answer(length: timedelta) -> None:
    before, start = plan(NINETY), at(NINETY, 0.2)
    after = renewal.by_window(before, NINETY, window(start, start + length, START + HOUR), START, lambda: 0.5)
    assert after == replace(before, check_at=START + 6 * HOUR)


@pytest.mark.parametrize("source", ["lifetime", "ari"])
def test_window_behind_the_backstop_is_shown_and_not_waited_for(source: str) -> None:
    before = replace(plan(NINETY), source=source)
    info = window(at(NINETY, 0.8), at(NINETY, 0.9))
    after = renewal.by_window(before, NINETY, info, START, lambda: 0.5)
    assert (after.at, after.source) == (plan(NINETY).at, "lifetime")
    assert (after.window_start, after.window_end) == (info.start, info.end)


def test_window_leaves_an_attempt_that_is_to_be_repeated_where_it_is() -> None:
    failed = renewal.after_failure(plan(NINETY), NINETY, START, lambda: 0.5)
    info = window(START - 2 * DAY, START - DAY)
    after = renewal.by_window(failed, NINETY, info, START, lambda: 0.5)
    assert (after.at, after.source, after.window_end) == (failed.at, "retry", info.end)


@pytest.mark.parametrize(
    ("said", "checked"),
    [(None, 6 * HOUR), (timedelta(0), MINUTE), (3 * HOUR, 3 * HOUR), (9 * DAY, DAY)],
)
def test_ca_says_within_bounds_when_it_is_asked_again(said: timedelta | None, checked: timedelta) -> None:
    retry_after = None if said is None else START + said
    info = window(at(NINETY, 0.3), at(NINETY, 0.4), retry_after)
    assert renewal.by_window(plan(NINETY), NINETY, info, START, lambda: 0.5).check_at == START + checked
    assert renewal.after_silence(plan(NINETY), START, retry_after).check_at == START + checked


# After failures


@pytest.mark.parametrize(
    ("attempts", "wait"),
    [(1, MINUTE), (2, 10 * MINUTE), (3, 100 * MINUTE), (4, DAY), (5, DAY), (1000, DAY)],
)
def test_waits_grow_to_a_day(attempts: int, wait: timedelta) -> None:
    assert renewal.backoff(attempts, NINETY, NINETY.backstop) == wait


@given(spans, moments, st.integers(1, 50), fractions)
def test_no_wait_is_longer_than_what_is_left_allows(span: Span, now: float, attempts: int, picked: float) -> None:
    moment = at(span, now)
    before = replace(plan(span), attempts=attempts - 1)
    after = renewal.after_failure(before, span, moment, lambda: picked)
    longest = renewal.backoff(attempts, span, moment)
    assert longest / 2 <= after.at - moment <= longest
    assert longest <= max((span.end - moment) / 4, min(MINUTE, span.life / 100))
    assert (after.attempts, after.source, after.order_id) == (attempts, "retry", None)


def test_many_attempts_are_made_before_a_short_life_ends() -> None:
    now, before, attempts = SHORT.backstop, plan(SHORT), 0
    while now < SHORT.end:
        before, attempts = renewal.after_failure(before, SHORT, now, lambda: 0.5), attempts + 1
        now = before.at
    assert 15 < attempts < 60


# When something is to be done


def certificate(span: Span, **fields: object) -> Certificate:
    made = Certificate("c", "t", "o", "a", ("a.example",), "1", "CA", span.start, span.end, "f", "")
    return replace(made, **fields)  # type: ignore[arg-type]  # fields are as varied as a certificate's


def test_watch_tells_with_a_quarter_an_eighth_and_a_twenty_fourth_left_and_at_the_end() -> None:
    looks = [renewal.next_look(certificate(NINETY, warned=warned)) for warned in range(5)]
    left = [NINETY.end - look for look in looks if look]
    assert left == [90 * DAY / 4, 90 * DAY / 8, 90 * DAY / 24, timedelta(0)]
    assert looks[4] is None


def test_certificate_is_due_for_its_check_its_renewal_or_its_warning() -> None:
    planned = replace(plan(NINETY), check_at=START + HOUR)
    assert renewal.next_look(certificate(NINETY, renewal=planned)) == START + HOUR
    assert renewal.next_look(certificate(NINETY, renewal=plan(NINETY))) == plan(NINETY).at
    opened = renewal.opened(planned, NINETY, "order", START + 60 * DAY)
    assert renewal.next_look(certificate(NINETY, renewal=opened)) == START + 60 * DAY + 5 * MINUTE
    waiting = replace(opened, check_at=None)
    assert renewal.next_look(certificate(NINETY, renewal=waiting)) == NINETY.end - 90 * DAY / 4


@pytest.mark.parametrize("ended", [{"revoked_at": START}, {"replaced_by": "other"}])
def test_nothing_is_done_about_certificates_that_are_out_of_use(ended: dict[str, object]) -> None:
    assert renewal.next_look(certificate(NINETY, renewal=plan(NINETY), **ended)) is None
