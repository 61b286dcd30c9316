"""What Certwright keeps, as frozen values. The words are RFC 8555's; a status enum's value is its wire token.

Times are timezone-aware UTC datetimes. Ids are opaque and time-ordered (ULID). `version`, `covered` and `listed_at`
belong to the store: the version that was read, which a commit compares with, the number of the last record committed
with it, and where the due index has it.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class Role(enum.IntEnum):
    """What an actor may do; a higher role may do all that a lower one may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


@dataclass(frozen=True)
class Actor:
    """Who acts: an API token's owner, an OIDC subject, or Certwright itself."""

    name: str
    role: Role
    tenant: str
    request_id: str | None = None
    source_ip: str | None = None


def system(tenant: str) -> Actor:
    """Certwright itself, acting for a tenant."""
    return Actor("certwright", Role.ADMIN, tenant)


@dataclass(frozen=True)
class Session:
    """An actor as signed in by one credential; `expires_at` is when that credential ends, None when it does not.

    `token_id` is the API token's, None for other credentials.
    """

    actor: Actor
    expires_at: datetime | None = None
    token_id: str | None = None


@dataclass(frozen=True)
class Problem:
    """An RFC 7807 problem document as the CA sent it (RFC 8555 §6.7), or as we would have to put a failure of its.

    `document` is kept whole; the properties read from it and tolerate anything that a server may have put there.
    """

    document: Mapping[str, Any]

    @property
    def type(self) -> str:
        return str(self.document.get("type") or "about:blank")

    @property
    def detail(self) -> str | None:
        detail = self.document.get("detail")
        return None if detail is None else str(detail)

    @property
    def status(self) -> int | None:
        status = self.document.get("status")
        return status if isinstance(status, int) else None

    @property
    def instance(self) -> str | None:
        instance = self.document.get("instance")
        return None if instance is None else str(instance)

    @property
    def link(self) -> str | None:
        """Where a person can do away with it: new terms to agree to (RFC 8555 §7.3.3), an account to unpause."""
        found = re.search(r"https://[^\s\"<>]*unpause[^\s\"<>]*", self.detail or "")
        if found:
            return found[0].rstrip(".,;:)")
        return self.instance if self.instance and self.instance.startswith("https://") else None

    @property
    def subproblems(self) -> list[Mapping[str, Any]]:
        subproblems = self.document.get("subproblems")
        return [s for s in subproblems if isinstance(s, Mapping)] if isinstance(subproblems, list) else []


class KeyType(enum.StrEnum):
    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"
    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"


class AccountStatus(enum.StrEnum):
    """RFC 8555 §7.1.6, and `pending` for what is recorded here but not yet confirmed by the CA."""

    PENDING = "pending"
    VALID = "valid"
    DEACTIVATED = "deactivated"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Account:
    """An account at one CA. `sealed_key` and `sealed_binding` (EAB, until it was used) are ciphertexts of a Sealer.

    `sealed_next_key` is the key that the account is changing to, stored before the CA hears of it.
    """

    id: str
    tenant: str
    email: str
    contact: tuple[str, ...]
    acme_server: str
    status: AccountStatus
    sealed_key: str
    key_thumbprint: str
    created_at: datetime
    updated_at: datetime
    terms_of_service_agreed: bool = False
    sealed_binding: str | None = None
    sealed_next_key: str | None = None
    url: str | None = None
    attempts: int = 0
    due: datetime | None = None
    version: int = 0
    covered: int = field(default=0, compare=False)
    listed_at: datetime | None = field(default=None, compare=False)


class OrderStatus(enum.StrEnum):
    """RFC 8555 §7.1.6, and `new` for what is recorded here but not yet accepted by the CA."""

    NEW = "new"
    PENDING = "pending"
    READY = "ready"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"

    @property
    def is_final(self) -> bool:
        return self in (OrderStatus.VALID, OrderStatus.INVALID)


class ChallengeStatus(enum.StrEnum):
    """RFC 8555 §7.1.6."""

    PENDING = "pending"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


class AuthorizationStatus(enum.StrEnum):
    """RFC 8555 §7.1.6."""

    PENDING = "pending"
    VALID = "valid"
    INVALID = "invalid"
    DEACTIVATED = "deactivated"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Challenge:
    """One way to prove control (RFC 8555 §8). `responded` says that the user asked for validation.

    `sent` says that the CA was told. `token` is None for challenge types that have none; unknown types are kept.
    `issuers` are the names that a dns-persist-01 record may call the CA by.
    `solver` is the id of the provider by which Certwright itself responded, None where the user did.
    """

    id: str
    type: str
    url: str
    status: ChallengeStatus
    token: str | None = None
    error: Problem | None = None
    validated_at: datetime | None = None
    responded: bool = False
    sent: bool = False
    issuers: tuple[str, ...] = ()
    solver: str | None = None


@dataclass(frozen=True)
class Authorization:
    """RFC 8555 §7.1.4. `identifier` has no `*.`; `fetched` is False while only the URL is known."""

    url: str
    identifier: str = ""
    wildcard: bool = False
    status: AuthorizationStatus = AuthorizationStatus.PENDING
    expires: datetime | None = None
    challenges: tuple[Challenge, ...] = ()
    fetched: bool = True


@dataclass(frozen=True)
class Limited:
    """A CA's rate limit that is used up: its name, what it is counted for, and `most` in `window` seconds."""

    name: str
    subject: str
    most: int
    window: int


@dataclass(frozen=True)
class Delay:
    """Why an order waits, until when, and how often it was tried in vain, `since` when.

    `limit` is what it waits for where its CA was not asked at all, as it would have refused.
    """

    problem: Problem
    until: datetime
    attempts: int
    since: datetime | None = None
    limit: Limited | None = None


@dataclass(frozen=True)
class NameServer:
    """What one authoritative server answers for a record that was presented; `answer` is for people.

    `answered` is False where there was no answer at all, and `answer` says why.
    """

    name: str
    address: str
    agrees: bool
    answer: str | None = None
    answered: bool = True


class PresentationState(enum.StrEnum):
    """`planned` is written down before the provider is called: from then on the record is cleaned up in any case.

    `removing`: a clean-up failed, and is tried again.
    """

    PLANNED = "planned"
    PRESENTED = "presented"
    VISIBLE = "visible"
    REMOVING = "removing"


@dataclass(frozen=True)
class Presentation:
    """What a provider was told to put in place for a challenge, until it is cleaned up.

    `record` is the name that is written, after delegation by CNAME was followed; `servers` is what the zone's own
    servers said when they were last asked. It is in its state `since` then; `attempts` counts the vain ones in it,
    `problem` tells of the last, and `due` is when the next one is to be made.
    """

    challenge_id: str
    provider_id: str
    record: str
    value: str
    state: PresentationState
    since: datetime
    attempts: int = 0
    problem: Problem | None = None
    servers: tuple[NameServer, ...] = ()
    due: datetime | None = None


@dataclass(frozen=True)
class Advice:
    """Something that may keep the CA from issuing, seen beforehand. It never blocks; `code` is stable."""

    code: str
    message: str
    identifier: str | None = None


@dataclass(frozen=True)
class Attempt:
    """An account's CA that was tried for an order before the present one, and why the order went on elsewhere."""

    account_id: str
    acme_server: str
    problem: Problem
    at: datetime


@dataclass(frozen=True)
class Order:
    """One certificate asked for, from the request to its end (RFC 8555 §7.1.3).

    `csr` is PEM; `sealed_key` is None where the user brought the CSR. Both are kept before the CA hears of the order.
    `expires` is the order's own expiry, not the certificate's. `fetched_at` is when its authorizations were last looked
    at. `replaces` is the id of the certificate that this order renews. `solver` is the id of the provider that answers
    every challenge, `manual` where the user does, None where each name's own is found by its zone. `fallbacks` are
    accounts to go on with, in this order, where the CA fails; `attempts` tells of those that did. `counted_at` is when
    it was counted against its CA's rate limits. `preferred_chain` is the common name of a root or intermediate.
    `due` is when a worker should look at it next.
    """

    id: str
    tenant: str
    account_id: str
    acme_server: str
    domains: tuple[str, ...]
    status: OrderStatus
    csr: str
    created_at: datetime
    updated_at: datetime
    key_type: KeyType = KeyType.EC_P256
    profile: str | None = None
    sealed_key: str | None = None
    url: str | None = None
    finalize_url: str | None = None
    certificate_url: str | None = None
    expires: datetime | None = None
    authorizations: tuple[Authorization, ...] = ()
    fetched_at: datetime | None = None
    error: Problem | None = None
    delay: Delay | None = None
    certificate_id: str | None = None
    replaces: str | None = None
    solver: str | None = None
    presentations: tuple[Presentation, ...] = ()
    advice: tuple[Advice, ...] = ()
    fallbacks: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    preferred_chain: str | None = None
    reuse_key: bool = False
    counted_at: datetime | None = None
    due: datetime | None = None
    version: int = 0
    covered: int = field(default=0, compare=False)
    listed_at: datetime | None = field(default=None, compare=False)

    @property
    def challenges(self) -> list[tuple[Authorization, Challenge]]:
        return [(a, c) for a in self.authorizations for c in a.challenges]


class CertificateStatus(enum.StrEnum):
    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"
    REPLACED = "replaced"


@dataclass(frozen=True)
class Renewal:
    """When a certificate is to be renewed, and why then.

    `source` is `ari` (the CA's suggested window, RFC 9773 §4.2), `lifetime` (the backstop) or `retry` (an attempt
    failed). `not_before` is when the certificate is old enough to be renewed by itself. `check_at` is when the CA is
    asked for its window again; while the order `order_id` renews it, when to see whether that waits for its user.
    """

    at: datetime
    source: str
    not_before: datetime | None = None
    window_start: datetime | None = None
    window_end: datetime | None = None
    explanation_url: str | None = None
    check_at: datetime | None = None
    attempts: int = 0
    order_id: str | None = None


@dataclass(frozen=True)
class Certificate:
    """One issued chain, PEM, leaf first. What may change is what lies ahead of it: renewal, replacement, revocation.

    `warned` counts the thresholds of remaining lifetime that were told of. `due` is when a worker should look at it.
    """

    id: str
    tenant: str
    order_id: str
    account_id: str
    names: tuple[str, ...]
    serial: str
    issuer: str
    not_before: datetime
    not_after: datetime
    fingerprint_sha256: str
    chain: str
    alternate_chains: tuple[str, ...] = ()
    sealed_key: str | None = None
    acme_server: str = ""
    replaces: str | None = None
    replaced_by: str | None = None
    renewal: Renewal | None = None
    warned: int = 0
    revoked_at: datetime | None = None
    due: datetime | None = None
    version: int = 0
    covered: int = field(default=0, compare=False)
    listed_at: datetime | None = field(default=None, compare=False)

    def status(self, now: datetime) -> CertificateStatus:
        if self.revoked_at is not None:
            return CertificateStatus.REVOKED
        if self.replaced_by is not None:
            return CertificateStatus.REPLACED
        return CertificateStatus.EXPIRED if self.not_after <= now else CertificateStatus.VALID


class RevocationReason(enum.IntEnum):
    """RFC 5280 §5.3.1, those that an end-entity's owner may give."""

    UNSPECIFIED = 0
    KEY_COMPROMISE = 1
    SUPERSEDED = 4
    CESSATION_OF_OPERATION = 5


@dataclass(frozen=True)
class ApiToken:
    """A credential of ours. Only the hash of its secret part is kept."""

    id: str
    tenant: str
    name: str
    role: Role
    secret_hash: str
    created_at: datetime
    revoked_at: datetime | None = None
    version: int = 0


@dataclass(frozen=True)
class ShownSetting:
    """A setting of a provider that is no secret."""

    name: str
    value: str


@dataclass(frozen=True)
class Provider:
    """A way to answer challenges, configured by a tenant. `kind` names the solver, `zones` the domains that it serves
    (with all below them; empty: every name). `sealed_settings` is the ciphertext of all settings as a JSON object;
    `shown` are those that are no secrets, once more.
    """

    id: str
    tenant: str
    name: str
    kind: str
    zones: tuple[str, ...]
    sealed_settings: str
    created_at: datetime
    updated_at: datetime
    shown: tuple[ShownSetting, ...] = ()
    version: int = 0
    covered: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Level:
    """How far a bucket of a CA's rate limits is used: `full_at` is when it is full again (µs since the epoch)."""

    bucket: str
    full_at: int = 0
    version: int = 0


@dataclass(frozen=True)
class Counts:
    accounts: int = 0
    orders: int = 0
    orders_open: int = 0
    orders_invalid: int = 0
    certificates: int = 0


@dataclass(frozen=True)
class Page:
    """One page of a Relay connection: the nodes with their cursors, and whether more follow."""

    nodes: list[Any] = field(default_factory=list)
    cursors: list[str] = field(default_factory=list)
    has_next: bool = False
