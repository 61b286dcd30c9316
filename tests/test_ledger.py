"""The ledger's arithmetic: against a CA that counts exactly, for any sequence of orders."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certwright import codec, ledger
from certwright.ca.limits import LETS_ENCRYPT, Counted, Limit, Told, read_refusal
from certwright.ledger import Bucket, Use, Verdict
from certwright.model import Problem

SECOND = 1_000_000
NOW = codec.microseconds(datetime(2026, 11, 1, tzinfo=UTC))
limits = st.builds(
    Limit,
    st.just(Counted.NEW_ORDERS),
    st.integers(1, 20),
    st.integers(1, 10_000).map(lambda seconds: timedelta(seconds=seconds)),
)
pauses = st.lists(st.integers(0, 1000 * SECOND), max_size=60)


settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


class CountingCa:
    """A token bucket as a CA would keep it, in exact numbers."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.tokens = Fraction(limit.most)
        self.at = NOW

    def look(self, now: int) -> Fraction:
        refilled = Fraction(now - self.at) * self.limit.most / (self.limit.window // timedelta(microseconds=1))
        return min(Fraction(self.limit.most), self.tokens + refilled)

    def take(self, now: int) -> None:
        self.tokens, self.at = self.look(now) - 1, now
        assert self.tokens >= 0, "the CA would have refused"


def bucket(most: int = 5, seconds: int = 50, counts: Counted = Counted.NEW_ORDERS) -> Bucket:
    return Bucket(Limit(counts, most, timedelta(seconds=seconds)), "this account", counts)


def taken(use: Use, tats: dict[str, int], now: int) -> Verdict:
    verdict = ledger.admit(use, tats, now)
    tats.update(verdict.changes)
    return verdict


# Buckets


@given(limits, pauses)
def test_no_order_is_sent_that_the_ca_would_refuse(limit: Limit, pauses: list[int]) -> None:
    ca, tats, use, now = CountingCa(limit), dict[str, int](), Use((Bucket(limit, "", "b"),)), NOW
    due = []
    for pause in pauses:
        now += pause
        due.append(taken(use, tats, now).until or now)
    for moment in sorted(due):
        ca.take(moment)


@given(limits, pauses)
def test_no_order_waits_longer_than_the_ca_makes_it(limit: Limit, pauses: list[int]) -> None:
    ca, tats, use, now = CountingCa(limit), dict[str, int](), Use((Bucket(limit, "", "b"),)), NOW
    for pause in pauses:
        now = max(now + pause, ca.at)
        sent = taken(use, tats, now).until or now
        if sent > now:
            rounding = len(pauses) * limit.most
            assert ca.look(sent - 1 - rounding) < 1
        ca.take(sent)


@given(limits, st.integers(1, 100))
def test_those_who_wait_get_a_time_each(limit: Limit, orders: int) -> None:
    b, tats = Bucket(limit, "", "b"), dict[str, int]()
    times = [taken(Use((b,)), tats, NOW).until for _ in range(orders)]
    assert times[: limit.most] == [None] * min(orders, limit.most)
    assert times[limit.most :] == [NOW + b.interval * n for n in range(1, orders - limit.most + 1)]


@given(limits, pauses, st.integers(0, 20_000 * SECOND))
def test_never_more_is_given_back_than_was_taken(limit: Limit, pauses: list[int], later: int) -> None:
    b, now = Bucket(limit, "", "b"), NOW
    tat, others = ledger.spent(b, 0, NOW), 0
    for pause in pauses:
        now += pause
        tat, others = ledger.spent(b, tat, now), ledger.spent(b, others, now)
    now += later
    assert max(others, now) <= max(ledger.given_back(b, tat, NOW, now), now) <= max(tat, now)


@given(limits, st.integers(0, 20_000 * SECOND))
def test_what_is_given_back_at_once_is_all_that_was_taken(limit: Limit, used: int) -> None:
    b, tat = Bucket(limit, "", "b"), NOW + used
    assert ledger.given_back(b, ledger.spent(b, tat, NOW), NOW, NOW) == tat


@given(limits, st.integers(0, 30))
def test_what_remains_can_be_taken_and_no_more(limit: Limit, before: int) -> None:
    b, tats = Bucket(limit, "", "b"), dict[str, int]()
    for _ in range(min(before, limit.most)):
        taken(Use((b,)), tats, NOW)
    left = ledger.remaining(b, tats.get("b", 0), NOW + b.interval // 2)
    verdicts = [taken(Use((b,)), tats, NOW + b.interval // 2).until for _ in range(left + 1)]
    assert [until is None for until in verdicts] == [True] * left + [False]


@given(limits, st.integers(0, 10_000 * SECOND))
def test_closed_bucket_opens_exactly_when_the_ca_said(limit: Limit, pause: int) -> None:
    b = Bucket(limit, "", "b")
    assert ledger.earliest(b, ledger.closed(b, 0, NOW + pause)) == NOW + pause


# Several buckets of one order


def test_waiting_in_one_bucket_takes_nothing_from_the_others() -> None:
    narrow, wide = bucket(1, 100, Counted.EXACT_SET), bucket(5, 50)
    tats: dict[str, int] = {}
    taken(Use((narrow, wide)), tats, NOW)
    before = tats[wide.key]
    verdict = taken(Use((narrow, wide)), tats, NOW)
    assert (verdict.by, verdict.until, tats[wide.key]) == (narrow, NOW + 100 * SECOND, before)


def test_whose_turn_it_is_goes_though_others_wait_behind() -> None:
    b, tats = bucket(1, 100), dict[str, int]()
    taken(Use((b,)), tats, NOW)
    first, behind = taken(Use((b,)), tats, NOW), taken(Use((b,)), tats, NOW)
    assert (first.until, behind.until) == (NOW + 100 * SECOND, NOW + 200 * SECOND)
    slot = NOW + 100 * SECOND
    assert ledger.admit(Use((b,)), tats, slot, held=(b, slot)) == Verdict({})


def test_turn_that_another_bucket_refuses_is_given_up() -> None:
    b, failing, tats = bucket(1, 100), bucket(1, 1000, Counted.FAILURES), dict[str, int]()
    taken(Use((b,)), tats, NOW)
    after_one = dict(tats)
    slot = taken(Use((b,)), tats, NOW).until or 0
    tats[failing.key] = ledger.spent(failing, 0, slot)
    verdict = ledger.admit(Use((b,), (failing,)), tats, slot, held=(b, slot))
    assert (verdict.by, verdict.changes) == (failing, after_one)


@pytest.mark.parametrize("late", [0, 99])
def test_turn_that_was_missed_by_an_interval_is_none(late: int) -> None:
    b, tats = bucket(2, 200), dict[str, int]()
    for _ in range(3):
        taken(Use((b,)), tats, NOW)
    slot, now = NOW + 100 * SECOND, NOW + (100 + late) * SECOND
    assert ledger.admit(Use((b,)), tats, now, held=(b, slot)).changes == {}
    assert ledger.admit(Use((b,)), tats, slot + b.interval, held=(b, slot)).changes != {}


# What orders draw on


def keys(use: Use) -> set[str]:
    return {b.key.partition("#")[0] for b in use.buckets}


def test_order_draws_on_its_account_domains_and_set_of_names() -> None:
    use = ledger.order_use(LETS_ENCRYPT, "a", ["x.example.co.uk", "*.y.example.co.uk", "z.github.io"])
    assert [b.key for b in use.spends if b.limit.counts is Counted.REGISTERED_DOMAIN] == [
        "certificatesPerRegisteredDomain#example.co.uk",
        "certificatesPerRegisteredDomain#z.github.io",
    ]
    assert [b.key for b in use.needs if b.limit.counts is Counted.FAILURES] == [
        "failedAuthorizations#a#x.example.co.uk",
        "failedAuthorizations#a#y.example.co.uk",
        "failedAuthorizations#a#z.github.io",
    ]
    assert keys(use) >= {"newOrders", "certificatesPerExactSet", "consecutiveFailures", "retryAfter"}


def test_exact_set_is_the_same_in_any_order() -> None:
    one, other = (ledger.order_use(LETS_ENCRYPT, "a", names) for names in (["a.org", "b.org"], ["b.org", "a.org"]))
    assert [b.key for b in one.spends if b.limit.counts is Counted.EXACT_SET] == [
        b.key for b in other.spends if b.limit.counts is Counted.EXACT_SET
    ]


def test_renewals_draw_on_what_the_ca_does_not_spare_them() -> None:
    renewal = ledger.order_use(LETS_ENCRYPT, "a", ["a.org"], renewal=True)
    assert keys(renewal) == {"certificatesPerExactSet", "failedAuthorizations", "consecutiveFailures", "retryAfter"}
    by_ari = ledger.order_use(LETS_ENCRYPT, "a", ["a.org"], renewal=True, ari=True)
    assert (by_ari.spends, keys(by_ari)) == ((), {"consecutiveFailures", "retryAfter"})


def test_unknown_ca_is_asked_until_it_says_otherwise() -> None:
    assert ledger.order_use((), "a", ["a.org"]) == Use((), (ledger.told("a"),))


def fail(tats: dict[str, int], times: int, now: int) -> None:
    for _ in range(times):
        tats.update(ledger.failed(LETS_ENCRYPT, "a", "a.org", tats, now))


def test_failures_stop_orders_for_the_name_until_the_hour_has_passed() -> None:
    tats: dict[str, int] = {}
    fail(tats, 5, NOW)
    stopped = ledger.admit(ledger.order_use(LETS_ENCRYPT, "a", ["www.org", "a.org"]), tats, NOW)
    assert (stopped.until, stopped.changes) == (NOW + 720 * SECOND, {})
    assert ledger.admit(ledger.order_use(LETS_ENCRYPT, "b", ["a.org"]), tats, NOW).until is None


def test_streak_of_failures_is_slowed_to_one_a_day_before_the_ca_pauses_the_account() -> None:
    tats: dict[str, int] = {}
    now, sent = NOW, 0
    while sent < 1152 and (until := _waits(tats, now)) - now < 3600 * SECOND:
        now, sent = until, sent + 1
        fail(tats, 1, now)
    assert 1000 < sent < 1152
    for streak in ledger.streaks(LETS_ENCRYPT, "a", "a.org"):
        del tats[streak.key]
    assert _waits(tats, now) - now < 3600 * SECOND


def _waits(tats: Mapping[str, int], now: int) -> int:
    return ledger.admit(Use(needs=tuple(ledger.failures(LETS_ENCRYPT, "a", "a.org"))), tats, now).until or now


# What refusals say


UNTIL = datetime(2026, 11, 2, 9, 13, 16, tzinfo=UTC)
TAIL = "in the last 168h0m0s, retry after 2026-11-02 09:13:16 UTC: see https://letsencrypt.org/docs/rate-limits/"


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        (
            f"too many certificates (5) already issued for this exact set of identifiers {TAIL}",
            (Counted.EXACT_SET, None),
        ),
        (f'too many certificates (50) already issued for "a.org" {TAIL}', (Counted.REGISTERED_DOMAIN, "a.org")),
        (f'too many failed authorizations (5) for "www.a.org" {TAIL}', (Counted.FAILURES, "www.a.org")),
        (f"too many new orders (300) from this account {TAIL}", (Counted.NEW_ORDERS, None)),
        (f"too many new registrations (10) from this IP address {TAIL}", (Counted.NEW_ACCOUNTS, None)),
        (f"slow down {TAIL}", (Counted.RETRY_AFTER, None)),
    ],
)
def test_refusal_tells_which_limit_was_reached(detail: str, told: tuple[Counted, str | None]) -> None:
    assert read_refusal(Problem({"detail": detail})) == Told(*told, UNTIL)


@pytest.mark.parametrize("detail", [None, "", "slow down", "retry after 2026-13-99 99:99:99 UTC"])
def test_refusal_without_known_words_concerns_the_account(detail: str | None) -> None:
    assert read_refusal(Problem({"detail": detail})) == Told(Counted.RETRY_AFTER)
