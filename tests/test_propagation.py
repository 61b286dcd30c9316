"""Where records go, and who has them: with real name servers, one of which is behind, lame, broken or dead."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from certwright.challenges.propagation import Propagation, is_everywhere, is_wherever_reached
from certwright.challenges.resolving import split_place
from certwright.challenges.solver import SolverFailed
from certwright.local.test_ca import free_port
from certwright.model import NameServer
from tests.support.bind import Bind

BEHIND, LAME, DEAD = "127.0.0.2", "127.0.0.3", "127.0.0.4"
UNROUTED = "fe80::1"
"""Link-local, and without the link: no machine can send to it."""

ALIASES = """
_acme-challenge IN CNAME x.b.example.
_acme-challenge.deep IN CNAME one
one IN CNAME two
two IN CNAME 7f3c.B.example.
round IN CNAME about
about IN CNAME round
self IN CNAME self
moved IN DNAME b.example.
""" + "\n".join(f"c{number} IN CNAME c{number + 1}" for number in range(20))


@pytest.fixture(scope="module")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    zones = {"a.example": ALIASES, "b.example": ""}
    with Bind(tmp_path_factory.mktemp("bind") / "named", zones, broken=["broken.example"]) as bind:
        yield bind


def propagation(bind: Bind) -> Propagation:
    return Propagation([bind.place], port=bind.port, seconds=0.5)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("_acme-challenge.www.a.example", "_acme-challenge.www.a.example"),
        ("_acme-challenge.A.example.", "x.b.example"),
        ("_acme-challenge.deep.a.example", "7f3c.b.example"),
        ("_acme-challenge.moved.a.example", "_acme-challenge.b.example"),
    ],
)
def test_a_record_is_written_where_its_aliases_lead(bind: Bind, name: str, target: str) -> None:
    assert propagation(bind).follow(name) == target


@pytest.mark.parametrize("name", ["round.a.example", "c0.a.example", "self.a.example"])
def test_aliases_without_end_fail_for_good(bind: Bind, name: str) -> None:
    with pytest.raises(SolverFailed, match="without end or over more than 10 names, at last from") as failed:
        propagation(bind).follow(name)
    assert failed.value.lasting


def test_what_cannot_be_looked_up_is_tried_again(bind: Bind) -> None:
    with pytest.raises(SolverFailed, match=r"broken\.example CNAME could not be looked up: SERVFAIL") as failed:
        propagation(bind).follow("_acme-challenge.broken.example")
    assert not failed.value.lasting


def test_resolvers_that_are_silent_are_named_as_the_reason() -> None:
    with pytest.raises(SolverFailed, match=r"the resolvers did not answer"):
        Propagation([f"127.0.0.1:{free_port()}"], seconds=0.5).follow("_acme-challenge.a.example")


@pytest.mark.parametrize(
    ("server", "place"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
    ],
)
def test_resolvers_are_named_with_or_without_a_port(server: str, place: tuple[str, int]) -> None:
    assert split_place(server) == place


def test_the_zone_of_a_record_is_found(bind: Bind) -> None:
    assert propagation(bind).zone("_acme-challenge.x.y.b.example") == "b.example"


def test_a_name_without_a_zone_is_said_to_have_none(bind: Bind) -> None:
    with pytest.raises(SolverFailed, match=r"no zone was found that holds a\.nowhere"):
        propagation(bind).look("a.nowhere", "x")


def test_the_answer_of_a_server_is_shown(bind: Bind) -> None:
    asked = propagation(bind)
    name = "_acme-challenge.shown.b.example"
    assert asked.look(name, "v1") == (NameServer("ns.test", "127.0.0.1", False, "no such name"),)
    bind.add("b.example", "_acme-challenge.shown", "TXT", "v1")
    assert asked.look(name, "v2") == (NameServer("ns.test", "127.0.0.1", False, "'v1'"),)
    bind.add("b.example", "_acme-challenge.shown", "TXT", "v2")
    assert all(is_everywhere(asked.look(name, value)) for value in ("v1", "v2"))
    assert is_everywhere(asked.look("_acme-challenge.shown.B.EXAMPLE", "v2"))


def test_a_name_with_other_records_only_has_no_txt(bind: Bind) -> None:
    bind.add("b.example", "host", "A", "127.0.0.1")
    assert [server.answer for server in propagation(bind).look("host.b.example", "x")] == ["no TXT record"]


def test_a_record_that_went_the_long_way_is_seen_at_its_end(bind: Bind) -> None:
    asked = propagation(bind)
    target = asked.follow("_acme-challenge.a.example")
    bind.add("b.example", "x", "TXT", "there")
    assert is_everywhere(asked.look(target, "there"))


def test_long_values_are_compared_whole(bind: Bind) -> None:
    bind.add("b.example", "long", "TXT", f'"{"a" * 200}" "{"b" * 200}"')
    assert is_everywhere(propagation(bind).look("long.b.example", "a" * 200 + "b" * 200))


def test_answers_too_large_for_udp_are_fetched_by_tcp(bind: Bind) -> None:
    for number in range(40):
        bind.add("b.example", "many", "TXT", f"{number:043}")
    (server,) = propagation(bind).look("many.b.example", f"{7:043}")
    assert server.agrees
    assert server.answer is not None
    assert server.answer.endswith("and 37 more")


def test_a_secondary_that_is_behind_does_not_agree_until_it_has_the_value(tmp_path: Path) -> None:
    zones = {"a.example": "_acme-challenge IN TXT old"}
    with (
        Bind(tmp_path / "1", zones, others={"ns2.test.": BEHIND}) as primary,
        Bind(tmp_path / "2", zones, address=BEHIND, port=primary.port, primary=primary),
    ):
        primary.add("a.example", "_acme-challenge", "TXT", "new")
        servers = propagation(primary).look("_acme-challenge.a.example", "new")
        old = propagation(primary).look("_acme-challenge.a.example", "old")
    assert [(server.name, server.agrees) for server in servers] == [("ns.test", True), ("ns2.test", False)]
    assert servers[1] == NameServer("ns2.test", BEHIND, False, "'old'")
    assert not is_everywhere(servers)
    assert not is_wherever_reached(servers)
    assert is_everywhere(old)


def test_lame_dead_and_unknown_servers_are_shown_as_what_they_are(tmp_path: Path) -> None:
    others = {"lame.test.": LAME, "dead.test.": DEAD, "unknown.test.": ""}
    with (
        Bind(tmp_path / "1", {"a.example": "_acme-challenge IN TXT v"}, others=others) as primary,
        Bind(tmp_path / "2", {"c.example": ""}, address=LAME, port=primary.port, broken=["a.example"]),
    ):
        servers = propagation(primary).look("_acme-challenge.a.example", "v")
    assert {server.name: (server.answer, server.answered) for server in servers if not server.agrees} == {
        "lame.test": ("SERVFAIL", True),
        "dead.test": ("no answer within 0.5 s", False),
        "unknown.test": ("its address was not found", False),
    }


def test_a_dead_server_does_not_count_where_only_answers_do(tmp_path: Path) -> None:
    with Bind(tmp_path / "1", {"a.example": "_acme-challenge IN TXT v"}, others={"dead.test.": DEAD}) as primary:
        servers = propagation(primary).look("_acme-challenge.a.example", "v")
        missing = propagation(primary).look("_acme-challenge.a.example", "w")
    assert not is_everywhere(servers)
    assert is_wherever_reached(servers)
    assert not is_wherever_reached(missing)
    assert not is_wherever_reached([server for server in servers if not server.answered])


def test_a_server_that_does_not_serve_the_zone_says_so(tmp_path: Path) -> None:
    others = {"other.test.": LAME}
    with (
        Bind(tmp_path / "1", {"a.example": ""}, others=others) as primary,
        Bind(tmp_path / "2", {"c.example": ""}, address=LAME, port=primary.port),
    ):
        servers = propagation(primary).look("_acme-challenge.a.example", "v")
    assert {server.name: server.agrees for server in servers} == {"ns.test": False, "other.test": False}


def test_addresses_that_nothing_leads_to_are_left_out_where_there_is_another(tmp_path: Path) -> None:
    others = {"both.test.": f"{UNROUTED},{BEHIND}", "six.test.": UNROUTED}
    with Bind(tmp_path / "1", {"a.example": ""}, others=others) as primary:
        servers = propagation(primary).look("_acme-challenge.a.example", "v")
    assert {(server.name, server.address) for server in servers} == {
        ("ns.test", "127.0.0.1"),
        ("both.test", BEHIND),
        ("six.test", UNROUTED),
    }
    assert [server.answered for server in servers if server.name == "six.test"] == [False]


def test_servers_that_share_an_address_are_one(tmp_path: Path) -> None:
    others = {"ns2.test.": "127.0.0.1", "ns3.test.": "127.0.0.1"}
    with Bind(tmp_path / "1", {"a.example": ""}, others=others) as primary:
        servers = propagation(primary).look("_acme-challenge.a.example", "v")
    assert [server.name for server in servers] == ["ns.test"]
