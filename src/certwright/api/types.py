"""The model as GraphQL shows it. Views are made from model values by their `of`; related objects are loaded later."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar

import strawberry
from strawberry import ID, Private

from certwright import events, model
from certwright.api.context import Info
from certwright.api.pages import Connection
from certwright.ca.presets import Preset
from certwright.challenges import preparation
from certwright.reading import Dashboard as DashboardData

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


@strawberry.type
class Subproblem:
    identifier: str | None
    type: str
    detail: str | None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Subproblem":
        identifier = document.get("identifier")
        value = identifier.get("value") if isinstance(identifier, Mapping) else None
        problem = model.Problem(document)
        return cls(identifier=None if value is None else str(value), type=problem.type, detail=problem.detail)


@strawberry.type(description="RFC 7807 document from the CA, kept whole.")
class Problem:
    type: str
    detail: str | None
    status: int | None
    instance: str | None
    subproblems: list[Subproblem]

    @classmethod
    def of(cls, problem: model.Problem) -> "Problem":
        return cls(
            type=problem.type,
            detail=problem.detail,
            status=problem.status,
            instance=problem.instance,
            subproblems=[Subproblem.of(s) for s in problem.subproblems],
        )


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
    preparation: ChallengePreparation | None

    @classmethod
    def of(
        cls,
        order: model.Order,
        authorization: model.Authorization,
        challenge: model.Challenge,
        key_thumbprint: str,
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
            preparation=_preparation(preparation.prepare(authorization, challenge, key_thumbprint)),
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


@strawberry.type(description="Why an order waits. It goes on by itself.")
class Delay:
    problem: Problem
    until: datetime
    attempts: int


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
        return challenges_of(self.stored, account.key_thumbprint)

    @strawberry.field
    async def certificate(self, info: Info) -> "Certificate | None":
        if self.stored.certificate_id is None:
            return None
        certificate = await info.context.certificates.load(self.stored.certificate_id)
        return Certificate.of(_present(certificate), info.context.api.reader.clock())

    @classmethod
    def of(cls, order: model.Order) -> "Order":
        delay = order.delay
        return cls(
            stored=order,
            id=ID(order.id),
            domains=list(order.domains),
            status=order.status,
            profile=order.profile,
            expires=order.expires,
            error=Problem.of(order.error) if order.error else None,
            delay=Delay(problem=Problem.of(delay.problem), until=delay.until, attempts=delay.attempts)
            if delay
            else None,
            created_at=order.created_at,
            updated_at=order.updated_at,
        )


def challenges_of(order: model.Order, key_thumbprint: str) -> list[Challenge]:
    return [Challenge.of(order, a, c, key_thumbprint) for a, c in order.challenges]


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
    revoked_at: datetime | None

    @strawberry.field
    async def order(self, info: Info) -> Order:
        return Order.of(_present(await info.context.orders.load(self.stored.order_id)))

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
            revoked_at=certificate.revoked_at,
        )


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
