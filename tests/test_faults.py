"""What CAs, networks and impatient users do to orders: an order waits and goes on by itself, or ends and says why."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from certwright.auth import DEFAULT_TENANT
from certwright.config import Settings
from certwright.model import system
from tests.support.house import GraphQLFailed, House, await_true, await_value
from tests.support.pebble import Pebble
from tests.support.stub_ca import Answer, StubCa, acme_problem

STEPS = ("newOrder", "authorization", "challenge", "finalize", "order", "certificate")
PROBLEM = {"Content-Type": "application/problem+json"}


@pytest.fixture
def account(stub_house: House) -> str:
    return str(stub_house.create_account()["id"])


def respond_when_placed(house: House, order_id: str) -> None:
    """Answer the dns-01 challenges as soon as the order has all of them and waits for nothing."""
    await_value(
        lambda: house.order(order_id), lambda o: bool(o["challenges"] and o["status"] != "NEW" and not o["delay"])
    )
    for challenge in house.order(order_id)["challenges"]:
        if challenge["type"] == "dns-01" and challenge["status"] == "PENDING":
            house.respond(challenge["id"])


def order_for(house: House, account: str, *names: str) -> str:
    return str(house.create_order(account, *names)["id"])


def url_of(house: House, order_id: str) -> str:
    url = house.app.store.order(DEFAULT_TENANT, order_id).url
    assert url is not None
    return url


def rate_limited(headers: dict[str, str]) -> Answer:
    return Answer(429, acme_problem("rateLimited", "too many"), PROBLEM | headers)


def http_date(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


# What passes


def test_orders_pass_every_fault_at_every_step_by_themselves(stub: StubCa, stub_house: House, account: str) -> None:
    faults = [
        Answer(500, acme_problem("serverInternal", "ill"), PROBLEM),
        Answer(502, b"<html>Bad gateway</html>", {"Content-Type": "text/html"}),
        Answer(200, b"<html>Sorry!</html>", {"Content-Type": "text/html"}),
        Answer(200, b"[1, 2"),
        Answer(200, {}),
        rate_limited({"Retry-After": "1"}),
        rate_limited({"Retry-After": http_date(1)}),
        Answer(500, b"", wait=0.5, performs=True),
    ]
    stub.processing_polls = 1
    for step in STEPS:
        for fault in faults:
            stub.answer_next(step, fault)
    orders = [order_for(stub_house, account, f"n{n}.example") for n in range(len(faults))]
    with ThreadPoolExecutor(len(orders)) as users:
        list(users.map(lambda id: respond_when_placed(stub_house, id), orders))
        done = list(users.map(lambda id: stub_house.await_order(id, "VALID", "INVALID"), orders))
    assert [(order["status"], order["error"], order["delay"]) for order in done] == [("VALID", None, None)] * len(
        orders
    )
    assert stub_house.graphql("{ dashboard { counts { certificates } } }")["dashboard"]["counts"] == {
        "certificates": len(orders)
    }


@pytest.mark.parametrize("step", STEPS)
def test_delayed_order_says_why_and_until_when(stub: StubCa, stub_house: House, account: str, step: str) -> None:
    stub.processing_polls = 1
    stub.answer_next(step, rate_limited({"Retry-After": "1"}))
    before = datetime.now(UTC)
    order_id = order_for(stub_house, account, "slow.example")
    if step not in ("newOrder", "authorization"):
        respond_when_placed(stub_house, order_id)
    delay = await_value(lambda: stub_house.order(order_id), lambda o: o["delay"] is not None)["delay"]
    assert delay["problem"]["type"].endswith("rateLimited")
    assert delay["attempts"] == 1
    assert timedelta(seconds=0.9) < datetime.fromisoformat(delay["until"]) - before < timedelta(seconds=5)
    if step in ("newOrder", "authorization"):
        respond_when_placed(stub_house, order_id)
    assert stub_house.await_order(order_id, "VALID")["delay"] is None
    assert "OrderDelayed" in stub_house.audit_types(order_id)


@pytest.mark.parametrize("dated", [False, True])
def test_nothing_is_sent_before_the_retry_after(stub: StubCa, stub_house: House, account: str, dated: bool) -> None:
    stub.answer_next("newOrder", rate_limited({"Retry-After": http_date(3) if dated else "2"}))
    order_id = order_for(stub_house, account, "slow.example")
    delay = await_value(lambda: stub_house.order(order_id), lambda o: o["delay"] is not None)["delay"]
    await_true(lambda: len(stub_house.order(order_id)["challenges"]) > 0)
    assert datetime.now(UTC) >= datetime.fromisoformat(delay["until"])
    assert stub.operations().count("newOrder") == 2


def test_retry_after_on_a_response_is_kept_though_the_user_responds_to_others(
    stub: StubCa, stub_house: House, account: str
) -> None:
    order_id = order_for(stub_house, account, "a.example", "b.example")
    first, second = [c for c in stub_house.challenges(order_id) if c["type"] == "dns-01"]
    stub.answer_next("challenge", rate_limited({"Retry-After": "2"}))
    stub_house.respond(first["id"])
    await_value(lambda: stub_house.order(order_id), lambda o: o["delay"] is not None)
    stub_house.respond(second["id"])
    time.sleep(0.5)
    assert stub.operations().count("challenge") == 1
    stub_house.await_order(order_id, "VALID")
    assert stub.operations().count("challenge") == 3


def test_interrupted_step_is_not_begun_from_its_start(stub: StubCa, stub_house: House, account: str) -> None:
    order_id = order_for(stub_house, account, *(f"n{n}.example" for n in range(10)))
    await_true(lambda: len(stub_house.order(order_id)["challenges"]) == 20)
    for _ in range(3):
        stub.answer_next("authorization", Answer(200, {}))
    respond_when_placed(stub_house, order_id)
    stub_house.await_order(order_id, "VALID")
    assert stub.operations().count("challenge") == 10


def test_order_not_ready_is_looked_at_again_and_goes_on(stub: StubCa, stub_house: House, account: str) -> None:
    stub.fail_next("finalize", "orderNotReady", status=403, times=2)
    order_id = order_for(stub_house, account, "race.example")
    respond_when_placed(stub_house, order_id)
    assert stub_house.await_order(order_id, "VALID", "INVALID")["error"] is None


def test_issuing_that_takes_a_while_is_polled_as_the_ca_asks(stub: StubCa, stub_house: House, account: str) -> None:
    stub.processing_polls, stub.poll_headers = 2, {"Retry-After": "1"}
    order_id = order_for(stub_house, account, "async.example")
    respond_when_placed(stub_house, order_id)
    stub_house.await_order(order_id, "PROCESSING")
    begun = time.monotonic()
    stub_house.await_order(order_id, "VALID")
    assert time.monotonic() - begun > 2
    assert stub.operations().count("order") == 3


def test_names_that_are_authorized_already_need_no_response(tmp_path: Path) -> None:
    with Pebble(tmp_path / "pebble", authz_reuse=100) as pebble, House(tmp_path, pebble) as house:
        account = house.create_account()["id"]
        house.issue(account, "again.example")
        again = house.create_order(account, "again.example")
        assert house.await_order(again["id"], "VALID")["certificate"]["names"] == ["again.example"]


def test_odd_challenges_are_shown_and_hurt_nothing(stub: StubCa, stub_house: House, account: str) -> None:
    url = stub.base_url + "/challenge/odd"
    stub.extra_challenges = [
        {"type": "dns-persist-01", "url": url, "status": "pending", "issuer-domain-names": ["ca.example"]},
        {"type": "dns-01", "url": url + "2", "status": "brewing", "token": "no/good"},
        {"no": "type"},
        "nonsense",
    ]
    order_id = order_for(stub_house, account, "odd.example")
    shown = stub_house.challenges(order_id)
    assert [c["type"] for c in shown] == ["http-01", "dns-01", "dns-persist-01", "dns-01"]
    assert [c["preparation"] is None for c in shown] == [False, False, False, True]
    stub_house.respond(shown[1]["id"])
    stub_house.await_order(order_id, "VALID")


# What ends an order


def ended(house: House, order_id: str) -> dict[str, Any]:
    """The error of an order that ends invalid, and leaves no certificate."""
    order = house.await_order(order_id, "INVALID", "VALID")
    assert (order["status"], order["delay"], order["certificate"]) == ("INVALID", None, None)
    assert house.graphql("{ certificates { edges { node { id } } } }")["certificates"]["edges"] == []
    assert house.audit_types(order_id)[-1] == "OrderFailed"
    return dict(order["error"])


def test_rejected_names_are_each_told_with_their_reason(stub: StubCa, stub_house: House, account: str) -> None:
    subproblems = [
        acme_problem("rejectedIdentifier", "on a blocklist", identifier={"type": "dns", "value": "a.example"}),
        acme_problem("caa", "CAA forbids", identifier={"type": "dns", "value": "b.example"}),
    ]
    problem = acme_problem("rejectedIdentifier", "two names will not do", subproblems=subproblems, status=400)
    stub.fail_next("newOrder", status=400, problem=problem)
    error = ended(stub_house, order_for(stub_house, account, "a.example", "b.example"))
    assert (error["type"], error["detail"]) == (problem["type"], "two names will not do")
    assert [(s["identifier"], s["detail"]) for s in error["subproblems"]] == [
        ("a.example", "on a blocklist"),
        ("b.example", "CAA forbids"),
    ]


@pytest.mark.parametrize("step", ["newOrder", "authorization", "challenge", "finalize", "order", "certificate"])
@pytest.mark.parametrize("code", ["unauthorized", "badCSR"])
def test_refusal_for_good_ends_the_order_with_the_cas_document(
    stub: StubCa, stub_house: House, account: str, step: str, code: str
) -> None:
    stub.processing_polls = 1
    if step in ("newOrder", "authorization"):
        stub.fail_next(step, code, status=403)
    order_id = order_for(stub_house, account, "no.example")
    if step not in ("newOrder", "authorization"):
        stub.fail_next(step, code, status=403)
        respond_when_placed(stub_house, order_id)
    error = ended(stub_house, order_id)
    assert error["type"].endswith(code)
    assert error["detail"] == f"the stub was told to refuse {step}"


def test_refused_response_that_was_taken_all_the_same_goes_on(stub: StubCa, stub_house: House, account: str) -> None:
    stub.fail_next("challenge", "malformed", status=400, performs=True)
    order_id = order_for(stub_house, account, "twice.example")
    respond_when_placed(stub_house, order_id)
    assert stub_house.await_order(order_id, "VALID", "INVALID")["error"] is None


def test_changed_terms_of_service_can_be_read_where_the_order_failed(
    stub: StubCa, stub_house: House, account: str
) -> None:
    problem = acme_problem("userActionRequired", "agree to the new terms", instance="https://ca.example/agree")
    stub.fail_next(
        "newOrder", status=403, problem=problem, headers={"Link": '<https://ca.example/tos-2>;rel="terms-of-service"'}
    )
    error = ended(stub_house, order_for(stub_house, account, "terms.example"))
    assert error["type"].endswith("userActionRequired")
    assert error["detail"] == "agree to the new terms (terms of service: https://ca.example/tos-2)"


@pytest.mark.parametrize("body", [None, b"<html>Not here</html>"])
def test_order_that_the_ca_lost_ends(stub: StubCa, stub_house: House, account: str, body: bytes | None) -> None:
    stub.processing_polls = 10**6
    order_id = order_for(stub_house, account, "lost.example")
    respond_when_placed(stub_house, order_id)
    stub_house.await_order(order_id, "PROCESSING")
    if body is None:
        stub.lose_order(url_of(stub_house, order_id))
    else:
        stub.answer_next("order", Answer(404, body, {"Content-Type": "text/html"}))
    assert "does not know the order" in ended(stub_house, order_id)["detail"]


@pytest.mark.parametrize("what", ["names", "key"])
def test_certificate_for_something_else_is_not_taken(stub: StubCa, stub_house: House, account: str, what: str) -> None:
    if what == "names":
        stub.certificate_names = ["other.example"]
    else:
        stub.certificate_key = ec.generate_private_key(ec.SECP256R1()).public_key()
    order_id = order_for(stub_house, account, "mine.example")
    respond_when_placed(stub_house, order_id)
    error = ended(stub_house, order_id)
    assert error["type"] == "urn:certwright:mismatchedCertificate"
    assert ("other.example" if what == "names" else "another key") in error["detail"]


def test_validation_that_fails_without_a_reason_says_so(stub: StubCa, stub_house: House, account: str) -> None:
    stub.validation, stub.validation_error = "invalid", {"odd": True}
    order_id = order_for(stub_house, account, "why.example")
    respond_when_placed(stub_house, order_id)
    error = ended(stub_house, order_id)
    assert error["detail"].startswith("why.example: the authorization is invalid; the CA gave no reason")
    assert "ChallengeFailed" in stub_house.audit_types(order_id)


# Accounts


def test_account_at_a_ca_that_is_down_is_refused_and_leaves_nothing(stub: StubCa, stub_house: House) -> None:
    stub.stop()
    with pytest.raises(GraphQLFailed) as refused:
        stub_house.create_account()
    assert refused.value.code == "CA_ERROR"
    assert "127.0.0.1" in refused.value.extensions["problem"]["detail"]
    assert stub_house.graphql("{ accounts { edges { node { id } } } }")["accounts"]["edges"] == []
    assert stub_house.audit()[0]["type"] == "OperationFailed"
    assert "AccountCreated" not in stub_house.audit_types()


@pytest.mark.parametrize(
    "fault",
    [
        Answer(503, acme_problem("serverInternal", "ill"), PROBLEM),
        Answer(200, b"<html>Sorry!</html>"),
        Answer(500, b"", performs=True),
        rate_limited({"Retry-After": "1"}),
    ],
)
def test_account_becomes_valid_by_itself_when_the_ca_is_back(stub: StubCa, stub_house: House, fault: Answer) -> None:
    stub.answer_next("newAccount", fault)
    account = stub_house.create_account()
    assert account["status"] == "PENDING"
    query = "query($a: ID!) { account(id: $a) { status url } }"
    valid = await_value(
        lambda: stub_house.graphql(query, a=account["id"])["account"], lambda found: found["status"] == "VALID"
    )
    assert valid["url"] == f"{stub.base_url}/account/1"
    assert stub_house.audit_types(account["id"]) == ["AccountCreated", "AccountDelayed", "AccountRegistered"]


def test_account_that_the_ca_refuses_is_gone_and_its_refusal_is_not(stub: StubCa, stub_house: House) -> None:
    stub.fail_next("newAccount", "invalidContact", status=400)
    with pytest.raises(GraphQLFailed) as refused:
        stub_house.create_account()
    assert refused.value.code == "CA_ERROR"
    assert refused.value.extensions["problem"]["type"].endswith("invalidContact")
    assert stub_house.graphql("{ accounts { edges { node { id } } } }")["accounts"]["edges"] == []
    assert stub_house.audit_types()[-3:] == ["AccountCreated", "AccountRefused", "OperationFailed"]


# Many at once


@dataclass(frozen=True)
class Server:
    directory_url: str
    ca_bundle: Path


def test_ca_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    with StubCa(tmp_path / "slow") as slow, StubCa(tmp_path / "fast") as fast:
        bundle = tmp_path / "both.pem"
        bundle.write_text(slow.ca_bundle.read_text() + fast.ca_bundle.read_text())
        settings = replace(Settings.read({}, tmp_path / "data"), acme_servers=(slow.directory_url,))
        with House(tmp_path, Server(fast.directory_url, bundle), settings=settings) as house:
            at_slow = house.create_account(acmeServer=slow.directory_url)["id"]
            at_fast = house.create_account()["id"]
            for n in range(40):
                slow.hang_next("newOrder", 30)
                house.create_order(at_slow, f"slow{n}.example")
            await_true(lambda: slow.operations().count("newOrder") >= 16)
            begun = time.monotonic()
            for n in range(5):
                order_id = order_for(house, at_fast, f"fast{n}.example")
                respond_when_placed(house, order_id)
                house.await_order(order_id, "VALID")
            assert time.monotonic() - begun < 10
            slow.stop()


def test_two_processes_on_one_store_issue_each_order_once(stub: StubCa, tmp_path: Path) -> None:
    with House(tmp_path, stub) as one, House(tmp_path, stub) as two:
        account = one.create_account()["id"]
        orders = [order_for((one, two)[n % 2], account, f"a{n}.example", f"b{n}.example") for n in range(10)]
        for id in orders:
            challenges = [c for c in one.challenges(id) if c["type"] == "dns-01"]
            for house, challenge in zip((one, two), challenges, strict=True):
                house.respond(challenge["id"])
        for id in orders:
            two.await_order(id, "VALID")
        finalized = Counter(r.path for r in stub.requests if r.operation == "finalize")
        assert set(finalized.values()) == {1}
        assert len(finalized) == len(orders)
        counts = one.graphql("{ dashboard { counts { certificates ordersOpen } } }")["dashboard"]["counts"]
        assert counts == {"certificates": 10, "ordersOpen": 0}
        validated = [t for id in orders for t in one.audit_types(id) if t == "ChallengeValidated"]
        assert len(validated) == 20


def test_hundred_names_answered_one_by_one_are_each_told_once(stub: StubCa, stub_house: House, account: str) -> None:
    stub.validation = "processing"
    order_id = order_for(stub_house, account, *(f"n{n}.example" for n in range(100)))
    await_true(lambda: len(stub_house.order(order_id)["challenges"]) == 200)
    respond_when_placed(stub_house, order_id)
    await_true(lambda: stub.operations().count("challenge") >= 100)
    stub_house.graphql("mutation($o: ID!) { cancelOrder(id: $o) { id } }", o=order_id)
    asked = Counter(stub.operations())
    assert asked["challenge"] == 100
    # Looks come at growing intervals, when ever more was answered: about 200 beside the first 100; not 100 times 50.
    assert asked["authorization"] < 600


def test_many_users_at_once_answer_the_names_of_one_order(stub: StubCa, stub_house: House, account: str) -> None:
    order_id = order_for(stub_house, account, *(f"n{n}.example" for n in range(30)))
    challenges = [c for c in stub_house.challenges(order_id) if c["type"] == "dns-01"]
    with ThreadPoolExecutor(16) as users:
        list(users.map(lambda challenge: stub_house.respond(challenge["id"]), challenges))
    assert stub_house.await_order(order_id, "VALID")["error"] is None
    assert stub.operations().count("challenge") == 30
    assert stub_house.audit_types(order_id).count("ChallengeValidated") == 30


# Cancelling


@pytest.mark.parametrize(
    ("hangs", "status"),
    [
        ("newOrder", "NEW"),
        ("authorization", "NEW"),
        ("challenge", "PENDING"),
        ("finalize", "READY"),
        ("order", "PROCESSING"),
        ("certificate", "PROCESSING"),
    ],
)
def test_cancelled_order_stays_so_whatever_the_ca_is_at(
    stub: StubCa, stub_house: House, account: str, hangs: str, status: str
) -> None:
    stub.processing_polls = 1
    normal = Answer(500, b"", wait=1, performs=True)
    order_id = ""
    if hangs in ("newOrder", "authorization"):
        stub.answer_next(hangs, normal)
        order_id = order_for(stub_house, account, "cancelled.example")
    else:
        order_id = order_for(stub_house, account, "cancelled.example")
        await_true(lambda: len(stub_house.order(order_id)["challenges"]) > 0)
        stub.answer_next(hangs, normal)
        respond_when_placed(stub_house, order_id)
    await_true(lambda: hangs in stub.operations())
    await_value(lambda: stub_house.order(order_id), lambda o: o["status"] == status)
    stub_house.graphql("mutation($o: ID!) { cancelOrder(id: $o) { id } }", o=order_id)
    time.sleep(1.2)
    order = stub_house.order(order_id)
    assert (order["status"], order["certificate"]) == ("INVALID", None)
    assert order["error"]["type"] == "urn:certwright:cancelled"
    assert stub_house.audit_types(order_id)[-1] == "OrderCancelled"


def test_account_whose_key_cannot_be_opened_waits_and_says_why(stub: StubCa, stub_house: House) -> None:
    stub.fail_next("newAccount", status=503)
    account = stub_house.create_account()
    assert account["status"] == "PENDING"
    stored = stub_house.app.store.account("default", account["id"])
    spoilt = replace(stored, sealed_key="local:v1:0000:nonsense", due=datetime.now(UTC))
    stub_house.app.store.save(stored, spoilt, events=[], actor=system("default"))
    await_true(lambda: any("was not sealed with" in str(e["detail"]) for e in stub_house.audit(account["id"])))
