"""Use cases of account keys: a new key for an account, and accounts that another client made, found by their key."""

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from certwright import events
from certwright.authorities import seal_context
from certwright.desk import Desk
from certwright.errors import Conflict, InvalidInput
from certwright.model import Account, AccountStatus, Actor, OrderStatus, Role

if TYPE_CHECKING:
    from certwright.ca.resources import AccountResource

_HANDOFF = timedelta(minutes=2)
"""Who begins a rollover has this long to end it; after that the worker does."""


class AccountKeys:
    """For administrators. Raises `errors.CertwrightError` and `ca.problems.CaError`. Safe from any thread."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def roll_over(self, actor: Actor, id: str) -> Account:
        """Give an account a new key (RFC 8555 §7.3.5), made, sealed and stored before the CA hears of it.

        A CA that cannot answer now is asked again by itself. Raises Conflict while an order waits for validation: what
        its challenges ask for was made with the old key.
        """
        from certwright import keys

        with self._desk.audit.attempt(actor, "rolloverAccountKey", Role.ADMIN, id):
            account = self._desk.valid_account(actor, id)
            if account.sealed_next_key is None:
                self._refuse_pending_orders(account)
                key = keys.generate_account_key()
                begun = replace(
                    account,
                    sealed_next_key=self._desk.sealer.seal(key, seal_context(actor.tenant, id)),
                    due=self._desk.clock() + _HANDOFF,
                    updated_at=self._desk.clock(),
                )
                event = events.KeyRolloverBegun(subject_id=id, next_thumbprint=keys.thumbprint(key))
                account = self._desk.store.save(account, begun, events=[event], actor=actor)
            return self._desk.steps().accounts.roll_over(account)

    def _refuse_pending_orders(self, account: Account) -> None:
        for status in (OrderStatus.NEW, OrderStatus.PENDING):
            page = self._desk.store.orders(account.tenant, first=1, after=None, account_id=account.id, status=status)
            if page.nodes:
                raise Conflict(
                    f"order {page.nodes[0].id!r} of account {account.id!r} waits for validation, and its challenges "
                    "are bound to the account's present key: let it end, or cancel it, first"
                )

    def import_account(self, actor: Actor, *, acme_server: str, private_key: str, email: str | None = None) -> Account:
        """Take over an account that the CA has already (onlyReturnExisting, RFC 8555 §7.3.1), such as certbot's.

        `private_key` is PEM or a JWK. `email` is needed where the CA does not tell the account's contacts. Raises
        InvalidInput, Conflict where the account is here already, and CaProblem where the CA does not know the key.
        """
        from certwright import keys
        from certwright.ca.client import Client
        from certwright.ca.jws import load_key, read_key

        with self._desk.audit.attempt(actor, "importAccount", Role.ADMIN):
            server, pem = self._desk.authorities.check(acme_server), read_key(private_key)
            thumbprint = keys.thumbprint(pem)
            for known in self._desk.store.every_account(actor.tenant):
                if (known.acme_server, known.key_thumbprint) == (server, thumbprint):
                    raise Conflict(f"the account of this key is here already: {known.id!r}", field="privateKey")
            client = Client(self._desk.authorities.ca(server), load_key(pem))
            client.new_account([], terms_of_service_agreed=False, only_return_existing=True)
            account = self._imported(actor, server, pem, client.fetch_account(), email)
            event = events.AccountImported(
                subject_id=account.id,
                email=account.email,
                acme_server=server,
                key_thumbprint=thumbprint,
                url=account.url or "",
            )
            return self._desk.store.save(None, account, events=[event], actor=actor)

    def _imported(self, actor: Actor, server: str, pem: bytes, found: "AccountResource", email: str | None) -> Account:
        from certwright import identifiers, keys

        if found.status != AccountStatus.VALID:
            raise InvalidInput(
                f"the account is {found.status} at the CA; only a valid one is of use", field="privateKey"
            )
        mailto = [uri for uri in found.contact if uri.startswith("mailto:")]
        given = email or (mailto[0].removeprefix("mailto:") if mailto else None)
        if given is None:
            raise InvalidInput("the CA names no e-mail address for the account: give one", field="email")
        address, id, now = identifiers.parse_email(given, "email"), self._desk.store.new_id(), self._desk.clock()
        return Account(
            id=id,
            tenant=actor.tenant,
            email=address,
            contact=tuple(uri for uri in found.contact if uri != f"mailto:{address}"),
            acme_server=server,
            status=AccountStatus.VALID,
            sealed_key=self._desk.sealer.seal(pem, seal_context(actor.tenant, id)),
            key_thumbprint=keys.thumbprint(pem),
            created_at=now,
            updated_at=now,
            terms_of_service_agreed=True,
            url=found.url,
        )
