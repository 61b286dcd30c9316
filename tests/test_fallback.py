"""Orders that name fallback accounts: which failures take them to another CA, which do not, and what is kept of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certwright import fallback, keys, outcome
from certwright.auth import DEFAULT_TENANT
from certwright.ca.limits import Counted, Limit
from certwright.ca.presets import Preset
from certwright.config import Settings
from certwright.local.app import utc_now
from certwright.model import Account, AccountStatus, Delay, KeyType, Order, OrderStatus, Problem
from certwright.outcome import Step
from tests.support.house import GraphQLFailed, House, await_value
from tests.support.pebble import Pebble
from tests.support.stub_ca import Answer, StubCa, acme_problem

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PROBLEM = {"Content-Type": "application/problem+json"}
OWN = ("rateLimited", "rejectedIdentifier", "unsupportedIdentifier", "invalidProfile", "userActionRequired")
USERS = ("caa", "dns", "connection", "unauthorized", "incorrectResponse", "malformed", "badCSR", "tls")


# The judgement alone


def new_order(status: OrderStatus = OrderStatus.NEW, **fields: Any) -> Order:
    given = {"fallbacks": ("b", "c"), "domains": ("a.example",), "csr": "", "created_at": NOW, "updated_at": NOW}
    return Order("o", "t", "a", "https://one.example/dir", status=status, **{**given, **fields})


def delayed(type: str, attempts: int, since: timedelta, wait: timedelta, status: OrderStatus) -> Order:
    problem = Problem({"type": type})
    return new_order(status, delay=Delay(problem, NOW + wait, attempts, NOW - since))


MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NEW, READY = OrderStatus.NEW, OrderStatus.READY
DOWN, LIMITED = "urn:certwright:unavailable", "urn:ietf:params:acme:error:rateLimited"


@pytest.mark.parametrize(
    ("type", "attempts", "since", "wait", "status", "goes"),
    [
        (DOWN, 3, 5 * MINUTE, MINUTE, NEW, True),
        (DOWN, 2, 5 * MINUTE, MINUTE, NEW, False),
        (DOWN, 9, 4 * MINUTE, MINUTE, NEW, False),
        (DOWN, 9, 5 * MINUTE, MINUTE, READY, False),
        (DOWN, 9, HOUR, MINUTE, READY, True),
        (DOWN, 1, 0 * MINUTE, 2 * HOUR, NEW, True),
        (LIMITED, 1, 0 * MINUTE, 2 * HOUR, NEW, True),
        (LIMITED, 9, HOUR, HOUR, NEW, False),
        ("urn:certwright:rateLimit", 0, 0 * MINUTE, 2 * HOUR, NEW, True),
        ("urn:certwright:rateLimit", 0, 0 * MINUTE, HOUR, NEW, False),
        ("urn:certwright:SEAL_BROKEN", 9, 9 * HOUR, 2 * HOUR, NEW, False),
    ],
)
def test_ca_is_left_when_it_is_down_or_limits_for_long(
    type: str, attempts: int, since: timedelta, wait: timedelta, status: OrderStatus, goes: bool
) -> None:
    after = delayed(type, attempts, since, wait, status)
    assert (fallback.reason(new_order(status), after, NOW) is not None) == goes


@pytest.mark.parametrize(("code", "goes"), [*((c, True) for c in OWN), *((c, False) for c in USERS)])
def test_ca_is_left_for_its_own_refusals_and_not_for_what_the_user_must_mend(code: str, goes: bool) -> None:
    before = new_order(OrderStatus.PENDING)
    after = outcome.fail(before, Problem(acme_problem(code, "no")), NOW).order
    assert (fallback.reason(before, after, NOW) is not None) == goes


@pytest.mark.parametrize(("other", "goes"), [("serverInternal", True), ("dns", False)])
def test_several_refusals_must_all_be_the_cas_own(other: str, goes: bool) -> None:
    parts = [acme_problem("rejectedIdentifier", "no"), acme_problem(other, "no")]
    problem = Problem(acme_problem("compound", "no", subproblems=parts))
    before = new_order()
    assert (fallback.reason(before, outcome.fail(before, problem, NOW).order, NOW) is not None) == goes


@pytest.mark.parametrize(("status", "goes"), [(OrderStatus.PENDING, False), (OrderStatus.PROCESSING, True)])
def test_expiry_is_the_cas_fault_when_the_user_had_done_everything(status: OrderStatus, goes: bool) -> None:
    before = new_order(status, expires=NOW)
    after = outcome.fail(before, outcome.expiry(before), NOW).order
    assert (fallback.reason(before, after, NOW) is not None) == goes


def account(id: str, status: AccountStatus = AccountStatus.VALID) -> Account:
    return Account(id, "t", "", (), f"https://{id}.example/dir", status, "", "", NOW, NOW)


def find(*known: Account) -> fallback.Find:
    by_id = {a.id: a for a in known}

    def get(ids: Sequence[str]) -> Sequence[Account | None]:
        return [by_id.get(id) for id in ids]

    return get


def test_accounts_that_are_gone_are_passed_over() -> None:
    before = new_order()
    failed = outcome.fail(before, Problem(acme_problem("rejectedIdentifier", "no")), NOW)
    step = fallback.redirect(before, failed, NOW, find(account("b", AccountStatus.DEACTIVATED), account("c")))
    assert (step.order.account_id, step.order.acme_server) == ("c", "https://c.example/dir")
    assert fallback.remaining(step.order) == ()


def test_no_account_is_tried_twice() -> None:
    order, accounts = new_order(), find(account("a"), account("b"), account("c"))
    tried = []
    while True:
        tried.append(order.account_id)
        failed = outcome.fail(order, Problem(acme_problem("rejectedIdentifier", "no")), NOW)
        step = fallback.redirect(order, failed, NOW, accounts)
        if step is failed:
            break
        order = step.order
    assert tried == ["a", "b", "c"]
    assert [attempt.account_id for attempt in order.attempts] == ["a", "b"]


def test_order_without_fallbacks_stays_where_it_is() -> None:
    before = new_order(fallbacks=())
    failed: Step = outcome.fail(before, Problem(acme_problem("rejectedIdentifier", "no")), NOW)
    assert fallback.redirect(before, failed, NOW, find(account("b"))) is failed


# The whole service, with two CAs


class Clock:
    """The present, or what a test makes of it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


@dataclass
class Pair:
    """Two CAs and the service, with an account at each; `directory_url` is the first's."""

    directory_url: str
    ca_bundle: Path

    @classmethod
    def of(cls, directory: Path, *cas: StubCa | Pebble) -> "Pair":
        bundle = directory / "roots.pem"
        bundle.write_text("".join(ca.ca_bundle.read_text() for ca in cas))
        return cls(cas[0].directory_url, bundle)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def second(tmp_path: Path) -> Iterator[StubCa]:
    with StubCa(tmp_path / "second") as second:
        yield second


@pytest.fixture
def house(tmp_path: Path, stub: StubCa, second: StubCa, clock: Clock) -> Iterator[House]:
    with paired(tmp_path, clock, stub, second) as house:
        yield house


def paired(directory: Path, clock: Clock, first: StubCa | Pebble, second: StubCa | Pebble) -> House:
    settings = replace(Settings.read({}, directory / "data"), acme_servers=(second.directory_url,))
    return House(directory, Pair.of(directory, first, second), settings=settings, clock=clock)


@dataclass
class Accounts:
    first: str
    second: str


def accounts(house: House, second: StubCa | Pebble) -> Accounts:
    elsewhere = house.create_account(acmeServer=second.directory_url)["id"]
    return Accounts(house.create_account()["id"], elsewhere)


def order_with_fallback(house: House, at: Accounts, *names: str, **input: Any) -> str:
    return str(house.create_order(at.first, *names, fallbackAccountIds=[at.second], **input)["id"])


def where(house: House, id: str) -> dict[str, Any]:
    query = """query($o: ID!) { order(id: $o) { status account { id acmeServer } fallbacks { id }
        attempts { account { id } acmeServer at problem { type detail } } challenges { id } } }"""
    return dict(house.graphql(query, o=id)["order"])


def moved(house: House, id: str) -> dict[str, Any]:
    """The order as soon as it was placed at the second CA."""
    return await_value(lambda: where(house, id), lambda o: bool(o["attempts"] and o["challenges"]))


def test_refusal_of_the_cas_own_takes_the_order_to_the_next(house: House, stub: StubCa, second: StubCa) -> None:
    at = accounts(house, second)
    stub.fail_next("newOrder", "rejectedIdentifier", status=400)
    id = order_with_fallback(house, at, "a.example")
    order = moved(house, id)
    assert order["account"] == {"id": at.second, "acmeServer": second.directory_url}
    [attempt] = order["attempts"]
    assert (attempt["account"]["id"], attempt["acmeServer"]) == (at.first, stub.directory_url)
    assert attempt["problem"]["type"].endswith("rejectedIdentifier")
    assert order["fallbacks"] == [{"id": at.second}]
    house.prove(id)
    house.await_order(id, "VALID")
    assert house.audit_types(id)[:3] == ["OrderCreated", "OrderRedirected", "OrderPlaced"]


def test_order_that_answers_itself_ends_with_a_certificate_of_the_next_ca(
    tmp_path: Path, stub: StubCa, second: StubCa, clock: Clock
) -> None:
    settings = Settings.read({}, tmp_path / "data")
    zones = replace(settings, acme_servers=(second.directory_url,), http_01_zones=("*",))
    stub.validation, stub.validation_error = "invalid", acme_problem("serverInternal", "ill")
    with House(tmp_path, Pair.of(tmp_path, stub, second), settings=zones, clock=clock) as house:
        id = order_with_fallback(house, accounts(house, second), "a.example", solver=None)
        house.await_order(id, "VALID")
        assert where(house, id)["attempts"][0]["acmeServer"] == stub.directory_url
        assert house.app.store.order(DEFAULT_TENANT, id).presentations == ()


def test_failed_validation_stays_with_the_user(house: House, stub: StubCa, second: StubCa) -> None:
    at = accounts(house, second)
    stub.validation = "invalid"
    id = order_with_fallback(house, at, "a.example")
    house.prove(id)
    house.await_order(id, "INVALID")
    assert where(house, id)["attempts"] == []


def test_challenges_of_the_next_ca_have_ids_of_their_own(house: House, stub: StubCa, second: StubCa) -> None:
    at = accounts(house, second)
    stub.validation, stub.validation_error = "invalid", acme_problem("serverInternal", "ill")
    id = order_with_fallback(house, at, "a.example")
    first_ids = {challenge["id"] for challenge in house.prove(id)}
    order = moved(house, id)
    assert not first_ids & {challenge["id"] for challenge in order["challenges"]}
    with pytest.raises(GraphQLFailed, match="there is no challenge"):
        house.respond(first_ids.pop())
    house.prove(id)
    house.await_order(id, "VALID")


def test_ca_that_stays_down_is_left(house: House, stub: StubCa, second: StubCa, clock: Clock) -> None:
    at = accounts(house, second)
    stub.stop()
    id = order_with_fallback(house, at, "a.example")
    await_value(lambda: house.order(id)["delay"], lambda delay: bool(delay) and delay["attempts"] >= 2)
    assert where(house, id)["attempts"] == []
    clock.ahead = timedelta(minutes=6)
    assert moved(house, id)["attempts"][0]["problem"]["type"] == "urn:certwright:unavailable"


def test_ca_that_limits_for_long_is_left_at_once(house: House, stub: StubCa, second: StubCa) -> None:
    at = accounts(house, second)
    limited = Answer(429, acme_problem("rateLimited", "slow down"), PROBLEM | {"Retry-After": "7200"})
    stub.answer_next("newOrder", limited)
    for name in ("a.example", "b.example"):
        assert moved(house, order_with_fallback(house, at, name))["account"]["id"] == at.second
    assert stub.operations().count("newOrder") == 1


def test_ca_whose_limit_is_used_up_for_long_is_not_waited_for(house: House, stub: StubCa, second: StubCa) -> None:
    limit = Limit(Counted.EXACT_SET, 1, timedelta(days=1))
    house.app.authorities.presets.insert(0, Preset("Stub", stub.directory_url, limits=(limit,)))
    at = accounts(house, second)
    house.await_order(house.create_order(at.first, "a.example")["id"], "PENDING")
    for _ in range(2):
        order = moved(house, order_with_fallback(house, at, "a.example"))
        assert order["attempts"][0]["problem"]["type"] == "urn:certwright:rateLimit"
    query = 'query($a: ID!) { rateLimits(accountId: $a, domains: ["a.example"]) { availableAt } }'
    [standing] = house.graphql(query, a=at.first)["rateLimits"]
    wait = datetime.fromisoformat(standing["availableAt"]) - utc_now()
    assert wait < timedelta(days=1), "orders that went elsewhere take no turn"


def test_pause_takes_the_order_to_the_next_ca(house: House, stub: StubCa, second: StubCa) -> None:
    at = accounts(house, second)
    detail = "temporarily prevented. Please visit: https://ca.example/unpause?jwt=a.b.c"
    stub.fail_next("newOrder", status=429, problem=acme_problem("rateLimited", detail))
    assert moved(house, order_with_fallback(house, at, "a.example"))["account"]["id"] == at.second


def test_profile_is_asked_for_only_where_the_next_ca_has_it(house: House, stub: StubCa, second: StubCa) -> None:
    stub.meta = {"profiles": {"short": "a week"}}
    at = accounts(house, second)
    stub.fail_next("newOrder", "rejectedIdentifier", status=400)
    id = order_with_fallback(house, at, "a.example", profile="short")
    moved(house, id)
    asked = [r.payload.get("profile") for ca in (stub, second) for r in ca.requests if r.operation == "newOrder"]
    assert asked == ["short", None]
    assert house.app.store.order(DEFAULT_TENANT, id).profile == "short"


def test_order_is_listed_under_the_account_it_went_to(house: House, stub: StubCa, second: StubCa) -> None:
    at = accounts(house, second)
    stub.fail_next("newOrder", "rejectedIdentifier", status=400)
    id = order_with_fallback(house, at, "a.example")
    moved(house, id)
    query = "query($a: ID!) { account(id: $a) { orders { edges { node { id } } } } }"
    listed = [house.graphql(query, a=a)["account"]["orders"]["edges"] for a in (at.first, at.second)]
    assert listed == [[], [{"node": {"id": id}}]]


# What may be named


def refusal(house: House, at: Accounts, *ids: str) -> GraphQLFailed:
    with pytest.raises(GraphQLFailed) as refused:
        house.create_order(at.first, "a.example", fallbackAccountIds=ids)
    assert refused.value.extensions["field"] == "fallbackAccountIds"
    return refused.value


def test_fallbacks_must_be_other_valid_accounts(house: House, second: StubCa) -> None:
    at = accounts(house, second)
    assert refusal(house, at, at.first).code == "INVALID_INPUT"
    assert refusal(house, at, at.second, at.second).code == "INVALID_INPUT"
    assert refusal(house, at, *(f"a{n}" for n in range(6))).code == "INVALID_INPUT"
    house.graphql("mutation($a: ID!) { deactivateAccount(id: $a) { id } }", a=at.second)
    assert refusal(house, at, at.second).code == "CONFLICT"


def test_csr_must_not_have_the_key_of_a_fallback_account(house: House, second: StubCa) -> None:
    at = accounts(house, second)
    account = house.app.store.account(DEFAULT_TENANT, at.second)
    key = house.app.sealer.open(account.sealed_key, {"tenant": DEFAULT_TENANT, "entity": at.second})
    with pytest.raises(GraphQLFailed, match="account's own"):
        order_with_fallback(house, at, "a.example", csr=keys.build_csr(key, ["a.example"]))
    own = keys.build_csr(keys.generate_key(KeyType.EC_P256), ["a.example"])
    assert order_with_fallback(house, at, "a.example", csr=own)


# Two real CAs


def test_certificate_comes_from_the_second_pebble_when_the_first_dies_midway(
    tmp_path: Path, pebble: Pebble, clock: Clock
) -> None:
    with Pebble(tmp_path / "dying") as dying, paired(tmp_path, clock, dying, pebble) as house:
        at = accounts(house, pebble)
        id = order_with_fallback(house, at, "midway.example")
        house.await_order(id, "PENDING")
        challenges = [c for c in house.challenges(id) if c["type"] == "dns-01"]
        dying.stop()
        for challenge in challenges:
            house.respond(challenge["id"])
        await_value(lambda: house.order(id)["delay"], lambda delay: bool(delay) and delay["attempts"] >= 2)
        clock.ahead = timedelta(minutes=6)
        assert moved(house, id)["account"]["id"] == at.second
        house.prove(id, pebble.management)
        order = house.await_order(id, "VALID")
        assert order["certificate"]["names"] == ["midway.example"]
        issued = house.app.store.certificates(DEFAULT_TENANT, first=10, after=None).nodes
        assert [certificate.acme_server for certificate in issued] == [pebble.directory_url]
