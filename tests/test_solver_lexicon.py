"""dns-lexicon, with its PowerDNS provider and a server that speaks as much of PowerDNS's API as that needs."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from certwright.challenges.kinds import kinds
from certwright.challenges.preparation import DnsRecord
from certwright.challenges.propagation import Propagation
from certwright.challenges.solver import Solver, SolverFailed
from certwright.errors import InvalidInput
from certwright.local.app import utc_now
from certwright.local.test_ca import free_port
from tests.support.bind import Bind
from tests.support.web_server import Request, Response, WebServer

NAME = "_acme-challenge.www.a.example"
TOKEN = "api token that nobody guesses"


class PowerDns(WebServer):
    """One zone, a.example, of record sets that are replaced as wholes."""

    def __init__(self) -> None:
        self.sets: dict[tuple[str, str], list[str]] = {}
        super().__init__(self._answer)

    def _answer(self, request: Request) -> Response:
        if request.headers.get("X-API-Key") != TOKEN:
            return 401, b"Unauthorized", {}
        if request.path != "/api/v1/servers/localhost/zones/a.example.":
            return 404, b"Not Found", {}
        if request.method == "PATCH":
            for changed in json.loads(request.body)["rrsets"]:
                assert changed["changetype"] == "REPLACE"
                self.sets[changed["name"], changed["type"]] = [record["content"] for record in changed["records"]]
            return 204, b"", {}
        sets = [
            {"name": name, "type": kind, "ttl": 60, "records": [{"content": c, "disabled": False} for c in contents]}
            for (name, kind), contents in self.sets.items()
        ]
        return 200, json.dumps({"kind": "Native", "rrsets": sets}).encode(), {}

    @property
    def values(self) -> list[str]:
        return self.sets.get((NAME + ".", "TXT"), [])


@pytest.fixture
def server() -> Iterator[PowerDns]:
    with PowerDns() as server:
        yield server


def solver(server: PowerDns, watch: Any = Propagation, **changes: str) -> Solver:
    options = f"auth-token={TOKEN}\n--pdns-server={server.url}"
    settings = {"provider": "powerdns", "options": options, "zone": "a.example", **changes}
    return kinds(clock=utc_now, watch=watch)["lexicon"].make(settings)


def record(value: str, name: str = NAME) -> DnsRecord:
    return DnsRecord(name, "TXT", value, 60)


def test_values_are_added_and_removed_exactly(server: PowerDns) -> None:
    for value in ("one-_x", "two"):
        solver(server).present(record(value))
    assert sorted(server.values) == ['"one-_x"', '"two"']
    solver(server).clean_up(record("one-_x"))
    assert server.values == ['"two"']
    solver(server).clean_up(record("two"))
    assert server.values == []


def test_both_verbs_bear_a_repeat(server: PowerDns) -> None:
    for _ in range(2):
        solver(server).present(record("v"))
        assert server.values == ['"v"']
    for _ in range(2):
        solver(server).clean_up(record("v"))
        assert server.values == []


def test_the_zone_is_found_where_none_is_set(server: PowerDns, tmp_path_factory: pytest.TempPathFactory) -> None:
    with Bind(tmp_path_factory.mktemp("bind") / "named", {"a.example": ""}) as bind:
        solver(server, watch=lambda: Propagation([bind.place]), zone="").present(record("v"))
    assert server.values == ['"v"']


def test_a_name_outside_of_the_zone_is_refused(server: PowerDns) -> None:
    with pytest.raises(SolverFailed, match=r"is not in the zone a\.example") as failed:
        solver(server).present(record("v", "_acme-challenge.nota.example"))
    assert failed.value.lasting
    assert server.requests == []


def test_wrong_credentials_fail_for_good_and_are_not_shown(server: PowerDns) -> None:
    with pytest.raises(SolverFailed, match="powerdns answered with status 401") as failed:
        solver(server, options=f"auth-token=wrong-token\npdns-server={server.url}").present(record("v"))
    assert failed.value.lasting
    assert "wrong-token" not in str(failed.value)


def test_a_provider_that_is_down_may_come_back(server: PowerDns) -> None:
    options = f"auth-token={TOKEN}\npdns-server=http://127.0.0.1:{free_port()}"
    with pytest.raises(SolverFailed, match="powerdns failed: ConnectionError") as failed:
        solver(server, options=options).present(record("v"))
    assert not failed.value.lasting


def test_a_reason_is_told_without_the_options_that_it_repeats(server: PowerDns) -> None:
    told = f"<packet><site><get><result><status>error</status><errcode>1</errcode><errtext>no {TOKEN}</errtext>"
    server.answer = lambda _: (200, f"{told}</result></get></site></packet>".encode(), {})
    options = f"auth-username=me\nauth-password={TOKEN}\nplesk-server={server.url}"
    with pytest.raises(SolverFailed, match=r"^plesk failed: API returned error: 1 \(no …\)$"):
        solver(server, provider="plesk", options=options).present(record("v"))


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"provider": "nobody"}, "provider", "it knows aliyun.*cloudflare.*zonomi"),
        ({"provider": "ddns"}, "provider", "use the kind rfc2136"),
        ({"provider": "localzone"}, "provider", "a file of this machine"),
        ({"options": "secret-typo=x"}, "options", "auth-token=…, pdns-server=…"),
        ({"options": "auth-token"}, "options", "auth-token=…"),
        ({"options": "auth-token=x pdns-server=/etc/passwd"}, "options", "names a file: give its content"),
        ({"provider": "transip", "options": "auth-api-key=file::/etc/passwd"}, "options", "names a file"),
        ({"zone": "a..b"}, "zone", "no DNS name"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    server: PowerDns, changes: dict[str, str], field: str, reason: str
) -> None:
    with pytest.raises(InvalidInput, match=reason) as refused:
        solver(server, **changes)
    assert refused.value.field == field
    assert "secret-typo=x" not in str(refused.value)
