"""CAs' rate limits through the whole service: counted before a CA is asked, read from what it refuses, and shown."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from certwright.auth import DEFAULT_TENANT
from certwright.bookkeeping import Bookkeeping
from certwright.ca.limits import Counted, Limit
from certwright.ca.presets import Preset
from certwright.local.app import utc_now
from certwright.model import Role
from tests.support.house import House, await_value
from tests.support.stub_ca import Answer, StubCa, acme_problem

PROBLEM = {"Content-Type": "application/problem+json"}
DAY = timedelta(days=1)
LIMITS = (
    Limit(Counted.NEW_ACCOUNTS, 3, DAY),
    Limit(Counted.NEW_ORDERS, 6, DAY, spares_ari=True, spares_renewals=True),
    Limit(Counted.REGISTERED_DOMAIN, 4, DAY, spares_ari=True, spares_renewals=True),
    Limit(Counted.EXACT_SET, 2, DAY, spares_ari=True),
    Limit(Counted.FAILURES, 2, timedelta(hours=1), spares_ari=True),
    Limit(Counted.STREAK, 3, 3 * DAY),
)
DELAY = "delay { until attempts problem { type detail } limit { name subject most windowSeconds } }"


class Clock:
    """The present, or what a test makes of it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counted(tmp_path: Path, stub: StubCa, clock: Clock) -> Iterator[House]:
    """The service, with a CA that publishes limits."""
    house = House(tmp_path, stub, clock=clock)
    house.app.authorities.presets.insert(0, Preset("Stub", stub.directory_url, limits=LIMITS))
    with house:
        yield house


@pytest.fixture
def account(counted: House) -> str:
    return str(counted.create_account()["id"])


def order(house: House, account: str, *names: str) -> str:
    return str(house.create_order(account, *names)["id"])


def placed(house: House, account: str, *names: str) -> str:
    id = order(house, account, *names)
    house.await_order(id, "PENDING")
    return id


def delay(house: House, id: str) -> dict[str, Any]:
    """What an order waits for, as soon as it waits."""
    query = f"query($o: ID!) {{ order(id: $o) {{ status {DELAY} }} }}"
    found = await_value(lambda: house.graphql(query, o=id)["order"], lambda o: o["delay"] or o["status"] != "NEW")
    assert found["status"] == "NEW", found
    return dict(found["delay"])


def standing(house: House, account: str, name: str, *domains: str) -> dict[str, Any]:
    query = """query($a: ID!, $d: [String!]!) { rateLimits(accountId: $a, domains: $d) {
        name subject remaining availableAt limit { most windowSeconds } } }"""
    [found] = [s for s in house.graphql(query, a=account, d=domains)["rateLimits"] if s["name"] == name]
    return dict(found)


def new_orders(stub: StubCa) -> int:
    return stub.operations().count("newOrder")


# Counted beforehand


def test_order_that_would_be_refused_is_not_sent_and_says_when(stub: StubCa, counted: House, account: str) -> None:
    for _ in range(2):
        placed(counted, account, "a.example", "b.example")
    waiting = delay(counted, order(counted, account, "b.example", "a.example"))
    assert waiting["limit"] == {
        "name": "certificatesPerExactSet",
        "subject": "b.example, a.example",
        "most": 2,
        "windowSeconds": 86400,
    }
    wait = datetime.fromisoformat(waiting["until"]) - utc_now()
    assert timedelta(hours=11, minutes=59) < wait < timedelta(hours=12, minutes=11)
    assert (waiting["attempts"], waiting["problem"]["type"]) == (0, "urn:certwright:rateLimit")
    assert "2 certificates with exactly these names for b.example, a.example in 1 day" in waiting["problem"]["detail"]
    assert new_orders(stub) == 2


def test_orders_that_wait_are_sent_one_by_one_as_their_time_comes(
    stub: StubCa, counted: House, account: str, clock: Clock
) -> None:
    for _ in range(2):
        placed(counted, account, "a.example")
    waiting = [order(counted, account, "a.example") for _ in range(2)]
    times = sorted(delay(counted, id)["until"] for id in waiting)
    assert datetime.fromisoformat(times[1]) - datetime.fromisoformat(times[0]) == timedelta(hours=12)
    clock.ahead = datetime.fromisoformat(times[0]) - utc_now() + timedelta(seconds=1)
    open_orders = await_value(
        lambda: [counted.order(id) for id in waiting], lambda orders: any(o["status"] == "PENDING" for o in orders)
    )
    assert sorted(o["status"] for o in open_orders) == ["NEW", "PENDING"]
    assert new_orders(stub) == 3


def test_domains_are_counted_over_all_tenants_and_accounts(stub: StubCa, counted: House, account: str) -> None:
    for name in ("a", "b", "c", "d"):
        placed(counted, account, f"{name}.sub.counted.example")
    elsewhere = counted.token("elsewhere", Role.ADMIN, "another")
    create = "mutation($i: CreateAccountInput!) { createAccount(input: $i) { id } }"
    given = {"email": "a@example.com", "acmeServer": stub.directory_url, "termsOfServiceAgreed": True}
    other = counted.graphql(create, elsewhere, i=given)["createAccount"]["id"]
    create = "mutation($i: CreateOrderInput!) { createOrder(input: $i) { id } }"
    given = {"accountId": other, "domains": ["counted.example"]}
    id = counted.graphql(create, elsewhere, i=given)["createOrder"]["id"]
    query = f"query($o: ID!) {{ order(id: $o) {{ {DELAY} }} }}"
    waiting = await_value(lambda: counted.graphql(query, elsewhere, o=id)["order"]["delay"], bool)
    assert waiting["limit"]["subject"] == "counted.example"
    placed(counted, account, "uncounted.example")


def test_orders_at_the_same_moment_are_all_counted(stub: StubCa, counted: House, account: str) -> None:
    with ThreadPoolExecutor(12) as users:
        ids = list(users.map(lambda n: order(counted, account, f"n{n}.example"), range(12)))
    statuses = await_value(
        lambda: [counted.order(id) for id in ids],
        lambda orders: all(o["status"] == "PENDING" or o["delay"] for o in orders),
    )
    assert sum(o["status"] == "PENDING" for o in statuses) == new_orders(stub) == 6
    assert len({o["delay"]["until"] for o in statuses if o["delay"]}) == 6


def test_accounts_beyond_the_limit_are_registered_later(counted: House, account: str) -> None:
    assert account
    statuses = [counted.create_account()["status"] for _ in range(3)]
    assert statuses == ["VALID", "VALID", "PENDING"]
    assert counted.audit_types()[-1] == "AccountDelayed"


def test_rate_limits_tell_where_one_stands(counted: House, account: str) -> None:
    before = standing(counted, account, "certificatesPerRegisteredDomain", "www.told.example")
    assert (before["subject"], before["remaining"], before["limit"]["most"]) == ("told.example", 4, 4)
    placed(counted, account, "told.example")
    after = standing(counted, account, "certificatesPerRegisteredDomain", "www.told.example")
    assert after["remaining"] == 3
    assert datetime.fromisoformat(after["availableAt"]) <= utc_now()


def test_used_up_limit_tells_when_there_is_more(counted: House, account: str) -> None:
    for _ in range(2):
        placed(counted, account, "a.example")
    used = standing(counted, account, "certificatesPerExactSet", "a.example")
    wait = datetime.fromisoformat(used["availableAt"]) - utc_now()
    assert used["remaining"] == 0
    assert timedelta(hours=11) < wait < timedelta(hours=13)


# What does not count


def test_order_that_the_ca_refuses_does_not_count(stub: StubCa, counted: House, account: str) -> None:
    for _ in range(3):
        stub.fail_next("newOrder", "rejectedIdentifier", status=400)
        counted.await_order(order(counted, account, "a.example"), "INVALID")
    assert standing(counted, account, "certificatesPerExactSet", "a.example")["remaining"] == 2
    assert standing(counted, account, "newOrders", "a.example")["remaining"] == 6


def test_ca_that_is_down_uses_nothing_up(stub: StubCa, counted: House, account: str) -> None:
    stub.answer_next("newOrder", Answer(502, b"Bad gateway"))
    placed(counted, account, "a.example")
    assert standing(counted, account, "certificatesPerExactSet", "a.example")["remaining"] == 1
    assert standing(counted, account, "newOrders", "a.example")["remaining"] == 5


def test_order_whose_answer_is_lost_counts_and_its_certificate_does_not(
    stub: StubCa, counted: House, account: str
) -> None:
    stub.answer_next("newOrder", Answer(200, b"", wait=0, drip=0, performs=True))
    stub.garble_next("newOrder", b"[")
    placed(counted, account, "a.example")
    assert standing(counted, account, "certificatesPerExactSet", "a.example")["remaining"] == 1
    assert standing(counted, account, "newOrders", "a.example")["remaining"] == 3


def cancel(house: House, id: str) -> None:
    house.graphql("mutation($o: ID!) { cancelOrder(id: $o) { status } }", o=id)


def test_cancelled_order_gives_back_its_certificate(counted: House, account: str) -> None:
    first, _ = [placed(counted, account, "a.example") for _ in range(2)]
    cancel(counted, first)
    placed(counted, account, "a.example")


def test_cancelled_order_gives_up_its_turn(counted: House, account: str) -> None:
    for _ in range(2):
        placed(counted, account, "a.example")
    waiting = order(counted, account, "a.example")
    turn = datetime.fromisoformat(delay(counted, waiting)["until"])
    cancel(counted, waiting)
    next_turn = datetime.fromisoformat(delay(counted, order(counted, account, "a.example"))["until"])
    assert abs(next_turn - turn) < timedelta(minutes=1)


# Failures


def fail(stub: StubCa, house: House, account: str, name: str) -> None:
    stub.validation = "invalid"
    id = placed(house, account, name)
    house.prove(id)
    house.await_order(id, "INVALID")
    stub.validation = "valid"


def test_failures_stop_further_orders_for_the_name(stub: StubCa, counted: House, account: str) -> None:
    for _ in range(2):
        fail(stub, counted, account, "bad.example")
    waiting = delay(counted, order(counted, account, "good.example", "bad.example"))
    assert (waiting["limit"]["name"], waiting["limit"]["subject"]) == ("failedAuthorizations", "bad.example")
    assert datetime.fromisoformat(waiting["until"]) - utc_now() < timedelta(minutes=32)
    placed(counted, account, "good.example")


def test_streak_is_stopped_before_the_ca_pauses_and_ends_with_a_success(
    stub: StubCa, counted: House, account: str, clock: Clock
) -> None:
    for _ in range(2):
        fail(stub, counted, account, "bad.example")
        clock.ahead += timedelta(hours=1)
    assert standing(counted, account, "consecutiveFailures", "bad.example")["remaining"] == 1
    counted.issue(account, "bad.example")
    assert standing(counted, account, "consecutiveFailures", "bad.example")["remaining"] == 3
    assert standing(counted, account, "failedAuthorizations", "bad.example")["remaining"] == 2


def test_failed_order_gives_back_its_certificate(stub: StubCa, counted: House, account: str) -> None:
    fail(stub, counted, account, "bad.example")
    for _ in range(2):
        placed(counted, account, "bad.example", "good.example")
    left = standing(counted, account, "certificatesPerRegisteredDomain", "bad.example")
    assert left["remaining"] == 2
    assert standing(counted, account, "newOrders", "bad.example")["remaining"] == 3


# What a CA tells


def tell(stub: StubCa, detail: str, headers: dict[str, str]) -> None:
    stub.answer_next("newOrder", Answer(429, acme_problem("rateLimited", detail), PROBLEM | headers))


def http_date(later: timedelta) -> str:
    return format_datetime(datetime.now(UTC) + later, usegmt=True)


@pytest.mark.parametrize("dated", [False, True])
def test_retry_after_holds_for_the_other_orders_of_the_account(stub: StubCa, stub_house: House, dated: bool) -> None:
    account, other = (str(stub_house.create_account()["id"]) for _ in range(2))
    tell(stub, "slow down", {"Retry-After": http_date(timedelta(hours=2)) if dated else "7200"})
    first = delay(stub_house, order(stub_house, account, "a.example"))
    second = delay(stub_house, order(stub_house, account, "b.example"))
    assert (first["attempts"], second["attempts"]) == (1, 0)
    assert second["problem"]["detail"].startswith("the CA told this account to wait")
    assert timedelta(minutes=119) < datetime.fromisoformat(second["until"]) - utc_now() < timedelta(minutes=121)
    assert new_orders(stub) == 1
    placed(stub_house, other, "a.example")


def test_refusal_closes_the_limit_that_it_names(stub: StubCa, counted: House, account: str) -> None:
    detail = 'too many certificates (50) already issued for "shared.example" in the last 168h0m0s'
    until = (utc_now() + timedelta(hours=30)).replace(microsecond=0)
    tell(stub, f"{detail}, retry after {until:%Y-%m-%d %H:%M:%S} UTC: see https://ca.example/", {"Retry-After": "60"})
    order(counted, account, "a.shared.example")
    await_value(lambda: new_orders(stub), bool)
    waiting = delay(counted, order(counted, account, "b.shared.example"))
    assert waiting["limit"]["name"] == "certificatesPerRegisteredDomain"
    assert timedelta(0) < datetime.fromisoformat(waiting["until"]) - until < timedelta(minutes=11)
    placed(counted, account, "free.example")


def test_pause_ends_the_order_and_shows_the_way_out(stub: StubCa, counted: House, account: str) -> None:
    page = "https://ca.example/sfe/v1/unpause?jwt=a.b.c"
    names = "Your account is temporarily prevented from requesting certificates for a.example and possibly others."
    stub.fail_next("newOrder", status=429, problem=acme_problem("rateLimited", f"{names} Please visit: {page}"))
    id = order(counted, account, "a.example")
    counted.await_order(id, "INVALID")
    error = counted.graphql("query($o: ID!) { order(id: $o) { error { type link } } }", o=id)["order"]["error"]
    assert error == {"type": "urn:ietf:params:acme:error:rateLimited", "link": page}
    assert new_orders(stub) == 1
    placed(counted, account, "a.example")


# Counted as the CA counts


def test_certificate_that_took_long_counts_from_its_issuance_on(counted: House, account: str, clock: Clock) -> None:
    slow = placed(counted, account, "a.example")
    clock.ahead = timedelta(hours=11)
    counted.prove(slow)
    counted.await_order(slow, "VALID")
    placed(counted, account, "a.example")
    assert standing(counted, account, "certificatesPerExactSet", "a.example")["remaining"] == 0
    clock.ahead = timedelta(hours=22, minutes=50)
    assert standing(counted, account, "certificatesPerExactSet", "a.example")["remaining"] == 0


# Crashes


def test_order_is_counted_before_the_ca_hears_of_it(stub: StubCa, counted: House, account: str) -> None:
    stub.hang_next("newOrder", seconds=1, performs=True)
    id = order(counted, account, "a.example")
    await_value(lambda: new_orders(stub), bool)
    assert standing(counted, account, "newOrders", "a.example")["remaining"] == 5
    counted.await_order(id, "PENDING")


def test_order_that_was_counted_by_a_process_that_died_counts_again(counted: House, account: str) -> None:
    dead = Bookkeeping(counted.app.store, counted.app.authorities)
    dead.admit(counted.app.store.order(DEFAULT_TENANT, placed(counted, account, "a.example")), utc_now())
    assert standing(counted, account, "newOrders", "a.example")["remaining"] == 4
    delay(counted, order(counted, account, "a.example"))


def test_nothing_is_written_for_a_ca_without_limits(stub_house: House) -> None:
    account = str(stub_house.create_account()["id"])
    stub_house.issue(account, "a.example")
    server = stub_house.app.store.account(DEFAULT_TENANT, account).acme_server
    assert stub_house.app.table.query(f"ledger#{server}", limit=10) == []
