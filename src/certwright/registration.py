"""How an account becomes known to its CA (RFC 8555 §7.3), as one step that can be repeated: the CA answers a key that
it knows with the account that it has."""

from dataclasses import replace
from datetime import datetime

from certwright.ca.client import Client
from certwright.ca.problems import CaError
from certwright.errors import CertwrightError
from certwright.events import AccountDelayed, AccountRegistered, Event
from certwright.model import Account, AccountStatus
from certwright.outcome import backoff


def register(account: Account, client: Client, binding: tuple[str, str] | None, now: datetime) -> tuple[Account, Event]:
    """newAccount for a recorded account; `binding` is (key id, HMAC key) where the CA wants one.

    Raises ca.problems.CaError, for `delayed` to judge.
    """
    kid, hmac_key = binding or (None, None)
    resource = client.new_account(
        [f"mailto:{account.email}", *account.contact],
        terms_of_service_agreed=account.terms_of_service_agreed,
        eab_kid=kid,
        eab_hmac_key=hmac_key,
    )
    registered = replace(
        account,
        status=AccountStatus.VALID,
        url=resource.url,
        sealed_binding=None,
        attempts=0,
        due=None,
        updated_at=now,
    )
    return registered, AccountRegistered(subject_id=account.id, url=resource.url)


def delayed(account: Account, error: CaError, now: datetime, jitter: float) -> tuple[Account, Event]:
    """The account waiting for a CA that cannot answer now."""
    until = max(now + backoff(account.attempts + 1, jitter), error.retry_after or now)
    return _waiting(account, error.problem.detail or error.problem.type, until, now)


def hindered(account: Account, error: CertwrightError, until: datetime, now: datetime) -> tuple[Account, Event]:
    """The account waiting for a fault on our own side to be put right."""
    return _waiting(account, error.message, until, now)


def limited(account: Account, until: datetime, now: datetime) -> tuple[Account, Event]:
    """The account waiting for its CA's rate limit; the CA was not asked, so it is no attempt."""
    told = "as many accounts were registered at this CA as it allows"
    waiting = replace(account, due=until, updated_at=now)
    return waiting, AccountDelayed(subject_id=account.id, problem=told, until=until.isoformat())


def _waiting(account: Account, told: str, until: datetime, now: datetime) -> tuple[Account, Event]:
    waiting = replace(account, attempts=account.attempts + 1, due=until, updated_at=now)
    return waiting, AccountDelayed(subject_id=account.id, problem=told, until=until.isoformat())
