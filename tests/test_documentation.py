"""What is written in README, docs and schema.graphql is so."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from certwright.api import limits
from certwright.api.schema import schema
from certwright.config import SETTINGS
from certwright.errors import CertwrightError
from certwright.local.server import MAX_MESSAGE
from tests.support.house import House
from tests.support.program import Server, certwright, environment, serving

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PASTE_SECONDS = 90
MOST_ISSUED = 100


def section(title: str) -> str:
    """The text below a heading, up to the next one of its kind."""
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def rows(text: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_every_setting_stands_in_the_readme_and_no_other() -> None:
    expected = [[f"`{name}`", setting.default, setting.meaning] for name, setting in SETTINGS.items()]
    assert rows(section("Settings")) == expected


def test_every_error_code_stands_in_the_readme_and_no_other() -> None:
    codes = {error.code for error in CertwrightError.__subclasses__()} | {"CA_ERROR", "RATE_LIMITED", "INTERNAL"}
    assert {row[0] for row in rows(section("Errors"))} == codes


def test_limits_in_the_readme_are_those_of_the_code() -> None:
    told = dict(rows(section("Limits")))
    assert told["HTTP request"].startswith(f"{limits.MAX_BODY // 2**20} MiB,")
    assert told["WebSocket message"].startswith(f"{MAX_MESSAGE // 2**10} KiB,")
    assert told["fields within fields"] == str(limits.MAX_DEPTH)
    assert told["aliases, and directives, in a document"] == f"{limits.MAX_ALIASES} each"
    assert limits.MAX_ALIASES == limits.MAX_DIRECTIVES
    assert told["tokens in a document"] == str(limits.MAX_TOKENS)


def test_commands_in_the_readme_have_the_options_that_it_names(tmp_path: Path) -> None:
    for command, _ in rows(section("Commands")):
        names = re.findall(r"^`certwright ([a-z-]+(?: [a-z]+)?)", command)
        options = certwright(tmp_path, *names[0].split(), "--help").stdout
        assert set(re.findall(r"--[a-z-]+", command)) | {"--data-dir", "--help"} == set(
            re.findall(r"--[a-z-]+", options)
        )


def test_schema_graphql_is_the_schema() -> None:
    assert (ROOT / "schema.graphql").read_text() == schema.as_str() + "\n", "run `make schema`"


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        if not path.startswith("http"):
            file = page.parent / path if path else page
            assert file.exists(), target
            assert not anchor or anchor in map(slug, re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)), target


def slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder where `.venv/bin/certwright` is what these tests run with."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


@pytest.fixture
def server(checkout: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    request.getfixturevalue("pebble")
    with serving(checkout, "--test-ca") as server:
        yield server


def at(server: Server, text: str) -> str:
    """What the README says, for a server that listens elsewhere."""
    directory = re.search(r"https://127\.0\.0\.1:\d+/dir", server.welcome)
    dns = re.search(r"its DNS +(\S+)", server.welcome)
    assert directory
    assert dns
    elsewhere = {
        "http://127.0.0.1:8000": server.url,
        "https://127.0.0.1:14000/dir": directory[0],
        "http://127.0.0.1:8055": dns[1],
    }
    for written, real in elsewhere.items():
        assert written in text
        text = text.replace(written, real)
    return text


def test_readme_leads_to_certificates_that_openssl_verifies(checkout: Path, server: Server) -> None:
    first, *pasted = blocks(section("A certificate in a minute"), "sh")
    assert first == "make run\n"
    done = subprocess.run(
        ["bash", "-c", at(server, "\n".join(pasted))],
        cwd=checkout, env=environment(), capture_output=True, text=True, check=False, timeout=PASTE_SECONDS,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert "chain.pem: OK" in lines, (done.stdout, done.stderr)
    assert "wildcard.pem: OK" in lines, (done.stdout, done.stderr)
    assert "Key is valid" in lines
    assert done.stderr == ""
    assert (checkout / "key.pem").stat().st_mode & 0o777 == 0o600


def test_readme_backup_can_be_verified(checkout: Path, server: Server) -> None:
    assert server.token
    [backup] = blocks(section("Backup and restore"), "sh")
    subprocess.run(["bash", "-ec", backup], cwd=checkout, check=True, timeout=PASTE_SECONDS)
    verify = [".venv/bin/certwright", "audit", "verify"]
    env = environment(CERTWRIGHT_STORE="sqlite:backup.db")
    done = subprocess.run(verify, cwd=checkout, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.endswith(": whole\n")


def test_readme_subscription_sees_an_order_become_valid(house: House, tmp_path: Path) -> None:
    [snippet] = blocks(section("Subscriptions"), "python")
    (tmp_path / "watch.py").write_text(snippet.replace("ws://127.0.0.1:8000/graphql", house.ws_url))
    account, issued = house.create_account(), 0
    env = {**os.environ, "TOKEN": house.viewer}
    command = [sys.executable, "watch.py"]
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as watch:
        while watch.poll() is None and issued < MOST_ISSUED:  # It hears what happens once it listens.
            house.issue(account["id"], "watched.example")
            issued += 1
        watch.kill()
        assert watch.stdout
        assert watch.stdout.read().splitlines()[-1:] == ["VALID watched.example"]
    assert watch.returncode == 0


@pytest.mark.parametrize(("ci", "status"), [("true", 1), ("", 0)])
def test_skipping_fails_in_ci_only(tmp_path: Path, ci: str, status: int) -> None:
    (tmp_path / "test_it.py").write_text("import pytest\n\ndef test_it():\n    pytest.skip('for want of a nail')\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "--rootdir", tmp_path, tmp_path],
        cwd=ROOT, env={**os.environ, "CI": ci}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout
    assert "1 tests: for want of a nail" in done.stdout
