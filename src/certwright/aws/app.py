"""Composition root of the deployment on AWS: what the functions are made of, each part made when it is first needed.

A function makes one App per process. A part that is not asked for costs nothing: neither its imports (the ACME library,
cryptography) nor its client.
"""

import functools
import gc
import os
import random
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from certwright.audit import Audit
from certwright.auth import SignIn
from certwright.authorities import Authorities
from certwright.aws.connect import Clients
from certwright.ca.presets import Preset
from certwright.config import Settings
from certwright.errors import InvalidInput
from certwright.ids import Ulids
from certwright.oidc import Oidc
from certwright.store import Store
from certwright.table import Table

if TYPE_CHECKING:
    from certwright.advising import Adviser, Advising
    from certwright.api.context import Api, EventSource
    from certwright.aws.audit_archive import Archive
    from certwright.aws.bridge import Bridge
    from certwright.aws.connections import Connections
    from certwright.aws.gateway import Gateway
    from certwright.aws.hints import Hints
    from certwright.aws.observability import Log
    from certwright.challenges.propagation import Propagation
    from certwright.reading import Reader
    from certwright.sealer import Sealer
    from certwright.service import AcmeService
    from certwright.solvers import Dns, Solvers
    from certwright.solving import Solving
    from certwright.steps import Steps

_ADVICE_SECONDS = 2.5

HOLD = timedelta(seconds=2)
"""What must be waited for longer than this, a function leaves to a later wake-up."""


def utc_now() -> datetime:
    return datetime.now(UTC)


Handler: TypeAlias = Callable[[dict[str, Any], Any], Any]
"""What Lambda calls, with an event and a context."""


class App:
    """The parts, by the settings in `environment`; those that the stack itself sets begin with STACK_ (docs/aws.md).

    Raises InvalidInput, when a part is made, for the setting that it lacks. `client` makes the clients of AWS services.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        clock: Callable[[], datetime] = utc_now,
        client: Callable[..., Any] | None = None,
    ) -> None:
        self.settings = Settings.read(environment)
        self.clock = clock
        self.client = client or Clients()
        self._environment = environment

    def wired(self, name: str) -> str:
        """What the stack says of itself. Raises InvalidInput."""
        value = self._environment.get(name, "")
        if not value:
            raise InvalidInput(f"{name} is not set; serverless.yml sets it for the functions that need it")
        return value

    @functools.cached_property
    def table(self) -> Table:
        from certwright.aws.dynamo_table import DynamoTable

        kind, _, name = self.settings.store.partition(":")
        if kind != "dynamodb":
            raise InvalidInput(f"CERTWRIGHT_STORE is {self.settings.store!r}; on AWS it must be dynamodb:TABLE")
        return DynamoTable(self.client("dynamodb"), name, self.seconds)

    def seconds(self) -> int:
        """The clock's time since the epoch."""
        return int(self.clock().timestamp())

    @functools.cached_property
    def store(self) -> Store:
        """Commits are published by the table's stream."""
        return Store(self.table, clock=self.clock, new_id=Ulids(self.clock, secrets.randbits))

    @functools.cached_property
    def sealer(self) -> "Sealer":
        """A function whose STACK_KEY is not set shows what is stored, and no secrets."""
        from certwright.aws.kms_sealer import KmsSealer

        return KmsSealer(lambda: self.client("kms"), self._environment.get("STACK_KEY", ""))

    @functools.cached_property
    def authorities(self) -> Authorities:
        return Authorities(
            self.sealer,
            further=[Preset(url, url) for url in self.settings.acme_servers],
            any_public=self.settings.any_public_server,
            ca_bundle=self.settings.ca_bundle,
            clock=self.clock,
        )

    @functools.cached_property
    def audit(self) -> Audit:
        return Audit(self.store)

    @functools.cached_property
    def sign_in(self) -> SignIn:
        return SignIn(self.store, self.clock, Oidc.configured(self.settings, self.clock))

    @functools.cached_property
    def dns(self) -> "Dns":
        from certwright.solvers import Dns

        return Dns.of(lambda: self.propagation)

    @functools.cached_property
    def propagation(self) -> "Propagation":
        from certwright.challenges.propagation import Propagation

        return Propagation(self.settings.dns_servers)

    @functools.cached_property
    def solvers(self) -> "Solvers":
        """Of each kind that there is on one machine, and Route 53 besides."""
        from certwright.aws import route53
        from certwright.challenges.kinds import kinds
        from certwright.solvers import OwnZones, Solvers

        settings, in_aws = self.settings, route53.kind(self.client)
        everywhere = kinds(
            clock=self.clock,
            watch=lambda: self.propagation,
            networks=settings.provider_networks,
            ca_bundle=settings.ca_bundle,
        )
        own = OwnZones(settings.http_01_zones) if settings.http_01_zones else None
        return Solvers(self.store, self.sealer, {**everywhere, in_aws.name: in_aws}, own)

    @functools.cached_property
    def solving(self) -> "Solving":
        from certwright.solving import Solving

        patience = timedelta(seconds=self.settings.propagation_seconds)
        return Solving(self.solvers, self.dns, clock=self.clock, jitter=random.random, patience=patience)

    @functools.cached_property
    def adviser(self) -> "Adviser":
        from certwright.challenges import advice

        networks = self.settings.provider_networks
        return advice.Adviser(self.settings.dns_servers, networks=networks, seconds=_ADVICE_SECONDS)

    @functools.cached_property
    def advising(self) -> "Advising":
        from certwright.advising import Advising

        return Advising(lambda _: self.adviser, self.authorities)

    @functools.cached_property
    def steps(self) -> "Steps":
        from certwright.steps import Steps

        lease = timedelta(seconds=self.settings.lease_seconds)
        return Steps(
            self.store,
            self.authorities,
            self.solving,
            self.advising,
            clock=self.clock,
            jitter=random.random,
            lease=lease,
            hold=HOLD,
        )

    @functools.cached_property
    def reader(self) -> "Reader":
        from certwright.reading import Reader

        return Reader(self.store, self.authorities, self.audit, self.solvers, self.clock)

    @functools.cached_property
    def service(self) -> "AcmeService":
        """Wakes nobody: the stream function sees what a commit makes due in the commit itself, and wakes the worker."""
        from certwright.desk import Desk
        from certwright.service import AcmeService

        desk = Desk(
            self.store,
            self.authorities,
            self.sealer,
            lambda: self.steps,
            self.audit,
            self.solvers,
            self.dns,
            clock=self.clock,
            wake=lambda _: None,
            handoff=timedelta(0),
        )
        return AcmeService(desk)

    def api(self, events: "EventSource") -> "Api":
        """What resolvers are given; `events` is where subscriptions listen."""
        from certwright.api.context import Api

        return Api(self.reader, self.service, self.sign_in, events)

    @functools.cached_property
    def connections(self) -> "Connections":
        from certwright.aws.connections import Connections

        return Connections(self.table, self.seconds)

    @functools.cached_property
    def gateway(self) -> "Callable[[str], Gateway]":
        """The way to the sockets of a WebSocket API at `https://{domain}/{stage}`; STACK_SOCKETS goes before that."""
        from certwright.aws.gateway import Gateway, impatient

        @functools.cache
        def gateway(url: str) -> Gateway:
            endpoint = self._environment.get("STACK_SOCKETS") or url
            return Gateway(self.client("apigatewaymanagementapi", endpoint_url=endpoint, config=impatient()))

        return gateway

    @functools.cached_property
    def bridge(self) -> "Bridge":
        from certwright.aws.bridge import Bridge

        return Bridge(self.client("events"), self.wired("STACK_BUS"))

    @functools.cached_property
    def hints(self) -> "Hints":
        from certwright.aws.hints import Hints

        return Hints(self.client("sqs"), self.wired("STACK_WAKE_QUEUE"), self.clock)

    @functools.cached_property
    def archive(self) -> "Archive":
        from certwright.aws.audit_archive import Archive

        streams = self.wired("STACK_AUDIT_LOG"), self.wired("STACK_AUDIT_STREAM")
        return Archive(self.client("logs"), self.client("firehose"), *streams)


class Function:
    """The handler of one function, put together once per process by `make`.

    In Lambda that is when its module is imported, as a process has its full share of a CPU only then; elsewhere it is
    with the first event.
    """

    def __init__(self, service: str, make: Callable[[App], Handler]) -> None:
        self._service = service
        self._make = make
        if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
            _ = self._parts
            gc.freeze()
            gc.enable()  # `certwright.aws` disabled it.

    @functools.cached_property
    def _parts(self) -> "tuple[Log, Handler]":
        from certwright.aws.observability import Log

        app = App(os.environ)
        return Log(self._service, app.settings.log_level), self._make(app)

    def __call__(self, event: dict[str, Any], context: Any) -> Any:
        log, handler = self._parts
        log.begin(context.aws_request_id)
        return handler(event, context)
