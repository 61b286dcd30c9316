"""The whole service in this process, on a real port with a real SQLite file, as its users meet it.

    with House(tmp_path, pebble) as house:
        account = house.create_account()
        order = house.create_order(account["id"], "a.example")
        house.prove(order["id"])
        house.await_order(order["id"], "VALID")

Calls are GraphQL over HTTP; `graphql` raises GraphQLFailed when an answer holds errors.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias, TypeVar

import httpx
import uvicorn

from certwright.advising import Adviser
from certwright.api.context import Patience
from certwright.auth import DEFAULT_TENANT
from certwright.ca.resources import AccountResource
from certwright.challenges.preparation import HttpFile
from certwright.challenges.solver import Kind
from certwright.config import Settings
from certwright.local.app import App, utc_now
from certwright.local.server import server_config
from certwright.local.test_ca import free_port
from certwright.model import Account, Advice, Role, system
from certwright.solvers import Dns
from tests.support.pebble import Management

T = TypeVar("T")
WAIT_SECONDS = 60
Told: TypeAlias = tuple[Advice, ...]


class AcmeServer(Protocol):
    """What a House needs to know of its CA; Pebble and StubCa are ones."""

    @property
    def directory_url(self) -> str: ...

    @property
    def ca_bundle(self) -> Path: ...


class GraphQLFailed(AssertionError):
    """An answer with errors: `code` and `extensions` are the first one's."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors)
        self.errors = errors
        self.message = str(errors[0]["message"])
        self.extensions: dict[str, Any] = errors[0].get("extensions", {})
        self.code = self.extensions.get("code")


class Operations(ABC):
    """What users do, through GraphQL over HTTP at a service that `post` reaches, with a token for each role."""

    ca: AcmeServer | None
    viewer: str
    operator: str
    admin: str

    @abstractmethod
    def post(self, document: object, token: str | None, headers: dict[str, str] | None = None) -> httpx.Response:
        """One request to /graphql, as it is answered."""

    def graphql(self, query: str, token: str | None = None, **variables: Any) -> dict[str, Any]:
        """The `data` of an operation, by default an administrator's."""
        answer = self.post({"query": query, "variables": variables}, token or self.admin).json()
        if answer.get("errors"):
            raise GraphQLFailed(answer["errors"])
        return dict(answer["data"])

    def create_account(self, **input: Any) -> dict[str, Any]:
        assert self.ca is not None
        given = {"email": "a@example.com", "acmeServer": self.ca.directory_url, "termsOfServiceAgreed": True, **input}
        query = "mutation($i: CreateAccountInput!) { createAccount(input: $i) { id status url email contact } }"
        return dict(self.graphql(query, i=given)["createAccount"])

    def create_order(self, account_id: str, *domains: str, **input: Any) -> dict[str, Any]:
        given = {"accountId": account_id, "domains": domains, **input}
        query = "mutation($i: CreateOrderInput!) { createOrder(input: $i) { id status domains } }"
        return dict(self.graphql(query, i=given)["createOrder"])

    def challenges(self, order_id: str) -> list[dict[str, Any]]:
        query = """query($o: ID!) { challenges(orderId: $o) {
            id type identifier wildcard status error { type detail }
            preparation { __typename
                ... on HttpFile { url path content } ... on DnsRecord { name type value ttl } } } }"""
        return list(self.graphql(query, o=order_id)["challenges"])

    def respond(self, challenge_id: str) -> dict[str, Any]:
        query = "mutation($c: ID!) { respondChallenge(id: $c) { id status identifier type } }"
        return dict(self.graphql(query, c=challenge_id)["respondChallenge"])

    def prove(self, order_id: str, management: Management | None = None) -> list[dict[str, Any]]:
        """Put every dns-01 record in place (where there is a Pebble to look at them) and respond to all."""
        if management is None:
            management = getattr(self.ca, "management", None)
        challenges = [c for c in self.challenges(order_id) if c["type"] == "dns-01" and c["status"] == "PENDING"]
        records = [challenge["preparation"] for challenge in challenges]
        if management is not None:
            for name in {record["name"] for record in records}:
                management.clear_txt(name)  # Values of earlier tests: too many do not fit into an answer.
            for record in records:
                management.set_txt(record["name"], record["value"])
        for challenge in challenges:
            self.respond(challenge["id"])
        return challenges

    def order(self, order_id: str) -> dict[str, Any]:
        query = """query($o: ID!) { order(id: $o) {
            id status domains expires updatedAt
            error { type detail status subproblems { identifier type detail } }
            delay { until attempts problem { type detail status } }
            challenges { id type identifier status error { detail } }
            certificate {
                id names serial issuer notBefore notAfter fingerprintSha256 status chain alternateChains } } }"""
        return dict(self.graphql(query, o=order_id)["order"])

    def await_order(self, order_id: str, *statuses: str) -> dict[str, Any]:
        """The order as soon as it has one of these statuses; at once when it can no longer have one."""
        final = ("VALID", "INVALID")
        order = await_value(lambda: self.order(order_id), lambda order: order["status"] in (*statuses, *final))
        assert order["status"] in statuses, order
        return order

    def issue(self, account_id: str, *domains: str, **input: Any) -> dict[str, Any]:
        """A valid order for these domains, from start to end."""
        order = self.create_order(account_id, *domains, **input)
        self.prove(order["id"])
        return self.await_order(order["id"], "VALID")

    def audit(self, subject_id: str | None = None) -> list[dict[str, Any]]:
        """The newest hundred audit events."""
        query = """query($s: ID) { auditEvents(first: 100, subjectId: $s) { edges { node {
            id at type actor subjectId outcome detail requestId sourceIp hash previousHash } } } }"""
        return [edge["node"] for edge in self.graphql(query, s=subject_id)["auditEvents"]["edges"]]

    def audit_types(self, subject_id: str | None = None) -> list[str]:
        """Oldest first."""
        return [event["type"] for event in reversed(self.audit(subject_id))]


class Silent:
    """An adviser that has nothing to say."""

    def caa(self, domains: Sequence[str], identities: Sequence[str], *, account_url: str | None = None) -> Told:  # noqa: ARG002
        return ()

    def http01(self, identifier: str, file: HttpFile) -> Told:  # noqa: ARG002
        return ()


class House(Operations):
    """A running service, with a token for each role in its tenant."""

    def __init__(
        self,
        directory: Path,
        ca: AcmeServer | None = None,
        *,
        settings: Settings | None = None,
        clock: Callable[[], datetime] = utc_now,
        port: int | None = None,
        patience: Patience | None = None,
        kinds: Mapping[str, Kind] | None = None,
        dns: Dns | None = None,
        adviser: Adviser | None = None,
    ) -> None:
        """`kinds` of challenge providers, and how name servers are asked; None: those of the real service. Without an
        `adviser` nothing is looked up for advice: a test's names are nobody's."""
        base = settings or Settings.read({}, directory / "data")
        if ca is not None:
            servers = (*base.acme_servers, ca.directory_url)
            base = replace(base, acme_servers=servers, ca_bundle=ca.ca_bundle)
        base.data_dir.mkdir(parents=True, exist_ok=True)
        self.ca = ca
        self.data_dir = base.data_dir
        self.app = App(
            base, clock=clock, patience=patience, kinds=kinds, dns=dns, adviser=lambda _: adviser or Silent()
        )
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}/graphql"
        self.viewer = self.token("viewer", Role.VIEWER)
        self.operator = self.token("operator", Role.OPERATOR)
        self.admin = self.token("admin", Role.ADMIN)
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
        self._server = uvicorn.Server(server_config(self.app, "127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._server.run, name="house")

    def start(self) -> None:
        self._thread.start()
        await_true(lambda: self._server.started or not self._thread.is_alive())
        assert self._server.started

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(WAIT_SECONDS)
        self.http.close()
        assert not self._thread.is_alive()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def token(self, name: str, role: Role, tenant: str = DEFAULT_TENANT) -> str:
        return self.app.tokens.create(name, role, system(tenant))[1]

    def post(self, document: object, token: str | None, headers: dict[str, str] | None = None) -> httpx.Response:
        authorization = {"authorization": f"Bearer {token}"} if token else {}
        return self.http.post("/graphql", json=document, headers={**authorization, **(headers or {})})

    def fetch_account(self, account: Account) -> AccountResource:
        """The account as its CA has it."""
        return self.app.authorities.client(account).fetch_account()


def await_true(condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    await_value(condition, bool, seconds)


def await_value(look: Callable[[], T], is_it: Callable[[T], bool], seconds: float = WAIT_SECONDS) -> T:
    """What `look` finds, as soon as it is what is awaited; AssertionError with the last look after `seconds`."""
    until = time.monotonic() + seconds
    while not is_it(found := look()):
        assert time.monotonic() < until, found
        time.sleep(0.02)
    return found
