"""How an account gets a new key (RFC 8555 §7.3.5), as one step that can be repeated.

The next key is stored before the CA hears of it. Whether the CA took it, where the answer was lost, it says itself: by
the account that it has for that key.
"""

from dataclasses import replace
from datetime import datetime

from certwright.ca.client import Client
from certwright.ca.problems import CaError, CaProblem
from certwright.events import Event, KeyRolledOver, KeyRolloverRefused
from certwright.model import Account


def roll_over(account: Account, client: Client, successor: Client, now: datetime) -> tuple[Account, Event]:
    """keyChange for an account with a next key; `successor` is a client that signs with that key.

    Raises ca.problems.CaError; the step may be taken again where it is transient.
    """
    if not _is_known(account, successor):
        client.change_key(successor)
    rolled = replace(
        account,
        sealed_key=account.sealed_next_key or account.sealed_key,
        sealed_next_key=None,
        key_thumbprint=successor.key_thumbprint,
        attempts=0,
        due=None,
        updated_at=now,
    )
    return rolled, KeyRolledOver(subject_id=account.id, key_thumbprint=rolled.key_thumbprint)


def refused(account: Account, error: CaError, now: datetime) -> tuple[Account, Event]:
    """The account as it was before."""
    told = error.problem.detail or error.problem.type
    kept = replace(account, sealed_next_key=None, attempts=0, due=None, updated_at=now)
    return kept, KeyRolloverRefused(subject_id=account.id, problem=told)


def _is_known(account: Account, successor: Client) -> bool:
    """Whether the CA has this account under its next key already (RFC 8555 §7.3.1)."""
    try:
        return successor.new_account([], False, only_return_existing=True).url == account.url
    except CaProblem as error:
        if error.is_transient:
            raise
        return False
