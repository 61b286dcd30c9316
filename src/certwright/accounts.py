"""Use cases of accounts: create, update, deactivate. What concerns their keys alone is in `account_keys`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from certwright import events
from certwright.authorities import seal_context
from certwright.desk import Desk, idempotency_of
from certwright.errors import InvalidInput
from certwright.model import Account, AccountStatus, Actor, Role

if TYPE_CHECKING:
    from certwright.ca.resources import Directory


@dataclass(frozen=True)
class ExternalAccountBinding:
    """RFC 8555 §7.3.4. The HMAC key is a secret, and stays out of every representation."""

    key_id: str
    hmac_key: str

    def __repr__(self) -> str:
        return f"ExternalAccountBinding({self.key_id!r})"


class Accounts:
    """For administrators. Raises `errors.CertwrightError` and `ca.problems.CaError`. Safe from any thread."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def create(
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

        with self._desk.audit.attempt(actor, "createAccount", Role.ADMIN):
            server = self._desk.authorities.check(acme_server)
            email = identifiers.parse_email(email, "email")
            contacts = identifiers.parse_contact(contact)
            given = [email, server, contacts, terms_of_service_agreed, binding and binding.key_id]
            idempotency = idempotency_of("createAccount", idempotency_key, given)

            def make() -> Account:
                _check_directory(self._desk.authorities.ca(server).directory(), terms_of_service_agreed, binding)
                account = self._new_account(actor, email, server, contacts, terms_of_service_agreed, binding)
                created = events.AccountCreated(
                    subject_id=account.id, email=email, acme_server=server, key_thumbprint=account.key_thumbprint
                )
                return self._desk.store.save(None, account, events=[created], actor=actor, idempotency=idempotency)

            account, is_new = self._desk.once(actor, idempotency, self._desk.store.account, make)
            return self._desk.steps().accounts.register(account) if is_new else account

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

        key, id, now = keys.generate_account_key(), self._desk.store.new_id(), self._desk.clock()
        context = seal_context(actor.tenant, id)
        secret = f"{binding.key_id}\n{binding.hmac_key}".encode() if binding else None
        return Account(
            id=id,
            tenant=actor.tenant,
            email=email,
            contact=contact,
            acme_server=server,
            status=AccountStatus.PENDING,
            sealed_key=self._desk.sealer.seal(key, context),
            key_thumbprint=keys.thumbprint(key),
            created_at=now,
            updated_at=now,
            terms_of_service_agreed=terms_of_service_agreed,
            sealed_binding=self._desk.sealer.seal(secret, context) if secret else None,
            due=now + self._desk.handoff,
        )

    def update(
        self, actor: Actor, id: str, *, email: str | None = None, contact: Sequence[str] | None = None
    ) -> Account:
        """Change the contacts, at the CA and here (RFC 8555 §7.3.2)."""
        from certwright import identifiers

        with self._desk.audit.attempt(actor, "updateAccount", Role.ADMIN, id):
            account = self._desk.valid_account(actor, id)
            email = account.email if email is None else identifiers.parse_email(email, "email")
            contacts = account.contact if contact is None else identifiers.parse_contact(contact)
            uris = (f"mailto:{email}", *contacts)
            self._desk.authorities.client(account).update_account(uris)
            updated = replace(account, email=email, contact=contacts, updated_at=self._desk.clock())
            event = events.AccountUpdated(subject_id=id, contact=uris)
            return self._desk.store.save(account, updated, events=[event], actor=actor)

    def deactivate(self, actor: Actor, id: str) -> Account:
        """For ever (RFC 8555 §7.3.6)."""
        from certwright.ca.problems import CaProblem

        with self._desk.audit.attempt(actor, "deactivateAccount", Role.ADMIN, id):
            account = self._desk.valid_account(actor, id)
            try:
                self._desk.authorities.client(account).deactivate_account()
            except CaProblem as error:
                # What an earlier attempt already did, whose answer was lost, the CA refuses to do again.
                if error.code not in ("unauthorized", "accountDoesNotExist"):
                    raise
            updated = replace(account, status=AccountStatus.DEACTIVATED, updated_at=self._desk.clock())
            event = events.AccountDeactivated(subject_id=id)
            return self._desk.store.save(account, updated, events=[event], actor=actor)


def _check_directory(directory: "Directory", agreed: bool, binding: ExternalAccountBinding | None) -> None:
    """What the CA's own directory demands of a new account (RFC 8555 §7.1.1), and that a binding is usable."""
    from certwright.ca.jws import check_binding

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
