"""Use cases of challenge providers: create, update, delete, test."""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from certwright import events
from certwright.challenges.preparation import DnsRecord
from certwright.challenges.solver import Kind, SolverFailed
from certwright.desk import Desk
from certwright.errors import Conflict, InvalidInput
from certwright.model import Actor, NameServer, OrderStatus, Page, Provider, Role, ShownSetting
from certwright.solvers import challenge_record

if TYPE_CHECKING:
    from certwright.solvers import Solvers

MOST = 100
"""Providers of a tenant: all of them are read to find the one that fits."""

_MOST_ZONES = 1000
_PAGE = 100
_LONGEST_NAME = 100
_LONGEST_VALUE = 10_000
_TTL = 60
_LOOK_SECONDS = 1.0
_WATCHING = timedelta(seconds=15)
"""An answer that comes later than 29 s after the request does not pass through API Gateway."""


@dataclass(frozen=True)
class Trial:
    """What came of a test: the record and its random value, what each name server answered last, and whether all had
    it."""

    record: str
    value: str
    visible: bool
    servers: tuple[NameServer, ...]


class Providers:
    """For administrators. Raises `errors.CertwrightError`. Safe from any thread. `sleep` is waited with in a test."""

    def __init__(self, desk: Desk, sleep: Callable[[float], None] = time.sleep) -> None:
        self._desk = desk
        self._sleep = sleep

    @property
    def _solvers(self) -> "Solvers":
        return self._desk.solvers

    def create(
        self, actor: Actor, *, name: str, kind: str, zones: Sequence[str] = (), settings: Mapping[str, str]
    ) -> Provider:
        """A provider whose settings can be meant; whether they are right, `test` tells."""
        with self._desk.audit.attempt(actor, "createChallengeProvider", Role.ADMIN):
            others = self._desk.store.providers(actor.tenant)
            if len(others) >= MOST:
                raise Conflict(f"there are {MOST} challenge providers already, the most that there may be")
            chosen, id, now = self._kind(kind), self._desk.store.new_id(), self._desk.clock()
            complete = _completed(chosen, settings)
            provider = Provider(
                id=id,
                tenant=actor.tenant,
                name=_name(name, others),
                kind=chosen.name,
                zones=_zones(zones),
                sealed_settings=self._solvers.seal(actor.tenant, id, complete),
                shown=_shown(chosen, complete),
                created_at=now,
                updated_at=now,
            )
            created = events.ProviderCreated(
                subject_id=id, name=provider.name, kind=provider.kind, zones=provider.zones
            )
            return self._desk.store.save(None, provider, events=[created], actor=actor)

    def update(
        self,
        actor: Actor,
        id: str,
        *,
        name: str | None = None,
        zones: Sequence[str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Provider:
        """Change what is given; settings that are not given stay as they are."""
        with self._desk.audit.attempt(actor, "updateChallengeProvider", Role.ADMIN, id):
            provider = self._desk.store.provider(actor.tenant, id)
            others = [p for p in self._desk.store.providers(actor.tenant) if p.id != id]
            changed = replace(
                provider,
                name=provider.name if name is None else _name(name, others),
                zones=provider.zones if zones is None else _zones(zones),
                updated_at=self._desk.clock(),
            )
            if settings:
                kind = self._kind(provider.kind)
                complete = _completed(kind, {**self._solvers.settings(provider), **settings})
                sealed = self._solvers.seal(actor.tenant, id, complete)
                changed = replace(changed, sealed_settings=sealed, shown=_shown(kind, complete))
            updated = events.ProviderUpdated(
                subject_id=id, name=changed.name, zones=changed.zones, settings=tuple(sorted(settings or ()))
            )
            return self._desk.store.save(provider, changed, events=[updated], actor=actor)

    def delete(self, actor: Actor, id: str) -> Provider:
        """Raises Conflict while an open order has something in place by it."""
        with self._desk.audit.attempt(actor, "deleteChallengeProvider", Role.ADMIN, id):
            provider = self._desk.store.provider(actor.tenant, id)
            if order_id := self._user_of(provider):
                raise Conflict(
                    f"order {order_id!r} has records in place by the provider {provider.name!r}; "
                    "wait for its end, or cancel it"
                )
            deleted = events.ProviderDeleted(subject_id=id, name=provider.name)
            self._desk.store.commit((provider, None), events=[deleted], actor=actor)
            return provider

    def test(self, actor: Actor, id: str, name: str) -> Trial:
        """Present a random value for a name, look for it for some seconds, and clean it up.

        It is the very record that a challenge of the name has, beside what else is there: rights to change others may
        well be missing. Raises SolverFailed where the provider does.
        """
        from certwright import identifiers

        with self._desk.audit.attempt(actor, "testChallengeProvider", Role.ADMIN, id):
            provider = self._desk.store.provider(actor.tenant, id)
            identifier, *others = identifiers.parse_domains([name])
            if others:
                raise InvalidInput("name holds several names; a test is about one", field="name")
            if not self._solvers.answers(provider, "dns-01"):
                raise InvalidInput(f"the provider {provider.name!r} does not answer dns-01; only that can be tested")
            record = self._desk.dns.follow(challenge_record(identifier.removeprefix("*.")))
            trial = self._try(provider, DnsRecord(record, "TXT", secrets.token_urlsafe(32), _TTL))
            tested = events.ProviderTested(subject_id=id, record=record, visible=trial.visible)
            self._desk.store.commit(events=[tested], actor=actor)
            return trial

    def _try(self, provider: Provider, record: DnsRecord) -> Trial:
        solver = self._solvers.solver(provider)
        try:
            solver.present(record)
            servers = self._watch(record)
        except SolverFailed:
            with suppress(SolverFailed):
                solver.clean_up(record)
            raise
        solver.clean_up(record)
        return Trial(record.name, record.value, _all_agree(servers), servers)

    def _watch(self, record: DnsRecord) -> tuple[NameServer, ...]:
        servers, until = self._desk.dns.look(record.name, record.value), self._desk.clock() + _WATCHING
        while not _all_agree(servers) and self._desk.clock() < until:
            self._sleep(_LOOK_SECONDS)
            servers = self._desk.dns.look(record.name, record.value)
        return servers

    def _user_of(self, provider: Provider) -> str | None:
        """An open order that has something in place by a provider."""
        for status in (OrderStatus.PENDING, OrderStatus.NEW, OrderStatus.READY, OrderStatus.PROCESSING):
            page = Page(has_next=True)
            while page.has_next:
                after = page.cursors[-1] if page.cursors else None
                page = self._desk.store.orders(provider.tenant, first=_PAGE, after=after, status=status)
                for order in page.nodes:
                    if any(p.provider_id == provider.id for p in order.presentations):
                        return str(order.id)
        return None

    def _kind(self, name: str) -> Kind:
        kinds = self._solvers.kinds
        if name not in kinds:
            raise InvalidInput(f"{name!r} is no kind of challenge provider; there are {', '.join(kinds)}", field="kind")
        return kinds[name]


def _all_agree(servers: Sequence[NameServer]) -> bool:
    return bool(servers) and all(server.agrees for server in servers)


def _name(text: str, others: Sequence[Provider]) -> str:
    name = text.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidInput(f"a provider's name has 1 to {_LONGEST_NAME} printable characters", field="name")
    if any(name == other.name for other in others):
        raise InvalidInput(f"there is a challenge provider {name!r} already; take another name", field="name")
    return name


def _zones(texts: Sequence[str]) -> tuple[str, ...]:
    """Domains as A-labels, each once. A zone may be a public suffix: nothing is ordered for it."""
    from certwright import identifiers

    if len(texts) > _MOST_ZONES:
        raise InvalidInput(f"{len(texts)} zones are given; a provider may have {_MOST_ZONES}", field="zones")
    return tuple(dict.fromkeys(identifiers.parse_zone(text) for text in texts))


def _completed(kind: Kind, settings: Mapping[str, str]) -> dict[str, str]:
    """The settings with their defaults; empty ones are as good as not given. Raises InvalidInput."""
    known = {setting.name: setting for setting in kind.settings}
    given = {name: value for name, value in settings.items() if value.strip()}
    if unknown := sorted(given.keys() - known.keys()):
        right = f"there are {', '.join(known)}" if known else "it has none"
        raise InvalidInput(f"{unknown[0]!r} is no setting of the kind {kind.name}; {right}", field="settings")
    complete = {name: given.get(name, setting.default) for name, setting in known.items()}
    if missing := [name for name, setting in known.items() if setting.required and not complete[name]]:
        raise InvalidInput(f"the kind {kind.name} needs {', '.join(missing)}", field="settings")
    if long := [name for name, value in complete.items() if len(value) > _LONGEST_VALUE]:
        raise InvalidInput(f"{long[0]} has more than {_LONGEST_VALUE} characters", field="settings")
    kind.make(complete)
    return complete


def _shown(kind: Kind, settings: Mapping[str, str]) -> tuple[ShownSetting, ...]:
    return tuple(ShownSetting(setting.name, settings[setting.name]) for setting in kind.settings if not setting.secret)
