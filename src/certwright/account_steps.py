"""Runs the steps of accounts, registration and key rollover, and commits each of them."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from certwright import registration, rollover
from certwright.authorities import Authorities
from certwright.bookkeeping import Bookkeeping
from certwright.ca.problems import CaError
from certwright.errors import CertwrightError
from certwright.events import AccountRefused, Event
from certwright.model import Account, system
from certwright.store import Store

logger = logging.getLogger(__name__)

_RETRY_OWN_FAULT = timedelta(minutes=5)


class AccountSteps:
    """Safe from any thread, for different accounts."""

    def __init__(
        self, store: Store, authorities: Authorities, *, clock: Callable[[], datetime], jitter: Callable[[], float]
    ) -> None:
        self._store = store
        self._authorities = authorities
        self._clock = clock
        self._jitter = jitter
        self._books = Bookkeeping(store, authorities)

    def run(self, account: Account) -> Account:
        """The one step that an account has to take. Raises ca.problems.CaError, as `register` and `roll_over`."""
        return self.roll_over(account) if account.sealed_next_key else self.register(account)

    def register(self, account: Account) -> Account:
        """Make a recorded account known to its CA; one that the CA cannot register now waits.

        Raises ca.problems.CaError where the CA will never have it; the account is removed then.
        """
        try:
            if until := self._books.admit_account(account, self._clock()) if account.attempts == 0 else None:
                return self._save(account, registration.limited(account, until, self._clock()))
            client, binding = self._authorities.client(account), self._authorities.binding(account)
            after = registration.register(account, client, binding, self._clock())
        except CertwrightError as error:
            after = self._hindered(account, error)
        except CaError as error:
            if not error.is_transient:
                told = error.problem.detail or error.problem.type
                refusal = AccountRefused(subject_id=account.id, problem=told)
                self._store.commit((account, None), events=[refusal], actor=system(account.tenant))
                raise
            after = registration.delayed(account, error, self._clock(), self._jitter())
        return self._save(account, after)

    def roll_over(self, account: Account) -> Account:
        """Give an account its next key; where the CA cannot do it now, it waits, and where it will not, the old one
        stays and CaError is raised."""
        try:
            client, successor = self._authorities.client(account), self._authorities.successor(account)
            after = rollover.roll_over(account, client, successor, self._clock())
        except CertwrightError as error:
            after = self._hindered(account, error)
        except CaError as error:
            if not error.is_transient:
                self._save(account, rollover.refused(account, error, self._clock()))
                raise
            after = registration.delayed(account, error, self._clock(), self._jitter())
        return self._save(account, after)

    def _hindered(self, account: Account, error: CertwrightError) -> tuple[Account, Event]:
        logger.error("account %s cannot go on: %s", account.id, error.message)
        now = self._clock()
        return registration.hindered(account, error, now + _RETRY_OWN_FAULT, now)

    def _save(self, account: Account, after: tuple[Account, Event]) -> Account:
        changed, event = after
        return self._store.save(account, changed, events=[event], actor=system(account.tenant))
