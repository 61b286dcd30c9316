"""The ledger as it is stored: for each CA, over all tenants and accounts, how far its rate limits are used.

What an order uses is written down before the CA hears of it, in one transaction: killed in between, it counts twice and
never not at all. Nothing is written for CAs that publish no limits and have refused nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from certwright import ledger
from certwright.authorities import Authorities
from certwright.ca.limits import Counted, Limit, read_refusal
from certwright.codec import microseconds, moment
from certwright.errors import Conflict, Unavailable
from certwright.ledger import Bucket, Use
from certwright.model import Account, Limited, Order, OrderStatus, Problem
from certwright.store import Store

T = TypeVar("T")

_TRIES = 50
_LEAST_MARGIN, _MOST_MARGIN = timedelta(seconds=5), timedelta(minutes=10)


@dataclass(frozen=True)
class Admission:
    """Whether an order may be sent: now where `until` is None, else then, when `bucket` has a token.

    `taken` are the buckets from which it took one, each with the time for which it took it.
    """

    until: datetime | None = None
    bucket: Bucket | None = None
    taken: tuple[tuple[Bucket, int], ...] = ()


@dataclass(frozen=True)
class Standing:
    """How a CA's limit stands: `remaining` may be used now, one at `available_at`, which is now where some remain.

    `limit` is None for what a CA told us, of which no number is known.
    """

    name: str
    subject: str
    limit: Limited | None
    remaining: int
    available_at: datetime


class Bookkeeping:
    """Safe from any thread. Every method that writes raises Unavailable where too many write at the same moment."""

    def __init__(self, store: Store, authorities: Authorities) -> None:
        self._store = store
        self._authorities = authorities

    def admit(self, order: Order, now: datetime, *, ari: bool = False, patience: timedelta | None = None) -> Admission:
        """Count an order that is about to be sent; or give it its turn, unless that is later than `patience` allows.

        `ari`: the CA is told which certificate the order renews (RFC 9773 §5).
        """
        use, at = self._use(order, ari=ari), microseconds(now)
        held = _turn(order, use)
        latest = None if patience is None else microseconds(now + patience)

        def decide(levels: Mapping[str, int]) -> tuple[Mapping[str, int], Admission]:
            verdict = ledger.admit(use, levels, at, held=held)
            if verdict.until is None:
                taken = [(b, at) for b in use.spends if b.key in verdict.changes]
                return verdict.changes, Admission(taken=(*taken, *([held] if held else [])))
            is_too_late = latest is not None and verdict.until > latest
            until = moment(verdict.until) + _margin(verdict.by)
            return {} if is_too_late else verdict.changes, Admission(until, verdict.by)

        return self._update(order.acme_server, use.buckets, decide)

    def admit_account(self, account: Account, now: datetime) -> datetime | None:
        """Count a new account, or say when there may be one."""
        use, at = ledger.account_use(self._authorities.limits(account.acme_server)), microseconds(now)

        def decide(levels: Mapping[str, int]) -> tuple[Mapping[str, int], datetime | None]:
            verdict = ledger.admit(use, levels, at)
            if verdict.until is None:
                return verdict.changes, None
            return {}, moment(verdict.until) + _margin(verdict.by)

        return self._update(account.acme_server, use.buckets, decide)

    def refused(
        self,
        order: Order,
        admission: Admission,
        now: datetime,
        *,
        uncounted: bool = True,
        problem: Problem | None = None,
        until: datetime | None = None,
    ) -> None:
        """The CA did not take an order. Certificates are counted when they are issued, so those are given back; the
        order itself only where it is `uncounted`. With a `problem` the CA has reached a limit, until the time that the
        problem's words or `until` name."""
        back = [(b, at) for b, at in admission.taken if uncounted or b.limit.counts is not Counted.NEW_ORDERS]
        closed, until = self._meant(order, problem, until) if problem else (None, None)
        buckets = list(dict.fromkeys([*(b for b, _ in back), *([closed] if closed and until else [])]))

        def decide(levels: Mapping[str, int]) -> tuple[Mapping[str, int], None]:
            changed = _without(back, levels, microseconds(now))
            if closed and until:
                changed[closed.key] = ledger.closed(closed, {**levels, **changed}[closed.key], microseconds(until))
            return changed, None

        self._update(order.acme_server, buckets, decide)

    def note(
        self,
        order: Order,
        now: datetime,
        *,
        failed: Sequence[str] = (),
        validated: Sequence[str] = (),
        ends: bool = False,
    ) -> None:
        """Write down what came of an order: names whose authorization `failed` or was `validated`; and whether it
        `ends` without a certificate of this CA."""
        limits, at = self._authorities.limits(order.acme_server), microseconds(now)
        back = self._reserved(order) if ends else []
        failing = [b for name in failed for b in ledger.failures(limits, order.account_id, name)]
        streaks = [b for name in validated for b in ledger.streaks(limits, order.account_id, name)]

        def decide(levels: Mapping[str, int]) -> tuple[Mapping[str, int], None]:
            changed = _without(back, levels, at) | {b.key: min(levels[b.key], at) for b in streaks}
            for bucket in failing:
                changed[bucket.key] = ledger.spent(bucket, changed.get(bucket.key, levels[bucket.key]), at)
            return changed, None

        self._update(order.acme_server, [*(b for b, _ in back), *failing, *streaks], decide)

    def issued(self, order: Order, now: datetime) -> None:
        """A certificate that took long to be issued counts from now on, as it does at the CA."""
        if order.counted_at is None:
            return
        counted, at = microseconds(order.counted_at), microseconds(now)
        late = [b for b, _ in self._certificate(order) if now - order.counted_at > _margin(b)]

        def decide(levels: Mapping[str, int]) -> tuple[Mapping[str, int], None]:
            back = {b.key: ledger.given_back(b, levels[b.key], counted, at) for b in late}
            return {b.key: ledger.spent(b, back[b.key], at) for b in late}, None

        self._update(order.acme_server, late, decide)

    def release(self, order: Order, now: datetime) -> None:
        """Give back what an order that ends without a certificate has not used: its turn, or its certificate."""
        turn = _turn(order, self._use(order)) if order.status is OrderStatus.NEW else None
        back = [turn] if turn else self._reserved(order)

        def decide(levels: Mapping[str, int]) -> tuple[Mapping[str, int], None]:
            return _without(back, levels, microseconds(now)), None

        self._update(order.acme_server, [b for b, _ in back], decide)

    def standings(self, account: Account, names: Sequence[str], now: datetime) -> list[Standing]:
        """How the limits stand that an order of `account` for `names` would draw on."""
        limits, at = self._authorities.limits(account.acme_server), microseconds(now)
        buckets = ledger.order_use(limits, account.id, names).buckets
        levels = self._store.levels(account.acme_server, [b.key for b in buckets])
        return [
            Standing(
                b.limit.counts,
                b.subject,
                limited(b),
                ledger.remaining(b, level.full_at, at),
                moment(max(at, ledger.earliest(b, level.full_at))),
            )
            for b, level in zip(buckets, levels, strict=True)
            if limited(b) or level.full_at > at
        ]

    def _use(self, order: Order, *, ari: bool = False) -> Use:
        limits = self._authorities.limits(order.acme_server)
        return ledger.order_use(limits, order.account_id, order.domains, renewal=order.replaces is not None, ari=ari)

    def _reserved(self, order: Order) -> list[tuple[Bucket, int]]:
        """The certificate that was counted when the order was placed, as long as it cannot have been issued."""
        return self._certificate(order) if order.status in (OrderStatus.NEW, OrderStatus.PENDING) else []

    def _certificate(self, order: Order) -> list[tuple[Bucket, int]]:
        """The buckets from which an order took the token for its certificate, and when."""
        if order.counted_at is None:
            return []
        at = microseconds(order.counted_at)
        return [(b, at) for b in self._use(order).spends if b.limit.counts is not Counted.NEW_ORDERS]

    def _meant(self, order: Order, problem: Problem, until: datetime | None) -> tuple[Bucket, datetime | None]:
        """The bucket that a refusal is about, and until when it is closed."""
        meant = read_refusal(problem)
        known = ledger.order_use(self._authorities.limits(order.acme_server), order.account_id, order.domains).buckets
        fitting = (b for b in known if b.limit.counts is meant.counts and meant.subject in (None, b.subject))
        return next(fitting, ledger.told(order.account_id)), meant.until or until

    def _update(
        self,
        acme_server: str,
        buckets: Sequence[Bucket],
        decide: Callable[[Mapping[str, int]], tuple[Mapping[str, int], T]],
    ) -> T:
        """Read buckets and write what `decide` makes of them; again, where others wrote one of them meanwhile."""
        keys = list(dict.fromkeys(b.key for b in buckets))
        for _ in range(_TRIES):
            levels = {level.bucket: level for level in self._store.levels(acme_server, keys)} if keys else {}
            changes, decided = decide({key: level.full_at for key, level in levels.items()})
            written = [replace(levels[k], full_at=v) for k, v in changes.items() if v != levels[k].full_at]
            try:
                if written:
                    self._store.enter(acme_server, written)
                return decided
            except Conflict:
                continue
        raise Unavailable("too many orders are counted against the CA's rate limits at the same moment; try again")


def limited(bucket: Bucket) -> Limited | None:
    """A bucket's limit for people; None for what a CA told us, of which no number is known."""
    limit: Limit = bucket.limit
    if limit.counts is Counted.RETRY_AFTER:
        return None
    return Limited(limit.counts, bucket.subject, limit.most, limit.window // timedelta(seconds=1))


def _turn(order: Order, use: Use) -> tuple[Bucket, int] | None:
    """The bucket in which an order waits for its turn, and when that is."""
    if order.delay is None or order.delay.limit is None:
        return None
    until = order.delay.until
    return next(((b, microseconds(until - _margin(b))) for b in use.spends if limited(b) == order.delay.limit), None)


def _margin(bucket: Bucket | None) -> timedelta:
    """How much later than it could be an order that waits is sent. The CA counts later than we do: orders when it gets
    them, certificates when it has issued them."""
    interval = timedelta(microseconds=bucket.interval if bucket else 0)
    return min(max(interval / 20, _LEAST_MARGIN), _MOST_MARGIN)


def _without(back: Sequence[tuple[Bucket, int]], levels: Mapping[str, int], now: int) -> dict[str, int]:
    """The levels after tokens were given back; a bucket that is full is left alone."""
    return {b.key: ledger.given_back(b, levels[b.key], at, now) for b, at in back if levels[b.key]}
