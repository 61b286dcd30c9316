"""Use cases of orders: create, cancel, view and answer the challenges."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from datetime import datetime, timedelta
from typing import cast

from certwright import events
from certwright.authorities import seal_context
from certwright.desk import Desk, idempotency_of
from certwright.errors import Conflict, InvalidInput, NotFound
from certwright.model import (
    Account,
    Actor,
    Authorization,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
    KeyType,
    Order,
    OrderStatus,
    PresentationState,
    Problem,
    Role,
)

_TRIES = 100
_PRESENTING = timedelta(minutes=1)
_FRESH = timedelta(seconds=10)
_FRESH_PER_NAME = timedelta(seconds=1)


@dataclass(frozen=True)
class OrderOptions:
    """What an order may ask for beyond its names; renewals ask for the same.

    `csr` is PEM; without it we make a key of `key_type`, and with `reuse_key` renewals use that key again.
    `solver` is the id of the provider that answers every challenge, or `manual`; without it each name's own is found.
    `preferred_chain` is the common name of an issuer: of several chains, the one that has it is taken.
    `fallbacks` are accounts to go on with, in this order, where the first one's CA fails.
    """

    profile: str | None = None
    csr: str | None = None
    key_type: KeyType = KeyType.EC_P256
    reuse_key: bool = False
    preferred_chain: str | None = None
    solver: str | None = None
    fallbacks: tuple[str, ...] = ()


DEFAULT = OrderOptions()


class Orders:
    """For operators; viewing challenges is for everybody. Safe from any thread.

    Raises `errors.CertwrightError` and `ca.problems.CaError`.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def create(
        self,
        actor: Actor,
        *,
        account_id: str,
        domains: Sequence[str],
        options: OrderOptions = DEFAULT,
        idempotency_key: str | None = None,
    ) -> Order:
        """Record an order for one certificate for all the names; placing it at the CA follows by itself."""
        from certwright import identifiers

        with self._desk.audit.attempt(actor, "createOrder", Role.OPERATOR):
            names = identifiers.parse_domains(domains)
            given = [account_id, names, *astuple(options)]
            idempotency = idempotency_of("createOrder", idempotency_key, given)

            def make() -> Order:
                account = self._desk.valid_account(actor, account_id, field="accountId")
                self._check_profile(account, options.profile)
                self._desk.solvers.check(account, names, options.solver)
                order = self._new_order([account, *self._fallbacks(actor, account, options)], names, options)
                created = events.OrderCreated(
                    subject_id=order.id, account_id=account.id, domains=names, profile=options.profile
                )
                return self._desk.store.save(None, order, events=[created], actor=actor, idempotency=idempotency)

            order, is_new = self._desk.once(actor, idempotency, self._desk.store.order, make)
            if is_new:
                self._desk.wake(order)
            return order

    def _fallbacks(self, actor: Actor, first: Account, options: OrderOptions) -> list[Account]:
        """The accounts to fall back on. Raises InvalidInput, and what `valid_account` raises."""
        from certwright.fallback import MOST_FALLBACKS

        ids, field = options.fallbacks, "fallbackAccountIds"
        if len(ids) > MOST_FALLBACKS:
            raise InvalidInput(f"{len(ids)} fallback accounts are given: give at most {MOST_FALLBACKS}", field=field)
        if twice := [id for place, id in enumerate(ids) if id in (first.id, *ids[:place])]:
            raise InvalidInput(f"account {twice[0]!r} is given twice: name each account once", field=field)
        return [self._desk.valid_account(actor, id, field=field) for id in ids]

    def _new_order(self, accounts: Sequence[Account], names: tuple[str, ...], options: OrderOptions) -> Order:
        """For the first of the accounts; the others are its fallbacks."""
        from certwright import keys

        account, *fallbacks = accounts
        id, now, csr, sealed_key = self._desk.store.new_id(), self._desk.clock(), options.csr, None
        if csr is None:
            key = keys.generate_key(options.key_type)
            sealed_key = self._desk.sealer.seal(key, seal_context(account.tenant, id))
            csr = keys.build_csr(key, names)
        else:
            csr = self._checked_csr(accounts, csr, names)
        return Order(
            id=id,
            tenant=account.tenant,
            account_id=account.id,
            acme_server=account.acme_server,
            domains=names,
            status=OrderStatus.NEW,
            csr=csr,
            created_at=now,
            updated_at=now,
            key_type=options.key_type,
            profile=options.profile,
            preferred_chain=options.preferred_chain,
            solver=options.solver,
            fallbacks=tuple(fallback.id for fallback in fallbacks),
            reuse_key=options.reuse_key,
            sealed_key=sealed_key,
            due=now + self._desk.handoff,
        )

    def _checked_csr(self, accounts: Sequence[Account], csr: str, names: tuple[str, ...]) -> str:
        """A CSR that was brought along, if it can be ordered with. Raises InvalidInput."""
        from certwright import keys

        parsed = keys.parse_csr(csr)
        keys.check_csr(parsed, names)
        for account in accounts:
            key = self._desk.sealer.open(account.sealed_key, seal_context(account.tenant, account.id))
            if keys.same_key(parsed, key):
                wrong = "the CSR's key is the account's own; a certificate needs a key of its own"
                raise InvalidInput(wrong, field="csr")
        return parsed.pem

    def cancel(self, actor: Actor, id: str, *, deactivate_authorizations: bool = False) -> Order:
        """End an order that is not ended yet. Raises Conflict for one that is.

        With `deactivate_authorizations` its pending authorizations are given up at the CA first (RFC 8555 §7.5.2):
        another order that waits for one of them fails too, as some CAs share them.
        """
        from certwright.bookkeeping import Bookkeeping

        with self._desk.audit.attempt(actor, "cancelOrder", Role.OPERATOR, id):
            for _ in range(_TRIES):
                order = self._desk.store.order(actor.tenant, id)
                if order.status.is_final:
                    raise Conflict(f"order {id!r} is {order.status} already; only an open order can be cancelled")
                if deactivate_authorizations:
                    self._deactivate_authorizations(order)
                problem = Problem({"type": "urn:certwright:cancelled", "detail": f"cancelled by {actor.name}"})
                ended = replace(
                    order,
                    status=OrderStatus.INVALID,
                    error=problem,
                    delay=None,
                    due=self._clean_up_at(order),
                    updated_at=self._desk.clock(),
                )
                event = events.OrderCancelled(subject_id=id, account_id=order.account_id)
                renewed, told = self._desk.steps().tending.settle(order, ended) if order.replaces else ((), ())
                try:
                    stored, *_ = self._desk.store.commit((order, ended), *renewed, events=[event, *told], actor=actor)
                except Conflict:
                    continue  # The worker moved it meanwhile: look again.
                Bookkeeping(self._desk.store, self._desk.authorities).release(order, self._desk.clock())
                if order.presentations:
                    self._desk.wake(cast(Order, stored))
                return cast(Order, stored)
            raise Conflict(f"order {id!r} keeps changing; try again")

    def _deactivate_authorizations(self, order: Order) -> None:
        """Raises ca.problems.CaError; what is decided at the CA meanwhile is left as it is."""
        from certwright.ca.problems import CaProblem

        client = self._desk.authorities.client(self._desk.store.account(order.tenant, order.account_id))
        for authorization in order.authorizations:
            if authorization.status is AuthorizationStatus.PENDING:
                try:
                    client.deactivate_authorization(authorization.url)
                except CaProblem as error:
                    if error.is_transient or client.fetch_authorization(authorization.url).status == "pending":
                        raise

    def _clean_up_at(self, order: Order) -> datetime | None:
        """When an order that ends now is due for the clean-up of what was presented for it.

        A step may be presenting at this moment, elsewhere: what it does must not come after the clean-up.
        """
        if not order.presentations:
            return None
        presenting = any(p.state is PresentationState.PLANNED for p in order.presentations)
        return self._desk.clock() + max(self._desk.handoff, _PRESENTING if presenting else timedelta(0))

    def challenges(self, actor: Actor, order_id: str) -> Order:
        """The order with its challenges as the CA has them now; that they were viewed is written down.

        A CA that cannot answer now does not hide what is known: the order is given as it was last seen.
        """
        with self._desk.audit.attempt(actor, "challenges", Role.VIEWER, order_id):
            order = self._refreshed(self._desk.store.order(actor.tenant, order_id))
            self.note_view(actor, order)
            return order

    def note_view(self, actor: Actor, order: Order) -> None:
        """Write down that the actor was shown what an order's challenges ask for."""
        viewed = events.ChallengesViewed(subject_id=order.id, account_id=order.account_id)
        self._desk.store.commit(events=[viewed], actor=actor, about=order)

    def respond_challenge(self, actor: Actor, id: str) -> tuple[Order, Authorization, Challenge]:
        """Record that a challenge is in place; telling the CA and watching it follow by themselves.

        One that Certwright responded to itself is given as it is.
        """
        order_id = id.rpartition("-")[0]
        with self._desk.audit.attempt(actor, "respondChallenge", Role.OPERATOR, order_id):
            for _ in range(_TRIES):
                order = self._desk.store.order(actor.tenant, order_id)
                for authorization, challenge in order.challenges:
                    if challenge.id == id and challenge.solver is not None:
                        return order, authorization, challenge  # Certwright was faster.
                authorization, challenge = _answerable(order, id)
                answered = replace(challenge, responded=True, status=ChallengeStatus.PROCESSING)
                event = events.ChallengeResponded(
                    subject_id=order.id,
                    account_id=order.account_id,
                    challenge_id=id,
                    identifier=authorization.identifier,
                    challenge_type=challenge.type,
                )
                now = self._desk.clock()
                responded = replace(
                    order,
                    authorizations=_with_challenge(order, answered),
                    due=now + self._desk.handoff,
                    updated_at=now,
                )
                try:
                    stored = self._desk.store.save(order, responded, events=[event], actor=actor)
                except Conflict:
                    continue  # The worker moved the order meanwhile: look again whether it may be answered.
                self._desk.wake(stored)
                return stored, authorization, answered
            raise Conflict(f"order {order_id!r} keeps changing; try again")

    def _check_profile(self, account: Account, profile: str | None) -> None:
        from certwright.ca.problems import CaUnavailable

        if profile is None:
            return
        try:
            offered = self._desk.authorities.ca(account.acme_server).directory().profiles
        except CaUnavailable:
            return  # The CA will say itself what it thinks of the profile, once it can be asked.
        if profile not in offered:
            known = f"it offers {', '.join(sorted(offered))}" if offered else "it offers none"
            raise InvalidInput(f"the CA has no profile {profile!r}; {known}", field="profile")

    def _refreshed(self, order: Order) -> Order:
        """A pending order as the CA has it now, unless it was looked at a moment ago or the CA cannot be asked."""
        from certwright.ca.problems import CaError

        fresh = _FRESH + _FRESH_PER_NAME * len(order.authorizations)
        seen = order.fetched_at
        if order.status is not OrderStatus.PENDING or seen is None or self._desk.clock() - seen < fresh:
            return order
        try:
            refreshed = self._desk.steps().refresh(order)
        except (CaError, Conflict):
            return self._desk.store.order(order.tenant, order.id)
        if refreshed.status is OrderStatus.READY:
            self._desk.wake(refreshed)
        return refreshed


def _answerable(order: Order, challenge_id: str) -> tuple[Authorization, Challenge]:
    """The challenge, if a response to it makes sense now. Raises NotFound and Conflict."""
    found = [(a, c) for a, c in order.challenges if c.id == challenge_id]
    if not found:
        raise NotFound(f"there is no challenge {challenge_id!r}")
    [(authorization, challenge)] = found
    what = f"the {challenge.type} challenge for {authorization.identifier}"
    if order.status is not OrderStatus.PENDING:
        raise Conflict(f"order {order.id!r} is {order.status}; only a pending order's challenges can be answered")
    if challenge.status in (ChallengeStatus.VALID, ChallengeStatus.INVALID):
        raise Conflict(f"{what} is {challenge.status} already")
    if challenge.responded:
        raise Conflict(f"{what} was answered already; the CA is validating it")
    if authorization.status is not AuthorizationStatus.PENDING:
        raise Conflict(f"{authorization.identifier} is {authorization.status} already; no answer is needed")
    if any(c.responded for c in authorization.challenges):
        raise Conflict(f"another challenge for {authorization.identifier} was answered already; one is enough")
    return authorization, challenge


def _with_challenge(order: Order, changed: Challenge) -> tuple[Authorization, ...]:
    return tuple(
        replace(a, challenges=tuple(changed if c.id == changed.id else c for c in a.challenges))
        for a in order.authorizations
    )
