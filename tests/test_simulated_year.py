"""A year of ten thousand certificates, by the code that plans them: renewal, backoff and the ledger are the real ones.

What is around them is a light world in memory, moved by a heap of moments: certificates whose state is what would be
stored, workers that die between two steps, and three CAs that are away for a day, each on its own, and count by
themselves what they are asked for.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from random import Random

import pytest

from certwright import ledger, outcome, renewal
from certwright.ca.limits import LETS_ENCRYPT, Counted, Limit
from certwright.ca.resources import RenewalInfo
from certwright.codec import microseconds, moment
from certwright.ledger import Bucket
from certwright.model import Renewal
from certwright.renewal import Span

SEED = 20261123
CERTIFICATES = 10_000
LIVES = {timedelta(hours=160): 1000, timedelta(days=45): 4500, timedelta(days=90): 4500}
ACCOUNTS, DOMAINS = 4, 500
WITH_WINDOWS = 8
"""One in so many is from the CA that has windows: it is asked daily, which costs most of the time."""

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
END = BEGIN + timedelta(days=365)
MOVING_IN = timedelta(days=60)
LEASE = timedelta(seconds=90)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DEATHS = 1 / 300
"""Of the steps that workers take, so many are their last."""


class Away(Exception):
    """The CA does not answer."""


class State(Enum):
    """Of the order that is open for a certificate, as it would be stored."""

    NONE = auto()
    NEW = auto()
    READY = auto()
    PROCESSING = auto()


@dataclass(repr=False)
class Ca:
    """Issues at once, and counts by token buckets of its own: `exceeded` are the orders beyond its limits.

    `ledger` is what we have of it.
    """

    limits: tuple[Limit, ...]
    has_windows: bool
    away: tuple[datetime, datetime]
    revoked: tuple[datetime, datetime] | None = None
    ledger: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, tuple[float, datetime]] = field(default_factory=dict)
    finalized: set[int] = field(default_factory=set)
    issued: Counter[tuple[int, int]] = field(default_factory=Counter)
    replaced: set[tuple[int, int]] = field(default_factory=set)
    orders: Iterator[int] = field(default_factory=itertools.count)
    exceeded: int = 0
    refused: int = 0

    def answer(self, now: datetime) -> None:
        if self.away[0] <= now < self.away[1]:
            self.refused += 1
            raise Away

    def new_order(self, subjects: dict[Counted, str], replaces: tuple[int, int] | None, now: datetime) -> int | None:
        """The order; None where another replaces the same certificate (alreadyReplaced)."""
        self.answer(now)
        if replaces in self.replaced:
            return None
        if replaces is not None:
            self.replaced.add(replaces)
        for limit in self.limits:
            if limit.counts in subjects and not (replaces and limit.spares_ari):
                self._draw(limit, limit.counts + subjects[limit.counts], now)
        return next(self.orders)

    def finalize(self, order: int, what: tuple[int, int], now: datetime) -> None:
        """An order is issued for once, however often it is finalized."""
        self.answer(now)
        if order not in self.finalized:
            self.finalized.add(order)
            self.issued[what] += 1

    def _draw(self, limit: Limit, key: str, now: datetime) -> None:
        left, since = self.tokens.get(key, (float(limit.most), now))
        left = min(limit.most, left + limit.most * ((now - since) / limit.window))
        self.exceeded += left < 1 - 1e-6
        self.tokens[key] = (left - 1, now)

    def window(self, span: Span, now: datetime) -> RenewalInfo:
        """As Let's Encrypt has it: a fiftieth of the life around the backstop; or at once, for what was misissued."""
        ideal, margin = span.backstop, span.life / 100
        if self.revoked and self.revoked[0] <= span.start < self.revoked[1] <= now:
            return RenewalInfo(self.revoked[1], self.revoked[1] + DAY, None, now + DAY)
        return RenewalInfo(ideal - margin, ideal + margin, None, now + DAY)


@dataclass(slots=True)
class Held:
    """One certificate and its successors, as far as they would be stored."""

    number: int
    ca: Ca
    account: str
    names: tuple[str, ...]
    life: timedelta
    generation: int = 0
    span: Span | None = None
    plan: Renewal | None = None
    state: State = State.NONE
    opened_at: datetime = BEGIN
    order: int = -1
    attempts: int = 0
    waits_for: tuple[Bucket, int] | None = None


@dataclass(repr=False)
class World:
    random: Random
    cas: tuple[Ca, ...]
    agenda: list[tuple[datetime, int, Held]] = field(default_factory=list)
    tickets: Iterator[int] = field(default_factory=itertools.count)
    renewals: Counter[int] = field(default_factory=Counter)
    late: list[tuple[Held, datetime, datetime]] = field(default_factory=list)
    replacing: list[timedelta] = field(default_factory=list)
    """How long after their CA said so, each of the certificates was renewed that were misissued."""
    expired: int = 0
    deaths: int = 0
    queued: int = 0

    def run(self) -> None:
        while self.agenda and self.agenda[0][0] < END:
            now, _, held = heapq.heappop(self.agenda)
            try:
                due = self.step(held, now)
            except Died:
                self.deaths += 1
                due = now + LEASE
            heapq.heappush(self.agenda, (due, next(self.tickets), held))

    def at(self, when: datetime, held: Held) -> None:
        heapq.heappush(self.agenda, (when, next(self.tickets), held))

    def may_die(self) -> None:
        if self.random.random() < DEATHS:
            raise Died

    def step(self, held: Held, now: datetime) -> datetime:
        """One step, after which its outcome is stored; when the next is due. Raises Died before it is stored."""
        self.may_die()
        if held.state is State.NONE:
            return self.tend(held, now)
        try:
            if held.state is State.NEW:
                return self.place(held, now)
            return self.issue(held, now)
        except Away:
            return self.wait(held, now)

    def tend(self, held: Held, now: datetime) -> datetime:
        plan, span = held.plan, held.span
        if plan is not None and span is not None and now < plan.at:
            return self.ask(held, plan, span, now)
        held.state, held.opened_at, held.attempts = State.NEW, now, 0
        return now

    def ask(self, held: Held, plan: Renewal, span: Span, now: datetime) -> datetime:
        """As tending does: for the window, as often as the CA says."""
        try:
            held.ca.answer(now)
            plan = renewal.by_window(plan, span, held.ca.window(span, now), now, self.random.random)
        except Away:
            plan = renewal.after_silence(plan, now)
        held.plan = plan
        return min(plan.at, plan.check_at or plan.at)

    def place(self, held: Held, now: datetime) -> datetime:
        """As placing does: what the ledger has is counted before the CA hears of the order."""
        ca, tats, at = held.ca, held.ca.ledger, microseconds(now)
        replaces = (held.number, held.generation) if ca.has_windows and held.generation else None
        use = ledger.order_use(
            ca.limits,
            held.account,
            held.names,
            renewal=held.generation > 0,
            ari=replaces is not None,
            registered=registered,
        )
        verdict = ledger.admit(use, tats, at, held=held.waits_for)
        tats.update(verdict.changes)
        if verdict.until is not None and verdict.by is not None:
            held.waits_for = (verdict.by, verdict.until)
            self.queued += 1
            return moment(verdict.until)
        taken = [(bucket, at) for bucket in use.spends if bucket.key in verdict.changes]
        taken += [held.waits_for] if held.waits_for else []
        held.waits_for = None
        try:
            held.order = self.send(held, replaces, now)
        except Away:
            tats.update({b.key: ledger.given_back(b, tats[b.key], since, at) for b, since in taken})
            raise
        self.may_die()
        held.state, held.attempts = State.READY, 0
        return now + timedelta(seconds=5)

    def send(self, held: Held, replaces: tuple[int, int] | None, now: datetime) -> int:
        """newOrder, and once more without what it replaces where the CA knows of a successor."""
        ca = held.ca
        subjects = {
            Counted.NEW_ORDERS: held.account,
            Counted.REGISTERED_DOMAIN: registered(held.names[0]),
            Counted.EXACT_SET: held.names[0],
        }
        if held.generation:
            subjects = {c: s for c, s in subjects.items() if not _spares_renewals(ca, c)}
        order = ca.new_order(subjects, replaces, now)
        if order is None:
            order = ca.new_order(subjects, None, now)
        assert order is not None
        return order

    def issue(self, held: Held, now: datetime) -> datetime:
        """finalize, then download. A worker that died in between finds the order finalized."""
        if held.state is State.READY:
            held.ca.finalize(held.order, (held.number, held.generation), now)
            self.may_die()
            held.state = State.PROCESSING
            return now + timedelta(seconds=1)
        held.ca.answer(now)
        self.judge(held, now)
        held.generation, held.state, held.attempts = held.generation + 1, State.NONE, 0
        held.span = Span(now - HOUR, now - HOUR + held.life)
        held.plan = renewal.by_lifetime(held.span, now, self.random.random)
        return now + timedelta(seconds=2) if held.ca.has_windows else held.plan.at

    def wait(self, held: Held, now: datetime) -> datetime:
        """As tending and outcome have it: a renewal that is to be placed is in no hurry, everything else is."""
        held.attempts += 1
        jitter = self.random.random()
        if held.state is State.NEW and held.span is not None:
            return now + renewal.wait(held.attempts, held.span, now, jitter)
        return now + outcome.backoff(held.attempts, jitter)

    def judge(self, held: Held, now: datetime) -> None:
        """Note when a certificate was renewed, and whether that was late."""
        if held.span is None:
            return
        self.renewals[(now - BEGIN) // HOUR] += 1
        if held.ca.revoked and held.ca.revoked[0] <= held.span.start < held.ca.revoked[1] <= now:
            self.replacing.append(now - held.ca.revoked[1])
        self.expired += now >= held.span.end
        if now > held.span.backstop:
            self.late.append((replace(held), held.opened_at, now))


class Died(Exception):
    """A worker was killed; what it had not stored is lost."""


def registered(name: str) -> str:
    return name.partition(".")[2]


def _spares_renewals(ca: Ca, counts: Counted) -> bool:
    return any(limit.spares_renewals for limit in ca.limits if limit.counts is counts)


@pytest.fixture(scope="module")
def year() -> World:
    random = Random(SEED)
    hourly = (Limit(Counted.NEW_ORDERS, 14, HOUR), Limit(Counted.EXACT_SET, 5, 7 * DAY))
    cas = (
        Ca(LETS_ENCRYPT, True, (BEGIN + 150 * DAY, BEGIN + 151 * DAY), (BEGIN + 243 * DAY, BEGIN + 250 * DAY)),
        Ca(hourly, False, (BEGIN + 210 * DAY, BEGIN + 211 * DAY)),
        Ca(hourly, False, (BEGIN + 300 * DAY, BEGIN + 301 * DAY)),
    )
    world = World(random, cas)
    lives = [life for life, many in LIVES.items() for _ in range(many)]
    for number, life in enumerate(lives):
        ca = cas[0 if number % WITH_WINDOWS == 0 else 1 + number // 2 % 2]
        name = f"n{number}.d{number % DOMAINS}.example"
        held = Held(number, ca, f"account-{number % ACCOUNTS}", (name,), life)
        world.at(BEGIN + MOVING_IN * random.random(), held)
    world.run()
    return world


def test_nothing_expired_and_every_certificate_was_renewed_before_its_backstop(year: World) -> None:
    assert year.expired == 0
    for held, opened, renewed in year.late:
        begin, end = held.ca.away
        assert opened < end, (held, renewed)
        assert renewed > begin, (held, renewed)
        assert renewed < end + DAY, (held, renewed)
    assert all(held.generation > 0 for _, _, held in year.agenda)


def test_certificates_that_the_ca_wants_replaced_are_replaced_within_its_window(year: World) -> None:
    assert len(year.replacing) > 100
    assert max(year.replacing) < DAY + 2 * HOUR, "those that were an hour old are kept for a day"


def test_nothing_was_issued_twice(year: World) -> None:
    for ca in year.cas:
        assert max(ca.issued.values()) == 1
    assert year.deaths > 1000, "workers died often enough for that to mean something"


def test_limits_were_never_exceeded(year: World) -> None:
    assert [ca.exceeded for ca in year.cas] == [0, 0, 0]
    assert year.queued > 20, "orders had to wait for them"


def test_renewals_were_spread_even_after_a_ca_was_away(year: World) -> None:
    assert all(ca.refused > 100 for ca in year.cas)
    mean = year.renewals.total() / 8760
    assert max(year.renewals.values()) <= 3 * mean
    assert year.renewals.total() > 18 * CERTIFICATES
