"""What a step makes of an order: what comes next, a delay, or the end."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from certwright.ca.problems import CaError, CaProblem
from certwright.errors import CertwrightError
from certwright.events import Event, OrderDelayed, OrderFailed
from certwright.model import Certificate, Delay, Limited, Order, OrderStatus, Problem

_FIRST_RETRY = timedelta(seconds=1)
_LAST_RETRY = timedelta(hours=1)

Wait = Callable[[int, float], timedelta]
"""How long to wait after a number of vain attempts, less a part by jitter (0…1)."""


@dataclass(frozen=True)
class Step:
    """What one step made of an order, and what comes next.

    `order.due` is when the next step is to be taken. With `polls` the CA is at work: where it named no time, `due` is
    None, and whoever runs the steps looks again when it thinks best. None without `polls`: it is the user's turn or
    nobody's. `interrupted` is the CA's error that ended the step early, for `refused` to judge. `aside`: the CA was not
    asked, so that nothing is known of its pace.
    """

    order: Order
    events: tuple[Event, ...] = ()
    certificate: Certificate | None = None
    polls: bool = False
    interrupted: CaError | None = None
    aside: bool = False


def refused(order: Order, error: CaError, now: datetime, jitter: float, wait: Wait | None = None) -> Step:
    """What an error of the CA makes of an order: a delay where it may pass, else the end.

    `jitter` (0…1) spreads retries: each waits between half of and the whole backoff, or as `wait` says. A Retry-After
    is honoured.
    """
    if not error.is_transient:
        return fail(order, _with_terms(error), now)
    attempts = order.delay.attempts + 1 if order.delay else 1
    until = max(now + (wait or backoff)(attempts, jitter), error.retry_after or now)
    return _delayed(order, error.problem, until, now)


def _delayed(order: Order, problem: Problem, until: datetime, now: datetime) -> Step:
    """The order waiting after one more vain attempt."""
    attempts, since = (order.delay.attempts, order.delay.since) if order.delay else (0, None)
    delay = Delay(problem, until, attempts + 1, since or now)
    delayed = replace(order, delay=delay, due=until, updated_at=now)
    told = problem.detail or problem.type
    return Step(delayed, (OrderDelayed(**about(order), problem=told, until=until.isoformat()),))


def limited(order: Order, problem: Problem, until: datetime, limit: Limited | None, now: datetime) -> Step:
    """The order waiting for its CA's rate limits; the CA was not asked, so it is no attempt."""
    attempts, since = (order.delay.attempts, order.delay.since) if order.delay else (0, None)
    delayed = replace(order, delay=Delay(problem, until, attempts, since, limit), due=until, updated_at=now)
    told = problem.detail or problem.type
    return Step(delayed, (OrderDelayed(**about(order), problem=told, until=until.isoformat()),))


def _with_terms(error: CaError) -> Problem:
    """The CA's problem; where the user must agree to new terms, their URL is only in a header (RFC 8555 §7.3.3)."""
    terms = error.terms_of_service if isinstance(error, CaProblem) else None
    if terms is None:
        return error.problem
    detail = f"{error.problem.detail or 'the terms of service have changed'} (terms of service: {terms})"
    return Problem({**error.problem.document, "detail": detail})


def backoff(attempts: int, jitter: float) -> timedelta:
    """How long to wait after a number of vain attempts: 1 s, doubling up to 1 h, less up to a half by `jitter`."""
    full: timedelta = min(_FIRST_RETRY * 2 ** min(attempts - 1, 20), _LAST_RETRY)
    return full * (0.5 + jitter / 2)


def hindered(order: Order, error: CertwrightError, until: datetime, now: datetime) -> Step:
    """What a fault on our own side makes of an order: it waits, and the reason can be read."""
    problem = Problem({"type": f"urn:certwright:{error.code}", "detail": error.message})
    return _delayed(order, problem, until, now)


def fail(order: Order, problem: Problem, now: datetime) -> Step:
    """The end of an order without a certificate; `problem` says why."""
    ended = replace(order, status=OrderStatus.INVALID, error=problem, delay=None, due=None, updated_at=now)
    return Step(ended, (OrderFailed(**about(order), problem=problem.detail or problem.type),))


def expiry(order: Order) -> Problem:
    """Why an order ends that outlived itself."""
    detail = f"the order expired on {order.expires:%Y-%m-%d at %H:%M:%S} UTC before its certificate was issued"
    return Problem({"type": "urn:certwright:orderExpired", "detail": detail})


def about(order: Order) -> dict[str, str]:
    """The fields that every event about an order has."""
    return {"subject_id": order.id, "account_id": order.account_id}


def known(url: str | None) -> str:
    """A URL of an order that was placed."""
    if url is None:
        raise ValueError("an order past 'new' has its URLs")
    return url
