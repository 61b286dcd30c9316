"""The step machine alone, with a CA that is a plain object: the branches that no server takes on request."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from certwright import issuance, keys, outcome, validation
from certwright.advising import Advising
from certwright.authorities import Authorities
from certwright.ca.client import Client
from certwright.ca.limits import Limit
from certwright.ca.problems import CaError, CaProblem, CaUnavailable
from certwright.ca.resources import AuthorizationResource, ChallengeResource, OrderResource
from certwright.events import ChallengeValidated, Event
from certwright.model import (
    Account,
    AccountStatus,
    Authorization,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
    Delay,
    KeyType,
    Order,
    OrderStatus,
    Problem,
    system,
)
from certwright.outcome import Step
from certwright.sealer import LocalSealer
from certwright.solvers import Dns, Solvers
from certwright.solving import Solving
from certwright.sqlite_table import SqliteTable
from certwright.steps import Steps, Work
from certwright.store import Store
from tests.support.house import Silent
from tests.support.stub_ca import acme_problem

T = TypeVar("T")
NOW = datetime(2026, 11, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
ORDER_URL = "https://ca.example/order/1"
CSR = keys.build_csr(keys.generate_key(KeyType.EC_P256), ["a.example"])


def refusal(code: str, status: int = 403, **members: Any) -> CaProblem:
    return CaProblem(Problem(acme_problem(code, f"it is {code}", **members)), status=status)


@dataclass
class Ca:
    """Answers as it was told; an exception is raised instead. `asked` is what it was asked for, in order. `meanwhile`
    is done once, while an authorization is fetched."""

    order: OrderResource | CaError | None = None
    authorizations: dict[str, AuthorizationResource | CaError] = field(default_factory=dict)
    finalized: OrderResource | CaError | None = None
    response: CaError | None = None
    meanwhile: Callable[[], None] | None = None
    asked: list[str] = field(default_factory=list)

    def new_order(self, identifiers: list[tuple[str, str]], profile: str | None = None) -> OrderResource:
        return self._answer(f"newOrder {profile} {identifiers[0][1]}", self.order)

    def fetch_order(self, url: str) -> OrderResource:
        assert url == ORDER_URL
        return self._answer("order", self.order)

    def fetch_authorization(self, url: str) -> AuthorizationResource:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        return self._answer(f"authorization {url}", self.authorizations[url])

    def respond_challenge(self, url: str) -> None:
        self._answer(f"challenge {url}", self.response)

    def finalize(self, url: str, csr_der: bytes, *, order_url: str) -> OrderResource:
        assert (url, csr_der, order_url) == ("f", keys.csr_der(CSR), ORDER_URL)
        return self._answer("finalize", self.finalized)

    def _answer(self, what: str, answer: T | CaError | None) -> T:
        self.asked.append(what)
        if isinstance(answer, CaError):
            raise answer
        return cast(T, answer)


def advance(order: Order, ca: Ca, *, resumed: bool = False) -> Step:
    return issuance.advance(order, cast(Client, ca), NOW, new_id=lambda: "id", resumed=resumed)


def types(step: Step) -> list[str]:
    return [event.type for event in step.events]


def order_resource(status: str, **fields: Any) -> OrderResource:
    given = {"identifiers": (("dns", "a.example"),), "authorizations": ("z1",), "finalize": "f", **fields}
    return OrderResource(url=ORDER_URL, status=status, **given)


def authorization_resource(status: str, challenge: str = "pending", **fields: Any) -> AuthorizationResource:
    challenges = (ChallengeResource(type="dns-01", url="c1", status=challenge, token="t"),)
    return AuthorizationResource(
        **{"url": "z1", "identifier": "a.example", "status": status, "challenges": challenges, **fields}
    )


def order(status: OrderStatus, *authorizations: Authorization, **fields: Any) -> Order:
    given = {
        "id": "o",
        "tenant": "t",
        "account_id": "a",
        "acme_server": "https://ca.example/dir",
        "domains": ("a.example",),
        "csr": CSR,
        "created_at": NOW,
        "updated_at": NOW,
        "url": ORDER_URL,
        "finalize_url": "f",
        **fields,
    }
    return Order(status=status, authorizations=authorizations, **given)


def authorization(number: int = 1, **challenge: Any) -> Authorization:
    made = Challenge(f"o-{number}", "dns-01", f"c{number}", ChallengeStatus.PENDING, "t")
    return Authorization(f"z{number}", f"n{number}.example", challenges=(replace(made, **challenge),))


RESPONDED: dict[str, Any] = {"responded": True, "status": ChallengeStatus.PROCESSING}
SENT: dict[str, Any] = {**RESPONDED, "sent": True}


# new → pending


def test_placed_order_keeps_what_the_ca_wants_to_see() -> None:
    ca = Ca(order_resource("pending", expires=LATER), {"z1": authorization_resource("pending")})
    step = advance(order(OrderStatus.NEW, url=None, profile="short"), ca)
    assert ca.asked == ["newOrder short a.example", "authorization z1"]
    assert (step.order.status, step.order.url, step.order.due) == (OrderStatus.PENDING, ORDER_URL, LATER)
    assert [c.id for _, c in step.order.challenges] == ["o-0"]
    assert types(step) == ["OrderPlaced"]


def test_placed_order_is_kept_when_an_authorization_cannot_be_fetched() -> None:
    ca = Ca(order_resource("pending"), {"z1": CaUnavailable("ill")})
    step = advance(order(OrderStatus.NEW, url=None), ca)
    assert (step.order.status, step.order.url, types(step)) == (OrderStatus.PENDING, ORDER_URL, ["OrderPlaced"])
    assert step.interrupted is ca.authorizations["z1"]
    assert not step.order.authorizations[0].fetched


def test_order_without_anything_to_prove_is_ready_at_once() -> None:
    resource = authorization_resource("valid", challenges=())
    step = advance(order(OrderStatus.NEW, url=None), Ca(order_resource("ready"), {"z1": resource}))
    assert (step.order.status, step.order.due) == (OrderStatus.READY, NOW)
    assert types(step) == ["OrderPlaced", "OrderReady"]


# pending → ready


def test_responses_are_sent_before_anything_is_looked_at() -> None:
    ca = Ca()
    step = advance(order(OrderStatus.PENDING, authorization(1, **SENT), authorization(2, **RESPONDED)), ca)
    assert ca.asked == ["challenge c2"]
    assert not validation.unsent(step.order)
    assert (step.polls, step.order.due, step.events) == (True, None, ())


def test_order_that_waits_for_its_user_asks_the_ca_nothing() -> None:
    ca = Ca()
    step = advance(order(OrderStatus.PENDING, authorization(), expires=LATER), ca)
    assert (ca.asked, step.polls, step.order.due) == ([], False, LATER)


def test_retry_after_of_any_authorization_sets_the_time() -> None:
    ca = Ca(authorizations={"z1": authorization_resource("pending", "processing", retry_after=LATER)})
    step = advance(order(OrderStatus.PENDING, authorization(**SENT)), ca)
    assert (step.polls, step.order.due) == (True, LATER)


def test_progress_is_kept_when_the_ca_fails_halfway() -> None:
    delay = Delay(Problem({}), NOW, 3)
    both = (authorization(1, **SENT), authorization(2, **SENT))
    ca = Ca(authorizations={"z1": authorization_resource("valid", "valid"), "z2": CaUnavailable("ill")})
    step = advance(order(OrderStatus.PENDING, *both, delay=delay), ca)
    assert [a.status for a in step.order.authorizations] == [AuthorizationStatus.VALID, AuthorizationStatus.PENDING]
    assert (types(step), step.order.delay, step.interrupted is None) == (["ChallengeValidated"], delay, False)


@pytest.mark.parametrize("seen", [("pending", "processing"), ("valid", "valid")])
def test_refused_response_that_the_ca_has_already_counts_as_sent(seen: tuple[str, str]) -> None:
    ca = Ca(authorizations={"z1": authorization_resource(*seen)}, response=refusal("malformed", 400))
    step = advance(order(OrderStatus.PENDING, authorization(**RESPONDED)), ca)
    assert (validation.unsent(step.order), step.interrupted) == (False, None)


def test_refused_response_that_the_ca_does_not_have_interrupts() -> None:
    ca = Ca(authorizations={"z1": authorization_resource("pending")}, response=refusal("malformed", 400))
    assert advance(order(OrderStatus.PENDING, authorization(**RESPONDED)), ca).interrupted is ca.response


@pytest.mark.parametrize(
    ("status", "challenge"),
    [
        ("invalid", "invalid"),
        ("deactivated", "valid"),
        ("expired", "valid"),
        ("revoked", "valid"),
        ("pending", "invalid"),
    ],
)
def test_lost_authorization_ends_the_order(status: str, challenge: str) -> None:
    ca = Ca(authorizations={"z1": authorization_resource(status, challenge)})
    step = advance(order(OrderStatus.PENDING, authorization(**SENT)), ca)
    assert (step.order.status, step.order.due) == (OrderStatus.INVALID, None)
    assert step.order.error is not None
    assert "the CA gave no reason" in str(step.order.error.detail)


@pytest.mark.parametrize("wire", ["brewing", ""])
def test_unknown_statuses_of_the_ca_count_as_undecided(wire: str) -> None:
    ca = Ca(authorizations={"z1": authorization_resource(wire, wire)})
    step = advance(order(OrderStatus.PENDING, authorization(**SENT)), ca)
    assert (step.order.status, step.polls) == (OrderStatus.PENDING, True)


def test_expired_order_becomes_invalid() -> None:
    step = advance(order(OrderStatus.PENDING, authorization(), expires=NOW), Ca(order_resource("pending")))
    assert step.order.status is OrderStatus.INVALID
    assert step.order.error is not None
    assert step.order.error.type == "urn:certwright:orderExpired"


@pytest.mark.parametrize("status", ["ready", "processing", "valid"])
def test_order_past_its_expiry_goes_on_where_the_ca_went_on(status: str) -> None:
    step = advance(order(OrderStatus.PENDING, authorization(), expires=NOW), Ca(order_resource(status)))
    assert (step.order.status, step.order.due, types(step)) == (OrderStatus.READY, NOW, ["OrderReady"])


def test_refreshing_sends_no_response_and_keeps_the_orders_time() -> None:
    ca = Ca(authorizations={"z1": authorization_resource("pending")})
    before = order(OrderStatus.PENDING, authorization(**RESPONDED), due=LATER)
    step = validation.refresh(before, cast(Client, ca), NOW)
    assert (ca.asked, step.order.due, validation.unsent(step.order)) == (["authorization z1"], LATER, True)


def test_refreshing_tells_its_caller_that_the_ca_cannot_be_asked() -> None:
    ca = Ca(authorizations={"z1": CaUnavailable("ill")})
    with pytest.raises(CaUnavailable):
        validation.refresh(order(OrderStatus.PENDING, authorization()), cast(Client, ca), NOW)


# ready → processing → valid


@pytest.mark.parametrize("doubt", [{"resumed": True}, {"delayed": True}])
def test_order_is_looked_at_before_it_is_finalized_again(doubt: dict[str, bool]) -> None:
    delay = Delay(Problem({}), NOW, 1) if doubt.pop("delayed", False) else None
    ca = Ca(order_resource("processing"))
    step = advance(order(OrderStatus.READY, delay=delay), ca, **doubt)
    assert (ca.asked, step.order.status, step.order.delay) == (["order"], OrderStatus.PROCESSING, None)
    assert (types(step), step.polls) == (["OrderFinalized"], True)


def test_order_that_is_still_ready_is_finalized() -> None:
    ca = Ca(order_resource("ready"), finalized=order_resource("processing", retry_after=LATER))
    step = advance(order(OrderStatus.READY), ca, resumed=True)
    assert (ca.asked, step.order.due) == (["order", "finalize"], LATER)


def test_order_that_the_ca_calls_ready_and_not_ready_is_asked_about_later() -> None:
    ca = Ca(order_resource("ready"), finalized=refusal("orderNotReady"))
    step = advance(order(OrderStatus.READY), ca)
    assert (step.order.status, step.polls, step.events) == (OrderStatus.READY, True, ())


def test_order_that_the_ca_still_calls_pending_is_not_finalized_in_a_loop() -> None:
    ca = Ca(order_resource("pending"), {"z1": authorization_resource("valid", "valid")}, refusal("orderNotReady"))
    valid = replace(authorization(**SENT), status=AuthorizationStatus.VALID)
    step = advance(order(OrderStatus.READY, valid), ca)
    assert (step.order.status, step.polls, step.events) == (OrderStatus.READY, True, ())


def test_order_whose_authorization_was_lost_meanwhile_ends() -> None:
    ca = Ca(order_resource("pending"), {"z1": authorization_resource("expired", "valid")}, refusal("orderNotReady"))
    valid = replace(authorization(**SENT), status=AuthorizationStatus.VALID)
    assert advance(order(OrderStatus.READY, valid), ca).order.status is OrderStatus.INVALID


def test_order_that_is_processed_for_ever_ends_with_its_expiry() -> None:
    step = advance(order(OrderStatus.PROCESSING, expires=NOW), Ca(order_resource("processing")))
    assert (step.order.status, types(step)) == (OrderStatus.INVALID, ["OrderFailed"])


def test_order_that_the_ca_made_invalid_without_a_word_says_so() -> None:
    step = advance(order(OrderStatus.PROCESSING), Ca(order_resource("invalid")))
    assert step.order.error is not None
    assert step.order.error.detail == "the CA made the order invalid and gave no reason"


@pytest.mark.parametrize("lost", [refusal("malformed", 404), CaUnavailable("no such page", status=404)])
def test_lost_order_is_no_passing_fault(lost: CaError) -> None:
    with pytest.raises(CaProblem, match="does not know the order") as raised:
        advance(order(OrderStatus.PROCESSING), Ca(lost))
    assert not raised.value.is_transient


@pytest.mark.parametrize("status", [OrderStatus.VALID, OrderStatus.INVALID])
def test_ended_order_is_left_alone(status: OrderStatus) -> None:
    ca = Ca()
    step = advance(order(status, due=NOW), ca)
    assert (ca.asked, step.order.due, step.events) == ([], None, ())


# Errors


def test_passing_fault_delays_and_counts() -> None:
    first = outcome.refused(order(OrderStatus.NEW), CaUnavailable("ill"), NOW, 1.0)
    second = outcome.refused(first.order, CaUnavailable("ill"), NOW, 1.0)
    assert second.order.delay == Delay(
        Problem({"type": "urn:certwright:unavailable", "detail": "ill"}), second.order.due or NOW, 2, since=NOW
    )
    assert [step.order.due for step in (first, second)] == [NOW + timedelta(seconds=1), NOW + timedelta(seconds=2)]
    assert types(second) == ["OrderDelayed"]


def test_retry_after_longer_than_the_backoff_is_kept() -> None:
    error = CaUnavailable("ill", retry_after=LATER)
    assert outcome.refused(order(OrderStatus.NEW), error, NOW, 1.0).order.due == LATER


@pytest.mark.parametrize(
    ("attempts", "jitter", "seconds"),
    [(1, 1.0, 1), (1, 0.0, 0.5), (2, 1.0, 2), (4, 1.0, 8), (12, 1.0, 2048), (13, 1.0, 3600), (10**6, 0.0, 1800)],
)
def test_backoff_doubles_up_to_an_hour(attempts: int, jitter: float, seconds: float) -> None:
    assert outcome.backoff(attempts, jitter) == timedelta(seconds=seconds)


def test_several_failed_names_become_one_problem_with_subproblems() -> None:
    failed = [
        replace(authorization(1, error=Problem({"type": "dns", "detail": "NXDOMAIN"})), wildcard=True),
        replace(authorization(2), status=AuthorizationStatus.INVALID),
    ]
    problem = validation.failure(failed)
    assert problem.detail == "2 of the order's names could not be validated"
    assert [s["identifier"]["value"] for s in problem.subproblems] == ["*.n1.example", "n2.example"]
    assert problem.subproblems[0]["detail"] == "NXDOMAIN"


# Several who change one order


def test_responses_given_meanwhile_are_adopted() -> None:
    before = order(OrderStatus.PENDING, authorization(1, **SENT), authorization(2))
    fresh = replace(
        order(OrderStatus.PENDING, authorization(1, **RESPONDED), authorization(2, **RESPONDED)), version=7, due=LATER
    )
    assert validation.only_responded(before, fresh)
    adopted = validation.adopt_responses(before, fresh)
    assert (adopted.version, adopted.due) == (7, LATER)
    assert [(c.responded, c.sent) for _, c in adopted.challenges] == [(True, True), (True, False)]


def change_status(order: Order) -> Order:
    return replace(order, authorizations=(replace(order.authorizations[0], status=AuthorizationStatus.VALID),))


def change_delay(order: Order) -> Order:
    return replace(order, delay=Delay(Problem({}), NOW, 1))


@pytest.mark.parametrize("change", [change_status, change_delay])
def test_other_changes_are_not_taken_for_responses(change: Callable[[Order], Order]) -> None:
    before = order(OrderStatus.PENDING, authorization())
    assert not validation.only_responded(before, change(before))


def test_what_the_ca_was_told_of_is_not_forgotten() -> None:
    known = order(OrderStatus.PENDING, authorization(1, **SENT), authorization(2))
    fresh = order(OrderStatus.PENDING, authorization(1, **RESPONDED), authorization(2, **RESPONDED))
    assert [c.sent for _, c in validation.adopt_sent(fresh, known).challenges] == [True, False]


def test_ended_step_keeps_no_time_when_it_adopts_responses() -> None:
    failed = order(OrderStatus.INVALID, authorization())
    fresh = order(OrderStatus.PENDING, authorization(**RESPONDED), due=LATER)
    assert validation.adopt_responses(failed, fresh).due is None


@dataclass
class OneCa:
    """As `authorities.Authorities`, with one CA."""

    ca: Ca

    def client(self, account: Account) -> Client:  # noqa: ARG002  every account is at this CA
        return cast(Client, self.ca)

    def limits(self, url: str) -> tuple[Limit, ...]:  # noqa: ARG002  as above
        return ()


LEASE = timedelta(seconds=90)


@dataclass
class Bench:
    """A stored order of two names whose first response the CA was told of; `run` takes steps until there are none."""

    store: Store
    ca: Ca
    stored: Order

    def run(self) -> datetime | None:
        authorities = cast(Authorities, OneCa(self.ca))
        solvers = Solvers(self.store, LocalSealer(Path("no.key")), {})
        solving = Solving(solvers, Dns(lambda name: name, lambda *_: ()), clock=lambda: NOW, jitter=lambda: 1.0)
        advising = Advising(lambda _: Silent(), authorities)
        steps = Steps(self.store, authorities, solving, advising, clock=lambda: NOW, jitter=lambda: 1.0, lease=LEASE)
        return steps.run(Work(self.stored))

    def types(self) -> list[str]:
        return [record.type for record in self.store.chain("t", "o")]

    def save(self, changed: Order, *events: Event) -> None:
        self.store.save(self.store.order("t", "o"), changed, events=events, actor=system("t"))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    table = SqliteTable(tmp_path / "table.db", lambda: 0)
    ids = iter(f"{n:06d}" for n in range(10**6))
    store = Store(table, clock=lambda: NOW, new_id=lambda: next(ids))
    account = Account("a", "t", "a@example.com", (), "ca", AccountStatus.VALID, "key", "thumbprint", NOW, NOW)
    store.save(None, account, events=[], actor=system("t"))
    pending = order(OrderStatus.PENDING, authorization(1, **SENT), authorization(2), due=NOW + LEASE)
    valid = authorization_resource("valid", "valid", identifier="n1.example")
    yield Bench(store, Ca(authorizations={"z1": valid}), store.save(None, pending, events=[], actor=system("t")))
    table.close()


def test_response_that_overtakes_a_step_is_sent_by_the_next_at_once(bench: Bench) -> None:
    def respond() -> None:
        both = (authorization(1, **SENT), authorization(2, **RESPONDED))
        bench.save(replace(bench.stored, authorizations=both))

    bench.ca.meanwhile = respond
    when = bench.run()
    assert bench.ca.asked == ["authorization z1", "challenge c2"]
    assert when is not None
    assert bench.types() == ["ChallengeValidated"]


def test_what_another_saw_first_is_not_told_twice(bench: Bench) -> None:
    def see() -> None:
        first = replace(authorization(1, **{**SENT, "status": ChallengeStatus.VALID}), status=AuthorizationStatus.VALID)
        seen = ChallengeValidated(
            subject_id="o", account_id="a", challenge_id="o-1", identifier="n1.example", challenge_type="dns-01"
        )
        bench.save(replace(bench.stored, authorizations=(first, authorization(2))), seen)

    bench.ca.meanwhile = see
    bench.run()
    assert bench.types() == ["ChallengeValidated"]
    assert bench.store.order("t", "o").authorizations[0].status is AuthorizationStatus.VALID


def test_cancelled_order_is_not_brought_back_by_the_step_that_was_under_way(bench: Bench) -> None:
    bench.ca.meanwhile = lambda: bench.save(replace(bench.stored, status=OrderStatus.INVALID, due=None))
    assert bench.run() is None
    assert (bench.store.order("t", "o").status, bench.types()) == (OrderStatus.INVALID, [])


def test_step_that_waited_beyond_its_lease_is_not_taken_when_another_has_the_order(bench: Bench) -> None:
    bench.stored = replace(bench.stored, due=NOW)
    bench.store.claim(bench.store.order("t", "o"), NOW + LEASE)
    assert bench.run() is None
    assert bench.ca.asked == []
