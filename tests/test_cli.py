"""The command line, in processes of its own."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from certwright.local.server import register_anew
from tests.support.first import answers, surroundings
from tests.support.house import House, await_true, await_value
from tests.support.pebble import Pebble
from tests.support.program import certwright, environment, serving

TOKEN = re.compile(r"cw_[0-9A-Z]{26}_[\w-]{43}")


def make_token(folder: Path, *options: str) -> str:
    done = certwright(folder, "token", "create", "--name", "me", "--role", "admin", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def token_id(token: str) -> str:
    return token.split("_")[1]


def query(url: str, token: str | None, text: str = "{ viewer { name role } }") -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"}
    return httpx.post(url + "/graphql", json={"query": text}, headers=headers, trust_env=False)


class TestToken:
    def test_create_prints_the_token_alone(self, tmp_path: Path) -> None:
        done = certwright(tmp_path, "token", "create", "--name", "ci", "--role", "operator")
        assert (done.returncode, done.stderr) == (0, "")
        assert TOKEN.fullmatch(done.stdout.removesuffix("\n"))

    def test_list_shows_what_there_is_but_no_secret(self, tmp_path: Path) -> None:
        token = make_token(tmp_path)
        listed = certwright(tmp_path, "token", "list").stdout
        assert re.fullmatch(rf"{token_id(token)}  admin     \d{{4}}-\d\d-\d\d  valid +me\n", listed)
        assert token.split("_", 2)[2] not in listed

    def test_revoke_ends_a_token_of_a_running_server(self, tmp_path: Path) -> None:
        token = make_token(tmp_path)
        with serving(tmp_path) as server:
            assert query(server.url, token).json()["data"]["viewer"] == {"name": "token:me", "role": "ADMIN"}
            revoked = certwright(tmp_path, "token", "revoke", token_id(token))
            assert (revoked.returncode, revoked.stdout) == (0, f"{token_id(token)} (me) is revoked\n")
            await_true(lambda: query(server.url, token).status_code == 401, 5)
        assert "revoked 20" in certwright(tmp_path, "token", "list").stdout

    def test_revoking_twice_or_the_unknown_is_refused(self, tmp_path: Path) -> None:
        id = token_id(make_token(tmp_path))
        certwright(tmp_path, "token", "revoke", id)
        again, unknown = (certwright(tmp_path, "token", "revoke", x) for x in (id, "nothing"))
        assert (again.returncode, unknown.returncode) == (1, 1)
        assert "already" in again.stderr
        assert unknown.stderr == "certwright: there is no token 'nothing'\n"

    def test_data_dir_says_where(self, tmp_path: Path) -> None:
        make_token(tmp_path, "--data-dir", "there")
        assert (tmp_path / "there" / "certwright.db").stat().st_mode & 0o777 == 0o600
        assert not (tmp_path / "data").exists()
        assert "me" in certwright(tmp_path, "token", "list", "--data-dir", "there").stdout


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ([], 2, "COMMAND"),
        (["token", "create", "--name", "x"], 2, "--role"),
        (["token", "create", "--name", "x", "--role", "king"], 2, "'king'"),
        (["token", "create", "--name", " ", "--role", "viewer"], 1, "no token name"),
        (["serve", "--port", "http"], 2, "'http' is no port"),
        (["serve", "--port", "65536"], 2, "'65536' is no port"),
        (["serve", "--host", "192.0.2.1"], 1, "cannot listen on 192.0.2.1 port 8000"),
        (["serve", "--port", "0", "--data-dir", "/dev/null/x"], 1, "/dev/null/x"),
        (["export-schema", "--output", "/dev/null/x"], 1, "/dev/null/x"),
        (["audit", "verify"], 1, "holds nothing yet"),
    ],
)
def test_wrong_input_is_refused_in_one_line(tmp_path: Path, arguments: list[str], status: int, told: str) -> None:
    done = certwright(tmp_path, *arguments)
    assert done.returncode == status
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_wrong_setting_is_refused_by_every_command(tmp_path: Path) -> None:
    done = certwright(tmp_path, "token", "list", env=environment(CERTWRIGHT_STORE="mysql:x"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "certwright: CERTWRIGHT_STORE is 'mysql:x'; give sqlite:PATH or dynamodb:TABLE\n"


def test_export_schema_writes_schema_graphql(tmp_path: Path) -> None:
    assert certwright(tmp_path, "export-schema").returncode == 0
    assert "type Mutation {" in (tmp_path / "schema.graphql").read_text()


class TestAuditVerify:
    @pytest.fixture
    def data(self, house: House) -> Path:
        """The data of a service that issued a certificate, and was ended."""
        house.issue(house.create_account()["id"], "audited.example")
        return house.data_dir

    def test_whole_trail_is_told_to_be_whole(self, data: Path) -> None:
        done = certwright(data, "audit", "verify", "--data-dir", str(data))
        assert (done.returncode, done.stderr) == (0, "")
        assert re.fullmatch(r"\d+ records in \d+ chains: whole\n", done.stdout)

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE item SET attributes = replace(attributes, 'audited.example', 'forged.example') WHERE {}",
            "UPDATE item SET attributes = json_set(attributes, '$.actor', 'someone else') WHERE {}",
        ],
    )
    def test_edited_event_is_named(self, data: Path, change: str) -> None:
        tamper(data, change.format("pk LIKE '%#event#%' AND attributes LIKE '%OrderCreated%'"))
        done = certwright(data, "audit", "verify", "--data-dir", str(data))
        assert done.returncode == 1
        assert re.search(r"record 1 \(OrderCreated\) about \w{26}: was changed after it was written", done.stderr)
        assert done.stdout.endswith("1 faults\n")

    def test_removed_event_is_missed(self, data: Path) -> None:
        tamper(data, "DELETE FROM item WHERE pk LIKE '%#event#%' AND attributes LIKE '%OrderPlaced%'")
        done = certwright(data, "audit", "verify", "--data-dir", str(data))
        assert done.returncode == 1
        assert "records 2 to 2 are missing" in done.stderr

    def test_truncated_chain_is_noticed(self, data: Path) -> None:
        tamper(data, "DELETE FROM item WHERE pk LIKE '%#event#%' AND attributes LIKE '%OrderFulfilled%'")
        done = certwright(data, "audit", "verify", "--data-dir", str(data))
        assert done.returncode == 1
        assert re.search(r"order \w{26} was last committed with record 8, but its chain ends at 7", done.stderr)


def test_events_of_the_store_can_be_shipped_again(tmp_path: Path) -> None:
    make_token(tmp_path)
    where = ["--log-group", "audit", "--delivery-stream", "audit"]
    with answers() as url:
        names = surroundings("", dynamodb="", others=url)
        aws = environment(**{name: value for name, value in names.items() if name.startswith("AWS_")})
        done = certwright(tmp_path, "audit", "reship", "--since", "2026-01-01", *where, env=aws)
        none = certwright(
            tmp_path, "audit", "reship", "--since", "2026-01-01T00:00+01:00", "--until", "2026-01-02", *where, env=aws
        )
    assert (done.stdout, none.stdout) == ("1 events were shipped\n", "0 events were shipped\n")
    wrong = certwright(tmp_path, "audit", "reship", "--since", "yesterday", *where)
    assert (wrong.returncode, "'yesterday' is no time" in wrong.stderr) == (2, True)


def tamper(data: Path, statement: str) -> None:
    with closing(sqlite3.connect(data / "certwright.db")) as connection, connection:
        assert connection.execute(statement).rowcount == 1


class TestServe:
    def test_token_is_printed_on_the_first_start_only(self, tmp_path: Path) -> None:
        with serving(tmp_path) as server:
            token = server.token
            assert query(server.url, token).json()["data"]["viewer"]["role"] == "ADMIN"
            assert server.end() == 0
        with serving(tmp_path) as server:
            assert server.token is None
            assert query(server.url, token).status_code == 200

    def test_printed_calls_can_be_pasted(self, tmp_path: Path) -> None:
        with serving(tmp_path) as server:
            calls = server.welcome.partition("another terminal:")[2].partition("The README")[0]
            pasted = subprocess.run(["/bin/sh", "-c", calls], capture_output=True, text=True, check=True, timeout=20)
            assert json.loads(pasted.stdout)["data"]["dashboard"] == {"counts": {"orders": 0, "certificates": 0}}

    def test_secret_of_the_token_is_not_in_the_log(self, tmp_path: Path) -> None:
        with serving(tmp_path) as server:
            assert server.token
            query(server.url, server.token)
            assert server.token.split("_", 2)[2] not in server.log

    @pytest.mark.usefixtures("pebble")
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_signals_end_it_and_its_test_ca(self, tmp_path: Path, number: signal.Signals) -> None:
        with serving(tmp_path, "--test-ca") as server:
            found = re.search(r"Local test CA  https://127\.0\.0\.1:(\d+)/dir", server.welcome)
            assert found
            assert server.end(number) == 0
            assert "Traceback" not in server.log
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(found[1]))) != 0

    @pytest.mark.usefixtures("pebble")
    def test_test_ca_is_listed_first(self, tmp_path: Path) -> None:
        with serving(tmp_path, "--test-ca") as server:
            answer = query(server.url, server.token, "{ acmeServers { name staging } }").json()
            assert answer["data"]["acmeServers"][0] == {"name": "Local test CA (Pebble)", "staging": True}

    @pytest.mark.usefixtures("pebble")
    def test_short_lived_certificate_is_seen_renewing_by_itself(self, tmp_path: Path) -> None:
        with serving(tmp_path, "--test-ca", "--test-ca-life", "16") as server:
            ca = query(server.url, server.token, "{ acmeServers { url } }").json()["data"]["acmeServers"][0]["url"]
            given = f'email: "a@example.com", acmeServer: "{ca}", termsOfServiceAgreed: true'
            made = query(server.url, server.token, f"mutation {{ createAccount(input: {{{given}}}) {{ id }} }}").json()
            given = f'accountId: "{made["data"]["createAccount"]["id"]}", domains: "short.example"'
            query(server.url, server.token, f"mutation {{ createOrder(input: {{{given}}}) {{ id }} }}")
            asked = "{ certificates { edges { node { status replaces { id } } } } }"
            await_true(lambda: "REPLACED" in query(server.url, server.token, asked).text)

    def test_life_that_cannot_be_renewed_is_refused(self, tmp_path: Path) -> None:
        done = certwright(tmp_path, "serve", "--test-ca", "--test-ca-life", "5")
        assert (done.returncode, "give 15 seconds or more" in done.stderr) == (2, True)

    def test_without_pebble_it_says_so_and_goes_on(self, tmp_path: Path) -> None:
        with serving(tmp_path, "--test-ca", env=environment(PATH=str(tmp_path))) as server:
            assert "Local test CA  none: Pebble is not installed (Debian: apt-get install pebble)" in server.welcome
            assert httpx.get(server.url + "/healthz", trust_env=False).json() == {"status": "ok"}

    def test_test_ca_that_does_not_start_is_done_without(self, tmp_path: Path) -> None:
        for name in ("pebble", "pebble-challtestsrv"):
            (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
            (tmp_path / name).chmod(0o755)
        path = f"{tmp_path}:/usr/bin:/bin"
        with serving(tmp_path, "--test-ca", env=environment(PATH=path)) as server:
            assert "none: the test CA did not start; its logs are in data/test-ca" in server.welcome
            assert httpx.get(server.url + "/healthz", trust_env=False).status_code == 200

    def test_port_in_use_is_said_and_nothing_is_left(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            done = certwright(tmp_path, "serve", "--port", port, "--test-ca")
        assert done.returncode == 1
        assert done.stderr == (
            f"certwright: cannot listen on 127.0.0.1 port {port}: another program listens there; "
            "--host and --port choose another\n"
        )
        assert list(tmp_path.iterdir()) == []

    def test_forwarded_address_is_believed_from_trusted_proxies_only(self, tmp_path: Path) -> None:
        make_token(tmp_path)
        assert refused_address(tmp_path, environment()) == "203.0.113.9"
        assert refused_address(tmp_path, environment(CERTWRIGHT_TRUSTED_PROXIES="10.0.0.0/8")) == "127.0.0.1"


def test_accounts_of_a_test_ca_that_forgot_them_are_registered_anew(tmp_path: Path) -> None:
    with Pebble(tmp_path / "pebble") as pebble:
        with House(tmp_path, pebble) as house:
            account = house.create_account()
        pebble.restart()
        with House(tmp_path, pebble) as house:
            register_anew(house.app.store, pebble.directory_url)
            await_value(lambda: account_status(house, account["id"]), lambda status: status == "VALID")
            assert house.issue(account["id"], "again.example")["status"] == "VALID"
            assert house.audit_types(account["id"]) == [
                "AccountCreated", "AccountRegistered", "AccountForgotten", "AccountRegistered",
            ]  # fmt: skip


def account_status(house: House, id: str) -> str:
    return str(house.graphql("query($i: ID!) { account(id: $i) { status } }", i=id)["account"]["status"])


def refused_address(folder: Path, env: dict[str, str]) -> str:
    """The source address that the audit trail has of a refused sign-in, said to be forwarded by this machine."""
    token = make_token(folder)
    with serving(folder, env=env) as server:
        headers = {"x-forwarded-for": "203.0.113.9"}
        httpx.post(server.url + "/graphql", json={"query": "{ x }"}, headers=headers, trust_env=False)
        answer = query(server.url, token, "{ auditEvents(first: 1) { edges { node { type sourceIp } } } }")
    [event] = [edge["node"] for edge in answer.json()["data"]["auditEvents"]["edges"]]
    assert event["type"] == "SignInRefused"
    return str(event["sourceIp"])
