"""What every test may use: a Pebble, and the house with it. Tests reach no address but loopback."""

import ipaddress
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.dynamo import dynamodb_local, missing_for_dynamodb_local
from tests.support.house import House
from tests.support.pebble import Pebble
from tests.support.stub_ca import StubCa


def _refuse_other_addresses(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and arguments[0].family in (socket.AF_INET, socket.AF_INET6):
        host = arguments[1][0]
        # fe80::1 is link-local, and here without its link: nothing leads there.
        if host not in ("localhost", "fe80::1") and not ipaddress.ip_address(host).is_loopback:
            raise AssertionError(f"a test reached for {host}; tests stay on loopback")
    elif event == "socket.getaddrinfo" and arguments[0] not in ("localhost", None, "", b"localhost"):
        try:
            ipaddress.ip_address(arguments[0])
        except ValueError:
            raise AssertionError(f"a test looked up {arguments[0]!r}; tests stay on loopback") from None


sys.addaudithook(_refuse_other_addresses)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where CI is set, a skipped test fails the run: there, everything that the tests need must be installed."""
    if os.environ.get("CI") and session.exitstatus == pytest.ExitCode.OK and _skipped(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What was skipped, and why: once for each reason."""
    skipped = _skipped(config)
    if skipped:
        terminalreporter.section("skipped" + (", which fails a run in CI" if os.environ.get("CI") else " here"))
    for reason, count in skipped.most_common():
        terminalreporter.write_line(f"{count} tests: {reason}")


def _skipped(config: pytest.Config) -> Counter[str]:
    """How many tests were skipped for each reason."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter else []
    return Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports)


@pytest.fixture(scope="session")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """One Pebble for all tests that only issue from it. It refuses some good nonces, as Pebble does by default."""
    with Pebble(tmp_path_factory.mktemp("pebble"), nonce_reject=5) as pebble:
        yield pebble


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubCa]:
    with StubCa(tmp_path / "stub") as stub:
        yield stub


@pytest.fixture
def house(tmp_path: Path, pebble: Pebble) -> Iterator[House]:
    """The service with a Pebble as its CA."""
    with House(tmp_path, pebble) as house:
        yield house


@pytest.fixture
def stub_house(tmp_path: Path, stub: StubCa) -> Iterator[House]:
    """The service with a CA that does as the test says."""
    with House(tmp_path, stub) as house:
        yield house


@pytest.fixture(scope="session")
def dynamodb() -> Iterator[Any]:
    """A client of a DynamoDB Local, for tests that make tables of their own in it."""
    if reason := missing_for_dynamodb_local():
        pytest.skip(reason)
    with dynamodb_local() as client:
        yield client
