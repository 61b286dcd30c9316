"""The audit trail: what is refused and fails is written down too, and what is written can be proved untouched."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from certwright import events
from certwright.errors import CertwrightError, Forbidden, NotFound
from certwright.model import Actor, Role
from certwright.store import Store


class Audit:
    """Authorises operations and records those that are denied or fail. Safe from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def authorize(self, actor: Actor, operation: str, role: Role) -> None:
        """Raises Forbidden, and writes it down, where the actor's role does not allow an operation."""
        if actor.role >= role:
            return
        reason = f"{operation} needs the role {role.name.lower()}; {actor.name} has {actor.role.name.lower()}"
        self._store.commit(events=[events.OperationDenied(operation=operation, reason=reason)], actor=actor)
        raise Forbidden(reason)

    @contextmanager
    def attempt(self, actor: Actor, operation: str, role: Role, subject_id: str | None = None) -> Iterator[None]:
        """Authorise an operation; should it fail inside the block, write that down and let the error pass."""
        from certwright.ca.problems import CaError

        self.authorize(actor, operation, role)
        try:
            yield
        except CertwrightError as error:
            subject = None if isinstance(error, NotFound) else subject_id
            self._failed(actor, operation, subject, error.code, error.message)
            raise
        except CaError as error:
            self._failed(actor, operation, subject_id, "CA_ERROR", error.problem.detail or error.problem.type)
            raise

    def _failed(self, actor: Actor, operation: str, subject_id: str | None, code: str, reason: str) -> None:
        failed = events.OperationFailed(subject_id=subject_id, operation=operation, code=code, reason=reason)
        self._store.commit(events=[failed], actor=actor)


@dataclass
class Verdict:
    """What a verification found: how much was read, and each fault in words."""

    chains: int = 0
    records: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Link:
    """What of a record makes the chain; `intact` says that its hash is the one of its content."""

    sequence: int
    type: str
    hash: str
    previous_hash: str | None
    intact: bool


def link(record: events.Record) -> Link:
    intact = record.hash == events.digest(record)
    return Link(record.sequence, record.type, record.hash, record.previous_hash, intact)


def verify(store: Store) -> Verdict:
    """Read every chain of every tenant and recompute it: numbers without a gap, hashes that match and link."""
    verdict = Verdict()
    for tenant in store.tenants():
        for subject_id in store.subjects(tenant):
            _verify_chain(tenant, subject_id, map(link, store.chain(tenant, subject_id)), verdict)
        verdict.faults += _uncovered(store, tenant)
    return verdict


def verify_archive(records: Iterable[events.Record]) -> Verdict:
    """The same for records in any order, each there once or more often, as an archive holds them.

    An archive knows nothing of objects: that the newest records of a chain are missing, it cannot tell.
    """
    verdict = Verdict()
    chains: dict[tuple[str, str | None], dict[int, Link]] = {}
    for record in records:
        known = chains.setdefault((record.tenant, record.subject_id), {})
        found = link(record)
        if known.setdefault(record.sequence, found) != found:
            place = _place(record.tenant, record.subject_id, found)
            verdict.faults.append(f"{place}: is there twice, with different contents")
    for (tenant, subject_id), links in sorted(chains.items(), key=str):
        _verify_chain(tenant, subject_id, [links[sequence] for sequence in sorted(links)], verdict)
    return verdict


def _verify_chain(tenant: str, subject_id: str | None, links: Iterable[Link], verdict: Verdict) -> None:
    verdict.chains += 1
    previous: Link | None = None
    for this in links:
        verdict.records += 1
        place = _place(tenant, subject_id, this)
        expected = previous.sequence + 1 if previous else 1
        if this.sequence != expected:
            verdict.faults.append(f"{place}: records {expected} to {this.sequence - 1} are missing")
        elif this.previous_hash != (previous.hash if previous else None):
            verdict.faults.append(f"{place}: does not follow from the record before it")
        if not this.intact:
            verdict.faults.append(f"{place}: was changed after it was written")
        previous = this
    if previous is None:
        verdict.faults.append(f"{tenant}: there is no chain about {subject_id or 'the tenant'}")


def _place(tenant: str, subject_id: str | None, link: Link) -> str:
    return f"{tenant}: record {link.sequence} ({link.type}) about {subject_id or 'the tenant'}"


def _uncovered(store: Store, tenant: str) -> Iterator[str]:
    """Entities whose chain ends before the record that was committed with them: its end was cut off."""
    for kind, id, sequence in store.covered(tenant):
        last = store.last_sequence(tenant, id)
        if last < sequence:
            yield f"{tenant}: {kind} {id} was last committed with record {sequence}, but its chain ends at {last}"
