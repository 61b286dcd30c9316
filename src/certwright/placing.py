"""How orders come to a CA, and to which: counted against its rate limits first, and to the next CA where it fails."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from certwright import fallback, outcome
from certwright.authorities import Authorities
from certwright.bookkeeping import Admission, Bookkeeping, limited
from certwright.ca.limits import Counted
from certwright.ca.problems import CaError, CaProblem, CaUnavailable
from certwright.events import ChallengeEvent, ChallengeFailed, ChallengeValidated, Event
from certwright.ledger import Bucket
from certwright.model import Account, Order, OrderStatus, Problem
from certwright.outcome import Step
from certwright.store import Store


class Placing:
    """Safe from any thread, for different orders."""

    def __init__(self, store: Store, authorities: Authorities, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._authorities = authorities
        self._books = Bookkeeping(store, authorities)
        self._clock = clock

    def place(self, order: Order, send: Callable[[Order], Step], *, ari: bool) -> Step:
        """Take the step of an order; one that is new is counted first, and may have to wait.

        `ari`: the CA is told what the order replaces (RFC 9773 §5). Raises what `send` raises.
        """
        if order.status is not OrderStatus.NEW:
            return send(order)
        now = self._clock()
        patience = fallback.PATIENCE if fallback.remaining(order) else None
        admission = self._books.admit(order, now, ari=ari, patience=patience)
        if admission.until and admission.bucket:
            problem = _used_up(admission.bucket, admission.until)
            return outcome.limited(order, problem, admission.until, limited(admission.bucket), now)
        try:
            return send(replace(order, counted_at=now) if admission.taken else order)
        except CaError as error:
            self._take_back(order, admission, error)
            raise

    def _take_back(self, order: Order, admission: Admission, error: CaError) -> None:
        """What is not unheard may have been done, and counted, though no usable answer came."""
        uncounted = not isinstance(error, CaUnavailable) or error.unheard or error.problem.status is not None
        told = error.problem if _limits(error) else None
        now, until = self._clock(), error.retry_after
        self._books.refused(order, admission, now, uncounted=uncounted, problem=told, until=until)

    def judge(self, before: Order, step: Step) -> Step:
        """Count what a step came to know, and go on at another CA where this one fails."""
        now = self._clock()
        moved = fallback.redirect(before, step, now, lambda ids: self._store.many(Account, before.tenant, ids))
        failed, validated = _names(step.events, ChallengeFailed), _names(step.events, ChallengeValidated)
        ends = step.order.status is OrderStatus.INVALID or moved is not step
        self._books.note(before, now, failed=failed, validated=validated, ends=ends)
        if step.certificate is not None:
            self._books.issued(before, now)
        return moved


def _limits(error: CaError) -> bool:
    """Whether the CA says that a limit is reached; a pause is none, as no time ends it."""
    return isinstance(error, CaProblem) and not error.is_pause and (error.status == 429 or error.code == "rateLimited")


def _names(events: Iterable[Event], kind: type[ChallengeEvent]) -> list[str]:
    return [event.identifier for event in events if isinstance(event, kind)]


_WORDS = {
    Counted.NEW_ORDERS: "new orders",
    Counted.REGISTERED_DOMAIN: "certificates",
    Counted.EXACT_SET: "certificates with exactly these names",
    Counted.FAILURES: "failed authorizations",
    Counted.STREAK: "failed authorizations in a row",
}


def _used_up(bucket: Bucket, until: datetime) -> Problem:
    when = f"{until:%Y-%m-%d at %H:%M:%S} UTC"
    limit = limited(bucket)
    if limit is None:
        detail = f"the CA told this account to wait; the order is sent on {when}"
    else:
        what, window = _WORDS[bucket.limit.counts], bucket.limit.window
        detail = (
            f"the CA's limit of {limit.most} {what} for {limit.subject} in {_told(window.total_seconds())} is reached, "
            f"and it was not asked; the order is sent on {when}"
        )
    return Problem({"type": fallback.LIMITED, "detail": detail})


def _told(seconds: float) -> str:
    """A window in the largest unit that measures it: `7 days`."""
    sizes = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
    size, unit = next((size, unit) for size, unit in sizes if seconds % size == 0)
    count = int(seconds // size)
    return f"{count} {unit}{'s' * (count != 1)}"
