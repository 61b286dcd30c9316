"""What presentations are to their order, and what may go wrong with them, in words. Pure functions."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from certwright.challenges.preparation import DnsRecord, HttpFile
from certwright.events import ChallengeResponded, Event
from certwright.model import (
    Authorization,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
    Order,
    OrderStatus,
    Presentation,
    PresentationState,
    Problem,
    Provider,
)
from certwright.outcome import Step, about

_TTL = 60


def is_over(order: Order, presentation: Presentation) -> bool:
    """Whether a presentation is to be cleaned up now. An order that is being issued is not held up by that."""
    if order.status in (OrderStatus.READY, OrderStatus.PROCESSING):
        return False
    found = authorization_of(order, presentation)
    return order.status.is_final or found is None or found.status is not AuthorizationStatus.PENDING


def is_active(order: Order, presentation: Presentation) -> bool:
    """Whether the CA is to be told of a presentation, and was not yet."""
    found = authorization_of(order, presentation) if order.status is OrderStatus.PENDING else None
    return found is not None and found.status is AuthorizationStatus.PENDING and not is_asked(found)


def is_at(order: Order, presentation: Presentation, state: PresentationState) -> bool:
    return presentation.state is state and is_active(order, presentation)


def is_asked(authorization: Authorization) -> bool:
    """Whether the CA is validating, or is about to be told to."""
    undecided = authorization.status is AuthorizationStatus.PENDING
    return undecided and any(c.responded for c in authorization.challenges)


def is_open(order: Order, authorization: Authorization) -> bool:
    """Whether nobody answers an authorization yet."""
    taken = {p.challenge_id for p in order.presentations}
    free = not any(c.responded or c.id in taken for c in authorization.challenges)
    return free and authorization.status is AuthorizationStatus.PENDING


def lane(order: Order) -> str:
    """Whom the next step of an order waits for: a provider, or the CA. One that hangs must not hold back the others."""
    at_work = (p.provider_id for p in order.presentations if is_over(order, p) or is_active(order, p))
    return next(at_work, order.acme_server)


def authorization_of(order: Order, presentation: Presentation) -> Authorization | None:
    """None where the order went to another CA meanwhile, which knows nothing of the challenge."""
    return next((a for a, c in order.challenges if c.id == presentation.challenge_id), None)


def time_of(order: Order, presentation: Presentation, now: datetime) -> datetime:
    """When something is to be done about it. A clean-up that was not tried yet is due at once."""
    if is_over(order, presentation) and presentation.state is not PresentationState.REMOVING:
        return now
    return presentation.due or now


def exchanged(order: Order, old: Presentation, new: Presentation | None) -> Order:
    """The order with `new` in the place of `old`."""
    others = ((new if p is old else p) for p in order.presentations)
    return replace(order, presentations=tuple(p for p in others if p is not None))


def standing(order: Order) -> list[tuple[object, ...]]:
    """What of an order's presentations is worth a commit: not when something is to be done next."""
    return [(p.challenge_id, p.value, p.state, p.problem, p.servers) for p in order.presentations]


def planned(
    challenge: Challenge, provider: Provider, prepared: DnsRecord | HttpFile, record: str, now: datetime
) -> Presentation:
    """`record` is where a TXT record is to be written."""
    return Presentation(
        challenge_id=challenge.id,
        provider_id=provider.id,
        record=record if isinstance(prepared, DnsRecord) else prepared.url,
        value=prepared.value if isinstance(prepared, DnsRecord) else prepared.content,
        state=PresentationState.PLANNED,
        since=now,
        due=now,
    )


def visible(presentation: Presentation) -> Presentation:
    return replace(presentation, state=PresentationState.VISIBLE, problem=None, due=None)


def is_dns(presentation: Presentation) -> bool:
    return not presentation.record.startswith("http:")


def prepared(presentation: Presentation) -> DnsRecord | HttpFile:
    """What a solver is given, to present and to clean up."""
    if is_dns(presentation):
        return DnsRecord(presentation.record, "TXT", presentation.value, _TTL)
    return HttpFile(presentation.record, urlsplit(presentation.record).path, presentation.value)


def responded(step: Step, chosen: Mapping[str, str], now: datetime) -> Step:
    """The step with responses to challenges: `chosen` holds their ids, with the provider of each."""
    if not chosen:
        return step
    order, events = step.order, list[Event]()

    def respond(authorization: Authorization, challenge: Challenge) -> Challenge:
        if challenge.id not in chosen:
            return challenge
        told = {"challenge_id": challenge.id, "challenge_type": challenge.type, **about(order)}
        events.append(ChallengeResponded(**told, identifier=authorization.identifier))
        solver = chosen[challenge.id]
        return replace(challenge, responded=True, status=ChallengeStatus.PROCESSING, solver=solver)

    answered = tuple(replace(a, challenges=tuple(respond(a, c) for c in a.challenges)) for a in order.authorizations)
    changed = replace(order, authorizations=answered, due=now, updated_at=now)
    return replace(step, order=changed, events=(*step.events, *events))


def facts(order: Order, presentation: Presentation) -> dict[str, str]:
    """The fields that every event about a presentation has."""
    return {
        **about(order),
        "challenge_id": presentation.challenge_id,
        "provider_id": presentation.provider_id,
        "record": presentation.record,
    }


# Why it goes wrong


def problem(code: str, detail: str, subproblems: Iterable[Mapping[str, object]] = ()) -> Problem:
    """A problem document of ours."""
    also = {"subproblems": list(subproblems)} if subproblems else {}
    return Problem({"type": f"urn:certwright:{code}", "detail": detail, **also})


def provider_failed(order: Order, presentation: Presentation, provider: str, told: str) -> Problem:
    """Why an order ends whose provider cannot present."""
    name = _name(order, presentation)
    times = "" if presentation.attempts == 1 else f" {presentation.attempts} times"
    return problem(
        "providerFailed",
        f"the provider {provider!r} failed{times} to present {presentation.record} for {name}: {told}",
        [_subproblem("providerFailed", name, told)],
    )


def not_propagated(order: Order, presentation: Presentation, patience: timedelta) -> Problem:
    """Why an order ends whose record does not appear, with what each server said when it was last asked."""
    name = _name(order, presentation)
    servers = [f"{s.name} ({s.address}): {s.answer or 'the value is there'}" for s in presentation.servers]
    told = "; ".join(servers) or (presentation.problem and presentation.problem.detail) or "no server was found"
    return problem(
        "notPropagated",
        f"{presentation.record} was not seen at every name server within {patience.total_seconds():.0f} s: {told}",
        [_subproblem("notPropagated", name, told)],
    )


def _subproblem(code: str, name: str, detail: str) -> dict[str, object]:
    return {"type": f"urn:certwright:{code}", "identifier": {"type": "dns", "value": name}, "detail": detail}


def _name(order: Order, presentation: Presentation) -> str:
    found = authorization_of(order, presentation)
    return presentation.record if found is None else ("*." * found.wildcard) + found.identifier
