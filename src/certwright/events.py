"""Past-tense facts. One is written with every change, in the same transaction, and read three times: as the audit
record, as what moves subscriptions, and as a message to other systems.

A fact is a frozen dataclass whose fields hold no secret. Stored, it is a `Record`, chained by hash to the record before
it about the same subject.
"""

import dataclasses
import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, TypeVar, dataclass_transform

from certwright.model import Actor


class Outcome(enum.StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DENIED = "denied"


F = TypeVar("F")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def fact(cls: type[F]) -> type[F]:
    """A frozen dataclass that compares and looks as Event says.

    There are dozens, and a function that starts waits for each of them: half of that would be for what dataclass writes
    anew for every single one, the text for those without a docstring included.
    """
    cls.__doc__ = cls.__doc__ or cls.__name__
    return dataclass(frozen=True, kw_only=True, repr=False, eq=False)(cls)


@fact
class Event:
    """A fact about `subject_id`; None where it concerns the tenant only."""

    subject_id: str | None = None
    outcome: ClassVar[Outcome] = Outcome.SUCCEEDED

    @property
    def type(self) -> str:
        return type(self).__name__

    @property
    def facts(self) -> dict[str, Any]:
        """The fields beyond the subject, JSON-able."""
        facts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "subject_id"}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in facts.items()}

    @property
    def detail(self) -> str | None:
        """The facts in a line for people."""
        told = [f"{k.replace('_', ' ')}: {_told(v)}" for k, v in self.facts.items() if v not in (None, "", [])]
        return "; ".join(told) or None

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.type, *vars(self).values()))

    def __repr__(self) -> str:
        return f"{self.type}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def _told(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@fact
class AccountCreated(Event):
    email: str
    acme_server: str
    key_thumbprint: str


@fact
class AccountRegistered(Event):
    url: str


@fact
class AccountRefused(Event):
    """The CA will not have this account; what was recorded of it is removed with this event."""

    problem: str
    outcome = Outcome.FAILED


@fact
class AccountDelayed(Event):
    problem: str
    until: str
    outcome = Outcome.FAILED


@fact
class AccountForgotten(Event):
    """The test CA started empty; the account is registered there anew, with the same key."""


@fact
class AccountUpdated(Event):
    contact: tuple[str, ...]


@fact
class AccountImported(Event):
    """An account that another client made, found at the CA by its key."""

    email: str
    acme_server: str
    key_thumbprint: str
    url: str


@fact
class KeyRolloverBegun(Event):
    """The next key of an account is made and stored; the CA hears of it now."""

    next_thumbprint: str


@fact
class KeyRolledOver(Event):
    """The CA knows the account by its new key from now on."""

    key_thumbprint: str


@fact
class KeyRolloverRefused(Event):
    """The CA will not change the key; the account keeps the one that it has."""

    problem: str
    outcome = Outcome.FAILED


@fact
class AccountDeactivated(Event):
    pass


@fact
class OrderEvent(Event):
    account_id: str


@fact
class OrderCreated(OrderEvent):
    domains: tuple[str, ...]
    profile: str | None = None


@fact
class OrderPlaced(OrderEvent):
    """The CA accepted the order and said what it wants to see."""

    url: str


@fact
class ChallengeEvent(OrderEvent):
    challenge_id: str
    identifier: str
    challenge_type: str


@fact
class ChallengesViewed(OrderEvent):
    pass


@fact
class ChallengeResponded(ChallengeEvent):
    pass


@fact
class ChallengeValidated(ChallengeEvent):
    pass


@fact
class ChallengeFailed(ChallengeEvent):
    problem: str
    outcome = Outcome.FAILED


@fact
class PresentationEvent(OrderEvent):
    """What a provider did for a challenge; `record` is the name of the TXT record, or the URL of the file."""

    challenge_id: str
    provider_id: str
    record: str


@fact
class ChallengePresented(PresentationEvent):
    pass


@fact
class ChallengePresentationFailed(PresentationEvent):
    problem: str
    outcome = Outcome.FAILED


@fact
class ChallengeCleanedUp(PresentationEvent):
    pass


@fact
class ChallengeLeftBehind(PresentationEvent):
    """Its clean-up failed for so long that it is given up: somebody has to remove the value from the record."""

    value: str
    problem: str
    outcome = Outcome.FAILED


@fact
class OrderReady(OrderEvent):
    pass


@fact
class OrderFinalized(OrderEvent):
    """The CA has the CSR and is issuing."""


@fact
class OrderDelayed(OrderEvent):
    """The CA could not be asked, or asked us to wait; the order goes on by itself at `until`."""

    problem: str
    until: str
    outcome = Outcome.FAILED


@fact
class OrderRedirected(OrderEvent):
    """The CA failed, for no reason of the user's; the order goes on with a fallback account, at its CA."""

    acme_server: str
    from_account_id: str
    problem: str


@fact
class OrderFailed(OrderEvent):
    problem: str
    outcome = Outcome.FAILED


@fact
class OrderCancelled(OrderEvent):
    pass


@fact
class OrderFulfilled(OrderEvent):
    """The order is valid and its certificate is stored."""

    certificate_id: str


@fact
class CertificateIssued(Event):
    order_id: str
    names: tuple[str, ...]
    serial: str
    not_after: str


@fact
class RenewalScheduled(Event):
    """The CA's suggestion changed when the certificate is renewed."""

    at: str
    source: str
    explanation_url: str | None = None


@fact
class RenewalStarted(Event):
    """An order was made that renews the certificate."""

    order_id: str


@fact
class RenewalNeedsAttention(Event):
    """The order that renews the certificate waits for its user to answer its challenges."""

    order_id: str
    names: tuple[str, ...]
    not_after: str


@fact
class RenewalFailed(Event):
    """An attempt to renew failed, or was cancelled; the next comes by itself at `next_attempt`."""

    problem: str
    next_attempt: str
    order_id: str | None = None
    outcome = Outcome.FAILED


@fact
class RenewalAbandoned(Event):
    """The certificate is not renewed any more."""

    reason: str
    outcome = Outcome.FAILED


@fact
class CertificateReplaced(Event):
    """It was renewed: `replaced_by` is the certificate that is to be used in its place."""

    replaced_by: str


@fact
class CertificateExpiring(Event):
    """A quarter, an eighth or a twenty-fourth of its life is left: `remaining` is what is, in seconds."""

    names: tuple[str, ...]
    remaining: int
    not_after: str


@fact
class CertificateExpired(Event):
    names: tuple[str, ...]
    not_after: str


@fact
class CertificateRevoked(Event):
    reason: str


@fact
class PrivateKeyExported(Event):
    pass


@fact
class ProviderCreated(Event):
    name: str
    kind: str
    zones: tuple[str, ...]


@fact
class ProviderUpdated(Event):
    """`settings` are the names of those that were given anew."""

    name: str
    zones: tuple[str, ...]
    settings: tuple[str, ...] = ()


@fact
class ProviderDeleted(Event):
    name: str


@fact
class ProviderTested(Event):
    """A record was presented, looked for and cleaned up; `visible` says whether every server had it."""

    record: str
    visible: bool


@fact
class TokenCreated(Event):
    name: str
    role: str


@fact
class TokenRevoked(Event):
    name: str


@fact
class SignInRefused(Event):
    """`suppressed` counts the refusals of the same source that were not written one by one."""

    reason: str
    suppressed: int = 0
    outcome = Outcome.DENIED


@fact
class OperationDenied(Event):
    operation: str
    reason: str
    outcome = Outcome.DENIED


@fact
class OperationFailed(Event):
    operation: str
    code: str
    reason: str
    outcome = Outcome.FAILED


@dataclass(frozen=True)
class Record:
    """An event as stored: who, when, and its place in the chain of its subject.

    `sequence` counts from 1 within the chain; `hash` is the hex SHA-256 over everything else, `previous_hash` included.
    """

    id: str
    tenant: str
    at: datetime
    type: str
    actor: str
    outcome: Outcome
    sequence: int
    hash: str
    subject_id: str | None = None
    detail: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    request_id: str | None = None
    source_ip: str | None = None
    previous_hash: str | None = None


def record(event: Event, actor: Actor, *, id: str, at: datetime, previous: Record | None) -> Record:
    """The record of an event that follows `previous` in its chain."""
    unsealed = Record(
        id=id,
        tenant=actor.tenant,
        at=at,
        type=event.type,
        actor=actor.name,
        outcome=event.outcome,
        sequence=previous.sequence + 1 if previous else 1,
        hash="",
        subject_id=event.subject_id,
        detail=event.detail,
        facts=event.facts,
        request_id=actor.request_id,
        source_ip=actor.source_ip,
        previous_hash=previous.hash if previous else None,
    )
    return dataclasses.replace(unsealed, hash=digest(unsealed))


def digest(record: Record) -> str:
    """The hash that a record must carry: SHA-256 over its other fields as canonical JSON."""
    content = {f.name: getattr(record, f.name) for f in dataclasses.fields(record) if f.name != "hash"}
    content["at"] = record.at.isoformat()
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
