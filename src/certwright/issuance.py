"""How an order moves: `advance` takes the next ACME step and says what came of it (RFC 8555 §7.4).

    new ──newOrder──▶ pending ──all authorizations valid──▶ ready ──finalize──▶ processing ──download──▶ valid
      ╰──────────────────┴──────────────── refused, failed, expired ───────────────┴────────────────▶ invalid

Every step may be taken again: what must survive it was stored before it, and whatever is uncertain is fetched from the
CA before anything new is made. Nothing here reads a clock, sleeps or writes; the CA client is the only way out.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from certwright import keys
from certwright.ca.client import Client
from certwright.ca.problems import CaError, CaProblem
from certwright.ca.resources import OrderResource
from certwright.events import CertificateIssued, OrderFinalized, OrderFulfilled, OrderPlaced
from certwright.identifiers import identifier_type
from certwright.model import Authorization, Certificate, Order, OrderStatus, Problem
from certwright.outcome import Step, about, expiry, fail, known
from certwright.validation import fetch_order, validate

_MAX_ALTERNATES = 3


def advance(
    order: Order,
    client: Client,
    now: datetime,
    *,
    new_id: Callable[[], str],
    resumed: bool = False,
    replaces: str | None = None,
) -> Step:
    """Take the next step of an order. `resumed`: a step may have been taken whose outcome is not known. `replaces` is
    the CA's name for the certificate that a new order renews, where the CA is to be told.

    Raises ca.problems.CaError, for `outcome.refused` to judge, and keys.MismatchedCertificate.
    """
    if order.status is OrderStatus.NEW:
        return _place(order, client, now, replaces)
    if order.status is OrderStatus.PENDING:
        return validate(order, client, now)
    if order.status is OrderStatus.READY and not (resumed or order.delay):
        return _finalize(order, client, now, new_id)
    if order.status in (OrderStatus.READY, OrderStatus.PROCESSING):
        return _follow(order, fetch_order(order, client), client, now, new_id)
    return Step(replace(order, due=None))


# new → pending


def _place(order: Order, client: Client, now: datetime, replaces: str | None) -> Step:
    """newOrder (RFC 8555 §7.4), then each authorization; what cannot be fetched now is fetched by the next step."""
    resource = _new_order(order, client, replaces)
    placed = replace(
        order,
        status=OrderStatus.PENDING,
        url=resource.url,
        finalize_url=resource.finalize,
        expires=resource.expires,
        authorizations=tuple(Authorization(url=url, fetched=False) for url in resource.authorizations),
        delay=None,
        due=now,
        updated_at=now,
    )
    step = validate(placed, client, now)
    return replace(step, events=(OrderPlaced(**about(order), url=known(resource.url)), *step.events))


def _new_order(order: Order, client: Client, replaces: str | None) -> OrderResource:
    """`replaces` is a help to the CA (RFC 9773 §5). It is refused where the CA knows of a successor (alreadyReplaced),
    which may be an order of ours whose answer was lost, and for other reasons: no renewal is to fail for that."""
    identifiers = [(identifier_type(name), name) for name in order.domains]
    profile = _profile(order, client)
    if replaces is not None:
        try:
            return client.new_order(identifiers, profile=profile, replaces=replaces)
        except CaProblem as error:
            if error.is_transient:
                raise
    return client.new_order(identifiers, profile=profile)


def _profile(order: Order, client: Client) -> str | None:
    """It was chosen for the first CA; the next ones are asked for it where they have one of that name."""
    if order.profile is None or not order.attempts:
        return order.profile
    return order.profile if client.offers(order.profile) else None


# ready → processing → valid


def _finalize(order: Order, client: Client, now: datetime, new_id: Callable[[], str]) -> Step:
    """finalize (RFC 8555 §7.4). On orderNotReady the CA is elsewhere than we thought: fetch the order and go on."""
    try:
        resource = client.finalize(known(order.finalize_url), keys.csr_der(order.csr), order_url=known(order.url))
    except CaProblem as error:
        if error.code != "orderNotReady":
            raise
        resource = fetch_order(order, client)
    if resource.status == "ready":
        return _wait(order, resource, now)
    return _follow(order, resource, client, now, new_id)


def _follow(order: Order, resource: OrderResource, client: Client, now: datetime, new_id: Callable[[], str]) -> Step:
    """Go where the CA's order object is."""
    current = replace(order, delay=None)
    if resource.status == "valid" and resource.certificate:
        return _collect(replace(current, certificate_url=resource.certificate), client, now, new_id)
    if resource.status == "ready":
        return _finalize(current, client, now, new_id)
    if resource.status == "invalid":
        unexplained = Problem({"type": "about:blank", "detail": "the CA made the order invalid and gave no reason"})
        return fail(order, resource.error or unexplained, now)
    if resource.status == "pending":
        return _fall_back(current, resource, client, now)
    if order.status is OrderStatus.PROCESSING:
        return _wait(current, resource, now)
    step = _wait(replace(current, status=OrderStatus.PROCESSING, updated_at=now), resource, now)
    return replace(step, events=(OrderFinalized(**about(order)), *step.events))


def _fall_back(order: Order, resource: OrderResource, client: Client, now: datetime) -> Step:
    """The CA calls an order pending that was ready: a name may have lost its authorization, or the CA lags behind."""
    unknown = tuple(replace(a, fetched=False) for a in order.authorizations)
    step = validate(replace(order, status=OrderStatus.PENDING, authorizations=unknown), client, now)
    return _wait(order, resource, now) if step.order.status is OrderStatus.READY else step


def _wait(order: Order, resource: OrderResource, now: datetime) -> Step:
    """The CA is at work on the order, for as long as the order lives."""
    if order.expires is not None and order.expires <= now:
        return fail(order, resource.error or expiry(order), now)
    return Step(replace(order, delay=None, due=resource.retry_after), polls=True)


def _collect(order: Order, client: Client, now: datetime, new_id: Callable[[], str]) -> Step:
    """Download the chain (RFC 8555 §7.4.2) and make sure that it is what was asked for."""
    resource = client.download_certificate(known(order.certificate_url))
    leaf = keys.check_leaf(resource.chain_pem, order.csr, order.domains)
    alternates = _alternates(order, resource.alternates[:_MAX_ALTERNATES], client)
    chain, *others = keys.prefer_chain([resource.chain_pem, *alternates], order.preferred_chain)
    certificate = Certificate(
        id=new_id(),
        tenant=order.tenant,
        order_id=order.id,
        account_id=order.account_id,
        names=leaf.names,
        serial=leaf.serial,
        issuer=leaf.issuer,
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        fingerprint_sha256=leaf.fingerprint_sha256,
        chain=chain,
        alternate_chains=tuple(others),
        sealed_key=order.sealed_key,
        acme_server=order.acme_server,
        replaces=order.replaces,
    )
    issued = CertificateIssued(
        subject_id=certificate.id,
        order_id=order.id,
        names=leaf.names,
        serial=leaf.serial,
        not_after=leaf.not_after.isoformat(),
    )
    fulfilled = replace(
        order, status=OrderStatus.VALID, certificate_id=certificate.id, sealed_key=None, due=None, updated_at=now
    )
    return Step(fulfilled, (issued, OrderFulfilled(**about(order), certificate_id=certificate.id)), certificate)


def _alternates(order: Order, urls: Iterable[str], client: Client) -> Iterable[str]:
    """Other chains for the same leaf. One that cannot be had does not hold up the certificate that was asked for."""
    for url in urls:
        with suppress(CaError, keys.MismatchedCertificate):
            chain = client.download_certificate(url).chain_pem
            keys.check_leaf(chain, order.csr, order.domains)
            yield chain
