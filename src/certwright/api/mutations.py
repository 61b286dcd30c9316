"""Mutations: each calls one use case of the service."""

from typing import Annotated

import strawberry
from strawberry import ID

from certwright import model
from certwright.accounts import ExternalAccountBinding
from certwright.api.context import Info
from certwright.api.providers import ProviderMutations
from certwright.api.types import Account, Certificate, Challenge, Order
from certwright.orders import OrderOptions


@strawberry.input
class ExternalAccountBindingInput:
    key_id: str
    hmac_key: str


@strawberry.input
class CreateAccountInput:
    email: str
    acme_server: str = strawberry.field(description="The directory URL of the ACME server, e.g. Let's Encrypt staging.")
    contact: list[str] | None = strawberry.field(default=None, description="Further contact URIs (mailto:…).")
    terms_of_service_agreed: bool = strawberry.field(
        default=False, description="Must be true where the directory names terms of service."
    )
    external_account_binding: ExternalAccountBindingInput | None = None
    idempotency_key: str | None = strawberry.field(
        default=None, description="A repeat with the same key answers with the first result."
    )


@strawberry.input
class ImportAccountInput:
    acme_server: str
    private_key: str = strawberry.field(description="PEM, or the JWK that certbot keeps as private_key.json.")
    email: str | None = strawberry.field(
        default=None, description="Needed where the CA does not tell the account's contacts."
    )


@strawberry.input
class CreateOrderInput:
    account_id: ID
    domains: list[str] = strawberry.field(
        description="A list, or one comma-separated string (GraphQL coerces a single value to a list)."
    )
    profile: str | None = None
    csr: str | None = strawberry.field(
        default=None, description="PEM. Without it we make the key pair and keep the key sealed."
    )
    key_type: model.KeyType | None = model.KeyType.EC_P256
    reuse_key: bool | None = strawberry.field(default=False, description="Renewals use the same key again.")
    preferred_chain: str | None = strawberry.field(
        default=None, description="Common name of an issuer: of several chains the CA has, take the one with it."
    )
    fallback_account_ids: list[ID] | None = strawberry.field(
        default=None, description="Accounts to go on with, in this order, where the CA is down, limits, or fails."
    )
    solver: ID | None = strawberry.field(
        default=None,
        description="A challenge provider's id: it answers every challenge. `manual`: you do. Left out, each name is "
        "answered by the provider that serves the longest zone of it, and by you where there is none.",
    )
    idempotency_key: str | None = None


@strawberry.type
class Mutation(ProviderMutations):
    @strawberry.mutation(description="Registers an account with the ACME server.")
    async def create_account(self, info: Info, input: CreateAccountInput) -> Account:
        context, binding = info.context, input.external_account_binding
        account = await context.act(
            context.api.service.accounts.create,
            context.actor,
            email=input.email,
            acme_server=input.acme_server,
            contact=input.contact or (),
            terms_of_service_agreed=input.terms_of_service_agreed,
            binding=ExternalAccountBinding(binding.key_id, binding.hmac_key) if binding else None,
            idempotency_key=input.idempotency_key,
        )
        return Account.of(account)

    @strawberry.mutation
    async def update_account(
        self, info: Info, id: ID, email: str | None = None, contact: list[str] | None = None
    ) -> Account:
        context = info.context
        update = context.api.service.accounts.update
        return Account.of(await context.act(update, context.actor, id, email=email, contact=contact))

    @strawberry.mutation(description="Takes over an account that the CA has already, such as certbot's, by its key.")
    async def import_account(self, info: Info, input: ImportAccountInput) -> Account:
        context = info.context
        account = await context.act(
            context.api.service.account_keys.import_account,
            context.actor,
            acme_server=input.acme_server,
            private_key=input.private_key,
            email=input.email,
        )
        return Account.of(account)

    @strawberry.mutation(description="Gives the account a new key (RFC 8555 §7.3.5); its URL and orders stay.")
    async def rollover_account_key(self, info: Info, id: ID) -> Account:
        context = info.context
        return Account.of(await context.act(context.api.service.account_keys.roll_over, context.actor, id))

    @strawberry.mutation
    async def deactivate_account(self, info: Info, id: ID) -> Account:
        context = info.context
        return Account.of(await context.act(context.api.service.accounts.deactivate, context.actor, id))

    @strawberry.mutation(description="Orders one certificate for all the names.")
    async def create_order(self, info: Info, input: CreateOrderInput) -> Order:
        context = info.context
        order = await context.act(
            context.api.service.orders.create,
            context.actor,
            account_id=input.account_id,
            domains=input.domains,
            options=OrderOptions(
                profile=input.profile,
                csr=input.csr,
                key_type=input.key_type or model.KeyType.EC_P256,
                reuse_key=input.reuse_key or False,
                preferred_chain=input.preferred_chain,
                fallbacks=tuple(input.fallback_account_ids or ()),
                solver=input.solver,
            ),
            idempotency_key=input.idempotency_key,
        )
        return Order.of(order)

    @strawberry.mutation(description="Tells the CA that what `preparation` asks for is in place.")
    async def respond_challenge(self, info: Info, id: ID) -> Challenge:
        context = info.context
        respond = context.api.service.orders.respond_challenge
        order, authorization, challenge = await context.act(respond, context.actor, id)
        account = await context.read(context.api.reader.account, context.actor, order.account_id)
        return Challenge.of(order, authorization, challenge, account)

    @strawberry.mutation
    async def cancel_order(
        self,
        info: Info,
        id: ID,
        deactivate_authorizations: Annotated[
            bool, strawberry.argument(description="Give up what is pending at the CA too (RFC 8555 §7.5.2).")
        ] = False,
    ) -> Order:
        context = info.context
        cancel = context.api.service.orders.cancel
        return Order.of(
            await context.act(cancel, context.actor, id, deactivate_authorizations=deactivate_authorizations)
        )

    @strawberry.mutation(
        description="Renews now what would be renewed later by itself; an order that does so already is given as it is."
    )
    async def renew_certificate(self, info: Info, id: ID) -> Order:
        context = info.context
        return Order.of(await context.act(context.api.service.certificates.renew, context.actor, id))

    @strawberry.mutation
    async def revoke_certificate(
        self,
        info: Info,
        id: ID,
        reason: model.RevocationReason | None = model.RevocationReason.UNSPECIFIED,
        by_certificate_key: Annotated[
            bool, strawberry.argument(description="Sign with the certificate's own key; the account is not needed.")
        ] = False,
    ) -> Certificate:
        context = info.context
        certificate = await context.act(
            context.api.service.certificates.revoke,
            context.actor,
            id,
            reason or model.RevocationReason.UNSPECIFIED,
            by_certificate_key=by_certificate_key,
        )
        return Certificate.of(certificate, context.api.reader.clock())

    @strawberry.mutation(description="The private key, once more, for an operator; audited.")
    async def export_private_key(self, info: Info, certificate_id: ID) -> str:
        context = info.context
        return await context.act(context.api.service.certificates.export_private_key, context.actor, certificate_id)

    @strawberry.mutation(
        description="The private key with the whole chain, a PKCS#12 file in base64; audited as an export of the key."
    )
    async def export_pkcs12(
        self,
        info: Info,
        certificate_id: ID,
        password: Annotated[str, strawberry.argument(description="8 to 200 printable ASCII characters.")],
    ) -> str:
        context = info.context
        export = context.api.service.certificates.export_pkcs12
        return await context.act(export, context.actor, certificate_id, password)
