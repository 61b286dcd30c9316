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
from typing import Any, ClassVar

from certwright.model import Actor


class Outcome(enum.StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DENIED = "denied"


@dataclass(frozen=True, kw_only=True)
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


def _told(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@dataclass(frozen=True, kw_only=True)
class AccountCreated(Event):
    email: str
    acme_server: str
    key_thumbprint: str


@dataclass(frozen=True, kw_only=True)
class AccountRegistered(Event):
    url: str


@dataclass(frozen=True, kw_only=True)
class AccountRefused(Event):
    """The CA will not have this account; what was recorded of it is removed with this event."""

    problem: str
    outcome = Outcome.FAILED


@dataclass(frozen=True, kw_only=True)
class AccountDelayed(Event):
    problem: str
    until: str
    outcome = Outcome.FAILED


@dataclass(frozen=True, kw_only=True)
class AccountForgotten(Event):
    """The test CA started empty; the account is registered there anew, with the same key."""


@dataclass(frozen=True, kw_only=True)
class AccountUpdated(Event):
    contact: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class AccountDeactivated(Event):
    pass


@dataclass(frozen=True, kw_only=True)
class OrderEvent(Event):
    account_id: str


@dataclass(frozen=True, kw_only=True)
class OrderCreated(OrderEvent):
    domains: tuple[str, ...]
    profile: str | None = None


@dataclass(frozen=True, kw_only=True)
class OrderPlaced(OrderEvent):
    """The CA accepted the order and said what it wants to see."""

    url: str


@dataclass(frozen=True, kw_only=True)
class ChallengeEvent(OrderEvent):
    challenge_id: str
    identifier: str
    challenge_type: str


@dataclass(frozen=True, kw_only=True)
class ChallengesViewed(OrderEvent):
    pass


@dataclass(frozen=True, kw_only=True)
class ChallengeResponded(ChallengeEvent):
    pass


@dataclass(frozen=True, kw_only=True)
class ChallengeValidated(ChallengeEvent):
    pass


@dataclass(frozen=True, kw_only=True)
class ChallengeFailed(ChallengeEvent):
    problem: str
    outcome = Outcome.FAILED


@dataclass(frozen=True, kw_only=True)
class OrderReady(OrderEvent):
    pass


@dataclass(frozen=True, kw_only=True)
class OrderFinalized(OrderEvent):
    """The CA has the CSR and is issuing."""


@dataclass(frozen=True, kw_only=True)
class OrderDelayed(OrderEvent):
    """The CA could not be asked, or asked us to wait; the order goes on by itself at `until`."""

    problem: str
    until: str
    outcome = Outcome.FAILED


@dataclass(frozen=True, kw_only=True)
class OrderFailed(OrderEvent):
    problem: str
    outcome = Outcome.FAILED


@dataclass(frozen=True, kw_only=True)
class OrderCancelled(OrderEvent):
    pass


@dataclass(frozen=True, kw_only=True)
class OrderFulfilled(OrderEvent):
    """The order is valid and its certificate is stored."""

    certificate_id: str


@dataclass(frozen=True, kw_only=True)
class CertificateIssued(Event):
    order_id: str
    names: tuple[str, ...]
    serial: str
    not_after: str


@dataclass(frozen=True, kw_only=True)
class CertificateRevoked(Event):
    reason: str


@dataclass(frozen=True, kw_only=True)
class PrivateKeyExported(Event):
    pass


@dataclass(frozen=True, kw_only=True)
class TokenCreated(Event):
    name: str
    role: str


@dataclass(frozen=True, kw_only=True)
class TokenRevoked(Event):
    name: str


@dataclass(frozen=True, kw_only=True)
class SignInRefused(Event):
    """`suppressed` counts the refusals of the same source that were not written one by one."""

    reason: str
    suppressed: int = 0
    outcome = Outcome.DENIED


@dataclass(frozen=True, kw_only=True)
class OperationDenied(Event):
    operation: str
    reason: str
    outcome = Outcome.DENIED


@dataclass(frozen=True, kw_only=True)
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
