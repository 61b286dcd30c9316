"""Looks after certificates: asks when to renew them, makes the orders that do, and tells of those that are nearly over.

A certificate is a job like an order: it is due when something is to be done about it next. It needs no lease: a step is
committed on the version that it was made of, so that of two workers one wins, and asking a CA twice does no harm.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

from certwright import renewal
from certwright.authorities import Authorities
from certwright.errors import CertwrightError, Conflict
from certwright.events import (
    CertificateExpired,
    CertificateExpiring,
    CertificateReplaced,
    Event,
    OrderCreated,
    RenewalAbandoned,
    RenewalFailed,
    RenewalNeedsAttention,
    RenewalScheduled,
    RenewalStarted,
)
from certwright.items import Change, Entity
from certwright.model import Actor, Certificate, CertificateStatus, Order, OrderStatus, Renewal, system
from certwright.outcome import Wait
from certwright.renewal import Span
from certwright.store import Store
from certwright.succession import NoAccount, Succession, awaits_user

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tended:
    """What became of a certificate, and the order that was made to renew it."""

    certificate: Certificate
    events: tuple[Event, ...] = ()
    order: Order | None = None


class Tending:
    """Safe from any thread. `random` is uniform, from 0 to 1."""

    def __init__(
        self, store: Store, authorities: Authorities, *, clock: Callable[[], datetime], random: Callable[[], float]
    ) -> None:
        self._store = store
        self._authorities = authorities
        self._succession = Succession(store, authorities)
        self._clock = clock
        self._random = random

    def run(self, certificate: Certificate) -> None:
        """Take the step that is due, and commit it. Raises Conflict where another was first."""
        now = self._clock()
        if certificate.due is None or certificate.due > now:
            return
        warned = _warned(certificate, now)
        tended = self._step(warned.certificate, now)
        self._commit(certificate, replace(tended, events=warned.events + tended.events), system(certificate.tenant))

    def planned(self, certificate: Certificate) -> Certificate:
        """A certificate that was issued just now, with the plan of its renewal."""
        now = self._clock()
        plan = renewal.by_lifetime(Span.of(certificate), now, self._random)
        if self._offers_windows(certificate.acme_server):
            plan = replace(plan, check_at=now)
        return _scheduled(replace(certificate, renewal=plan))

    def renew(self, actor: Actor, certificate: Certificate) -> tuple[Order, bool]:
        """The order that renews a certificate, and whether it was made by this call. Raises Conflict."""
        now, plan = self._clock(), certificate.renewal
        if certificate.revoked_at is not None or certificate.replaced_by is not None:
            status = certificate.status(now)
            raise Conflict(f"certificate {certificate.id!r} is {status}; only one that is in use can be renewed")
        if plan is not None and plan.order_id is not None:
            order = self._store.order(certificate.tenant, plan.order_id)
            if not order.status.is_final:
                return order, False
        _, made = self._commit(certificate, self._opened(certificate, now), actor)
        return cast(Order, made), True

    def replaces(self, order: Order) -> str | None:
        """How its CA calls the certificate that an order replaces; None where it is not to be told (RFC 9773 §5).

        Raises ca.problems.CaError.
        """
        if order.replaces is None:
            return None
        certificate = self._store.certificate(order.tenant, order.replaces)
        if certificate.acme_server != order.acme_server:
            return None
        offered = self._authorities.ca(order.acme_server).directory().renewal_info
        return None if offered is None else _cert_id(certificate)

    def wait(self, order: Order) -> Wait | None:
        """How an order waits for a CA that is down, None: as others do. One that renews in time is in no hurry, and
        comes back at a time of its own: a CA that was away for a day is not asked for all that day's renewals at once.
        """
        if order.replaces is None or order.status is not OrderStatus.NEW:
            return None
        certificate, now = self._store.certificate(order.tenant, order.replaces), self._clock()
        plan, span = certificate.renewal, Span.of(certificate)
        if plan is None or plan.order_id != order.id or plan.at > order.created_at:
            return None  # A user wants it now.
        return lambda attempts, jitter: renewal.wait(attempts, span, now, jitter)

    def settle(self, before: Order, after: Order) -> tuple[Sequence[Change], Sequence[Event]]:
        """What the end of an order makes of the certificate that it replaces, to be committed with it."""
        if after.replaces is None or before.status.is_final or not after.status.is_final:
            return (), ()
        certificate = self._store.certificate(after.tenant, after.replaces)
        tended = self._settled(certificate, after, self._clock())
        return [(certificate, _scheduled(tended.certificate))], tended.events

    def _commit(self, before: Certificate, tended: Tended, actor: Actor) -> tuple[Entity | None, ...]:
        changes: list[Change] = [(before, _scheduled(tended.certificate))]
        if tended.order is not None:
            changes.append((None, tended.order))
        return self._store.commit(*changes, events=tended.events, actor=actor)

    def _step(self, certificate: Certificate, now: datetime) -> Tended:
        """The one thing that is to be done about a certificate now."""
        plan = certificate.renewal
        if plan is None or certificate.status(now) in (CertificateStatus.REVOKED, CertificateStatus.REPLACED):
            return Tended(certificate)
        if plan.order_id is not None:
            return self._followed(certificate, plan, self._store.order(certificate.tenant, plan.order_id), now)
        if certificate.not_after <= now:
            return Tended(replace(certificate, renewal=None))
        try:
            if plan.at <= now:
                return self._opened(certificate, now)
            self._succession.check(certificate)
        except CertwrightError as error:
            return self._hindered(certificate, plan, error, now)
        return self._asked(certificate, plan) if plan.check_at and plan.check_at <= now else Tended(certificate)

    def _hindered(self, certificate: Certificate, plan: Renewal, error: CertwrightError, now: datetime) -> Tended:
        """The certificate that could not be renewed for reasons on our own side."""
        if isinstance(error, NoAccount) and error.lasting:
            abandoned = RenewalAbandoned(subject_id=certificate.id, reason=error.message)
            return Tended(replace(certificate, renewal=None), (abandoned,))
        logger.error("certificate %s cannot be renewed now: %s", certificate.id, error.message)
        return self._failed(certificate, plan, error.message, now)

    # The CA's window

    def _asked(self, certificate: Certificate, plan: Renewal) -> Tended:
        """Ask for the window (RFC 9773 §4.3). Whatever the CA answers, or does not, there is a plan."""
        from certwright.ca.problems import CaError

        cert_id = _cert_id(certificate)
        try:
            info = self._authorities.ca(certificate.acme_server).renewal_info(cert_id) if cert_id else None
        except CaError as error:
            logger.info("%s gave no window to renew %s in: %s", certificate.acme_server, certificate.id, error)
            return Tended(replace(certificate, renewal=renewal.after_silence(plan, self._clock(), error.retry_after)))
        if info is None:
            return Tended(replace(certificate, renewal=replace(plan, check_at=None)))
        after = renewal.by_window(plan, Span.of(certificate), info, self._clock(), self._random)
        if (after.at, after.explanation_url) == (plan.at, plan.explanation_url):
            return Tended(replace(certificate, renewal=after))
        scheduled = RenewalScheduled(
            subject_id=certificate.id,
            at=after.at.isoformat(),
            source=after.source,
            explanation_url=after.explanation_url,
        )
        return Tended(replace(certificate, renewal=after), (scheduled,))

    def _offers_windows(self, acme_server: str) -> bool:
        from certwright.ca.problems import CaError

        try:
            return self._authorities.ca(acme_server).directory().renewal_info is not None
        except CaError:
            return True  # The first look will tell.

    # The order that renews

    def _opened(self, certificate: Certificate, now: datetime) -> Tended:
        """An order is made. Raises NoAccount, and what a sealer raises."""
        order = self._succession.order(certificate, now)
        plan = certificate.renewal or Renewal(at=now, source="lifetime")
        opened = renewal.opened(plan, Span.of(certificate), order.id, now)
        started = RenewalStarted(subject_id=certificate.id, order_id=order.id)
        about = {"subject_id": order.id, "account_id": order.account_id}
        created = OrderCreated(**about, domains=order.domains, profile=order.profile)
        return Tended(replace(certificate, renewal=opened), (started, created), order)

    def _followed(self, certificate: Certificate, plan: Renewal, order: Order, now: datetime) -> Tended:
        """The order is looked at while it is open: its user is told, once, where it waits for him."""
        if order.status.is_final:
            return self._settled(certificate, order, now)
        if plan.check_at is None or plan.check_at > now:
            return Tended(certificate)
        if not awaits_user(order):
            later = now + max(renewal.notice(Span.of(certificate)), (now - order.created_at) / 2)
            return Tended(replace(certificate, renewal=replace(plan, check_at=later)))
        needed = RenewalNeedsAttention(
            subject_id=certificate.id,
            order_id=order.id,
            names=certificate.names,
            not_after=certificate.not_after.isoformat(),
        )
        return Tended(replace(certificate, renewal=replace(plan, check_at=None)), (needed,))

    def _settled(self, certificate: Certificate, order: Order, now: datetime) -> Tended:
        """The order that was to renew it has ended."""
        plan = certificate.renewal
        if order.certificate_id is not None:
            replaced = CertificateReplaced(subject_id=certificate.id, replaced_by=order.certificate_id)
            return Tended(replace(certificate, replaced_by=order.certificate_id, renewal=None), (replaced,))
        if plan is None or plan.order_id != order.id:
            return Tended(certificate)
        if certificate.not_after <= now or certificate.revoked_at is not None:
            return Tended(replace(certificate, renewal=None))
        problem = (order.error.detail or order.error.type) if order.error else "the order ended without a certificate"
        return self._failed(certificate, plan, problem, now)

    def _failed(self, certificate: Certificate, plan: Renewal, problem: str, now: datetime) -> Tended:
        after = renewal.after_failure(plan, Span.of(certificate), now, self._random)
        failed = RenewalFailed(
            subject_id=certificate.id,
            problem=problem,
            order_id=plan.order_id,
            next_attempt=after.at.isoformat(),
        )
        return Tended(replace(certificate, renewal=after), (failed,))


def _cert_id(certificate: Certificate) -> str | None:
    """ARI's id of a certificate; None for one that does not say whose it is."""
    from certwright import keys

    issued_by = keys.issued_by(certificate.chain)
    return None if issued_by is None else renewal.cert_id(*issued_by)


def _scheduled(certificate: Certificate) -> Certificate:
    return replace(certificate, due=renewal.next_look(certificate))


def _warned(certificate: Certificate, now: datetime) -> Tended:
    """Thresholds of remaining life that were passed are told of: by one event, where several were passed at once."""
    in_use = certificate.revoked_at is None and certificate.replaced_by is None
    passed = sum(moment <= now for moment in Span.of(certificate).warnings())
    if not in_use or passed <= certificate.warned:
        return Tended(certificate)
    id, names, not_after = certificate.id, certificate.names, certificate.not_after.isoformat()
    remaining = int((certificate.not_after - now).total_seconds())
    event = (
        CertificateExpiring(subject_id=id, names=names, remaining=remaining, not_after=not_after)
        if certificate.not_after > now
        else CertificateExpired(subject_id=id, names=names, not_after=not_after)
    )
    return Tended(replace(certificate, warned=passed), (event,))
