"""Runs the steps of one job, an order or an account, and commits each of them.

While a job is worked on it stays due at the end of a lease, which every commit renews. Waits shorter than the lease are
the worker's to time; longer ones are left to the due index.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias, cast

from certwright import issuance, registration
from certwright.authorities import Authorities
from certwright.ca.problems import CaError
from certwright.errors import CertwrightError, Conflict
from certwright.events import AccountRefused
from certwright.issuance import Step
from certwright.items import Change
from certwright.keys import MismatchedCertificate
from certwright.model import Account, Actor, Order, OrderStatus, Problem, Role
from certwright.pace import Pace
from certwright.store import Store

logger = logging.getLogger(__name__)

Job: TypeAlias = Account | Order

_RESPONSE_LIFE = timedelta(days=7)
_RETRY_OWN_FAULT = timedelta(minutes=5)


def system(tenant: str) -> Actor:
    """Certwright itself, acting for a tenant."""
    return Actor("certwright", Role.ADMIN, tenant)


@dataclass
class Work:
    """A job as this process holds it. `resumed`: found in the due index, so that it is not leased to us yet and the
    outcome of its last step may be unknown. `since` and `looks` belong to what the CA is doing at the moment."""

    job: Job
    resumed: bool = False
    since: datetime | None = None
    looks: int = 0


class Steps:
    """Safe from any thread, for different jobs; one job is run by one thread at a time.

    `lease` must be longer than a CA may take to answer.
    """

    def __init__(
        self,
        store: Store,
        authorities: Authorities,
        *,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
        lease: timedelta,
    ) -> None:
        self._store = store
        self._authorities = authorities
        self._clock = clock
        self._jitter = jitter
        self._lease = lease
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
            if work.resumed:
                work.job = self._store.claim(work.job, self._clock() + self._lease)
            if isinstance(work.job, Order):
                return self._issue(work)
            self.register(work.job)
        except Conflict:
            logger.debug("%s is being worked on elsewhere", work.job.id)
        except CaError as error:
            logger.info("account %s was refused: %s", work.job.id, error)
        return None

    def give_back(self, work: Work) -> None:
        """Make leased work due at once, for whoever comes next."""
        if not work.resumed and work.job.due is not None:
            try:
                self._store.claim(work.job, self._clock())
            except Conflict:
                return

    def register(self, account: Account) -> Account:
        """Make a recorded account known to its CA; one that the CA cannot register now waits.

        Raises ca.problems.CaError where the CA will never have it; the account is removed then.
        """
        client, binding = self._authorities.client(account), self._authorities.binding(account)
        actor = system(account.tenant)
        try:
            registered, event = registration.register(account, client, binding, self._clock())
        except CaError as error:
            if not error.is_transient:
                told = error.problem.detail or error.problem.type
                refusal = AccountRefused(subject_id=account.id, problem=told)
                self._store.commit((account, None), events=[refusal], actor=actor)
                raise
            registered, event = registration.delayed(account, error, self._clock(), self._jitter())
        return self._store.save(account, registered, events=[event], actor=actor)

    def refresh(self, order: Order) -> Order:
        """An order with its pending authorizations as the CA has them now. Raises CaError and Conflict."""
        account = self._store.account(order.tenant, order.account_id)
        step = issuance.refresh(order, self._authorities.client(account), self._clock())
        return self._commit(order, step, account.key_thumbprint)

    def _issue(self, work: Work) -> datetime | None:
        account = self._store.account(work.job.tenant, _order(work).account_id)
        while True:
            step = self._step(_order(work), account, resumed=work.resumed)
            work.resumed = False
            when = self._settle(work, step, account.key_thumbprint)
            if when is None or when > self._clock():
                return when
            if self.stopping:
                return None

    def _step(self, order: Order, account: Account, *, resumed: bool) -> Step:
        """One step, its errors turned into what they make of the order."""
        now = self._clock()
        try:
            client = self._authorities.client(account)
            return issuance.advance(order, client, now, new_id=self._store.new_id, resumed=resumed)
        except CaError as error:
            return issuance.refused(order, error, self._clock(), self._jitter())
        except MismatchedCertificate as error:
            problem = Problem({"type": "urn:certwright:mismatchedCertificate", "detail": error.message})
            return issuance.fail(order, problem, now)
        except CertwrightError as error:
            logger.error("order %s cannot go on: %s", order.id, error.message)
            return issuance.hindered(order, error, now + _RETRY_OWN_FAULT, now)

    def _settle(self, work: Work, step: Step, thumbprint: str) -> datetime | None:
        """Commit a step where there is something to commit; return when to go on, None when it is not ours any more."""
        before, now = _order(work), self._clock()
        self._learn(work, step, now)
        when = self._look_again(work, step, now) if step.polls else step.order.due
        held = when is not None and when - now < self._lease / 2
        due = (now if self.stopping else now + self._lease) if held else when
        fresh_lease = before.due is not None and before.due - now > self._lease / 2
        if step.events or step.order.status is not before.status or not held or not fresh_lease:
            work.job = self._commit(before, replace(step, order=replace(step.order, due=due)), thumbprint)
        else:
            work.job = replace(step.order, due=before.due)
        if _order(work).status.is_final or not held:
            return None
        return now if _unsent(_order(work)) else when

    def _learn(self, work: Work, step: Step, now: datetime) -> None:
        """Where the CA is done with what was looked at, remember how long it took."""
        order = _order(work)
        if work.since is not None and (not step.polls or step.order.status is not order.status):
            self._pace.learn((order.acme_server, order.status), now - work.since, looks=work.looks)
            work.since, work.looks = None, 0

    def _look_again(self, work: Work, step: Step, now: datetime) -> datetime:
        """When to look again at what the CA is doing."""
        work.since = work.since or now
        work.looks += 1
        return now + self._pace.wait((step.order.acme_server, step.order.status), now - work.since)

    def _commit(self, before: Order, step: Step, thumbprint: str) -> Order:
        """Commit a step; one that users' responses overtook is committed together with them. Raises Conflict."""
        try:
            return self._write(before, step, thumbprint)
        except Conflict:
            fresh = self._store.order(before.tenant, before.id)
            if fresh.status is not before.status or fresh.status is not OrderStatus.PENDING:
                raise
            return self._write(fresh, replace(step, order=issuance.adopt_responses(step.order, fresh)), thumbprint)

    def _write(self, before: Order, step: Step, thumbprint: str) -> Order:
        changes: list[Change] = [(before, step.order), *([(None, step.certificate)] if step.certificate else [])]
        order, *_ = self._store.commit(
            *changes,
            events=step.events,
            actor=system(before.tenant),
            responses=_responses(before, step.order, thumbprint),
        )
        return cast(Order, order)


def _order(work: Work) -> Order:
    return cast(Order, work.job)  # `run` told accounts apart.


def _unsent(order: Order) -> bool:
    return any(c.responded and not c.sent for _, c in order.challenges)


def _responses(before: Order, after: Order, thumbprint: str) -> Iterator[tuple[str, str, datetime]]:
    """What http-01 validators will ask of us for challenges that are new: (token, key authorization, until)."""
    known = {challenge.id for _, challenge in before.challenges}
    for _, challenge in after.challenges:
        if challenge.type == "http-01" and challenge.token and challenge.id not in known:
            until = after.expires or after.updated_at + _RESPONSE_LIFE
            yield challenge.token, f"{challenge.token}.{thumbprint}", until
