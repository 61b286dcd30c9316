"""When a certificate is renewed: pure time arithmetic, in fractions of its life, so that any lifetime will do.

    issued        a CA's window (ARI), or a time of our own        backstop            expiry
    ├──────────────────────────┤ at ├──────────────────────────────────┤────────────────────┤
                                                                       ⅓ or ½ of the life left

Nothing is planned for later than the backstop. Whether a CA names a window or not, the time is picked at random: what
was issued at once is not renewed at once.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from certwright.model import Certificate, Renewal

if TYPE_CHECKING:
    from certwright.ca.resources import RenewalInfo

Random = Callable[[], float]
"""Uniform, from 0 to less than 1."""

SHORT_LIFE = timedelta(days=10)
"""A shorter life is renewed with half of it left, a longer one with a third: the advice of Let's Encrypt."""

_SPREAD = 12
"""A time of our own is picked from the twelfth of the life before the backstop."""

_LEEWAY = 500
"""What is planned is planned for this part of the life before the backstop: a few attempts fit in between."""

SOONEST_CHECK, LATEST_CHECK = timedelta(minutes=1), timedelta(days=1)
"""The bounds that RFC 9773 §4.3.2 allows to set for a CA's Retry-After."""

CHECK_AFTER_SILENCE = timedelta(hours=6)
"""RFC 9773 §4.3.3, for lasting errors; and where the CA does not say when to ask again."""

_RETRIES = (timedelta(minutes=1), timedelta(minutes=10), timedelta(minutes=100), timedelta(days=1))
"""The waits after vain attempts (Let's Encrypt's integration guide); the last one repeats."""

_MOST_OF_THE_REST = 4
"""No wait is longer than a quarter of the life that is left."""

_FRESH_PART, _FRESH_MOST = 4, timedelta(days=1)
"""A certificate is kept for a quarter of its life, a day at most, before it is renewed by itself: of a CA whose window
is always open, or whose certificates are nearly over when they come, one would be asked for after another."""

WARNINGS = (4, 8, 24)
"""Parts of the life: with a quarter, an eighth and a twenty-fourth of it left, the watch tells; and at the end."""

_NOTICE_PART, _NOTICE_MOST = 100, timedelta(minutes=5)
"""An order that renews and waits for its user is told of after this part of the life, or so long at most."""


@dataclass(frozen=True, slots=True)
class Span:
    """The validity of a certificate."""

    start: datetime
    end: datetime

    @classmethod
    def of(cls, certificate: Certificate) -> "Span":
        return cls(certificate.not_before, certificate.not_after)

    @property
    def life(self) -> timedelta:
        return self.end - self.start

    @property
    def backstop(self) -> datetime:
        """The moment by which a certificate is to be renewed, whatever its CA suggests."""
        return self.end - self.life / (2 if self.life < SHORT_LIFE else 3)

    @property
    def latest(self) -> datetime:
        """The latest moment that is planned."""
        return self.backstop - self.life / _LEEWAY

    def warnings(self) -> tuple[datetime, ...]:
        """The moments at which the expiry watch tells, the end among them."""
        return (*(self.end - self.life / part for part in WARNINGS), self.end)


def cert_id(key_identifier: bytes, serial: int) -> str:
    """What ARI names a certificate by (RFC 9773 §4.1): the authority key identifier's keyIdentifier, and the serial
    number as DER's octets, with a zero before a first bit that would be a sign."""
    octets = serial.to_bytes(serial.bit_length() // 8 + 1)
    return f"{_base64url(key_identifier)}.{_base64url(octets)}"


def _base64url(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def by_lifetime(span: Span, now: datetime, random: Random) -> Renewal:
    """The plan for a certificate that was issued now, before its CA was asked for a window."""
    not_before = now + min((span.end - now) / _FRESH_PART, _FRESH_MOST)
    at = _own_time(span, random)
    return Renewal(at=max(at, not_before), source="lifetime", not_before=not_before)


def _own_time(span: Span, random: Random) -> datetime:
    return span.latest - span.life / _SPREAD * random()


def by_window(renewal: Renewal, span: Span, info: "RenewalInfo", now: datetime, random: Random) -> Renewal:
    """The plan after the CA named a window (RFC 9773 §4.2).

    A time that lies in the window is kept; another is picked where it does not. A window that is past means now. One
    that ends before it starts is no answer; one that lies behind the backstop is shown, and not waited for. An attempt
    that failed is repeated when it was to be.
    """
    if info.end <= info.start:
        return after_silence(renewal, now)
    told = replace(
        renewal,
        window_start=info.start,
        window_end=info.end,
        explanation_url=info.explanation_url,
        check_at=_next_check(info.retry_after, now),
    )
    if renewal.source == "retry":
        return told
    if info.start >= span.latest:
        at = renewal.at if renewal.source == "lifetime" else _own_time(span, random)
        return replace(told, at=_not_too_soon(at, renewal, now), source="lifetime")
    end = min(info.end, span.latest)
    at = renewal.at if info.start <= renewal.at <= end else info.start + (end - info.start) * random()
    return replace(told, at=_not_too_soon(at, renewal, now), source="ari")


def _not_too_soon(at: datetime, renewal: Renewal, now: datetime) -> datetime:
    return max(at, now, renewal.not_before or now)


def _next_check(retry_after: datetime | None, now: datetime) -> datetime:
    if retry_after is None:
        return now + CHECK_AFTER_SILENCE
    return min(max(retry_after, now + SOONEST_CHECK), now + LATEST_CHECK)


def after_silence(renewal: Renewal, now: datetime, retry_after: datetime | None = None) -> Renewal:
    """The plan after the CA had no usable answer: it stays, and the CA is asked again later."""
    return replace(renewal, check_at=_next_check(retry_after, now))


def after_failure(renewal: Renewal, span: Span, now: datetime, random: Random) -> Renewal:
    """The plan after an attempt failed: the next one, after a wait that grows with their number, less up to a half at
    random, and never long for what is left of the certificate's life."""
    attempts = renewal.attempts + 1
    at = now + wait(attempts, span, now, random())
    failed = replace(renewal, at=at, source="retry", attempts=attempts, order_id=None)
    return after_silence(failed, now)


def backoff(attempts: int, span: Span, now: datetime) -> timedelta:
    """The longest wait after a number of vain attempts; a minute at least, but for lives of less than 100 minutes."""
    rest = max((span.end - now) / _MOST_OF_THE_REST, min(_RETRIES[0], span.life / 100))
    return min(_RETRIES[min(attempts, len(_RETRIES)) - 1], rest)


def wait(attempts: int, span: Span, now: datetime, jitter: float) -> timedelta:
    """How long to wait after a number of vain attempts: `backoff`, less up to a half by `jitter` (0…1)."""
    return backoff(attempts, span, now) * (0.5 + jitter / 2)


def opened(renewal: Renewal, span: Span, order_id: str, now: datetime) -> Renewal:
    """The plan while an order renews the certificate; `check_at` is then when to see whether it waits for its user."""
    return replace(renewal, order_id=order_id, check_at=now + notice(span))


def notice(span: Span) -> timedelta:
    """How long an order may wait for an answer to its challenges before its user is told."""
    return min(span.life / _NOTICE_PART, _NOTICE_MOST)


def next_look(certificate: Certificate) -> datetime | None:
    """When something is next to be done about a certificate, in whole milliseconds, as `due` is kept; None where
    nothing ever is."""
    if certificate.revoked_at is not None or certificate.replaced_by is not None:
        return None
    looks = Span.of(certificate).warnings()[certificate.warned : certificate.warned + 1]
    renewal = certificate.renewal
    times = () if renewal is None else (renewal.check_at,) if renewal.order_id else (renewal.at, renewal.check_at)
    soonest = min((time for time in (*looks, *times) if time is not None), default=None)
    return None if soonest is None else soonest + timedelta(microseconds=-soonest.microsecond % 1000)
