"""How every name of a pending order is proved (RFC 8555 §7.5): responses go out, authorizations are looked at.

Users give responses while steps are under way. So a step may be made of an order that is not the newest any more; what
of it still holds is worked out here.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from certwright.ca.client import Client
from certwright.ca.problems import CaError, CaProblem
from certwright.ca.resources import AuthorizationResource, ChallengeResource, OrderResource
from certwright.events import ChallengeFailed, ChallengeValidated, Event, OrderReady
from certwright.identifiers import identifier_type
from certwright.model import (
    Authorization,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
    Order,
    OrderStatus,
    Problem,
)
from certwright.outcome import Step, about, expiry, fail, known

_MOST_CHALLENGES = 1000


def refresh(order: Order, client: Client, now: datetime) -> Step:
    """A pending order with every authorization that is not decided fetched anew. Raises CaError."""
    stale = tuple(
        replace(a, fetched=False) if a.status is AuthorizationStatus.PENDING else a for a in order.authorizations
    )
    step = validate(replace(order, authorizations=stale), client, now)
    if step.interrupted:
        raise step.interrupted
    # Whoever works on the order keeps its time; without a worker on it, it is due when it was.
    due = now if step.order.status is OrderStatus.READY else order.due
    return replace(step, order=replace(step.order, due=None if step.order.status.is_final else due))


def validate(order: Order, client: Client, now: datetime) -> Step:
    """Bring the authorizations up to date. Responses go to the CA first, by steps that do not look at the others: so
    that many responses, each with a step of its own, are not as many looks at every name.
    """
    if order.expires is not None and order.expires <= now:
        return _expired(order, client, now)
    ids, looks = (f"{order.id}-{n}" for n in range(_first_number(order), 10_000)), not unsent(order)
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


def _first_number(order: Order) -> int:
    """Numbers of challenges are never used again, also not at the next CA that an order goes to."""
    return _MOST_CHALLENGES * len(order.attempts) + len(order.challenges)


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
        return Step(ready, (*events, OrderReady(**about(order))))
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
    seen = refreshed(authorization, resource) if authorization.challenges else _first_seen(resource, ids)
    return seen, resource.retry_after if asked else None


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
    seen = Challenge(id, resource.type, resource.url, ChallengeStatus.PENDING, resource.token, issuers=resource.issuers)
    return _update(seen, resource)


def _update(challenge: Challenge, resource: ChallengeResource) -> Challenge:
    status = ChallengeStatus(resource.status) if resource.status in list(ChallengeStatus) else challenge.status
    if challenge.responded and status is ChallengeStatus.PENDING:
        # The CA has not looked yet; the user has answered all the same. Or it has looked in vain: some CAs (Caddy's)
        # leave the challenge as it was then, with an error, and would look again for another response only.
        status = ChallengeStatus.INVALID if challenge.sent and resource.error else ChallengeStatus.PROCESSING
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
            told = about(order) | {
                "challenge_id": challenge.id,
                "identifier": authorization.identifier,
                "challenge_type": challenge.type,
            }
            if challenge.status is ChallengeStatus.VALID:
                yield ChallengeValidated(**told)
            elif challenge.status is ChallengeStatus.INVALID:
                problem = challenge.error or _unexplained
                yield ChallengeFailed(**told, problem=problem.detail or problem.type)


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
    return {**document, "identifier": {"type": identifier_type(authorization.identifier), "value": name}}


def _expired(order: Order, client: Client, now: datetime) -> Step:
    """Past its expiry an order is the CA's to judge; one that it still calls pending is at its end all the same."""
    resource = fetch_order(order, client)
    if resource.status in ("ready", "processing", "valid"):
        ready = replace(order, status=OrderStatus.READY, delay=None, due=now, updated_at=now)
        return Step(ready, (OrderReady(**about(order)),))
    return fail(order, resource.error or expiry(order), now)


def fetch_order(order: Order, client: Client) -> OrderResource:
    """The CA's order object. Raises CaProblem where the CA knows it no more, whatever it answers."""
    url = known(order.url)
    try:
        return client.fetch_order(url)
    except CaError as error:
        if error.problem.status != 404 and getattr(error, "status", None) != 404:
            raise
        detail = f"the CA does not know the order {url} any more: {error.problem.detail or 'HTTP 404'}"
        raise CaProblem(Problem({**error.problem.document, "detail": detail}), status=404) from error


# Several who change one order


def unsent(order: Order) -> bool:
    """Whether users gave responses that the CA was not told of."""
    return any(c.responded and not c.sent for _, c in order.challenges)


def adopt_sent(fresh: Order, held: Order) -> Order:
    """`fresh`, read from the store, with what only `held` knows: which responses the CA was told of."""
    sent = {c.id for _, c in held.challenges if c.sent}
    return _with_challenges(fresh, lambda c: replace(c, sent=True) if c.id in sent and c.responded else c)


def adopt_responses(step: Order, fresh: Order) -> Order:
    """`step`, made of an older version of `fresh`, with the responses that users gave meanwhile."""
    responded = {c.id for _, c in fresh.challenges if c.responded}

    def adopt(challenge: Challenge) -> Challenge:
        if challenge.id in responded and not challenge.responded and challenge.status is ChallengeStatus.PENDING:
            return replace(challenge, responded=True, status=ChallengeStatus.PROCESSING)
        return challenge

    due = step.due if step.status.is_final else fresh.due
    return replace(_with_challenges(step, adopt), version=fresh.version, due=due)


def only_responded(before: Order, fresh: Order) -> bool:
    """Whether `fresh` differs from `before`, of which it is a later version, by users' responses alone."""
    expected, seen = adopt_responses(before, fresh), adopt_sent(fresh, before)
    as_expected = (expected.authorizations, expected.delay) == (seen.authorizations, seen.delay)
    return as_expected and _states(before) == _states(fresh)


def _states(order: Order) -> list[tuple[str, str]]:
    return [(p.challenge_id, p.state) for p in order.presentations]


def _with_challenges(order: Order, change: Callable[[Challenge], Challenge]) -> Order:
    authorizations = tuple(replace(a, challenges=tuple(map(change, a.challenges))) for a in order.authorizations)
    return replace(order, authorizations=authorizations)
