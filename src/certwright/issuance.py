"""How an order moves: `advance` takes the next ACME step and says what came of it (RFC 8555 §7.4).

    new ──newOrder──▶ pending ──all authorizations valid──▶ ready ──finalize──▶ processing ──download──▶ valid
      ╰──────────────────┴──────────────── refused, failed, expired ───────────────┴────────────────▶ invalid

Every step may be taken again: what must survive it was stored before it, and whatever is uncertain is fetched from the
CA before anything new is made. Nothing here reads a clock, sleeps or writes; the CA client is the only way out.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from certwright import keys
from certwright.ca.client import AuthorizationResource, ChallengeResource, Client, OrderResource
from certwright.ca.problems import CaError, CaProblem
from certwright.errors import CertwrightError
from certwright.events import (
    CertificateIssued,
    ChallengeFailed,
    ChallengeValidated,
    Event,
    OrderDelayed,
    OrderFailed,
    OrderFinalized,
    OrderFulfilled,
    OrderPlaced,
    OrderReady,
)
from certwright.model import (
    Authorization,
    AuthorizationStatus,
    Certificate,
    Challenge,
    ChallengeStatus,
    Delay,
    Order,
    OrderStatus,
    Problem,
)

_MAX_ALTERNATES = 3
_FIRST_RETRY = timedelta(seconds=1)
_LAST_RETRY = timedelta(hours=1)


@dataclass(frozen=True)
class Step:
    """What one step made of an order, and what comes next.

    `order.due` is when the next step is to be taken: None where it is the user's turn or nobody's. With `polls` the CA
    is at work and named no time: whoever runs the steps looks again when it thinks best.
    """

    order: Order
    events: tuple[Event, ...] = ()
    certificate: Certificate | None = None
    polls: bool = False


def advance(order: Order, client: Client, now: datetime, *, new_id: Callable[[], str], resumed: bool = False) -> Step:
    """Take the next step of an order. `resumed`: a step may have been taken whose outcome is not known.

    Raises ca.problems.CaError, for `refused` to judge, and keys.MismatchedCertificate.
    """
    if order.status is OrderStatus.NEW:
        return _place(order, client, now)
    if order.status is OrderStatus.PENDING:
        return _validate(order, client, now)
    if order.status is OrderStatus.READY and not (resumed or order.delay):
        return _finalize(order, client, now, new_id)
    if order.status in (OrderStatus.READY, OrderStatus.PROCESSING):
        return _follow(order, client.fetch_order(_known(order.url)), client, now, new_id)
    return Step(replace(order, due=None))


def refused(order: Order, error: CaError, now: datetime, jitter: float) -> Step:
    """What an error of the CA makes of an order: a delay where it may pass, else the end.

    `jitter` (0…1) spreads retries: each waits between half of and the whole backoff. A Retry-After is honoured.
    """
    if not error.is_transient:
        return fail(order, error.problem, now)
    attempts = order.delay.attempts + 1 if order.delay else 1
    until = max(now + backoff(attempts, jitter), error.retry_after or now)
    delayed = replace(order, delay=Delay(error.problem, until, attempts), due=until, updated_at=now)
    told = error.problem.detail or error.problem.type
    return Step(delayed, (OrderDelayed(**_about(order), problem=told, until=until.isoformat()),))


def backoff(attempts: int, jitter: float) -> timedelta:
    """How long to wait after a number of vain attempts: 1 s, doubling up to 1 h, less up to a half by `jitter`."""
    full: timedelta = min(_FIRST_RETRY * 2 ** min(attempts - 1, 20), _LAST_RETRY)
    return full * (0.5 + jitter / 2)


def hindered(order: Order, error: CertwrightError, until: datetime, now: datetime) -> Step:
    """What a fault on our own side makes of an order: it waits, and the reason can be read."""
    problem = Problem({"type": f"urn:certwright:{error.code}", "detail": error.message})
    attempts = order.delay.attempts + 1 if order.delay else 1
    delayed = replace(order, delay=Delay(problem, until, attempts), due=until, updated_at=now)
    return Step(delayed, (OrderDelayed(**_about(order), problem=error.message, until=until.isoformat()),))


def fail(order: Order, problem: Problem, now: datetime) -> Step:
    """The end of an order without a certificate; `problem` says why."""
    ended = replace(order, status=OrderStatus.INVALID, error=problem, delay=None, due=None, updated_at=now)
    return Step(ended, (OrderFailed(**_about(order), problem=problem.detail or problem.type),))


def adopt_responses(step: Order, fresh: Order) -> Order:
    """`step`, made of an older version of `fresh`, with the responses that users gave meanwhile."""
    responded = {c.id for _, c in fresh.challenges if c.responded}

    def adopt(challenge: Challenge) -> Challenge:
        if challenge.id in responded and not challenge.responded and challenge.status is ChallengeStatus.PENDING:
            return replace(challenge, responded=True, status=ChallengeStatus.PROCESSING)
        return challenge

    authorizations = tuple(replace(a, challenges=tuple(map(adopt, a.challenges))) for a in step.authorizations)
    return replace(step, authorizations=authorizations, version=fresh.version, due=fresh.due)


# new → pending


def _place(order: Order, client: Client, now: datetime) -> Step:
    """newOrder (RFC 8555 §7.4), then each authorization; what cannot be fetched now is fetched in the next step."""
    resource = client.new_order([("dns", name) for name in order.domains], profile=order.profile)
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
    event = OrderPlaced(**_about(order), url=_known(resource.url))
    try:
        step = _validate(placed, client, now)
    except CaError:
        return Step(placed, (event,))
    return replace(step, events=(event, *step.events))


# pending → ready


def refresh(order: Order, client: Client, now: datetime) -> Step:
    """A pending order with every authorization that is not decided fetched anew. Raises CaError."""
    stale = tuple(
        replace(a, fetched=False) if a.status is AuthorizationStatus.PENDING else a for a in order.authorizations
    )
    step = _validate(replace(order, authorizations=stale), client, now)
    # Whoever works on the order keeps its time; without a worker on it, it is due when it was.
    due = now if step.order.status is OrderStatus.READY else order.due
    return replace(step, order=replace(step.order, due=None if step.order.status.is_final else due))


def _validate(order: Order, client: Client, now: datetime) -> Step:
    """Bring every authorization up to date: fetch the unknown, tell the CA of responses, poll what it validates."""
    if order.expires is not None and order.expires <= now:
        return _expired(order, client, now)
    ids = (f"{order.id}-{n}" for n in range(len(order.challenges), 10_000))
    attended = [_attend(a, client, ids) for a in order.authorizations]
    current = tuple(authorization for authorization, _ in attended)
    events = tuple(_changes(order, current))
    moved = replace(
        order,
        authorizations=current,
        fetched_at=now,
        delay=None,
        updated_at=now if events else order.updated_at,
    )
    failed = [a for a in current if a.status not in (AuthorizationStatus.PENDING, AuthorizationStatus.VALID)]
    if failed:
        step = fail(moved, failure(failed), now)
        return replace(step, events=(*events, *step.events))
    if all(a.status is AuthorizationStatus.VALID for a in current):
        ready = replace(moved, status=OrderStatus.READY, due=now, updated_at=now)
        return Step(ready, (*events, OrderReady(**_about(order))))
    asked = any(c.responded for a in current if a.status is AuthorizationStatus.PENDING for c in a.challenges)
    if not asked:
        return Step(replace(moved, due=order.expires), events)
    named = max((retry_after for _, retry_after in attended if retry_after), default=None)
    return Step(replace(moved, due=named), events, polls=named is None)


def _attend(authorization: Authorization, client: Client, ids: Iterable[str]) -> tuple[Authorization, datetime | None]:
    """The authorization after what there is to do about it, and when the CA wants to be asked again."""
    asked = [c for c in authorization.challenges if c.responded]
    if authorization.fetched and (authorization.status is not AuthorizationStatus.PENDING or not asked):
        return authorization, None
    if authorization.fetched and not all(c.sent for c in asked):
        challenges = tuple(_respond(c, client) if c.responded and not c.sent else c for c in authorization.challenges)
        return replace(authorization, challenges=challenges), None
    resource = client.fetch_authorization(authorization.url)
    known = refreshed(authorization, resource) if authorization.challenges else _first_seen(resource, ids)
    return known, resource.retry_after if asked else None


def _respond(challenge: Challenge, client: Client) -> Challenge:
    """Tell the CA (RFC 8555 §7.5.1). One that was told before, by a step whose end was lost, may refuse: it knows."""
    try:
        client.respond_challenge(challenge.url)
    except CaProblem as error:
        if error.is_transient:
            raise
    return replace(challenge, sent=True)


def _first_seen(resource: AuthorizationResource, ids: Iterable[str]) -> Authorization:
    ids = iter(ids)
    return Authorization(
        url=resource.url,
        identifier=resource.identifier,
        wildcard=resource.wildcard,
        status=_authorization_status(resource.status),
        expires=resource.expires,
        challenges=tuple(_challenge(next(ids), c) for c in resource.challenges),
    )


def refreshed(authorization: Authorization, resource: AuthorizationResource) -> Authorization:
    """The authorization as the CA has it now; ids of challenges and what users said of them are kept."""
    seen = {c.url: c for c in resource.challenges}
    return replace(
        authorization,
        status=_authorization_status(resource.status),
        expires=resource.expires,
        fetched=True,
        challenges=tuple(_update(c, seen[c.url]) if c.url in seen else c for c in authorization.challenges),
    )


def _challenge(id: str, resource: ChallengeResource) -> Challenge:
    return _update(Challenge(id, resource.type, resource.url, ChallengeStatus.PENDING, resource.token), resource)


def _update(challenge: Challenge, resource: ChallengeResource) -> Challenge:
    status = ChallengeStatus(resource.status) if resource.status in list(ChallengeStatus) else challenge.status
    if challenge.responded and status is ChallengeStatus.PENDING:
        status = ChallengeStatus.PROCESSING  # The CA has not looked yet; the user has answered all the same.
    return replace(challenge, status=status, error=resource.error, validated_at=resource.validated)


def _authorization_status(wire: str) -> AuthorizationStatus:
    return AuthorizationStatus(wire) if wire in list(AuthorizationStatus) else AuthorizationStatus.PENDING


def _changes(order: Order, current: tuple[Authorization, ...]) -> Iterable[Event]:
    """An event for each challenge that became valid or invalid."""
    before = {c.id: c.status for _, c in order.challenges}
    for authorization in current:
        for challenge in authorization.challenges:
            if before.get(challenge.id) == challenge.status:
                continue
            about = _about(order) | {
                "challenge_id": challenge.id,
                "identifier": authorization.identifier,
                "challenge_type": challenge.type,
            }
            if challenge.status is ChallengeStatus.VALID:
                yield ChallengeValidated(**about)
            elif challenge.status is ChallengeStatus.INVALID:
                problem = challenge.error or _unexplained
                yield ChallengeFailed(**about, problem=problem.detail or problem.type)


_unexplained = Problem({"type": "about:blank", "detail": "the CA gave no reason"})


def failure(failed: list[Authorization]) -> Problem:
    """One problem for failed authorizations; several become a compound one with subproblems (RFC 8555 §6.7.1)."""
    found = [_reason(authorization) for authorization in failed]
    if len(found) == 1:
        document = dict(found[0])
        identifier = document.pop("identifier")
        return Problem({**document, "detail": f"{identifier['value']}: {document['detail']}", "subproblems": found})
    detail = f"{len(found)} of the order's names could not be validated"
    return Problem({"type": "urn:ietf:params:acme:error:compound", "detail": detail, "subproblems": found})


def _reason(authorization: Authorization) -> dict[str, Any]:
    problem = next((c.error for c in authorization.challenges if c.error), None)
    name = f"*.{authorization.identifier}" if authorization.wildcard else authorization.identifier
    document = dict(problem.document) if problem else {"type": "about:blank"}
    document.setdefault("detail", f"the authorization is {authorization.status}; the CA gave no reason")
    return {**document, "identifier": {"type": "dns", "value": name}}


def _expired(order: Order, client: Client, now: datetime) -> Step:
    """Past its expiry an order is the CA's to judge; one that it still calls pending is at its end all the same."""
    resource = client.fetch_order(_known(order.url))
    if resource.status in ("ready", "processing", "valid"):
        return Step(replace(order, status=OrderStatus(resource.status), due=now, updated_at=now))
    detail = f"the order expired on {order.expires:%Y-%m-%d at %H:%M:%S} UTC before every name was validated"
    return fail(order, resource.error or Problem({"type": "urn:certwright:orderExpired", "detail": detail}), now)


# ready → processing → valid


def _finalize(order: Order, client: Client, now: datetime, new_id: Callable[[], str]) -> Step:
    """finalize (RFC 8555 §7.4). On orderNotReady the CA is elsewhere than we thought: fetch the order and go on."""
    url = _known(order.url)
    try:
        resource = client.finalize(_known(order.finalize_url), keys.csr_der(order.csr), order_url=url)
    except CaProblem as error:
        if error.code != "orderNotReady":
            raise
        resource = client.fetch_order(url)
    if resource.status == "ready":
        return Step(replace(order, due=None), polls=True)
    return _follow(order, resource, client, now, new_id)


def _follow(order: Order, resource: OrderResource, client: Client, now: datetime, new_id: Callable[[], str]) -> Step:
    """Go where the CA's order object is."""
    current = replace(order, delay=None, updated_at=now)
    if resource.status == "valid" and resource.certificate:
        return _collect(replace(current, certificate_url=resource.certificate), client, now, new_id)
    if resource.status == "ready":
        return _finalize(current, client, now, new_id)
    if resource.status == "invalid":
        unexplained = Problem({"type": "about:blank", "detail": "the CA made the order invalid and gave no reason"})
        return fail(order, resource.error or unexplained, now)
    if resource.status == "pending":
        unknown = tuple(replace(a, fetched=False) for a in order.authorizations)
        return Step(replace(current, status=OrderStatus.PENDING, authorizations=unknown, due=now))
    waits = replace(current, status=OrderStatus.PROCESSING, due=resource.retry_after)
    events = () if order.status is OrderStatus.PROCESSING else (OrderFinalized(**_about(order)),)
    return Step(waits if events else replace(waits, updated_at=order.updated_at), events, polls=waits.due is None)


def _collect(order: Order, client: Client, now: datetime, new_id: Callable[[], str]) -> Step:
    """Download the chain (RFC 8555 §7.4.2) and make sure that it is what was asked for."""
    resource = client.download_certificate(_known(order.certificate_url))
    leaf = keys.check_leaf(resource.chain_pem, order.csr, order.domains)
    alternates = [client.download_certificate(url).chain_pem for url in resource.alternates[:_MAX_ALTERNATES]]
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
        chain=resource.chain_pem,
        alternate_chains=tuple(alternates),
        sealed_key=order.sealed_key,
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
    return Step(fulfilled, (issued, OrderFulfilled(**_about(order), certificate_id=certificate.id)), certificate)


def _about(order: Order) -> dict[str, str]:
    return {"subject_id": order.id, "account_id": order.account_id}


def _known(url: str | None) -> str:
    if url is None:
        raise ValueError("an order past 'new' has its URLs")
    return url
