"""How an order's challenges are answered by providers, one step at a time.

    planned ──present──▶ presented ──every server of the zone has it──▶ visible ──▶ the CA is told (RFC 8555 §7.5.1)
       ╰──────────────────────┴─── decided, ended or given up: clean_up ───┴──▶ gone, or removing until it is

A presentation is stored as planned before its provider is called, and stays with the order until it is cleaned up: so
nothing is left behind by an order that ends, or by a process that dies. Every step may be taken again.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeAlias

from certwright import presentations as of
from certwright.challenges.http01 import HTTP01
from certwright.challenges.preparation import DnsRecord, prepare
from certwright.challenges.solver import SolverFailed
from certwright.events import (
    ChallengeCleanedUp,
    ChallengeLeftBehind,
    ChallengePresentationFailed,
    ChallengePresented,
    Event,
)
from certwright.model import (
    Account,
    Authorization,
    Challenge,
    Order,
    OrderStatus,
    Presentation,
    PresentationState,
    Problem,
    Provider,
)
from certwright.outcome import Step, backoff, fail, hindered
from certwright.presentations import is_active, is_asked, is_at, is_over, time_of
from certwright.solvers import MANUAL, Dns, Solvers, challenge_record

logger = logging.getLogger(__name__)

_BUDGET = timedelta(seconds=10)
_MOST = 40
"""Providers called, or responses given, in one step: each has its event, and a transaction holds 100 items."""

_TRIES = 10
_LONGEST_LOOK = timedelta(seconds=30)
_CLEAN_UP_FOR = timedelta(days=1)
_ASK_AGAIN = timedelta(seconds=30)
_ATTENDED = (OrderStatus.PENDING, OrderStatus.VALID, OrderStatus.INVALID)


_Choice: TypeAlias = tuple[Challenge, Provider, str]
"""What is answered, by which provider, and where a TXT record is to be written."""


class _Hopeless(Exception):
    """The order cannot be helped any more, for this reason."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


class Solving:
    """Takes the steps that have to do with providers. Safe from any thread.

    `patience` is how long a record may take to be seen at every server of its zone; `jitter` (0…1) spreads retries.
    """

    def __init__(
        self,
        solvers: Solvers,
        dns: Dns,
        *,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
        patience: timedelta = timedelta(minutes=5),
    ) -> None:
        self._solvers = solvers
        self._dns = dns
        self._clock = clock
        self._jitter = jitter
        self._patience = patience

    def attend(self, order: Order) -> Step | None:
        """What is to be done now about an order's presentations; None where there is nothing.

        All are presented first, then watched, then the CA is told.
        """
        now = self._clock()
        kept = order.presentations
        over = [p for p in kept if is_over(order, p)]
        unpresented = [p for p in kept if is_at(order, p, PresentationState.PLANNED)]
        unseen = [p for p in kept if is_at(order, p, PresentationState.PRESENTED)]
        steps = ((over, self._clean_up), (unpresented, self._present), ([] if unpresented else unseen, self._watch))
        for found, act in steps:
            if due := [p for p in found if time_of(order, p, now) <= now]:
                return self._take(order, due, act)
        answered = self._answer(Step(order, aside=True))
        return self.remind(answered) if answered.events else None

    def _take(
        self,
        order: Order,
        due: Sequence[Presentation],
        act: Callable[[Order, Presentation], tuple[Presentation | None, Event | None]],
    ) -> Step:
        """Act on as many of them as there is time for; each of the others has its turn in a later step."""
        until, events = self._clock() + _BUDGET, list[Event]()
        for presentation in due[:_MOST]:
            try:
                done, event = act(order, presentation)
            except _Hopeless as hopeless:
                failed = fail(order, hopeless.problem, self._clock())
                return self.remind(replace(failed, events=(*events, *failed.events), aside=True))
            order = of.exchanged(order, presentation, done)
            events += [event] if event else []
            if self._clock() > until:
                break
        if events:
            order = replace(order, updated_at=self._clock())
        return self.remind(self._answer(Step(order, tuple(events), aside=True)))

    def _present(self, order: Order, presentation: Presentation) -> tuple[Presentation, Event]:
        name = presentation.provider_id
        try:
            provider = self._solvers.find(order, name)
            name = provider.name
            self._solvers.solver(provider).present(of.prepared(presentation))
        except SolverFailed as error:
            tried = self._tried(presentation, error)
            if error.lasting or tried.attempts >= _TRIES:
                raise _Hopeless(of.provider_failed(order, tried, name, error.message)) from error
            return tried, ChallengePresentationFailed(**of.facts(order, presentation), problem=error.message)
        now, state = self._clock(), PresentationState.PRESENTED
        presented = replace(presentation, state=state, since=now, due=now, attempts=0, problem=None)
        return presented, ChallengePresented(**of.facts(order, presentation))

    def _watch(self, order: Order, presentation: Presentation) -> tuple[Presentation, None]:
        """Look once. At the end of all patience, a server that does not answer at all is not waited for any more: a
        CA's resolver passes over it, too."""
        if not of.is_dns(presentation):
            return of.visible(presentation), None
        looked = self._looked(presentation)
        if looked.servers and all(s.agrees for s in looked.servers):
            return of.visible(looked), None
        now = self._clock()
        if now - presentation.since < self._patience:
            wait = min(timedelta(seconds=2 ** min(presentation.attempts, 10)), _LONGEST_LOOK)
            return replace(looked, due=now + wait), None
        answering = [s for s in looked.servers if s.answered]
        if answering and all(s.agrees for s in answering):
            return of.visible(looked), None
        raise _Hopeless(of.not_propagated(order, looked, self._patience))

    def _looked(self, presentation: Presentation) -> Presentation:
        attempts = presentation.attempts + 1
        try:
            servers = self._dns.look(presentation.record, presentation.value)
        except SolverFailed as error:
            return replace(presentation, attempts=attempts, servers=(), problem=_failed(error))
        return replace(presentation, attempts=attempts, servers=servers, problem=None)

    def _clean_up(self, order: Order, presentation: Presentation) -> tuple[Presentation | None, Event | None]:
        facts, now = of.facts(order, presentation), self._clock()
        until = now
        try:
            provider = self._solvers.find(order, presentation.provider_id)
            if presentation.state is not PresentationState.REMOVING:
                presentation = replace(presentation, state=PresentationState.REMOVING, since=now, attempts=0)
            until = presentation.since + _CLEAN_UP_FOR
            self._solvers.solver(provider).clean_up(of.prepared(presentation))
        except SolverFailed as error:
            if now < until:
                return self._tried(presentation, error), None
            logger.warning("%s is left behind by %s: %s", presentation.record, presentation.provider_id, error.message)
            return None, ChallengeLeftBehind(**facts, value=presentation.value, problem=error.message)
        return None, ChallengeCleanedUp(**facts)

    def _tried(self, presentation: Presentation, error: SolverFailed) -> Presentation:
        attempts = presentation.attempts + 1
        due = self._clock() + backoff(attempts, self._jitter())
        return replace(presentation, attempts=attempts, due=due, problem=_failed(error))

    def _answer(self, step: Step) -> Step:
        """Respond to the challenges whose records are seen everywhere, once there is none that is not."""
        order = step.order
        active = [p for p in order.presentations if is_active(order, p)]
        if any(p.state is not PresentationState.VISIBLE for p in active):
            return step
        room = _MOST - sum(map(is_asked, order.authorizations))
        return of.responded(step, {p.challenge_id: p.provider_id for p in active[: max(room, 0)]}, self._clock())

    # Who answers what

    def plan(self, step: Step, account: Account) -> Step:
        """What an order's step means for its challenges: those that a provider fits are answered from now on."""
        order = step.order
        if order.status is OrderStatus.PENDING and order.delay is None and not step.polls:
            waiting = [a for a in order.authorizations if of.is_open(order, a)]
            if waiting and all(a.fetched for a in order.authorizations):
                step = self._plan(step, waiting[:_MOST], account)
        return self.remind(step)

    def _plan(self, step: Step, waiting: Sequence[Authorization], account: Account) -> Step:
        order, now = step.order, self._clock()
        providers = self._solvers.of_order(order)
        planned, at_once = list[Presentation](), dict[str, str]()
        for authorization in waiting:
            if lasting := self._lasting(order, authorization, account):
                at_once[lasting.id] = lasting.type
                continue
            try:
                found = self._choose(authorization, providers) if providers else None
            except SolverFailed as error:
                delayed = hindered(order, error, now + _ASK_AGAIN, now)
                return replace(delayed, events=(*step.events, *delayed.events))
            if found is None:
                continue
            challenge, provider, record = found
            if provider.kind == HTTP01.name:
                at_once[challenge.id] = provider.id
            elif prepared := prepare(authorization, challenge, account.key_thumbprint, account.url):
                planned.append(of.planned(challenge, provider, prepared, record, now))
            if self._clock() > now + _BUDGET:
                break
        with_plans = replace(order, presentations=(*order.presentations, *planned))
        return of.responded(replace(step, order=with_plans), at_once, now)

    def _lasting(self, order: Order, authorization: Authorization, account: Account) -> Challenge | None:
        """The challenge whose record, once published, proves every later order (dns-persist-01), where it is seen."""
        if order.solver == MANUAL and order.replaces is None:
            return None
        for challenge in authorization.challenges:
            if challenge.type == "dns-persist-01":
                prepared = prepare(authorization, challenge, account.key_thumbprint, account.url)
                if isinstance(prepared, DnsRecord) and self._is_seen(prepared):
                    return challenge
        return None

    def _is_seen(self, record: DnsRecord) -> bool:
        with suppress(SolverFailed):
            servers = self._dns.look(record.name, record.value)
            return bool(servers) and all(server.agrees for server in servers)
        return False

    def _choose(self, authorization: Authorization, providers: Sequence[Provider]) -> _Choice | None:
        """Raises SolverFailed where a dns-01 provider fits, and it cannot be said where the record is to be."""
        record = challenge_record(authorization.identifier)
        found = self._solvers.choose(authorization, providers, record)
        if any(c.type == "dns-01" for c in authorization.challenges) and self._solvers.any_for_dns(providers):
            try:
                record = self._dns.follow(record)
                found = self._solvers.choose(authorization, providers, record)
            except SolverFailed:
                if found and found[0].type == "dns-01":
                    raise
        return (*found, record) if found else None

    def remind(self, step: Step) -> Step:
        """A step whose order is due when something is to be done about its presentations, if not earlier."""
        order, now = step.order, self._clock()
        times = [time_of(order, p, now) for p in order.presentations if is_over(order, p) or is_active(order, p)]
        if step.aside:
            return replace(step, order=replace(order, due=min([*times, *_others(order, now)], default=None)))
        if step.polls or order.delay or not times or order.status not in _ATTENDED:
            return step
        return replace(step, order=replace(order, due=min([*times, order.due or max(times)])))


def _others(order: Order, now: datetime) -> list[datetime]:
    """When there is something else to be done for an order after a step that had to do with providers alone."""
    if order.status.is_final:
        return []
    at_the_ca = any(is_asked(a) or not a.fetched for a in order.authorizations)
    if at_the_ca or order.status is not OrderStatus.PENDING:
        return [now]
    return [order.expires] if order.expires else []


def _failed(error: SolverFailed) -> Problem:
    return of.problem("providerFailed", error.message)
