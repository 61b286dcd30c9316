"""When an order goes on at another CA: the one that it is at is down, limits it for long, or refuses for reasons of its
own. What the user has to mend would be refused by the next as well, and ends the order.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeAlias

from certwright.ca.problems import ACME_ERROR, FOREIGN_URL, MALFORMED_ANSWER, NOT_OFFERED, UNAVAILABLE
from certwright.events import OrderDelayed, OrderFailed, OrderRedirected
from certwright.model import Account, AccountStatus, Attempt, Order, OrderStatus, Problem
from certwright.outcome import Step

Find: TypeAlias = Callable[[Sequence[str]], Sequence[Account | None]]
"""Gives accounts by their ids."""

LIMITED = "urn:certwright:rateLimit"
"""The type of the problem that an order waits for where its CA's rate limits are used up."""

MOST_FALLBACKS = 5
PATIENCE = timedelta(hours=1)
"""How long an order with a fallback waits for a rate limit, or for a CA that may have its CSR already."""

_DOWN_TRIES = 3
_DOWN_FOR = timedelta(minutes=5)

_OWN = {
    *(ACME_ERROR + code for code in ("serverInternal", "rateLimited", "rejectedIdentifier", "unsupportedIdentifier")),
    *(ACME_ERROR + code for code in ("accountDoesNotExist", "userActionRequired", "externalAccountRequired")),
    *(ACME_ERROR + code for code in ("invalidProfile", "badNonce", "badSignatureAlgorithm")),
    *(UNAVAILABLE, MALFORMED_ANSWER, FOREIGN_URL, NOT_OFFERED, "urn:certwright:mismatchedCertificate", LIMITED),
}
"""Problems that another CA need not have (RFC 8555 §6.6, §6.7). The others are about the names, the DNS, the web
server, the CSR: the user's to mend."""


def redirect(before: Order, step: Step, now: datetime, find: Find) -> Step:
    """The step, or in its place the one to the next CA, where there is a reason to go and one to go to."""
    if not remaining(before) or (problem := reason(before, step.order, now)) is None:
        return step
    usable = (a for a in find(remaining(before)) if a is not None and a.status is AccountStatus.VALID)
    account = next(usable, None)
    return step if account is None else _to(before, step, account, problem, now)


def remaining(order: Order) -> tuple[str, ...]:
    """The accounts that an order may still go on with."""
    place = order.fallbacks.index(order.account_id) + 1 if order.account_id in order.fallbacks else 0
    return order.fallbacks[place:]


def reason(before: Order, after: Order, now: datetime) -> Problem | None:
    """Why the CA, and not the user, keeps an order from its certificate; None where it does not, or not yet."""
    if after.status is OrderStatus.INVALID and after.error is not None:
        is_late = before.status in (OrderStatus.READY, OrderStatus.PROCESSING) and _has_expired(after.error)
        return after.error if is_late or _is_own(after.error) else None
    delay = after.delay
    if delay is None or not _is_own(delay.problem):
        return None
    is_finalized = after.status in (OrderStatus.READY, OrderStatus.PROCESSING)
    down_for = now - (delay.since or now)
    is_down = delay.attempts >= _DOWN_TRIES and down_for >= (PATIENCE if is_finalized else _DOWN_FOR)
    waits_long = delay.until - now > PATIENCE
    return delay.problem if waits_long or (is_down and not _limits(delay.problem)) else None


def _is_own(problem: Problem) -> bool:
    """Of a compound problem (RFC 8555 §6.7.1), each part must be the CA's own."""
    parts = problem.subproblems if problem.type == ACME_ERROR + "compound" else []
    types = [Problem(part).type for part in parts] or [problem.type]
    status = problem.status or 0
    return all(type in _OWN for type in types) or status >= 500 or status == 429


def _limits(problem: Problem) -> bool:
    return problem.type in (LIMITED, ACME_ERROR + "rateLimited") or problem.status == 429


def _has_expired(problem: Problem) -> bool:
    return problem.type == "urn:certwright:orderExpired"


def _to(before: Order, step: Step, account: Account, problem: Problem, now: datetime) -> Step:
    """The order as it was before it was placed, at another account. What was presented for the old challenges is kept:
    whoever cleans up finds that they are gone."""
    attempt = Attempt(before.account_id, before.acme_server, problem, now)
    order = replace(
        step.order,
        account_id=account.id,
        acme_server=account.acme_server,
        status=OrderStatus.NEW,
        url=None,
        finalize_url=None,
        certificate_url=None,
        expires=None,
        authorizations=(),
        fetched_at=None,
        error=None,
        delay=None,
        advice=(),
        counted_at=None,
        attempts=(*before.attempts, attempt),
        due=now,
        updated_at=now,
    )
    redirected = OrderRedirected(
        subject_id=order.id,
        account_id=account.id,
        acme_server=account.acme_server,
        from_account_id=before.account_id,
        problem=problem.detail or problem.type,
    )
    told = tuple(event for event in step.events if not isinstance(event, OrderDelayed | OrderFailed))
    return Step(order, (*told, redirected))
