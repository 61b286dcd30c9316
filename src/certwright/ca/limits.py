"""The rate limits that CAs publish, as data, and how the refusals of a CA that limits are to be read.

Sources: letsencrypt.org/docs/rate-limits and /docs/staging-environment, as of 2026. Each limit is a token bucket:
`most` at once, and one more each `window / most`.
"""

import enum
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from certwright.model import Problem


class Counted(enum.StrEnum):
    """What a limit counts, and for each of what."""

    NEW_ACCOUNTS = "newAccounts"
    """for each address that asks, which is: for this installation"""
    NEW_ORDERS = "newOrders"
    """for each account"""
    REGISTERED_DOMAIN = "certificatesPerRegisteredDomain"
    """for each registered domain, whoever orders"""
    EXACT_SET = "certificatesPerExactSet"
    """for each set of names, whoever orders"""
    FAILURES = "failedAuthorizations"
    """for each name and account"""
    STREAK = "consecutiveFailures"
    """for each name and account; a success sets it back"""
    RETRY_AFTER = "retryAfter"
    """what a CA told an account, where no limit is known that it could mean"""


@dataclass(frozen=True)
class Limit:
    """`spares_ari`: renewals that say what they replace (RFC 9773 §5) are neither counted nor refused.

    `spares_renewals`: nor are other orders for exactly the names of an earlier certificate.
    """

    counts: Counted
    most: int
    window: timedelta
    spares_ari: bool = False
    spares_renewals: bool = False


RETRY_AFTER = Limit(Counted.RETRY_AFTER, 1, timedelta(minutes=1))

LETS_ENCRYPT = (
    Limit(Counted.NEW_ACCOUNTS, 10, timedelta(hours=3)),
    Limit(Counted.NEW_ORDERS, 300, timedelta(hours=3), spares_ari=True, spares_renewals=True),
    Limit(Counted.REGISTERED_DOMAIN, 50, timedelta(days=7), spares_ari=True, spares_renewals=True),
    Limit(Counted.EXACT_SET, 5, timedelta(days=7), spares_ari=True),
    Limit(Counted.FAILURES, 5, timedelta(hours=1), spares_ari=True),
    # The CA pauses the account for the name at 1,152, refilled by one a day; a person must lift that. We stop before.
    Limit(Counted.STREAK, 1100, timedelta(days=1100)),
)

LETS_ENCRYPT_STAGING = (
    Limit(Counted.NEW_ACCOUNTS, 50, timedelta(hours=3)),
    Limit(Counted.NEW_ORDERS, 1500, timedelta(hours=3), spares_ari=True, spares_renewals=True),
    Limit(Counted.EXACT_SET, 30_000, timedelta(days=7), spares_ari=True),
    Limit(Counted.FAILURES, 200, timedelta(hours=1), spares_ari=True),
    Limit(Counted.STREAK, 3500, timedelta(hours=6)),
)


@dataclass(frozen=True)
class Told:
    """What a refusal says: which limit, of what (None where it is of the order as a whole), and until when."""

    counts: Counted
    subject: str | None = None
    until: datetime | None = None


# How Boulder, the software of Let's Encrypt, puts it.
_WORDS = (
    (Counted.NEW_ACCOUNTS, re.compile(r"too many new registrations")),
    (Counted.NEW_ORDERS, re.compile(r"too many new orders")),
    (Counted.EXACT_SET, re.compile(r"too many certificates .*for this exact set of")),
    (Counted.REGISTERED_DOMAIN, re.compile(r'too many certificates .*already issued for "?(?P<subject>[^\s",]+)')),
    (Counted.FAILURES, re.compile(r'too many failed authorizations .*for "(?P<subject>[^"]+)"')),
)
_UNTIL = re.compile(r"retry after (\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?: UTC|Z)", re.IGNORECASE)


def read_refusal(problem: Problem) -> Told:
    """What a CA's rateLimited problem means (RFC 8555 §6.6); RETRY_AFTER where its words are not known."""
    detail = problem.detail or ""
    for counts, words in _WORDS:
        if found := words.search(detail):
            return Told(counts, found.groupdict().get("subject"), _named_time(detail))
    return Told(Counted.RETRY_AFTER, until=_named_time(detail))


def _named_time(detail: str) -> datetime | None:
    found = _UNTIL.search(detail)
    try:
        return datetime.fromisoformat(" ".join(found.groups())).replace(tzinfo=UTC) if found else None
    except ValueError:
        return None
