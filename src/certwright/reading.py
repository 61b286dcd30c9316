"""What can be asked. Every method is for any role but where it says otherwise, and sees the actor's tenant only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from certwright.audit import Audit
from certwright.authorities import Authorities
from certwright.ca.presets import Preset
from certwright.errors import InvalidInput
from certwright.items import E
from certwright.model import Account, AccountStatus, Actor, Certificate, Counts, Order, OrderStatus, Page, Role
from certwright.store import Store

_MAX_PAGE = 100
_ACTIVE_ACCOUNTS = 50


@dataclass(frozen=True)
class Dashboard:
    active_accounts: list[Account]
    recent_orders: list[Order]
    counts: Counts


class Reader:
    """Safe from any thread. Pages hold 1 to 100 nodes; any other size raises InvalidInput."""

    def __init__(self, store: Store, authorities: Authorities, audit: Audit, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._authorities = authorities
        self._audit = audit
        self.clock = clock

    def acme_servers(self) -> list[Preset]:
        return self._authorities.presets

    def dashboard(self, actor: Actor, recent: int | None) -> Dashboard:
        """The status glance; costs the same for any number of stored orders."""
        tenant = actor.tenant
        accounts = self._store.accounts(tenant, first=_ACTIVE_ACCOUNTS, after=None, status=AccountStatus.VALID)
        orders = self._store.orders(tenant, first=_size(recent, 10, "recent"), after=None)
        return Dashboard(accounts.nodes, orders.nodes, self._store.counts(tenant))

    def account(self, actor: Actor, id: str) -> Account:
        """Raises NotFound; so do the other two."""
        return self._store.account(actor.tenant, id)

    def order(self, actor: Actor, id: str) -> Order:
        return self._store.order(actor.tenant, id)

    def certificate(self, actor: Actor, id: str) -> Certificate:
        return self._store.certificate(actor.tenant, id)

    def many(self, cls: type[E], actor: Actor, ids: Sequence[str]) -> list[E | None]:
        """Accounts, orders or certificates in the order of `ids`, None where there is none."""
        return self._store.many(cls, actor.tenant, ids)

    def accounts(
        self, actor: Actor, *, first: int | None, after: str | None = None, status: AccountStatus | None = None
    ) -> Page:
        return self._store.accounts(actor.tenant, first=_size(first, 20), after=after, status=status)

    def orders(
        self,
        actor: Actor,
        *,
        first: int | None,
        after: str | None = None,
        account_id: str | None = None,
        status: OrderStatus | None = None,
    ) -> Page:
        return self._store.orders(
            actor.tenant, first=_size(first, 20), after=after, account_id=account_id, status=status
        )

    def certificates(
        self, actor: Actor, *, first: int | None, after: str | None = None, name: str | None = None
    ) -> Page:
        """With `name`, those that hold exactly this name."""
        wanted = name.strip().rstrip(".").lower() if name else None
        return self._store.certificates(actor.tenant, first=_size(first, 20), after=after, name=wanted)

    def may_audit(self, actor: Actor) -> None:
        """The audit trail is for operators and administrators. Raises Forbidden."""
        self._audit.authorize(actor, "auditEvents", Role.OPERATOR)

    def audit_events(
        self, actor: Actor, *, first: int | None, after: str | None = None, subject_id: str | None = None
    ) -> Page:
        """Newest first. Raises Forbidden, as `may_audit`."""
        self.may_audit(actor)
        return self._store.records(actor.tenant, first=_size(first, 50), after=after, subject_id=subject_id)


def _size(number: int | None, default: int, field: str = "first") -> int:
    if number is None:
        return default
    if not 1 <= number <= _MAX_PAGE:
        raise InvalidInput(f"{field} is {number}; it must be from 1 to {_MAX_PAGE}", field=field)
    return number
