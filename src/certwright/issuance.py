"""How an order moves: `advance` takes the next ACME step and says what came of it (RFC 8555 §7.4).

    new ──newOrder──▶ pending ──all authorizations valid──▶ ready ──finalize──▶ processing ──download──▶ valid
      ╰──────────────────┴──────────────── refused, failed, expired ───────────────┴────────────────▶ invalid

Every step may be taken again: what must survive it was stored before it, and whatever is uncertain is fetched from the
CA before anything new is made. Nothing here reads a clock, sleeps or writes; the CA client is the only way out.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from certwright import keys
from certwright.ca.client import Client
from certwright.ca.problems import CaError, CaProblem
from certwright.ca.resources import AuthorizationResource, ChallengeResource, OrderResource
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

    `order.due` is when the next step is to be taken. With `polls` the CA is at work: where it named no time, `due` is
    None, and whoever runs the steps looks again when it thinks best. None without `polls`: it is the user's turn or
    nobody's. `interrupted` is the CA's error that ended the step early, for `refused` to judge.
    """

    order: Order
    events: tuple[Event, ...] = ()
    certificate: Certificate | None = None
    polls: bool = False
    interrupted: CaError | None = None


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
        return _follow(order, _fetch(order, client), client, now, new_id)
    return Step(replace(order, due=None))


def refused(order: Order, error: CaError, now: datetime, jitter: float) -> Step:
    """What an error of the CA makes of an order: a delay where it may pass, else the end.

    `jitter` (0…1) spreads retries: each waits between half of and the whole backoff. A Retry-After is honoured.
    """
    if not error.is_transient:
        return fail(order, _with_terms(error), now)
    attempts = order.delay.attempts + 1 if order.delay else 1
    until = max(now + backoff(attempts, jitter), error.retry_after or now)
    delayed = replace(order, delay=Delay(error.problem, until, attempts), due=until, updated_at=now)
    told = error.problem.detail or error.problem.type
    return Step(delayed, (OrderDelayed(**_about(order), problem=told, until=until.isoformat()),))


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
    attempts = order.delay.attempts + 1 if order.delay else 1
    delayed = replace(order, delay=Delay(problem, until, attempts), due=until, updated_at=now)
    return Step(delayed, (OrderDelayed(**_about(order), problem=error.message, until=until.isoformat()),))


def fail(order: Order, problem: Problem, now: datetime) -> Step:
    """The end of an order without a certificate; `problem` says why."""
    ended = replace(order, status=OrderStatus.INVALID, error=problem, delay=None, due=None, updated_at=now)
    return Step(ended, (OrderFailed(**_about(order), problem=problem.detail or problem.type),))


def unsent(order: Order) -> bool:
    """Whether users gave responses that the CA was not told of."""
    return any(c.responded and not c.sent for _, c in order.challenges)


def adopt_sent(fresh: Order, known: Order) -> Order:
    """`fresh`, read from the store, with what only `known` knows: which responses the CA was told of."""
    sent = {c.id for _, c in known.challenges if c.sent}
    return _with_challenges(fresh, lambda c: replace(c, sent=True) if c.id in sent and c.responded else c)


def adopt_responses(step: Order, fresh: Order) -> Order:
    """`step`, made of an older version of `fresh`, with the responses that users gave meanwhile."""
    responded = {c.id for _, c in fresh.challenges if c.responded}

    def adopt(challenge: Challenge) -> Challenge:
        if challenge.id in responded and not challenge.responded and challenge.status is ChallengeStatus.PENDING:
            return replace(challenge, responded=True, status=ChallengeStatus.PROCESSING)
        return challenge

    due = None if step.status.is_final else fresh.due
    return replace(_with_challenges(step, adopt), version=fresh.version, due=due)


def only_responded(before: Order, fresh: Order) -> bool:
    """Whether `fresh` differs from `before`, of which it is a later version, by users' responses alone."""
    expected = adopt_responses(before, fresh)
    return (expected.authorizations, expected.delay) == (adopt_sent(fresh, before).authorizations, fresh.delay)


def _with_challenges(order: Order, change: Callable[[Challenge], Challenge]) -> Order:
    authorizations = tuple(replace(a, challenges=tuple(map(change, a.challenges))) for a in order.authorizations)
    return replace(order, authorizations=authorizations)


# new → pending


def _place(order: Order, client: Client, now: datetime) -> Step:
    """newOrder (RFC 8555 §7.4), then each authorization; what cannot be fetched now is fetched by the next step."""
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
    step = _validate(placed, client, now)
    return replace(step, events=(OrderPlaced(**_about(order), url=_known(resource.url)), *step.events))


# pending → ready


def refresh(order: Order, client: Client, now: datetime) -> Step:
    """A pending order with every authorization that is not decided fetched anew. Raises CaError."""
    stale = tuple(
        replace(a, fetched=False) if a.status is AuthorizationStatus.PENDING else a for a in order.authorizations
    )
    step = _validate(replace(order, authorizations=stale), client, now)
    if step.interrupted:
        raise step.interrupted
    # Whoever works on the order keeps its time; without a worker on it, it is due when it was.
    due = now if step.order.status is OrderStatus.READY else order.due
    return replace(step, order=replace(step.order, due=None if step.order.status.is_final else due))


def _validate(order: Order, client: Client, now: datetime) -> Step:
    """Bring the authorizations up to date. Responses go to the CA first, by steps that do not look at the others: so
    that many responses, each with a step of its own, are not as many looks at every name.
    """
    if order.expires is not None and order.expires <= now:
        return _expired(order, client, now)
    ids, looks = (f"{order.id}-{n}" for n in range(len(order.challenges), 10_000)), not unsent(order)
    current, named = list(order.authorizations), set[datetime | None]()
    interrupted: CaError | None = None
    for place, authorization in enumerate(order.authorizations):
        try:
            current[place], retry_after = _attend(authorization, client, ids, looks=looks)
            named.add(retry_after)
        except CaError as error:
            interrupted = error
            break
    step = _judge(order, tuple(current), now)
    if interrupted and step.order.status is OrderStatus.PENDING:
        return Step(replace(step.order, delay=order.delay), step.events, interrupted=interrupted)
    if step.polls:
        return replace(step, order=replace(step.order, due=max(filter(None, named), default=None)))
    return step


def _judge(order: Order, current: tuple[Authorization, ...], now: datetime) -> Step:
    """What its authorizations make of an order (RFC 8555 §7.1.6)."""
    events = tuple(_changes(order, current))
    moved = replace(
        order,
        authorizations=current,
        fetched_at=now,
        delay=None,
        updated_at=now if events or order.delay else order.updated_at,
    )
    if failed := [a for a in current if _has_failed(a)]:
        step = fail(moved, failure(failed), now)
        return replace(step, events=(*events, *step.events))
    if all(a.status is AuthorizationStatus.VALID for a in current):
        ready = replace(moved, status=OrderStatus.READY, due=now, updated_at=now)
        return Step(ready, (*events, OrderReady(**_about(order))))
    if any(_asked(a) for a in current):
        return Step(replace(moved, due=None), events, polls=True)
    return Step(replace(moved, due=order.expires), events)


def _asked(authorization: Authorization) -> list[Challenge]:
    """The challenges of an undecided authorization that users responded to."""
    undecided = authorization.status is AuthorizationStatus.PENDING
    return [c for c in authorization.challenges if c.responded and undecided]


def _has_failed(authorization: Authorization) -> bool:
    """A failed challenge decides, even where the CA leaves the authorization pending: it takes no second response."""
    if authorization.status is AuthorizationStatus.PENDING:
        return any(c.status is ChallengeStatus.INVALID for c in _asked(authorization))
    return authorization.status is not AuthorizationStatus.VALID


def _attend(
    authorization: Authorization, client: Client, ids: Iterable[str], *, looks: bool
) -> tuple[Authorization, datetime | None]:
    """The authorization after what there is to do about it, and when the CA wants to be asked again."""
    asked = _asked(authorization)
    if authorization.fetched and not all(c.sent for c in asked):
        for challenge in asked:
            _respond(authorization, challenge, client)
        sent = tuple(replace(c, sent=True) if c in asked else c for c in authorization.challenges)
        return replace(authorization, challenges=sent), None
    if authorization.fetched and not (asked and looks):
        return authorization, None
    resource = client.fetch_authorization(authorization.url)
    known = refreshed(authorization, resource) if authorization.challenges else _first_seen(resource, ids)
    return known, resource.retry_after if asked else None


def _respond(authorization: Authorization, challenge: Challenge, client: Client) -> None:
    """Tell the CA (RFC 8555 §7.5.1). It may refuse as it was told before, by a step whose end was lost."""
    try:
        client.respond_challenge(challenge.url)
    except CaProblem as error:
        if error.is_transient:
            raise
        seen = client.fetch_authorization(authorization.url)
        if seen.status == "pending" and all(c.status == "pending" for c in seen.challenges if c.url == challenge.url):
            raise


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
    resource = _fetch(order, client)
    if resource.status in ("ready", "processing", "valid"):
        ready = replace(order, status=OrderStatus.READY, delay=None, due=now, updated_at=now)
        return Step(ready, (OrderReady(**_about(order)),))
    return fail(order, resource.error or _expiry(order), now)


def _expiry(order: Order) -> Problem:
    detail = f"the order expired on {order.expires:%Y-%m-%d at %H:%M:%S} UTC before its certificate was issued"
    return Problem({"type": "urn:certwright:orderExpired", "detail": detail})


# ready → processing → valid


def _fetch(order: Order, client: Client) -> OrderResource:
    """The CA's order object. Raises CaProblem where the CA knows it no more, whatever it answers."""
    url = _known(order.url)
    try:
        return client.fetch_order(url)
    except CaError as error:
        if error.problem.status != 404 and getattr(error, "status", None) != 404:
            raise
        detail = f"the CA does not know the order {url} any more: {error.problem.detail or 'HTTP 404'}"
        raise CaProblem(Problem({**error.problem.document, "detail": detail}), status=404) from error


def _finalize(order: Order, client: Client, now: datetime, new_id: Callable[[], str]) -> Step:
    """finalize (RFC 8555 §7.4). On orderNotReady the CA is elsewhere than we thought: fetch the order and go on."""
    try:
        resource = client.finalize(_known(order.finalize_url), keys.csr_der(order.csr), order_url=_known(order.url))
    except CaProblem as error:
        if error.code != "orderNotReady":
            raise
        resource = _fetch(order, client)
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
    return replace(step, events=(OrderFinalized(**_about(order)), *step.events))


def _fall_back(order: Order, resource: OrderResource, client: Client, now: datetime) -> Step:
    """The CA calls an order pending that was ready: a name may have lost its authorization, or the CA lags behind."""
    unknown = tuple(replace(a, fetched=False) for a in order.authorizations)
    step = _validate(replace(order, status=OrderStatus.PENDING, authorizations=unknown), client, now)
    return _wait(order, resource, now) if step.order.status is OrderStatus.READY else step


def _wait(order: Order, resource: OrderResource, now: datetime) -> Step:
    """The CA is at work on the order, for as long as the order lives."""
    if order.expires is not None and order.expires <= now:
        return fail(order, resource.error or _expiry(order), now)
    return Step(replace(order, delay=None, due=resource.retry_after), polls=True)


def _collect(order: Order, client: Client, now: datetime, new_id: Callable[[], str]) -> Step:
    """Download the chain (RFC 8555 §7.4.2) and make sure that it is what was asked for."""
    resource = client.download_certificate(_known(order.certificate_url))
    leaf = keys.check_leaf(resource.chain_pem, order.csr, order.domains)
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
        alternate_chains=tuple(_alternates(order, resource.alternates[:_MAX_ALTERNATES], client)),
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


def _alternates(order: Order, urls: Iterable[str], client: Client) -> Iterable[str]:
    """Other chains for the same leaf. One that cannot be had does not hold up the certificate that was asked for."""
    for url in urls:
        with suppress(CaError, keys.MismatchedCertificate):
            chain = client.download_certificate(url).chain_pem
            keys.check_leaf(chain, order.csr, order.domains)
            yield chain


def _about(order: Order) -> dict[str, str]:
    return {"subject_id": order.id, "account_id": order.account_id}


def _known(url: str | None) -> str:
    if url is None:
        raise ValueError("an order past 'new' has its URLs")
    return url
