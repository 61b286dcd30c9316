"""The order that renews a certificate: for the same names, as the order was that the certificate came of."""

from datetime import datetime

from certwright.authorities import Authorities, seal_context
from certwright.errors import Conflict
from certwright.model import Account, AccountStatus, AuthorizationStatus, Certificate, Order, OrderStatus
from certwright.store import Store


class NoAccount(Conflict):
    """A certificate has no account to be renewed with; `lasting` where it never will."""

    def __init__(self, message: str, *, lasting: bool) -> None:
        super().__init__(message)
        self.lasting = lasting


class Succession:
    """Reads, and makes new keys; commits nothing."""

    def __init__(self, store: Store, authorities: Authorities) -> None:
        self._store = store
        self._authorities = authorities

    def check(self, certificate: Certificate) -> None:
        """Raises NoAccount where the certificate cannot be renewed as things are."""
        self._accounts(self._store.order(certificate.tenant, certificate.order_id))

    def order(self, certificate: Certificate, now: datetime) -> Order:
        """A new order, to be committed with its certificate: with a new key, unless the old one is to be kept or was
        never ours. Raises NoAccount, and sealer.SealBroken where a kept key cannot be opened."""
        before = self._store.order(certificate.tenant, certificate.order_id)
        account, *fallbacks = self._accounts(before)
        id = self._store.new_id()
        csr, sealed_key = self._key(certificate, before, id)
        return Order(
            id=id,
            tenant=before.tenant,
            account_id=account.id,
            acme_server=account.acme_server,
            domains=before.domains,
            status=OrderStatus.NEW,
            csr=csr,
            created_at=now,
            updated_at=now,
            key_type=before.key_type,
            profile=before.profile,
            sealed_key=sealed_key,
            replaces=certificate.id,
            solver=before.solver,
            fallbacks=tuple(fallback.id for fallback in fallbacks),
            preferred_chain=before.preferred_chain,
            reuse_key=before.reuse_key,
            due=now,
        )

    def _accounts(self, before: Order) -> list[Account]:
        """The valid ones among those that the first certificate was to be had with, in their order then."""
        tried = [attempt.account_id for attempt in before.attempts]
        ids = list(dict.fromkeys([*tried, before.account_id, *before.fallbacks]))
        known = [account for account in self._store.many(Account, before.tenant, ids) if account is not None]
        if valid := [account for account in known if account.status is AccountStatus.VALID]:
            return valid
        told = ", ".join(f"account {account.id!r} is {account.status}" for account in known) or "its account is gone"
        lasting = all(account.status is not AccountStatus.PENDING for account in known)
        raise NoAccount(f"the certificate cannot be renewed: {told}", lasting=lasting)

    def _key(self, certificate: Certificate, before: Order, order_id: str) -> tuple[str, str | None]:
        """(CSR, sealed key) for the order that follows `before`."""
        from certwright import keys

        if certificate.sealed_key is None:
            return before.csr, None
        sealer, tenant = self._authorities.sealer, certificate.tenant
        if before.reuse_key:
            key = sealer.open(certificate.sealed_key, seal_context(tenant, certificate.order_id))
            return before.csr, sealer.seal(key, seal_context(tenant, order_id))
        key = keys.generate_key(before.key_type)
        return keys.build_csr(key, before.domains), sealer.seal(key, seal_context(tenant, order_id))


def awaits_user(order: Order) -> bool:
    """Whether some name of an order is not proved, and nobody has begun to."""
    begun = {presentation.challenge_id for presentation in order.presentations}
    waiting = (
        authorization.status is AuthorizationStatus.PENDING
        and authorization.fetched
        and not any(challenge.responded or challenge.id in begun for challenge in authorization.challenges)
        for authorization in order.authorizations
    )
    return order.status is OrderStatus.PENDING and order.delay is None and any(waiting)
