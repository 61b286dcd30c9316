"""Runs the steps of one job, an order or an account, and commits each of them.

While a job is worked on it stays due at the end of a lease, which every commit renews. Short waits are the worker's to
time; longer ones are left to the due index.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias, cast

from certwright import issuance, outcome, validation
from certwright.account_steps import AccountSteps
from certwright.advising import Advising
from certwright.authorities import Authorities
from certwright.ca.problems import CaError
from certwright.challenges.preparation import key_authorization
from certwright.errors import CertwrightError, Conflict
from certwright.items import Change
from certwright.keys import MismatchedCertificate
from certwright.model import Account, Certificate, Order, OrderStatus, Problem, system
from certwright.outcome import Step
from certwright.pace import Pace, Watch
from certwright.placing import Placing
from certwright.presentations import lane, standing
from certwright.solving import Solving
from certwright.store import Store
from certwright.tending import Tending

logger = logging.getLogger(__name__)

Job: TypeAlias = Account | Order | Certificate

_RESPONSE_LIFE = timedelta(days=7)
_RETRY_OWN_FAULT = timedelta(minutes=5)


@dataclass
class Work:
    """A job as this process holds it.

    `resumed`: found in the due index, so that the outcome of its last step may be unknown. `news` is a later version
    that another thread committed meanwhile. `watch` is on what the CA is doing at the moment. `alarm` is the worker's.
    """

    job: Job
    resumed: bool = False
    news: Job | None = None
    watch: Watch | None = None
    alarm: datetime | None = None

    def take_news(self) -> None:
        """Go on with the later version; only this process knows what the CA was told of meanwhile."""
        news = self.news
        if news is not None and news.version > self.job.version:
            both_orders = isinstance(news, Order) and isinstance(self.job, Order)
            self.job = validation.adopt_sent(cast(Order, news), cast(Order, self.job)) if both_orders else news


class Steps:
    """Safe from any thread, for different jobs; one job is run by one thread at a time.

    `lease` must be longer than a CA may take to answer. Waits shorter than `hold` (half a lease) are the worker's to
    time; longer ones are left to the due index.
    """

    def __init__(
        self,
        store: Store,
        authorities: Authorities,
        solving: Solving,
        advising: Advising,
        *,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
        lease: timedelta,
        hold: timedelta | None = None,
    ) -> None:
        self._store = store
        self._authorities = authorities
        self._solving = solving
        self._advising = advising
        self._clock = clock
        self._jitter = jitter
        self._lease = lease
        self._hold = lease / 2 if hold is None else hold
        self.accounts = AccountSteps(store, authorities, clock=clock, jitter=jitter)
        self._placing = Placing(store, authorities, clock)
        self.tending = Tending(store, authorities, clock=clock, random=jitter)
        self._pace = Pace()
        self.stopping = False

    def stop(self) -> None:
        """Let `run` return after the step that it is taking."""
        self.stopping = True

    def run(self, work: Work) -> datetime | None:
        """Take steps for as long as there is one to take at once.

        Returns when to go on with this work, None when it is not ours any more.
        """
        try:
            work.take_news()
            if isinstance(work.job, Certificate):
                self.tending.run(work.job)
                return None
            if not self._is_leased(work.job, self._clock()):
                work.job = self._store.claim(work.job, self._clock() + self._lease)
            if isinstance(work.job, Order):
                return self._issue(work)
            self.accounts.run(work.job)
        except Conflict:
            logger.debug("%s is being worked on elsewhere", work.job.id)
        except CaError as error:
            logger.info("account %s was refused: %s", work.job.id, error)
        return None

    def give_back(self, work: Work, when: datetime | None = None) -> None:
        """Make leased work due at `when`, or at once, for whoever comes next."""
        work.take_news()
        if self._is_leased(work.job, self._clock()):
            with suppress(Conflict):
                self._store.claim(work.job, when or self._clock())

    def _is_leased(self, job: Job, now: datetime) -> bool:
        """Whether the lease of a job that this process holds will last for a while."""
        return job.due is not None and job.due - now > self._lease / 2

    def refresh(self, order: Order) -> Order:
        """An order with its pending authorizations as the CA has them now. Raises CaError and Conflict."""
        if order.delay is not None:
            return order  # The CA is not to be asked now.
        account = self._store.account(order.tenant, order.account_id)
        step = self._placing.judge(order, validation.refresh(order, self._authorities.client(account), self._clock()))
        return self._write(order, self._solving.remind(step), account.key_thumbprint)

    def _issue(self, work: Work) -> datetime | None:
        account = self._store.account(work.job.tenant, _order(work).account_id)
        while True:
            work.take_news()
            order = _order(work)
            step = self._step(order, account, resumed=work.resumed)
            work.resumed = False
            when = self._settle(work, step, account.key_thumbprint)
            moved = (_order(work).account_id, lane(_order(work))) != (account.id, lane(order))
            if when is None or when > self._clock() or self.stopping or moved:
                return when

    def _step(self, order: Order, account: Account, *, resumed: bool) -> Step:
        """One step: of what providers do for the order where there is one to take, else at the CA."""
        if order.delay is not None and order.delay.until > self._clock():
            return Step(replace(order, due=order.delay.until))
        aside = self._solving.attend(order)
        if order.status.is_final:
            return aside or self._solving.remind(Step(replace(order, due=None)))
        if aside:
            return self._placing.judge(order, aside)
        return self._solving.plan(self._placing.judge(order, self._advance(order, account, resumed=resumed)), account)

    def _advance(self, order: Order, account: Account, *, resumed: bool) -> Step:
        """One step at the CA, its errors turned into what they make of the order."""
        now = self._clock()
        try:
            client = self._authorities.client(account)
            replaces = self.tending.replaces(order) if order.status is OrderStatus.NEW else None
            go = partial(issuance.advance, client=client, new_id=self._store.new_id, resumed=resumed, replaces=replaces)
            place = partial(self._placing.place, order, partial(go, now=now), ari=replaces is not None)
            step = self._advising.during(order, account, place)
        except CaError as error:
            return outcome.refused(order, error, self._clock(), self._jitter(), self.tending.wait(order))
        except MismatchedCertificate as error:
            problem = Problem({"type": "urn:certwright:mismatchedCertificate", "detail": error.message})
            return outcome.fail(order, problem, now)
        except CertwrightError as error:
            logger.error("order %s cannot go on: %s", order.id, error.message)
            return outcome.hindered(order, error, now + _RETRY_OWN_FAULT, now)
        if step.interrupted is None:
            return step
        after = outcome.refused(step.order, step.interrupted, self._clock(), self._jitter())
        return replace(after, events=(*step.events, *after.events))

    def _settle(self, work: Work, step: Step, thumbprint: str) -> datetime | None:
        """Commit a step where there is something to commit; return when to go on, None when it is not ours any more."""
        before, now = _order(work), self._clock()
        when = self._look_again(work, step, now)
        held = when is not None and when - now < self._hold
        due = (now if self.stopping else now + self._lease) if held else when
        if held and self._is_leased(before, now) and not _differs(before, step):
            work.job = replace(step.order, due=before.due)
        else:
            committed = self._commit(before, replace(step, order=replace(step.order, due=due)), thumbprint)
            if committed is None:
                work.job = validation.adopt_sent(self._store.order(before.tenant, before.id), step.order)
                return now
            work.job = committed
        if validation.unsent(_order(work)) and _order(work).delay is None and not _order(work).status.is_final:
            return now  # A response overtook the step, and was committed with it; what follows is ours.
        return when if held else None

    def _look_again(self, work: Work, step: Step, now: datetime) -> datetime | None:
        """When to go on; where the CA is at work and named no time, it is looked at when it was done before."""
        order = _order(work)
        if step.aside:
            return step.order.due
        told = order.status is OrderStatus.PENDING and validation.unsent(order)
        if work.watch and (not step.polls or step.order.status is not order.status):
            if step.order.delay is None:
                self._pace.done((order.acme_server, order.status), work.watch, now)
            work.watch = None
        if not step.polls:
            return step.order.due
        work.watch = self._pace.look((order.acme_server, step.order.status), work.watch, now, told=told)
        work.watch.next = step.order.due or work.watch.next
        return work.watch.next

    def _commit(self, before: Order, step: Step, thumbprint: str) -> Order | None:
        """Commit a step; one that users' responses overtook is committed together with them.

        None where something else was seen of a pending order meanwhile: the step is to be taken again. Raises Conflict
        where the order went elsewhere, or is worked on elsewhere.
        """
        try:
            return self._write(before, step, thumbprint)
        except Conflict:
            fresh = self._store.order(before.tenant, before.id)
            if fresh.status is not before.status or fresh.status is not OrderStatus.PENDING:
                raise
            if not validation.only_responded(before, fresh):
                return None
            adopted = replace(step, order=validation.adopt_responses(step.order, fresh))
            return self._commit(validation.adopt_sent(fresh, before), adopted, thumbprint)

    def _write(self, before: Order, step: Step, thumbprint: str) -> Order:
        changes: list[Change] = [(before, step.order)]
        if step.certificate:
            changes.append((None, self.tending.planned(step.certificate)))
        while True:
            replaced, told = self.tending.settle(before, step.order)
            try:
                order, *_ = self._store.commit(
                    *changes,
                    *replaced,
                    events=[*step.events, *told],
                    actor=system(before.tenant),
                    responses=_responses(before, step.order, thumbprint),
                )
            except Conflict:
                if not replaced or self._store.order(before.tenant, before.id).version != before.version:
                    raise
                continue  # It was the certificate that another step changed.
            return cast(Order, order)


def _order(work: Work) -> Order:
    return cast(Order, work.job)  # `run` told accounts apart.


def _differs(before: Order, step: Step) -> bool:
    """Whether a step has something to commit. What the CA was told of is not: it can be told again."""
    now, then = step.order, validation.adopt_sent(before, step.order)
    changed = (now.status, now.delay, now.authorizations) != (then.status, then.delay, then.authorizations)
    changed = changed or before.advice != step.order.advice
    return changed or standing(before) != standing(step.order) or bool(step.events)


def _responses(before: Order, after: Order, thumbprint: str) -> Iterator[tuple[str, str, datetime]]:
    """What http-01 validators will ask of us for challenges that are new: (token, key authorization, until)."""
    known = {challenge.id for _, challenge in before.challenges}
    for _, challenge in after.challenges:
        if challenge.type == "http-01" and challenge.token and challenge.id not in known:
            until = after.expires or after.updated_at + _RESPONSE_LIFE
            yield challenge.token, key_authorization(challenge.token, thumbprint), until
