"""Which provider answers which challenge, and the solver that it stands for.

A provider fits a name that is one of its zones, or below one; a provider without zones fits every name. Of those that
fit, the longest zone goes first, one without zones last; of equally long ones, a dns-01 provider goes before an http-01
one, as a TXT record is seen wherever the web server is, and then the older one. Where `_acme-challenge` of the name is
delegated by CNAME, a provider of the zone where the record really is goes before all others.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from certwright.authorities import seal_context
from certwright.challenges.http01 import HTTP01
from certwright.challenges.solver import Kind, Solver, SolverFailed
from certwright.errors import CertwrightError, InvalidInput, NotFound
from certwright.model import Account, Authorization, Challenge, NameServer, Order, Provider
from certwright.sealer import Sealer
from certwright.store import Store

if TYPE_CHECKING:
    from certwright.challenges.propagation import Propagation

MANUAL = "manual"
"""As an order's solver: the user answers every challenge."""

BUILT_IN = HTTP01.name
"""The id of the provider that the settings make: this service itself, for http-01."""

_Rank: TypeAlias = tuple[int, int, int, str]
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class OwnZones:
    """Domains whose http-01 requests arrive here, by the settings; `*` is every one. With `acme_server`, that CA's
    requests only."""

    zones: tuple[str, ...]
    acme_server: str | None = None


@dataclass(frozen=True)
class Dns:
    """`follow`: where the TXT record of a name is to be written, CNAME followed. `look`: what each authoritative server
    of its zone answers for a record and its value. Both raise SolverFailed, and are bounded in time.
    """

    follow: Callable[[str], str]
    look: Callable[[str, str], tuple[NameServer, ...]]

    @classmethod
    def of(cls, propagation: "Callable[[], Propagation]") -> "Dns":
        """`propagation` is called when it is first needed: it may cost the import of a DNS library."""
        return cls(lambda name: propagation().follow(name), lambda record, value: propagation().look(record, value))


class Solvers:
    """Knows the providers of tenants, with the one that the settings make. Safe from any thread."""

    def __init__(self, store: Store, sealer: Sealer, kinds: Mapping[str, Kind], own: OwnZones | None = None) -> None:
        self.kinds = {HTTP01.name: HTTP01, **kinds}
        self._store = store
        self._sealer = sealer
        self._own = own

    def built_in(self, tenant: str, acme_server: str) -> Provider | None:
        """This service itself, where the settings say that it answers http-01 for this CA."""
        own = self._own
        if own is None or own.acme_server not in (None, acme_server):
            return None
        zones = () if "*" in own.zones else own.zones
        return Provider(BUILT_IN, tenant, "Certwright itself", HTTP01.name, zones, "", _ALWAYS, _ALWAYS)

    def of_order(self, order: Order) -> Sequence[Provider]:
        """The providers that may answer an order's challenges; one that it names answers all, whatever its zones are.

        The order goes on as if it named none where that one is there no more.
        """
        if order.solver == MANUAL:
            return ()
        built_in = self.built_in(order.tenant, order.acme_server)
        providers = [*self._store.providers(order.tenant), *([built_in] if built_in else [])]
        return [replace(p, zones=()) for p in providers if p.id == order.solver] or providers

    def check(self, account: Account, domains: Sequence[str], solver: str | None) -> None:
        """Raises InvalidInput for a solver that there is not, or that cannot answer for all the names."""
        if solver in (None, MANUAL):
            return
        built_in = self.built_in(account.tenant, account.acme_server)
        known = [*self._store.many(Provider, account.tenant, [solver]), built_in]
        provider = next((p for p in known if p is not None and p.id == solver), None)
        if provider is None:
            raise InvalidInput(
                f"there is no challenge provider {solver!r}; give the id of one of challengeProviders, or {MANUAL!r}",
                field="solver",
            )
        wildcards = [name for name in domains if name.startswith("*.")]
        if wildcards and not self.answers(provider, "dns-01"):
            raise InvalidInput(
                f"the provider {provider.name!r} does not answer dns-01, and nothing else proves {wildcards[0]}",
                field="solver",
            )

    def find(self, order: Order, id: str) -> Provider:
        """Raises SolverFailed where it was deleted."""
        built_in = self.built_in(order.tenant, order.acme_server)
        if built_in and id == built_in.id:
            return built_in
        try:
            return self._store.provider(order.tenant, id)
        except NotFound:
            raise SolverFailed("the provider was deleted", lasting=True) from None

    def solver(self, provider: Provider) -> Solver:
        """Raises SolverFailed where the settings cannot be opened, or are not good any more."""
        kind = self.kinds.get(provider.kind)
        if kind is None:
            raise SolverFailed(f"there is no kind {provider.kind!r} of provider here any more", lasting=True)
        try:
            return kind.make(self.settings(provider))
        except CertwrightError as error:
            raise SolverFailed(error.message) from error

    def settings(self, provider: Provider) -> dict[str, str]:
        """All settings, the secret ones as well. Raises sealer.SealBroken."""
        if not provider.sealed_settings:
            return {}
        opened = self._sealer.open(provider.sealed_settings, seal_context(provider.tenant, provider.id))
        return dict(json.loads(opened))

    def seal(self, tenant: str, id: str, settings: Mapping[str, str]) -> str:
        """The ciphertext to keep."""
        return self._sealer.seal(json.dumps(dict(settings)).encode(), seal_context(tenant, id))

    def answers(self, provider: Provider, type: str) -> bool:
        """Whether a provider answers challenges of a type."""
        kind = self.kinds.get(provider.kind)
        return kind is not None and kind.challenge_type == type

    def any_for_dns(self, providers: Iterable[Provider]) -> bool:
        return any(self.answers(provider, "dns-01") for provider in providers)

    def choose(
        self, authorization: Authorization, providers: Sequence[Provider], record: str
    ) -> tuple[Challenge, Provider] | None:
        """What to answer, and by which provider; None where none fits. `record` is where a TXT record would be."""
        delegated = record != challenge_record(authorization.identifier)
        ranked = [
            (rank, challenge, provider)
            for challenge in authorization.challenges
            for provider in providers
            if challenge.token is not None and self.answers(provider, challenge.type)
            if not (authorization.wildcard and challenge.type != "dns-01")
            if (rank := _rank(provider, challenge, authorization.identifier, record if delegated else None))
        ]
        if not ranked:
            return None
        _, challenge, provider = min(ranked, key=lambda found: found[0])
        return challenge, provider


def challenge_record(identifier: str) -> str:
    """Where the TXT record of a name is, unless it is delegated (RFC 8555 §8.4)."""
    return f"_acme-challenge.{identifier}"


def _rank(provider: Provider, challenge: Challenge, name: str, delegated: str | None) -> _Rank | None:
    """Lower goes first; None where the provider does not fit. Ids are in the order of time."""
    is_dns = challenge.type == "dns-01"
    by_type = 0 if is_dns else 1
    if delegated and is_dns and (length := longest(provider.zones, delegated)):
        return 0, -length, by_type, provider.id
    if length := longest(provider.zones, name):
        return 1, -length, by_type, provider.id
    return None if provider.zones else (2, 0, by_type, provider.id)


def longest(zones: Sequence[str], name: str) -> int:
    """How many labels the longest zone has that holds a name; 0 where none does."""
    return max((z.count(".") + 1 for z in zones if name == z or name.endswith("." + z)), default=0)
