"""The model as GraphQL shows it. Views are made from model values by their `of`; related objects are loaded later."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import strawberry
from strawberry import ID, Private

from certwright import events, model
from certwright.api.context import Info
from certwright.api.pages import Connection
from certwright.api.problem import Problem
from certwright.api.providers import Presentation
from certwright.api.rates import Delay
from certwright.ca.presets import Preset
from certwright.challenges import preparation
from certwright.reading import Dashboard as DashboardData

if TYPE_CHECKING:
    from certwright.ca.resources import Directory as DirectoryData
    from certwright.identifiers import Check

T = TypeVar("T")

strawberry.enum(model.AccountStatus, description="PENDING: recorded here, not yet confirmed by the CA.")
strawberry.enum(model.OrderStatus, description="NEW: recorded here, not yet accepted by the CA.")
for plain in (model.ChallengeStatus, model.CertificateStatus, model.KeyType, model.Role, model.RevocationReason):
    strawberry.enum(plain)
strawberry.enum(events.Outcome, name="AuditOutcome")


@strawberry.type
class Viewer:
    name: str
    role: model.Role
    tenant: str


@strawberry.type
class AcmeServer:
    name: str
    url: str
    staging: bool
    external_account_required: bool

    @classmethod
    def of(cls, preset: Preset) -> "AcmeServer":
        return cls(
            name=preset.name,
            url=preset.url,
            staging=preset.staging,
            external_account_required=preset.external_account_required,
        )


@strawberry.type(description="What an ACME server says of itself (RFC 8555 §7.1.1).")
class AcmeDirectory:
    url: str
    terms_of_service: str | None = strawberry.field(description="Where they are to be read, where there are any.")
    website: str | None
    external_account_required: bool
    profiles: list["AcmeProfile"]

    @classmethod
    def of(cls, url: str, directory: "DirectoryData") -> "AcmeDirectory":
        return cls(
            url=url,
            terms_of_service=directory.terms_of_service,
            website=directory.website,
            external_account_required=directory.external_account_required,
            profiles=[AcmeProfile(name=name, description=text) for name, text in directory.profiles.items()],
        )


@strawberry.type(description="A kind of certificate that the server issues: what `CreateOrderInput.profile` may be.")
class AcmeProfile:
    name: str
    description: str


@strawberry.type
class DomainCheck:
    given: str
    name: str | None = strawberry.field(description="As it would be ordered: lower case, A-labels; null for no name.")
    problem: str | None = strawberry.field(
        description='What is wrong and what would be right, as what is said of `given`: "has no dot: …".'
    )

    @classmethod
    def of(cls, check: "Check") -> "DomainCheck":
        return cls(given=check.given, name=check.name, problem=check.problem)


@strawberry.type(description="http-01: serve `content` at `url`.")
class HttpFile:
    url: str
    path: str
    content: str


@strawberry.type(description="dns-01: publish this record; keep other values of the same name.")
class DnsRecord:
    name: str
    type: str
    value: str
    ttl: int


ChallengePreparation = Annotated[HttpFile | DnsRecord, strawberry.union("ChallengePreparation")]


@strawberry.type
class Challenge:
    id: ID
    order_id: ID
    identifier: str
    wildcard: bool
    type: str = strawberry.field(description="http-01, dns-01, or whatever the CA offers.")
    status: model.ChallengeStatus
    error: Problem | None
    validated_at: datetime | None
    solver: ID | None = strawberry.field(
        description="The provider by which Certwright responded itself; none where the user does."
    )
    preparation: ChallengePreparation | None

    @classmethod
    def of(
        cls,
        order: model.Order,
        authorization: model.Authorization,
        challenge: model.Challenge,
        account: model.Account,
    ) -> "Challenge":
        return cls(
            id=ID(challenge.id),
            order_id=ID(order.id),
            identifier=authorization.identifier,
            wildcard=authorization.wildcard,
            type=challenge.type,
            status=challenge.status,
            error=Problem.of(challenge.error) if challenge.error else None,
            validated_at=challenge.validated_at,
            solver=None if challenge.solver is None else ID(challenge.solver),
            preparation=_preparation(
                preparation.prepare(authorization, challenge, account.key_thumbprint, account.url)
            ),
        )


def _preparation(prepared: preparation.HttpFile | preparation.DnsRecord | None) -> HttpFile | DnsRecord | None:
    if isinstance(prepared, preparation.HttpFile):
        return HttpFile(url=prepared.url, path=prepared.path, content=prepared.content)
    if isinstance(prepared, preparation.DnsRecord):
        return DnsRecord(name=prepared.name, type=prepared.type, value=prepared.value, ttl=prepared.ttl)
    return None


@strawberry.type
class Account:
    stored: Private[model.Account]
    id: ID
    email: str
    contact: list[str]
    acme_server: str
    status: model.AccountStatus
    url: str | None = strawberry.field(description="The account URL at the CA.")
    key_thumbprint: str
    created_at: datetime

    @strawberry.field
    async def orders(self, info: Info, first: int | None = 20, after: str | None = None) -> "Connection[Order]":
        context = info.context
        page = await context.read(
            context.api.reader.orders, context.actor, first=first, after=after, account_id=self.id
        )
        return Connection.of(page, Order.of, after)

    @classmethod
    def of(cls, account: model.Account) -> "Account":
        return cls(
            stored=account,
            id=ID(account.id),
            email=account.email,
            contact=list(account.contact),
            acme_server=account.acme_server,
            status=account.status,
            url=account.url,
            key_thumbprint=account.key_thumbprint,
            created_at=account.created_at,
        )


@strawberry.type(description="A CA that was tried before the present one, and why the order went on elsewhere.")
class OrderAttempt:
    stored: Private[model.Attempt]
    acme_server: str
    problem: Problem
    at: datetime

    @strawberry.field
    async def account(self, info: Info) -> Account:
        return Account.of(_present(await info.context.accounts.load(self.stored.account_id)))

    @classmethod
    def of(cls, attempt: model.Attempt) -> "OrderAttempt":
        problem = Problem.of(attempt.problem)
        return cls(stored=attempt, acme_server=attempt.acme_server, problem=problem, at=attempt.at)


@strawberry.type
class Order:
    stored: Private[model.Order]
    id: ID
    domains: list[str]
    status: model.OrderStatus
    profile: str | None
    expires: datetime | None = strawberry.field(description="The order's own expiry, not the certificate's.")
    error: Problem | None
    delay: Delay | None = strawberry.field(description="What the order waits for, where the CA cannot go on now.")
    attempts: list[OrderAttempt] = strawberry.field(description="CAs that were tried before the present one.")
    solver: str | None = strawberry.field(
        description="The provider that answers all challenges, or `manual`; none: each name's own is found by its zone."
    )
    presentations: list[Presentation] = strawberry.field(
        description="What providers have in place for its challenges at the moment."
    )
    advice: list["Advice"] = strawberry.field(description="What may keep the CA from issuing, seen beforehand.")
    created_at: datetime
    updated_at: datetime

    @strawberry.field
    async def account(self, info: Info) -> Account:
        account = await info.context.accounts.load(self.stored.account_id)
        return Account.of(_present(account))

    @strawberry.field(description="As last seen. Asking for a `preparation` is a viewing, and audited as one.")
    async def challenges(self, info: Info) -> list[Challenge]:
        context = info.context
        account = _present(await context.accounts.load(self.stored.account_id))
        if self.stored.challenges and selects(info, "preparation"):
            await context.act(context.api.service.orders.note_view, context.actor, self.stored)
        return challenges_of(self.stored, account)

    @strawberry.field
    async def certificate(self, info: Info) -> "Certificate | None":
        return await _certificate(info, self.stored.certificate_id)

    @strawberry.field(description="Accounts to go on with, in this order, where the CA fails.")
    async def fallbacks(self, info: Info) -> list[Account]:
        found = await info.context.accounts.load_many(self.stored.fallbacks)
        return [Account.of(_present(account)) for account in found]

    @strawberry.field(description="The certificate that this order renews.")
    async def replaces(self, info: Info) -> "Certificate | None":
        return await _certificate(info, self.stored.replaces)

    @classmethod
    def of(cls, order: model.Order) -> "Order":
        return cls(
            stored=order,
            id=ID(order.id),
            domains=list(order.domains),
            status=order.status,
            profile=order.profile,
            expires=order.expires,
            error=Problem.of(order.error) if order.error else None,
            delay=Delay.of(order.delay) if order.delay else None,
            attempts=[OrderAttempt.of(attempt) for attempt in order.attempts],
            solver=order.solver,
            presentations=[Presentation.of(p) for p in order.presentations],
            advice=[Advice(code=a.code, message=a.message, identifier=a.identifier) for a in order.advice],
            created_at=order.created_at,
            updated_at=order.updated_at,
        )


@strawberry.type
class Advice:
    code: str
    message: str
    identifier: str | None


def challenges_of(order: model.Order, account: model.Account) -> list[Challenge]:
    return [Challenge.of(order, a, c, account) for a, c in order.challenges]


@strawberry.type(description="When a certificate is to be renewed. `at` never comes after a third of its life is left.")
class Renewal:
    stored: Private[model.Renewal]
    at: datetime
    source: str = strawberry.field(
        description="ari: from the CA's window. lifetime: a time of our own. retry: after an attempt that failed."
    )
    window_start: datetime | None = strawberry.field(description="The window that the CA suggests (RFC 9773).")
    window_end: datetime | None
    explanation_url: str | None = strawberry.field(description="Why the CA suggests it, on a page of the CA.")
    attempts: int = strawberry.field(description="How many failed.")

    @strawberry.field(description="The order that renews the certificate now.")
    async def order(self, info: Info) -> Order | None:
        if self.stored.order_id is None:
            return None
        return Order.of(_present(await info.context.orders.load(self.stored.order_id)))

    @classmethod
    def of(cls, renewal: model.Renewal) -> "Renewal":
        return cls(
            stored=renewal,
            at=renewal.at,
            source=renewal.source,
            window_start=renewal.window_start,
            window_end=renewal.window_end,
            explanation_url=renewal.explanation_url,
            attempts=renewal.attempts,
        )


@strawberry.type
class Certificate:
    stored: Private[model.Certificate]
    id: ID
    names: list[str]
    serial: str
    issuer: str
    not_before: datetime
    not_after: datetime
    fingerprint_sha256: str
    status: model.CertificateStatus
    chain: str = strawberry.field(description="Leaf first, PEM.")
    alternate_chains: list[str] = strawberry.field(description="The same leaf under other roots, PEM.")
    has_private_key: bool = strawberry.field(description="Whether its private key is kept here, to be exported.")
    revoked_at: datetime | None
    renewal: Renewal | None = strawberry.field(description="None for a certificate that will not be renewed.")

    @strawberry.field
    async def order(self, info: Info) -> Order:
        return Order.of(_present(await info.context.orders.load(self.stored.order_id)))

    @strawberry.field(description="The certificate that this one was made to take the place of.")
    async def replaces(self, info: Info) -> "Certificate | None":
        return await _certificate(info, self.stored.replaces)

    @strawberry.field(description="The certificate to use in the place of this one.")
    async def replaced_by(self, info: Info) -> "Certificate | None":
        return await _certificate(info, self.stored.replaced_by)

    @classmethod
    def of(cls, certificate: model.Certificate, now: datetime) -> "Certificate":
        return cls(
            stored=certificate,
            id=ID(certificate.id),
            names=list(certificate.names),
            serial=certificate.serial,
            issuer=certificate.issuer,
            not_before=certificate.not_before,
            not_after=certificate.not_after,
            fingerprint_sha256=certificate.fingerprint_sha256,
            status=certificate.status(now),
            chain=certificate.chain,
            alternate_chains=list(certificate.alternate_chains),
            has_private_key=certificate.sealed_key is not None,
            revoked_at=certificate.revoked_at,
            renewal=Renewal.of(certificate.renewal) if certificate.renewal else None,
        )


async def _certificate(info: Info, id: str | None) -> Certificate | None:
    if id is None:
        return None
    certificate = await info.context.certificates.load(id)
    return Certificate.of(_present(certificate), info.context.api.reader.clock())


@strawberry.type
class Counts:
    accounts: int
    orders: int
    orders_open: int
    orders_invalid: int
    certificates: int


@strawberry.type
class Dashboard:
    active_accounts: list[Account]
    recent_orders: list[Order]
    counts: Counts

    @strawberry.field(description="Certificates in use, by the times of their renewals: at most ten.")
    async def renewing_next(self, info: Info) -> list[Certificate]:
        context = info.context
        found = await context.read(context.api.reader.renewing_next, context.actor)
        return [Certificate.of(certificate, context.api.reader.clock()) for certificate in found]

    @classmethod
    def of(cls, data: DashboardData) -> "Dashboard":
        counts = data.counts
        return cls(
            active_accounts=[Account.of(account) for account in data.active_accounts],
            recent_orders=[Order.of(order) for order in data.recent_orders],
            counts=Counts(
                accounts=counts.accounts,
                orders=counts.orders,
                orders_open=counts.orders_open,
                orders_invalid=counts.orders_invalid,
                certificates=counts.certificates,
            ),
        )


@strawberry.type
class AuditEvent:
    id: ID
    at: datetime
    type: str
    actor: str
    subject_id: ID | None
    outcome: events.Outcome
    detail: str | None
    request_id: str | None
    source_ip: str | None
    hash: str
    previous_hash: str | None

    @classmethod
    def of(cls, record: events.Record) -> "AuditEvent":
        return cls(
            id=ID(record.id),
            at=record.at,
            type=record.type,
            actor=record.actor,
            subject_id=None if record.subject_id is None else ID(record.subject_id),
            outcome=record.outcome,
            detail=record.detail,
            request_id=record.request_id,
            source_ip=record.source_ip,
            hash=record.hash,
            previous_hash=record.previous_hash,
        )


def _present(value: T | None) -> T:
    """Something that another object refers to: it is never removed, so that its absence is a fault of ours."""
    if value is None:
        raise LookupError("a stored object refers to one that is not there")
    return value


def selects(info: Info, name: str) -> bool:
    """Whether a field below the one being resolved is selected."""
    waiting = list(info.selected_fields)
    while waiting:
        field = waiting.pop()
        if getattr(field, "name", None) == name:
            return True
        waiting.extend(getattr(field, "selections", ()))
    return False
