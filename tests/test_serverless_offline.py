"""The clients of frontends at an emulator of API Gateway, with the websocket function in processes as Lambda has them.

Everything is said on a real wire: graphql-ws and @apollo/client, the subprotocol's handshake, and `@connections`.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from certwright.aws.app import utc_now
from certwright.model import ApiToken, Role, system
from tests.support.house import await_true
from tests.support.issuer import Issuer, jwk
from tests.support.lambdas import cloud
from tests.support.node import CLIENTS, NodeClient
from tests.support.offline import Offline, missing_for_offline
from tests.support.pebble import Pebble
from tests.support.site import Site
from tests.support.stream import EventSourceMapping, Stream

KEY = ec.generate_private_key(ec.SECP256R1())
ISSUANCE = ["NEW", "PENDING", "READY", "PROCESSING", "VALID"]
ORDERS = "subscription { orderStatus { id status } }"
NEWS = "subscription { auditEvents { type detail } }"
SAME_NEWS = "subscription { auditEvents { detail type } }"
SYSTEM = system("default")
REFUSED = {"failed": "First message cannot be of type error"}
NOT_FOUND = {"code": "NOT_FOUND"}
EXPIRED = {"code": "UNAUTHENTICATED", "closeCode": 4403}


class Clock:
    """The time of day, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.ahead

    @contextmanager
    def later(self, **by: float) -> Iterator[None]:
        self.ahead = timedelta(**by)
        try:
            yield
        finally:
            self.ahead = timedelta()


class Wire:
    """A site whose clients connect to the emulator. Its stream function is here, and has the clock `clock`."""

    def __init__(self, site: Site, offline: Offline, issuer: Issuer, clock: Clock) -> None:
        self.site = site
        self.offline = offline
        self.issuer = issuer
        self.clock = clock

    @property
    def sockets(self) -> list[str]:
        """The ids of those that were acknowledged."""
        rows = self.site.cloud.rows("socket#")
        return [row.split()[0].removeprefix("socket#") for row in rows if row.endswith(" connection")]

    def client(self, script: str, token: str, query: str, until: str, *others: str) -> NodeClient:
        return NodeClient(script, self.offline.ws_url, token, query, until, *others)

    def session(self, **lasts: float) -> str:
        """The token of a user of the tenant "default", signed in an hour ago, for so much longer."""
        now = utc_now()
        start, end = now - timedelta(hours=1), now + timedelta(**lasts)
        return self.issuer.token(KEY, "ES256", tenant="default", iat=start.timestamp(), exp=end.timestamp())

    def drop(self) -> None:
        """Close every socket by `@connections`, as a deployment does with those that take nothing."""
        gateway = self.site.cloud.app(endpoint=self.offline.url).gateway(self.offline.url)
        for id in self.sockets:
            gateway.disconnect(id)

    def revoke(self, token: ApiToken) -> None:
        """Until no process takes it for good any more: each asks for a token once a second."""
        self.site.cloud.tokens.revoke(token.id, SYSTEM)
        known_until = utc_now() + timedelta(seconds=1)
        await_true(lambda: utc_now() > known_until)

    def news(self, *names: str, tenant: str = "default") -> None:
        """Tell of the making of tokens with these names."""
        for name in names:
            self.site.cloud.token(name, Role.VIEWER, tenant)


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        issuer.keys = [jwk(KEY)]
        yield issuer


@pytest.fixture(scope="module")
def running(dynamodb: Any, pebble: Pebble, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    if reason := missing_for_offline():
        pytest.skip(reason)
    folder, clock = tmp_path_factory.mktemp("offline"), Clock()
    settings = {
        "CERTWRIGHT_ACME_SERVERS": pebble.directory_url,
        "CERTWRIGHT_CA_BUNDLE": str(pebble.ca_bundle),
        "CERTWRIGHT_OIDC_ISSUER": issuer.url,
        "CERTWRIGHT_OIDC_AUDIENCE": "certwright",
    }
    with cloud(dynamodb, settings=settings, clock=clock, sealing_key=folder / "sealing.key") as parts:
        reached = {
            "CERTWRIGHT_STORE": f"dynamodb:{parts.table_name}",
            "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.meta.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        site = Site(parts, pebble)
        with Offline(folder / "service", {**settings, **reached}) as offline:
            tell = parts.stream(endpoint=offline.url)
            with site.working(), EventSourceMapping(Stream(dynamodb, parts.table_name), tell):
                yield Wire(site, offline, issuer, clock)


@pytest.fixture
def wire(running: Wire) -> Iterator[Wire]:
    """After a test, all of its sockets are ended and forgotten; what tells of completed operations may expire."""
    yield running
    await_true(lambda: running.sockets == running.site.subscriptions == [])


@pytest.fixture(params=CLIENTS)
def script(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def results(told: list[dict[str, Any]], field: str) -> list[Any]:
    return [thing["next"]["data"][field] for thing in told if "next" in thing]


def new_tokens(told: list[dict[str, Any]]) -> list[str]:
    """The names of those that were told of."""
    details = [event["detail"] for event in results(told, "auditEvents") if event["type"] == "TokenCreated"]
    return [detail.removeprefix("name: ").partition(";")[0] for detail in details]


def of_others(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was told of all subscriptions but the first."""
    return [thing["also"] for thing in told if "also" in thing]


def test_client_receives_every_change_of_an_issuance(wire: Wire, script: str) -> None:
    site = wire.site
    account = site.create_account()
    with wire.client(script, site.viewer, ORDERS, '"VALID"') as client:
        site.await_subscribers(1)
        order = site.issue(account["id"], "offline.example")
        told = client.told_to_the_end()
    seen = results(told, "orderStatus")
    statuses = [status for status, _ in itertools.groupby(state["status"] for state in seen)]
    assert told[0] == {"connected": True}
    assert {state["id"] for state in seen} == {order["id"]}
    assert statuses == [status for status in ISSUANCE if status in statuses]
    assert statuses[-1] == "VALID"


def test_completed_subscription_is_over_while_its_socket_goes_on(wire: Wire, script: str) -> None:
    before = wire.offline.connections
    with wire.client(script, wire.site.operator, NEWS, "first", SAME_NEWS, "third") as client:
        wire.site.await_subscribers(2)
        wire.news("first")
        wire.site.await_subscribers(1)
        wire.news("second", "third")
        told = client.told_to_the_end()
    assert new_tokens(told) == ["first"]
    assert new_tokens(of_others(told)) == ["first", "second", "third"]
    assert wire.offline.connections == before + 1


def test_client_whose_socket_the_server_drops_connects_once_more_and_goes_on(wire: Wire, script: str) -> None:
    before = wire.offline.connections
    with wire.client(script, wire.site.operator, NEWS, "later") as client:
        wire.site.await_subscribers(1)
        subscribed = wire.site.subscriptions
        wire.drop()
        wire.site.await_others(subscribed)
        wire.news("later")
        told = client.told_to_the_end()
    assert new_tokens(told) == ["later"]
    assert [thing for thing in told if "connected" in thing] == [{"connected": True}] * 2
    assert wire.offline.connections == before + 2


def test_client_whose_token_was_revoked_when_its_socket_is_dropped_gives_up(wire: Wire, script: str) -> None:
    before, account = wire.offline.connections, wire.site.create_account()["id"]
    token, text = wire.site.cloud.tokens.create("leaver", Role.VIEWER, SYSTEM)
    silent = f'subscription {{ orderStatus(accountId: "{account}") {{ id }} }}'
    with wire.client(script, text, silent, "never") as client:
        wire.site.await_subscribers(1)
        wire.revoke(token)
        wire.drop()
        told = client.told_to_the_end()
    assert [thing for thing in told if "failed" in thing] == [REFUSED]
    assert wire.offline.connections == before + 2


@pytest.mark.parametrize("credential", ["expired session", "unknown token"])
def test_client_with_a_bad_credential_tries_it_once(wire: Wire, script: str, credential: str) -> None:
    token = wire.session(minutes=-5) if credential == "expired session" else "cw_not_good"
    before = wire.offline.connections
    with wire.client(script, token, ORDERS, "never") as client:
        told = client.told_to_the_end()
    assert REFUSED in told
    assert not any("connected" in thing for thing in told)
    assert wire.offline.connections == before + 1


def test_session_that_expires_ends_its_subscription_with_the_next_event(wire: Wire, script: str) -> None:
    before = wire.offline.connections
    with wire.client(script, wire.session(minutes=5), NEWS, "never") as client:
        wire.site.await_subscribers(1)
        wire.news("in time")
        told = client.told_until("next")
        with wire.clock.later(minutes=7):
            wire.news("too late")
            told += client.told_to_the_end()
    assert new_tokens(told) == ["in time"]
    [refused] = [thing["failed"] for thing in told if "failed" in thing]
    assert [error["extensions"] for error in refused] == [EXPIRED]
    assert wire.offline.connections == before + 1


def test_order_of_another_tenant_is_refused_and_nothing_of_it_is_delivered(wire: Wire, script: str) -> None:
    site, before = wire.site, wire.offline.connections
    order = str(site.create_order(site.create_account()["id"], "ours.example")["id"])
    stranger = site.cloud.token("stranger", Role.ADMIN, "theirs")
    fields = (f'orderStatus(id: "{order}")', f'challengeStatus(orderId: "{order}")')
    denied = [text for field in fields for text in (f"subscription {{ {field} {{ status }} }}", "never")]
    with wire.client(script, stranger, NEWS, "own", *denied) as client:
        told = client.told_until("also") + client.told_until("also")
        site.await_subscribers(1)
        site.prove(order)
        site.await_order(order, "VALID")
        wire.news("own", tenant="theirs")
        told += client.told_to_the_end()
    assert [[error["extensions"] for error in thing["failed"]] for thing in of_others(told)] == [[NOT_FOUND]] * 2
    assert [event["type"] for event in results(told, "auditEvents")] == ["TokenCreated"]
    assert new_tokens(told) == ["own"]
    assert wire.offline.connections == before + 1


def test_no_function_raised_anything(wire: Wire) -> None:
    assert wire.offline.complaints() == []
