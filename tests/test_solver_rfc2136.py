"""Dynamic updates, against a real BIND."""

from collections.abc import Iterator

import pytest

from certwright.challenges.kinds import kinds
from certwright.challenges.preparation import DnsRecord, HttpFile
from certwright.challenges.propagation import Propagation
from certwright.challenges.solver import Solver, SolverFailed
from certwright.errors import InvalidInput
from certwright.local.app import utc_now
from certwright.local.test_ca import free_port
from tests.support.bind import Bind

NAME = "_acme-challenge.www.a.example"
LOOPBACK = ("127.0.0.0/8",)


@pytest.fixture(scope="module")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    zones = {"a.example": "away NS ns.away.test.", "sub.a.example": "", "b.example": "taken IN CNAME elsewhere"}
    with Bind(tmp_path_factory.mktemp("bind") / "named", zones) as bind:
        yield bind


def solver(bind: Bind, *networks: str, **changes: str) -> Solver:
    made = kinds(clock=utc_now, watch=Propagation, networks=networks or LOOPBACK)["rfc2136"].make
    settings = {"server": bind.address, "port": str(bind.port), "keyName": "update", "secret": bind.secret}
    return made({**settings, **changes})


def record(value: str, name: str = NAME) -> DnsRecord:
    return DnsRecord(name, "TXT", value, 60)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_value_is_added_beside_others_and_removed_alone(bind: Bind, transport: str) -> None:
    rfc2136 = solver(bind, transport=transport)
    rfc2136.present(record("one"))
    rfc2136.present(record("two"))
    assert bind.values(NAME) == {"one", "two"}
    rfc2136.clean_up(record("one"))
    assert bind.values(NAME) == {"two"}
    rfc2136.clean_up(record("two"))
    assert bind.values(NAME) == set()


def test_other_algorithms_sign_too(bind: Bind) -> None:
    strong = solver(bind, keyName="strong.", algorithm="HMAC-SHA512")
    strong.present(record("v", "_acme-challenge.strong.a.example"))
    assert bind.values("_acme-challenge.strong.a.example") == {"v"}


def test_both_verbs_bear_a_repeat(bind: Bind) -> None:
    for _ in range(2):
        solver(bind).present(record("again"))
        assert bind.values(NAME) == {"again"}
    for _ in range(2):
        solver(bind).clean_up(record("again"))
        assert bind.values(NAME) == set()


def test_the_nearest_zone_is_found_by_its_soa(bind: Bind) -> None:
    deep = record("deep", "_acme-challenge.x.y.sub.a.example")
    solver(bind).present(deep)
    assert bind.values(deep.name) == {"deep"}
    solver(bind, zone="sub.a.example.").clean_up(deep)
    assert bind.values(deep.name) == set()


def test_a_zone_that_is_delegated_to_other_servers_is_left_alone(bind: Bind) -> None:
    with pytest.raises(SolverFailed, match=r"has no zone that holds _acme-challenge\.x\.away\.a\.example") as failed:
        solver(bind).present(record("x", "_acme-challenge.x.away.a.example"))
    assert failed.value.lasting


def test_a_name_outside_of_the_zone_that_is_set_is_refused(bind: Bind) -> None:
    with pytest.raises(SolverFailed, match=r"www.a.example is not in the zone b.example") as failed:
        solver(bind, zone="b.example").present(record("x"))
    assert failed.value.lasting


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"keyName": "nobody"}, "does not know the key"),
        ({"secret": "d3Jvbmc="}, "found the signature wrong"),
        ({"algorithm": "hmac-sha512"}, "found the signature wrong|does not know the key"),
        ({"keyName": "other", "zone": "a.example"}, "refused the update: let its policy allow this key"),
    ],
)
def test_a_key_that_may_not_fails_for_good(bind: Bind, changes: dict[str, str], reason: str) -> None:
    with pytest.raises(SolverFailed, match=reason) as failed:
        solver(bind, **changes).present(record("x"))
    assert failed.value.lasting
    assert changes.get("secret", bind.secret) not in str(failed.value)


def test_a_zone_of_another_server_fails_for_good(bind: Bind) -> None:
    with pytest.raises(SolverFailed, match="is no primary server of the zone") as failed:
        solver(bind, zone="c.example").present(record("x", "_acme-challenge.c.example"))
    assert failed.value.lasting


def test_a_server_that_is_not_there_may_come_back(bind: Bind) -> None:
    with pytest.raises(SolverFailed, match="cannot be reached: Connection refused") as failed:
        solver(bind, port=str(free_port())).present(record("x"))
    assert not failed.value.lasting


def test_only_networks_that_the_operator_allows_are_asked(bind: Bind) -> None:
    with pytest.raises(SolverFailed, match=r"127\.0\.0\.1, which is not a public address") as failed:
        solver(bind, "10.0.0.0/8").present(record("x"))
    assert failed.value.lasting


def test_a_file_is_not_taken(bind: Bind) -> None:
    with pytest.raises(SolverFailed, match="dns-01 only"):
        solver(bind).present(HttpFile("http://a.example/x", "/x", "content"))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"server": ""}, "server"),
        ({"server": "a b"}, "server"),
        ({"port": "70000"}, "port"),
        ({"zone": "a..b"}, "zone"),
        ({"secret": "no base64"}, "secret"),
        ({"algorithm": "sha256"}, "algorithm"),
        ({"transport": "tls"}, "transport"),
        ({"keyName": ""}, "keyName"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(bind: Bind, changes: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        solver(bind, **changes)
    assert refused.value.field == field
