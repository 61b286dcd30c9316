"""The servers that are measured, each a process of its own, and what the kernel counts of them."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

import httpx

from certwright.auth import DEFAULT_TENANT, Tokens
from certwright.config import Settings
from certwright.local.app import open_store, open_table, utc_now
from certwright.local.test_ca import free_port
from certwright.model import Role, system
from certwright.sqlite_table import SqliteTable
from certwright.store import Store
from tests.support.house import AcmeServer, await_true

STOP_SECONDS = 15
ROOT = Path(__file__).parents[2]


class Server:
    """A child process; `url` is where it listens once `start` has returned."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={**os.environ, **(environment or {})},
            )

    @property
    def cpu_seconds(self) -> float:
        """User and system time so far, of all its threads."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def memory(self) -> float:
        """Resident memory in MiB."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise ProcessLookupError(self._process.pid)

    def ask(self, command: Any = None) -> Any:
        """What it prints next, as JSON; after a command on its standard input where one is given."""
        if command is not None:
            _pipe(self._process.stdin).write(json.dumps(command).encode() + b"\n")
            _pipe(self._process.stdin).flush()
        return json.loads(_pipe(self._process.stdout).readline())

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


@contextmanager
def own_store(directory: Path) -> Iterator[tuple[SqliteTable, Store, str]]:
    """The table and store of a data folder that no server uses at the moment, and an administrator's new token."""
    settings = Settings.read({}, directory)
    directory.mkdir(parents=True, exist_ok=True)
    table = open_table(settings, utc_now)
    assert isinstance(table, SqliteTable)
    store = open_store(table, utc_now)
    try:
        yield table, store, Tokens(store, utc_now).create(f"bench {secrets.token_hex(4)}", Role.ADMIN, OWNER)[1]
    finally:
        table.close()


OWNER = system(DEFAULT_TENANT)


class Service(Server):
    """`certwright serve` on a data folder, as anyone runs it."""

    def __init__(self, directory: Path, ca: AcmeServer | None = None) -> None:
        with own_store(directory) as (_, _, self.token):
            pass
        environment = {"CERTWRIGHT_LOG_LEVEL": "warning"}
        if ca is not None:
            environment |= {"CERTWRIGHT_ACME_SERVERS": ca.directory_url, "CERTWRIGHT_CA_BUNDLE": str(ca.ca_bundle)}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}"
        script = Path(sys.executable).with_name("certwright")
        command = [str(script), "serve", "--port", str(self.port), "--data-dir", str(directory)]
        super().__init__(command, directory / "serve.log", environment)
        try:
            await_true(lambda: _is_up(self.url))
        except BaseException:
            self.stop()
            raise


class Bare(Server):
    """`tests.bench.bare`."""

    def __init__(self, log: Path, message: str = "") -> None:
        super().__init__(["-m", "tests.bench.bare", message], log)
        self.port = int(self.ask())
        self.url = f"http://127.0.0.1:{self.port}"


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def settle() -> None:
    """Give what was just started or stopped a moment to come to rest before something is measured."""
    time.sleep(0.5)
