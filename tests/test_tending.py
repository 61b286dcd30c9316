"""Certificates look after themselves: a service whose worker is run by hand, under a clock that can be moved."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography import x509
from josepy.b64 import b64encode

from certwright import keys
from certwright.advising import Advising
from certwright.config import Settings
from certwright.errors import Conflict, Forbidden
from certwright.events import OrderFailed
from certwright.items import Change, Entity
from certwright.local.app import App
from certwright.model import (
    Account,
    AccountStatus,
    Actor,
    Certificate,
    CertificateStatus,
    KeyType,
    Order,
    OrderStatus,
    Problem,
    RevocationReason,
    Role,
    system,
)
from certwright.orders import OrderOptions
from certwright.solvers import Dns, Solvers
from certwright.solving import Solving
from certwright.steps import Steps, Work
from certwright.store import Store
from tests.support.house import Silent
from tests.support.stub_ca import Answer, StubCa

TENANT = "t"
ANN = Actor("ann", Role.ADMIN, TENANT)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


class Clock:
    """The time of this machine, and what it was moved by."""

    def __init__(self) -> None:
        self.moved = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.moved

    def move_to(self, moment: datetime | None) -> None:
        assert moment is not None
        self.moved += max(moment - self(), timedelta()) + timedelta(milliseconds=1)


@dataclass
class World:
    """A service, its CA (which has every name authorized), and their clock."""

    app: App
    stub: StubCa
    clock: Clock

    def run(self) -> None:
        """Take every step that is due, by whatever number of workers there are."""
        while jobs := self.app.store.find_due(self.app.store.due(self.clock(), limit=50)):
            for job in jobs:
                self.take(Work(job, resumed=True))

    def take(self, work: Work) -> None:
        while (when := self.app.steps.run(work)) is not None:
            if when - self.clock() > timedelta(seconds=5):
                return self.app.steps.give_back(work, when)
            time.sleep(max(0.0, (when - self.clock()).total_seconds()))
        return None

    def account(self) -> Account:
        return self.app.service.accounts.create(ANN, email="a@example.com", acme_server=self.stub.directory_url)

    def order(self, *domains: str, account: Account | None = None, options: OrderOptions | None = None) -> Order:
        """A new order, ready for the next worker."""
        made = self.app.service.orders.create(
            ANN, account_id=(account or self.account()).id, domains=domains, options=options or OrderOptions()
        )
        return self.app.store.claim(made, self.clock())

    def issue(self, *domains: str, options: OrderOptions | None = None) -> Certificate:
        order = self.order(*(domains or ("a.example",)), options=options)
        self.run()
        return self.certificate(self.app.store.order(TENANT, order.id).certificate_id)

    def certificate(self, id: str | None) -> Certificate:
        assert id is not None
        return self.app.store.certificate(TENANT, id)

    def renew_in_time(self, certificate: Certificate) -> Certificate:
        """The successor, once the time of the renewal has come."""
        plan = self.certificate(certificate.id).renewal
        assert plan is not None
        self.clock.move_to(plan.at)
        self.run()
        return self.certificate(self.certificate(certificate.id).replaced_by)

    def renewal_order(self, certificate: Certificate) -> Order:
        """The order that renews a certificate now."""
        plan = self.certificate(certificate.id).renewal
        assert plan is not None
        assert plan.order_id is not None
        return self.app.store.order(TENANT, plan.order_id)

    def events(self, subject: Certificate) -> list[str]:
        return [record.type for record in self.app.store.chain(TENANT, subject.id)]

    def replaces_sent(self) -> list[str | None]:
        return [r.payload.get("replaces") for r in self.stub.requests if r.operation == "newOrder"]


@pytest.fixture
def world(tmp_path: Path, stub: StubCa) -> Iterator[World]:
    clock = Clock()
    stub.clock, stub.authorized = clock, True
    base = Settings.read({}, tmp_path / "data")
    settings = replace(base, acme_servers=(stub.directory_url,), ca_bundle=stub.ca_bundle)
    settings.data_dir.mkdir(parents=True)
    app = App(settings, clock=clock, kinds={})
    yield World(app, stub, clock)
    app.table.close()  # type: ignore[attr-defined]  # the table of one machine can be closed


def offer_windows(world: World, start: timedelta = 40 * DAY, length: timedelta = DAY) -> None:
    world.stub.renewal_window = (world.clock() + start, world.clock() + start + length)


def cert_id(certificate: Certificate) -> str:
    """As RFC 9773 §4.1 has it, by other means than the code's."""
    leaf = x509.load_pem_x509_certificate(certificate.chain.encode())
    issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert issuer is not None
    serial = leaf.serial_number.to_bytes(21).lstrip(b"\0")
    signed = serial if serial[0] < 128 else b"\0" + serial
    return f"{b64encode(issuer).decode()}.{b64encode(signed).decode()}"


# Renewing


def test_issued_certificate_has_the_time_of_its_renewal(world: World) -> None:
    certificate = world.issue()
    assert certificate.renewal is not None
    left = certificate.not_after - certificate.renewal.at
    assert 30 * DAY < left < 39 * DAY
    assert certificate.due is not None
    assert timedelta() <= certificate.due - certificate.renewal.at < timedelta(milliseconds=1)


@pytest.mark.parametrize("life", [90 * DAY, 160 * HOUR, timedelta(minutes=10)])
def test_certificate_of_any_lifetime_is_renewed_by_itself_before_its_backstop(world: World, life: timedelta) -> None:
    world.stub.life = life
    first = world.issue("a.example", "b.example")
    second = world.renew_in_time(first)
    backstop = first.not_after - life / (2 if life < 10 * DAY else 3)
    assert first.not_before < world.clock() < backstop
    assert (second.names, second.replaces) == (first.names, first.id)
    assert world.certificate(first.id).status(world.clock()) is CertificateStatus.REPLACED
    assert world.certificate(first.id).due is None
    assert second.renewal is not None
    third = world.renew_in_time(second)
    assert third.replaces == second.id
    assert world.stub.operations().count("newOrder") == 3


def test_nothing_happens_before_the_time_has_come(world: World) -> None:
    first = world.issue()
    assert first.renewal is not None
    world.clock.moved += first.renewal.at - world.clock() - MINUTE
    world.run()
    assert world.certificate(first.id) == first


def test_renewal_asks_for_the_same_with_a_new_key(world: World) -> None:
    world.stub.meta = {"profiles": {"classic": "the usual"}}
    options = OrderOptions(profile="classic", key_type=KeyType.EC_P384, preferred_chain="Stub root")
    first = world.issue("*.a.example", "a.example", options=options)
    second = world.renew_in_time(first)
    one, two = (world.app.store.order(TENANT, c.order_id) for c in (first, second))
    same = ("domains", "account_id", "profile", "key_type", "solver", "fallbacks", "preferred_chain", "reuse_key")
    assert [getattr(two, name) for name in same] == [getattr(one, name) for name in same]
    assert two.replaces == first.id
    exported = [world.app.service.certificates.export_private_key(ANN, c.id) for c in (first, second)]
    assert exported[0] != exported[1]
    assert keys.parse_csr(two.csr).key_type is KeyType.EC_P384


def test_key_is_kept_where_that_was_asked_for(world: World) -> None:
    first = world.issue(options=OrderOptions(reuse_key=True))
    second = world.renew_in_time(first)
    exported = [world.app.service.certificates.export_private_key(ANN, c.id) for c in (first, second)]
    assert exported[0] == exported[1]


def test_csr_that_was_brought_is_used_again(world: World) -> None:
    csr = keys.build_csr(keys.generate_key(KeyType.EC_P256), ["a.example"])
    first = world.issue(options=OrderOptions(csr=csr))
    second = world.renew_in_time(first)
    assert world.app.store.order(TENANT, second.order_id).csr == csr
    assert second.sealed_key is None


def test_events_tell_of_a_renewal_on_both_sides(world: World) -> None:
    first = world.issue()
    second = world.renew_in_time(first)
    assert world.events(first) == ["CertificateIssued", "RenewalStarted", "CertificateReplaced"]
    order = [record.type for record in world.app.store.chain(TENANT, second.order_id)]
    assert (order[0], order[-1]) == ("OrderCreated", "OrderFulfilled")
    assert {record.actor for record in world.app.store.chain(TENANT, second.order_id)} == {"certwright"}


def test_two_workers_make_one_order(world: World) -> None:
    first = world.issue()
    assert first.renewal is not None
    world.clock.move_to(first.renewal.at)
    seen = world.certificate(first.id)
    threads = [Thread(target=world.app.steps.run, args=(Work(seen),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    page = world.app.store.orders(TENANT, first=10, after=None)
    assert sum(order.replaces == first.id for order in page.nodes) == 1
    assert world.events(first).count("RenewalStarted") == 1
    world.run()
    assert world.stub.operations().count("finalize") == 2


def test_renewal_whose_worker_died_after_it_was_recorded_is_gone_on_with(world: World, tmp_path: Path) -> None:
    first = world.issue()
    assert first.renewal is not None
    world.clock.move_to(first.renewal.at)
    world.app.steps.run(Work(world.certificate(first.id)))
    assert world.renewal_order(first).status is OrderStatus.NEW
    assert world.stub.operations().count("newOrder") == 1
    settings = replace(
        Settings.read({}, tmp_path / "data"), acme_servers=(world.stub.directory_url,), ca_bundle=world.stub.ca_bundle
    )
    next_life = World(App(settings, clock=world.clock, kinds={}), world.stub, world.clock)
    next_life.run()
    assert next_life.certificate(first.id).replaced_by is not None
    assert world.stub.operations().count("newOrder") == 2
    next_life.app.table.close()  # type: ignore[attr-defined]  # as above


class Racing(Store):
    """Changes the certificate that an order replaces just before the order's end is committed, once."""

    raced = False

    def commit(self, *changes: Change, **given: Any) -> tuple[Entity | None, ...]:
        replaced = [(before, before) for before, _ in changes if isinstance(before, Certificate)]
        if replaced and len(changes) > len(replaced) and not self.raced:
            self.raced = True
            super().commit(*replaced, events=[], actor=ANN)
        return super().commit(*changes, **given)


def test_change_of_the_certificate_meanwhile_does_not_hold_up_its_successor(world: World) -> None:
    first = world.issue()
    order, _ = world.app.steps.tending.renew(ANN, first)
    store = Racing(world.app.table, clock=world.clock, new_id=world.app.store.new_id)
    dns = Dns(lambda name: name, lambda *_: ())
    solving = Solving(Solvers(store, world.app.sealer, {}), dns, clock=world.clock, jitter=lambda: 1.0)
    advising = Advising(lambda _: Silent(), world.app.authorities)
    steps = Steps(store, world.app.authorities, solving, advising, clock=world.clock, jitter=lambda: 1.0, lease=MINUTE)
    assert steps.run(Work(order)) is None
    assert store.raced
    assert world.certificate(first.id).replaced_by is not None
    assert world.stub.operations().count("finalize") == 2


# The CA's window


def test_window_of_the_ca_sets_the_time(world: World) -> None:
    offer_windows(world)
    certificate = world.issue()
    assert world.stub.renewal_window is not None
    start, end = world.stub.renewal_window
    plan = certificate.renewal
    assert plan is not None
    assert start <= plan.at <= end
    assert (plan.source, plan.window_start, plan.window_end) == ("ari", start, end)
    assert plan.explanation_url == f"{world.stub.base_url}/why"
    assert [r.path for r in world.stub.requests if r.operation == "renewalInfo"] == [
        f"/renewalInfo/{cert_id(certificate)}"
    ]
    assert world.events(certificate) == ["CertificateIssued", "RenewalScheduled"]


def test_window_is_asked_for_as_often_as_the_ca_says(world: World) -> None:
    offer_windows(world)
    certificate = world.issue()
    for _ in range(3):
        world.clock.moved += 6 * HOUR + MINUTE
        world.run()
    assert world.stub.operations().count("renewalInfo") == 4
    assert world.events(certificate) == ["CertificateIssued", "RenewalScheduled"]


def test_window_that_opens_at_once_renews_at_once(world: World) -> None:
    offer_windows(world)
    first = world.issue()
    world.clock.moved += 2 * DAY
    world.stub.renewal_window = (world.clock() - 2 * HOUR, world.clock() - HOUR)
    world.run()
    second = world.certificate(world.certificate(first.id).replaced_by)
    assert world.replaces_sent() == [None, cert_id(first)]
    assert second.renewal is not None
    assert second.renewal.at > world.clock() + 23 * HOUR


@pytest.mark.parametrize("status", [409, 403])
def test_ca_that_will_not_hear_of_the_replaced_certificate_is_not_told(world: World, status: int) -> None:
    offer_windows(world)
    first = world.issue()
    world.stub.fail_next("newOrder", "alreadyReplaced" if status == 409 else "unauthorized", status=status)
    world.renew_in_time(first)
    assert world.replaces_sent() == [None, cert_id(first), None]


def test_answer_that_was_lost_makes_the_ca_refuse_and_the_renewal_succeed(world: World) -> None:
    offer_windows(world)
    first = world.issue()
    world.stub.answer_next("newOrder", Answer(500, performs=True))
    plan = first.renewal
    assert plan is not None
    world.clock.move_to(plan.at)
    world.run()
    world.clock.moved += MINUTE
    world.run()
    assert world.certificate(first.id).replaced_by is not None
    assert world.replaces_sent() == [None, cert_id(first), cert_id(first), None]
    assert world.stub.operations().count("finalize") == 2


def test_ca_without_windows_is_not_told_what_is_replaced(world: World) -> None:
    world.renew_in_time(world.issue())
    assert world.replaces_sent() == [None, None]
    assert "renewalInfo" not in world.stub.operations()


def garble(stub: StubCa) -> None:
    stub.garble_next("renewalInfo")


def turn_around(stub: StubCa) -> None:
    now = stub.clock()
    window = {"start": (now + DAY).isoformat(), "end": now.isoformat()}
    stub.answer_next("renewalInfo", Answer(body={"suggestedWindow": window}))


def forget(stub: StubCa) -> None:
    stub.fail_next("renewalInfo", "malformed", status=404)


def hang(stub: StubCa) -> None:
    stub.hang_next("renewalInfo", 1)


@pytest.mark.parametrize("fault", [garble, turn_around, forget, hang])
def test_ca_that_has_no_window_to_tell_is_asked_again_in_six_hours(
    world: World, fault: Callable[[StubCa], None]
) -> None:
    offer_windows(world)
    fault(world.stub)
    certificate = world.issue()
    assert certificate.renewal is not None
    assert (certificate.renewal.source, certificate.renewal.window_start) == ("lifetime", None)
    assert certificate.renewal.check_at is not None
    assert abs(certificate.renewal.check_at - world.clock() - 6 * HOUR) < MINUTE
    world.clock.move_to(certificate.renewal.check_at)
    world.run()
    asked = world.certificate(certificate.id).renewal
    assert asked is not None
    assert asked.source == "ari"


def test_windows_are_not_asked_for_certificates_that_are_out_of_use(world: World) -> None:
    offer_windows(world)
    replaced = world.issue("a.example")
    world.renew_in_time(replaced)
    revoked = world.issue("b.example")
    world.app.service.certificates.revoke(ANN, revoked.id, RevocationReason.SUPERSEDED)
    world.stub.requests.clear()
    world.clock.moved += 7 * HOUR
    world.run()
    asked = [r.path.removeprefix("/renewalInfo/") for r in world.stub.requests if r.operation == "renewalInfo"]
    assert len(asked) == 1
    assert asked[0] not in (cert_id(replaced), cert_id(revoked))


# When it does not succeed


def test_failed_renewal_is_tried_again_with_growing_waits(world: World) -> None:
    first = world.issue()
    assert first.renewal is not None
    world.clock.move_to(first.renewal.at)
    for attempts, most in enumerate([MINUTE, 10 * MINUTE, 100 * MINUTE, DAY, DAY], start=1):
        world.stub.fail_next("newOrder", "rejectedIdentifier", status=400)
        world.run()
        plan = world.certificate(first.id).renewal
        assert plan is not None
        assert (plan.source, plan.attempts, plan.order_id) == ("retry", attempts, None)
        assert most / 2 <= plan.at - world.clock() + timedelta(seconds=5)
        assert plan.at - world.clock() <= most
        world.clock.move_to(plan.at)
    world.run()
    assert world.certificate(first.id).replaced_by is not None
    assert world.events(first)[1:5] == ["RenewalStarted", "RenewalFailed", "RenewalStarted", "RenewalFailed"]


def test_reason_of_a_failed_renewal_is_told(world: World) -> None:
    first = world.issue()
    assert first.renewal is not None
    world.stub.fail_next("newOrder", "rejectedIdentifier", status=400)
    world.clock.move_to(first.renewal.at)
    world.run()
    *_, told = world.app.store.chain(TENANT, first.id)
    assert told.facts["problem"] == "the stub was told to refuse newOrder"
    plan = world.certificate(first.id).renewal
    assert plan is not None
    assert told.facts["next_attempt"] == plan.at.isoformat()


def test_cancelled_renewal_is_tried_again_later(world: World) -> None:
    first = world.issue()
    order, _ = world.app.steps.tending.renew(ANN, first)
    world.app.service.orders.cancel(ANN, order.id)
    plan = world.certificate(first.id).renewal
    assert plan is not None
    assert (plan.attempts, plan.order_id) == (1, None)
    assert world.events(first)[-1] == "RenewalFailed"
    assert world.renew_in_time(first).replaces == first.id


def test_order_that_ended_on_another_way_is_noticed(world: World) -> None:
    first = world.issue()
    order, _ = world.app.steps.tending.renew(ANN, first)
    ended = replace(order, status=OrderStatus.INVALID, error=Problem({"detail": "gone"}), due=None)
    event = OrderFailed(subject_id=order.id, account_id=order.account_id, problem="gone")
    world.app.store.save(order, ended, events=[event], actor=system(TENANT))
    world.clock.moved += 10 * MINUTE
    world.run()
    assert world.events(first)[-1] == "RenewalFailed"
    assert world.renew_in_time(first).replaces == first.id


def test_renewals_come_back_at_different_times_after_their_ca_was_away(world: World) -> None:
    first = world.issue()
    assert first.renewal is not None
    world.clock.move_to(first.renewal.at)
    for most in (MINUTE, 10 * MINUTE, 100 * MINUTE, DAY, DAY):
        world.stub.fail_next("newOrder", status=503)
        world.run()
        order = world.renewal_order(first)
        assert order.delay is not None
        assert most / 2 - timedelta(seconds=5) < order.delay.until - world.clock() <= most
        world.clock.move_to(order.delay.until)
    world.run()
    assert world.certificate(first.id).replaced_by == world.app.store.order(TENANT, order.id).certificate_id


def test_user_who_renews_now_does_not_wait_as_long(world: World) -> None:
    first = world.issue()
    order, _ = world.app.steps.tending.renew(ANN, first)
    world.stub.fail_next("newOrder", status=503)
    world.run()
    [delayed] = [r for r in world.app.store.chain(TENANT, order.id) if r.type == "OrderDelayed"]
    assert datetime.fromisoformat(delayed.facts["until"]) - delayed.at < timedelta(seconds=2)


def deactivate(world: World, certificate: Certificate) -> None:
    world.app.service.accounts.deactivate(ANN, certificate.account_id)


def test_certificate_without_an_account_is_not_renewed_and_that_is_told_once(world: World) -> None:
    offer_windows(world)
    first = world.issue()
    deactivate(world, first)
    for _ in range(3):
        world.clock.moved += 6 * HOUR + MINUTE
        world.run()
    assert world.certificate(first.id).renewal is None
    assert world.events(first).count("RenewalAbandoned") == 1
    *_, told = world.app.store.chain(TENANT, first.id)
    assert f"account {first.account_id!r} is deactivated" in str(told.detail)
    assert world.app.store.renewing(TENANT, first=10) == []


def test_account_that_is_not_registered_yet_is_waited_for(world: World) -> None:
    first = world.issue()
    account = world.app.store.account(TENANT, first.account_id)
    pending = world.app.store.save(account, replace(account, status=AccountStatus.PENDING), events=[], actor=ANN)
    assert first.renewal is not None
    world.clock.move_to(first.renewal.at)
    world.run()
    plan = world.certificate(first.id).renewal
    assert plan is not None
    assert plan.source == "retry"
    world.app.store.save(pending, replace(pending, status=AccountStatus.VALID), events=[], actor=ANN)
    assert world.renew_in_time(first).replaces == first.id


# Users


def test_order_that_waits_for_its_user_is_told_of_once(world: World) -> None:
    first = world.issue()
    world.stub.authorized = False
    assert first.renewal is not None
    world.clock.move_to(first.renewal.at)
    world.run()
    assert "RenewalNeedsAttention" not in world.events(first)
    for _ in range(3):
        world.clock.moved += 10 * MINUTE
        world.run()
    assert world.events(first) == ["CertificateIssued", "RenewalStarted", "RenewalNeedsAttention"]
    order = world.renewal_order(first)
    assert order.status is OrderStatus.PENDING
    for _, challenge in order.challenges:
        if challenge.type == "http-01":
            world.app.service.orders.respond_challenge(ANN, challenge.id)
    world.clock.moved += 2 * MINUTE
    world.run()
    assert world.certificate(first.id).replaced_by is not None


def test_order_whose_challenges_are_answered_needs_no_user(world: World) -> None:
    first = world.issue()
    world.stub.authorized, world.stub.validation = False, "processing"
    order, _ = world.app.steps.tending.renew(ANN, first)
    world.app.steps.run(Work(order))
    [challenge, *_] = [c for _, c in world.app.store.order(TENANT, order.id).challenges]
    world.app.service.orders.respond_challenge(ANN, challenge.id)
    world.clock.moved += 6 * MINUTE
    certificate = world.certificate(first.id)
    world.app.steps.run(Work(certificate))
    assert world.certificate(first.id).version > certificate.version
    assert "RenewalNeedsAttention" not in world.events(first)


def test_user_renews_now_and_gets_the_open_order_the_second_time(world: World) -> None:
    first = world.issue()
    renew = world.app.service.certificates.renew
    order = renew(ANN, first.id)
    assert (order.replaces, order.domains) == (first.id, first.names)
    assert renew(ANN, first.id).id == order.id
    world.clock.moved += 2 * MINUTE
    world.run()
    with pytest.raises(Conflict, match="is replaced"):
        renew(ANN, first.id)


def test_revoked_certificate_is_not_renewed(world: World) -> None:
    first = world.issue()
    world.app.service.certificates.revoke(ANN, first.id, RevocationReason.KEY_COMPROMISE)
    with pytest.raises(Conflict, match="is revoked"):
        world.app.service.certificates.renew(ANN, first.id)
    world.clock.moved += 100 * DAY
    world.run()
    assert world.stub.operations().count("newOrder") == 1
    assert world.events(first) == ["CertificateIssued", "CertificateRevoked", "OperationFailed"]


def test_viewers_renew_nothing(world: World) -> None:
    first = world.issue()
    with pytest.raises(Forbidden):
        world.app.service.certificates.renew(replace(ANN, role=Role.VIEWER), first.id)


def test_certificate_that_has_ended_is_renewed_only_when_asked(world: World) -> None:
    first = world.issue()
    deactivate(world, first)
    world.clock.move_to(first.not_after)
    world.run()
    with pytest.raises(Conflict, match="is deactivated"):
        world.app.service.certificates.renew(ANN, first.id)
    account = world.app.store.account(TENANT, first.account_id)
    world.app.store.save(account, replace(account, status=AccountStatus.VALID), events=[], actor=ANN)
    world.run()
    assert world.certificate(first.id).replaced_by is None
    order = world.app.service.certificates.renew(ANN, first.id)
    world.clock.moved += 2 * MINUTE
    world.run()
    assert world.certificate(first.id).replaced_by == world.app.store.order(TENANT, order.id).certificate_id


# The watch over expiry


def test_watch_tells_of_each_threshold_once_whatever_becomes_of_the_renewal(world: World) -> None:
    first = world.issue()
    deactivate(world, first)
    life = first.not_after - first.not_before
    for part in (4, 8, 24):
        world.clock.move_to(first.not_after - life / part)
        world.run()
        world.run()
    world.clock.move_to(first.not_after)
    world.run()
    told = world.events(first)
    assert told.pop(2) == "RenewalAbandoned"
    assert told == ["CertificateIssued", *["CertificateExpiring"] * 3, "CertificateExpired"]
    left = [r.facts["remaining"] for r in world.app.store.chain(TENANT, first.id) if r.type == "CertificateExpiring"]
    assert left == [pytest.approx(life.total_seconds() / part, abs=5) for part in (4, 8, 24)]
    assert world.certificate(first.id).due is None


def test_service_that_slept_tells_of_the_last_threshold_only(world: World) -> None:
    first = world.issue()
    deactivate(world, first)
    world.clock.move_to(first.not_after - DAY)
    world.run()
    assert world.events(first) == ["CertificateIssued", "CertificateExpiring", "RenewalAbandoned"]


def test_replaced_certificate_expires_in_silence(world: World) -> None:
    first = world.issue()
    world.renew_in_time(first)
    world.clock.move_to(first.not_after)
    world.run()
    assert world.events(first) == ["CertificateIssued", "RenewalStarted", "CertificateReplaced"]
