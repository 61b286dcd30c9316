"""acme-dns, against a server that behaves as it does."""

from collections.abc import Callable, Iterator

import pytest

from certwright.challenges.acme_dns import AcmeDns
from certwright.challenges.kinds import kinds
from certwright.challenges.preparation import DnsRecord, dns01_value
from certwright.challenges.propagation import Propagation
from certwright.challenges.solver import Solver, SolverFailed
from certwright.challenges.web import Reach, Url, Web
from certwright.errors import InvalidInput
from certwright.local.app import utc_now
from certwright.local.test_ca import free_port
from tests.support.acmedns import Account, AcmeDnsServer

ONE, TWO, THREE = (dns01_value(text) for text in ("one", "two", "three"))


@pytest.fixture
def server() -> Iterator[AcmeDnsServer]:
    with AcmeDnsServer() as server:
        yield server


def solver(
    server: AcmeDnsServer, account: Account, is_visible: Callable[[str, str], bool] | None = None, **changes: str
) -> Solver:
    """By default it sees at once what the server would answer by DNS."""
    given = {"username": account.username, "password": account.password, "subdomain": account.subdomain, **changes}
    sees = is_visible or (lambda _, value: value in account.values)
    return AcmeDns(Url.parse(server.url, "url"), web=Web(Reach(["127.0.0.0/8"])), is_visible=sees, **given)


def record(account: Account, value: str) -> DnsRecord:
    return DnsRecord(account.fulldomain, "TXT", value, 60)


def test_two_values_are_there_at_the_same_time(server: AcmeDnsServer) -> None:
    account = server.register()
    solver(server, account).present(record(account, ONE))
    solver(server, account).present(record(account, TWO))
    assert set(account.values) == {ONE, TWO}


def test_a_repeat_does_not_push_the_other_value_out(server: AcmeDnsServer) -> None:
    account = server.register()
    for value in (ONE, TWO, TWO, ONE):
        solver(server, account).present(record(account, value))
    assert set(account.values) == {ONE, TWO}
    assert len(server.requests) == 2


def test_cleaning_up_leaves_the_values_to_be_overwritten(server: AcmeDnsServer) -> None:
    account = server.register()
    solver(server, account).present(record(account, ONE))
    solver(server, account).clean_up(record(account, ONE))
    assert ONE in account.values
    assert len(server.requests) == 1


def test_a_name_that_is_not_delegated_is_told_what_to_publish(server: AcmeDnsServer) -> None:
    account = server.register()
    with pytest.raises(SolverFailed, match="publish it as a CNAME") as failed:
        solver(server, account).present(DnsRecord("_acme-challenge.a.example", "TXT", ONE, 60))
    assert failed.value.lasting
    assert server.requests == []


def test_a_wrong_password_fails_for_good_without_being_shown(server: AcmeDnsServer) -> None:
    account = server.register()
    with pytest.raises(SolverFailed, match="does not know this username and password") as failed:
        solver(server, account, password="wrong-password").present(record(account, ONE))
    assert failed.value.lasting
    assert "wrong-password" not in str(failed.value)


def test_an_answer_that_is_not_of_acme_dns_may_change(server: AcmeDnsServer) -> None:
    account = server.register()
    server.answer = lambda _: (200, b"<html>", {})
    with pytest.raises(SolverFailed, match="answered with status 200") as failed:
        solver(server, account).present(record(account, ONE))
    assert not failed.value.lasting


def test_a_server_that_is_down_may_come_back(server: AcmeDnsServer) -> None:
    account = server.register()
    made = solver(server, account)
    server.close()
    with pytest.raises(SolverFailed, match=r"acme-dns: .* refused the connection") as failed:
        made.present(record(account, ONE))
    assert not failed.value.lasting


def test_only_networks_that_the_operator_allows_are_asked(server: AcmeDnsServer) -> None:
    account = server.register()
    silent = Propagation([f"127.0.0.1:{free_port()}"], seconds=0.1)
    settings = {"username": account.username, "password": account.password, "subdomain": account.subdomain}
    made = kinds(clock=utc_now, watch=lambda: silent)["acme-dns"].make({"url": server.url, **settings})
    with pytest.raises(SolverFailed, match="CERTWRIGHT_PROVIDER_NETWORKS"):
        made.present(record(account, ONE))
    assert server.requests == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": "auth.example"}, "url"),
        ({"username": "a\nb"}, "username"),
        ({"password": ""}, "password"),
        ({"subdomain": "a.b"}, "subdomain"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes: dict[str, str], field: str) -> None:
    settings = {"url": "https://auth.example", "username": "u", "password": "p", "subdomain": "s"}
    with pytest.raises(InvalidInput) as refused:
        kinds(clock=utc_now, watch=Propagation)["acme-dns"].make({**settings, **changes})
    assert refused.value.field == field
