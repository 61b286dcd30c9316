"""The use cases: each method authorises its actor, does one thing, and commits it with its event.

Whatever is refused or fails is written to the audit trail too. Methods raise `errors.CertwrightError` and
`ca.problems.CaError`; modules that need the ACME library are imported where they are used, off the API's cold path.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from certwright import events
from certwright.audit import Audit
from certwright.authorities import Authorities, seal_context
from certwright.errors import Conflict, InvalidInput, NotFound
from certwright.items import Idempotency
from certwright.model import (
    Account,
    AccountStatus,
    Actor,
    Authorization,
    AuthorizationStatus,
    Certificate,
    Challenge,
    ChallengeStatus,
    KeyType,
    Order,
    OrderStatus,
    Problem,
    RevocationReason,
    Role,
)
from certwright.store import Repeated, Store

if TYPE_CHECKING:
    from certwright.ca.resources import Directory
    from certwright.sealer import Sealer
    from certwright.steps import Job, Steps

T = TypeVar("T", Account, Order)
_TRIES = 100
_FRESH = timedelta(seconds=10)
_FRESH_PER_NAME = timedelta(seconds=1)


@dataclass(frozen=True)
class ExternalAccountBinding:
    """RFC 8555 §7.3.4. The HMAC key is a secret, and stays out of every representation."""

    key_id: str
    hmac_key: str

    def __repr__(self) -> str:
        return f"ExternalAccountBinding({self.key_id!r})"


class AcmeService:
    """Safe from any thread.

    `wake` is told of every job that was committed and can go on at once; the job is leased for `handoff` to whoever is
    told. `steps` is called when the first of them is to be taken: it may cost the import of the ACME library.
    """

    def __init__(
        self,
        store: Store,
        authorities: Authorities,
        sealer: "Sealer",
        steps: "Callable[[], Steps]",
        audit: Audit,
        *,
        clock: Callable[[], datetime],
        wake: "Callable[[Job], None]",
        handoff: timedelta,
    ) -> None:
        self._store = store
        self._authorities = authorities
        self._sealer = sealer
        self._steps = steps
        self._audit = audit
        self._clock = clock
        self._wake = wake
        self._handoff = handoff

    # Accounts

    def create_account(
        self,
        actor: Actor,
        *,
        email: str,
        acme_server: str,
        contact: Sequence[str] = (),
        terms_of_service_agreed: bool = False,
        binding: ExternalAccountBinding | None = None,
        idempotency_key: str | None = None,
    ) -> Account:
        """Register an account. Its key is made, sealed and stored before the CA hears of it.

        A CA that cannot answer now leaves the account `pending`: registering goes on by itself.
        """
        from certwright import identifiers

        with self._audit.attempt(actor, "createAccount", Role.ADMIN):
            server = self._authorities.check(acme_server)
            email = identifiers.parse_email(email, "email")
            contacts = identifiers.parse_contact(contact)
            given = [email, server, contacts, terms_of_service_agreed, binding and binding.key_id]
            idempotency = _idempotency("createAccount", idempotency_key, given)

            def make() -> Account:
                _check_directory(self._authorities.ca(server).directory(), terms_of_service_agreed, binding)
                account = self._new_account(actor, email, server, contacts, terms_of_service_agreed, binding)
                created = events.AccountCreated(
                    subject_id=account.id, email=email, acme_server=server, key_thumbprint=account.key_thumbprint
                )
                return self._store.save(None, account, events=[created], actor=actor, idempotency=idempotency)

            account, is_new = self._once(actor, idempotency, self._store.account, make)
            return self._steps().register(account) if is_new else account

    def _new_account(
        self,
        actor: Actor,
        email: str,
        server: str,
        contact: tuple[str, ...],
        terms_of_service_agreed: bool,
        binding: ExternalAccountBinding | None,
    ) -> Account:
        from certwright import keys

        key, id, now = keys.generate_account_key(), self._store.new_id(), self._clock()
        context = seal_context(actor.tenant, id)
        secret = f"{binding.key_id}\n{binding.hmac_key}".encode() if binding else None
        return Account(
            id=id,
            tenant=actor.tenant,
            email=email,
            contact=contact,
            acme_server=server,
            status=AccountStatus.PENDING,
            sealed_key=self._sealer.seal(key, context),
            key_thumbprint=keys.thumbprint(key),
            created_at=now,
            updated_at=now,
            terms_of_service_agreed=terms_of_service_agreed,
            sealed_binding=self._sealer.seal(secret, context) if secret else None,
            due=now + self._handoff,
        )

    def update_account(
        self, actor: Actor, id: str, *, email: str | None = None, contact: Sequence[str] | None = None
    ) -> Account:
        """Change the contacts, at the CA and here (RFC 8555 §7.3.2)."""
        from certwright import identifiers

        with self._audit.attempt(actor, "updateAccount", Role.ADMIN, id):
            account = self._valid_account(actor, id)
            email = account.email if email is None else identifiers.parse_email(email, "email")
            contacts = account.contact if contact is None else identifiers.parse_contact(contact)
            uris = (f"mailto:{email}", *contacts)
            self._authorities.client(account).update_account(uris)
            updated = replace(account, email=email, contact=contacts, updated_at=self._clock())
            event = events.AccountUpdated(subject_id=id, contact=uris)
            return self._store.save(account, updated, events=[event], actor=actor)

    def deactivate_account(self, actor: Actor, id: str) -> Account:
        """For ever (RFC 8555 §7.3.6)."""
        from certwright.ca.problems import CaProblem

        with self._audit.attempt(actor, "deactivateAccount", Role.ADMIN, id):
            account = self._valid_account(actor, id)
            try:
                self._authorities.client(account).deactivate_account()
            except CaProblem as error:
                # What an earlier attempt already did, whose answer was lost, the CA refuses to do again.
                if error.code not in ("unauthorized", "accountDoesNotExist"):
                    raise
            updated = replace(account, status=AccountStatus.DEACTIVATED, updated_at=self._clock())
            event = events.AccountDeactivated(subject_id=id)
            return self._store.save(account, updated, events=[event], actor=actor)

    # Orders

    def create_order(
        self,
        actor: Actor,
        *,
        account_id: str,
        domains: Sequence[str],
        profile: str | None = None,
        csr: str | None = None,
        key_type: KeyType = KeyType.EC_P256,
        idempotency_key: str | None = None,
    ) -> Order:
        """Record an order for one certificate for all the names; placing it at the CA follows by itself."""
        from certwright import identifiers

        with self._audit.attempt(actor, "createOrder", Role.OPERATOR):
            names = identifiers.parse_domains(domains)
            given = [account_id, names, profile, csr, key_type]
            idempotency = _idempotency("createOrder", idempotency_key, given)

            def make() -> Order:
                account = self._valid_account(actor, account_id, field="accountId")
                self._check_profile(account, profile)
                order = self._new_order(account, names, profile, csr, key_type)
                created = events.OrderCreated(
                    subject_id=order.id, account_id=account.id, domains=names, profile=profile
                )
                return self._store.save(None, order, events=[created], actor=actor, idempotency=idempotency)

            order, is_new = self._once(actor, idempotency, self._store.order, make)
            if is_new:
                self._wake(order)
            return order

    def _new_order(
        self, account: Account, names: tuple[str, ...], profile: str | None, csr: str | None, key_type: KeyType
    ) -> Order:
        from certwright import keys

        id, now, sealed_key = self._store.new_id(), self._clock(), None
        if csr is None:
            key = keys.generate_key(key_type)
            sealed_key = self._sealer.seal(key, seal_context(account.tenant, id))
            csr = keys.build_csr(key, names)
        else:
            csr = self._checked_csr(account, csr, names)
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
            key_type=key_type,
            profile=profile,
            sealed_key=sealed_key,
            due=now + self._handoff,
        )

    def _checked_csr(self, account: Account, csr: str, names: tuple[str, ...]) -> str:
        """A CSR that was brought along, if it can be ordered with. Raises InvalidInput."""
        from certwright import keys

        parsed = keys.parse_csr(csr)
        keys.check_csr(parsed, names)
        if keys.same_key(parsed, self._sealer.open(account.sealed_key, seal_context(account.tenant, account.id))):
            raise InvalidInput("the CSR's key is the account's own; a certificate needs a key of its own", field="csr")
        return parsed.pem

    def cancel_order(self, actor: Actor, id: str) -> Order:
        """End an order that is not ended yet. Raises Conflict for one that is."""
        with self._audit.attempt(actor, "cancelOrder", Role.OPERATOR, id):
            for _ in range(_TRIES):
                order = self._store.order(actor.tenant, id)
                if order.status.is_final:
                    raise Conflict(f"order {id!r} is {order.status} already; only an open order can be cancelled")
                problem = Problem({"type": "urn:certwright:cancelled", "detail": f"cancelled by {actor.name}"})
                ended = replace(
                    order, status=OrderStatus.INVALID, error=problem, delay=None, due=None, updated_at=self._clock()
                )
                event = events.OrderCancelled(subject_id=id, account_id=order.account_id)
                try:
                    return self._store.save(order, ended, events=[event], actor=actor)
                except Conflict:
                    continue  # The worker moved it meanwhile: look again.
            raise Conflict(f"order {id!r} keeps changing; try again")

    def challenges(self, actor: Actor, order_id: str) -> Order:
        """The order with its challenges as the CA has them now; that they were viewed is written down.

        A CA that cannot answer now does not hide what is known: the order is given as it was last seen.
        """
        with self._audit.attempt(actor, "challenges", Role.VIEWER, order_id):
            order = self._refreshed(self._store.order(actor.tenant, order_id))
            self.note_view(actor, order)
            return order

    def note_view(self, actor: Actor, order: Order) -> None:
        """Write down that the actor was shown what an order's challenges ask for."""
        viewed = events.ChallengesViewed(subject_id=order.id, account_id=order.account_id)
        self._store.commit(events=[viewed], actor=actor)

    def respond_challenge(self, actor: Actor, id: str) -> tuple[Order, Authorization, Challenge]:
        """Record that a challenge is in place; telling the CA and watching it follow by themselves."""
        order_id = id.rpartition("-")[0]
        with self._audit.attempt(actor, "respondChallenge", Role.OPERATOR, order_id):
            for _ in range(_TRIES):
                order = self._store.order(actor.tenant, order_id)
                authorization, challenge = _answerable(order, id)
                answered = replace(challenge, responded=True, status=ChallengeStatus.PROCESSING)
                event = events.ChallengeResponded(
                    subject_id=order.id,
                    account_id=order.account_id,
                    challenge_id=id,
                    identifier=authorization.identifier,
                    challenge_type=challenge.type,
                )
                now = self._clock()
                responded = replace(
                    order,
                    authorizations=_with_challenge(order, answered),
                    due=now + self._handoff,
                    updated_at=now,
                )
                try:
                    stored = self._store.save(order, responded, events=[event], actor=actor)
                except Conflict:
                    continue  # The worker moved the order meanwhile: look again whether it may be answered.
                self._wake(stored)
                return stored, authorization, answered
            raise Conflict(f"order {order_id!r} keeps changing; try again")

    # Certificates

    def revoke_certificate(self, actor: Actor, id: str, reason: RevocationReason) -> Certificate:
        """By the account's key (RFC 8555 §7.6). Raises Conflict for one that is revoked or expired."""
        from certwright import keys
        from certwright.ca.problems import CaProblem

        with self._audit.attempt(actor, "revokeCertificate", Role.OPERATOR, id):
            certificate = self._store.certificate(actor.tenant, id)
            now = self._clock()
            if certificate.revoked_at or certificate.not_after <= now:
                raise Conflict(f"certificate {id!r} is {certificate.status(now)} already")
            account = self._valid_account(actor, certificate.account_id)
            try:
                self._authorities.client(account).revoke_certificate(keys.leaf_der(certificate.chain), reason)
            except CaProblem as error:
                if error.code != "alreadyRevoked":
                    raise
            revoked = replace(certificate, revoked_at=now)
            event = events.CertificateRevoked(subject_id=id, reason=reason.name)
            return self._store.save(certificate, revoked, events=[event], actor=actor)

    def export_private_key(self, actor: Actor, certificate_id: str) -> str:
        """The PEM of a certificate's key. Raises Conflict where the key is not ours."""
        with self._audit.attempt(actor, "exportPrivateKey", Role.OPERATOR, certificate_id):
            certificate = self._store.certificate(actor.tenant, certificate_id)
            if certificate.sealed_key is None:
                raise Conflict(f"the key of certificate {certificate_id!r} is not kept here: its CSR was brought along")
            context = seal_context(certificate.tenant, certificate.order_id)
            key = self._sealer.open(certificate.sealed_key, context).decode()
            self._store.commit(events=[events.PrivateKeyExported(subject_id=certificate_id)], actor=actor)
            return key

    # Inner workings

    def _once(
        self,
        actor: Actor,
        idempotency: Idempotency | None,
        find: Callable[[str, str], T],
        make: Callable[[], T],
    ) -> tuple[T, bool]:
        """What `make` commits, and True; or what an earlier call with the same idempotency key made, and False."""
        try:
            self._store.repeated(actor.tenant, idempotency)
            return make(), True
        except Repeated as repeated:
            try:
                return find(actor.tenant, repeated.id), False
            except NotFound:
                raise Conflict(
                    "the first call with this idempotencyKey was refused by the CA; take a new key to try again",
                    field="idempotencyKey",
                ) from repeated

    def _valid_account(self, actor: Actor, id: str, field: str | None = None) -> Account:
        account = self._store.account(actor.tenant, id)
        if account.status is not AccountStatus.VALID:
            raise Conflict(f"account {id!r} is {account.status}; it must be valid", field=field)
        return account

    def _check_profile(self, account: Account, profile: str | None) -> None:
        from certwright.ca.problems import CaUnavailable

        if profile is None:
            return
        try:
            offered = self._authorities.ca(account.acme_server).directory().profiles
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
        if order.status is not OrderStatus.PENDING or seen is None or self._clock() - seen < fresh:
            return order
        try:
            refreshed = self._steps().refresh(order)
        except (CaError, Conflict):
            return self._store.order(order.tenant, order.id)
        if refreshed.status is OrderStatus.READY:
            self._wake(refreshed)
        return refreshed


def _check_directory(directory: "Directory", agreed: bool, binding: ExternalAccountBinding | None) -> None:
    """What the CA's own directory demands of a new account (RFC 8555 §7.1.1), and that a binding is usable."""
    from certwright.ca.client import check_binding

    if binding is not None:
        check_binding(binding.key_id, binding.hmac_key)
    if directory.terms_of_service and not agreed:
        raise InvalidInput(
            f"the CA's terms of service must be agreed to: read {directory.terms_of_service} "
            "and set termsOfServiceAgreed to true",
            field="termsOfServiceAgreed",
        )
    if directory.external_account_required and binding is None:
        raise InvalidInput(
            "the CA wants an external account binding: get a key id and an HMAC key from it "
            "and give them as externalAccountBinding",
            field="externalAccountBinding",
        )


def _idempotency(operation: str, key: str | None, given: object) -> Idempotency | None:
    if key is None:
        return None
    if not 1 <= len(key) <= 200:
        raise InvalidInput("idempotencyKey must have 1 to 200 characters", field="idempotencyKey")
    return Idempotency(operation, key, hashlib.sha256(json.dumps(given).encode()).hexdigest())


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
