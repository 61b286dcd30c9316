"""What can be asked. Every method is for any role but where it says otherwise, and sees the actor's tenant only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from certwright.audit import Audit
from certwright.authorities import Authorities
from certwright.ca.presets import Preset
from certwright.challenges.solver import Kind
from certwright.errors import InvalidInput
from certwright.items import E
from certwright.model import (
    Account,
    AccountStatus,
    Actor,
    Certificate,
    Counts,
    Order,
    OrderStatus,
    Page,
    Provider,
    Role,
)
from certwright.solvers import Solvers
from certwright.store import Store

if TYPE_CHECKING:
    from certwright.bookkeeping import Standing
    from certwright.ca.resources import Directory
    from certwright.chains import ChainCertificate
    from certwright.identifiers import Check

_MAX_PAGE = 100
_ACTIVE_ACCOUNTS = 50
_RENEWING = 10


@dataclass(frozen=True)
class Dashboard:
    active_accounts: list[Account]
    recent_orders: list[Order]
    counts: Counts


class Reader:
    """Safe from any thread. Pages hold 1 to 100 nodes; any other size raises InvalidInput."""

    def __init__(
        self,
        store: Store,
        authorities: Authorities,
        audit: Audit,
        solvers: Solvers,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._authorities = authorities
        self._audit = audit
        self._solvers = solvers
        self.clock = clock

    def acme_servers(self) -> list[Preset]:
        return self._authorities.presets

    def acme_directory(self, actor: Actor, url: str) -> "Directory":
        """What an allowed ACME server says of itself, now: for operators and administrators, as the server is asked.

        Raises Forbidden, InvalidInput, ca.problems.CaError.
        """
        self._audit.authorize(actor, "acmeDirectory", Role.OPERATOR)
        return self._authorities.ca(self._authorities.check(url)).directory()

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

    def renewing_next(self, actor: Actor) -> list[Certificate]:
        """The certificates in use whose renewal is nearest."""
        return self._store.renewing(actor.tenant, first=_RENEWING)

    def rate_limits(self, actor: Actor, account_id: str, domains: Sequence[str]) -> "list[Standing]":
        """How the CA's rate limits stand that an order would draw on. Raises NotFound and InvalidInput."""
        from certwright import identifiers
        from certwright.bookkeeping import Bookkeeping

        account, names = self._store.account(actor.tenant, account_id), identifiers.parse_domains(domains)
        return Bookkeeping(self._store, self._authorities).standings(account, names, self.clock())

    def check_domains(self, domains: Sequence[str]) -> "list[Check]":
        """Whether each of these could be ordered, together with the others. Raises InvalidInput for too many."""
        from certwright import identifiers

        return identifiers.check_domains(domains)

    def certificate(self, actor: Actor, id: str) -> Certificate:
        return self._store.certificate(actor.tenant, id)

    def provider_kinds(self) -> list[Kind]:
        """What a challenge provider may be."""
        return list(self._solvers.kinds.values())

    def providers(self, actor: Actor) -> list[Provider]:
        """All of them, oldest first."""
        return self._store.providers(actor.tenant)

    def provider(self, actor: Actor, id: str) -> Provider:
        """Raises NotFound."""
        return self._store.provider(actor.tenant, id)

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

    def chains(self, actor: Actor, certificate_id: str) -> list[tuple["ChainCertificate", ...]]:
        """A certificate's chains taken apart, the one that is used first. Raises NotFound."""
        from certwright.chains import take_apart

        certificate = self._store.certificate(actor.tenant, certificate_id)
        return [take_apart(chain) for chain in (certificate.chain, *certificate.alternate_chains)]

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
