"""Node, the packages of tests/package.json, and the GraphQL clients among them.

with NodeClient("apollo.mjs", house.ws_url, house.viewer, "subscription { orderStatus { id } }", "01") as client:
    client.told_until("completed")
"""

import functools
import json
import queue
import shutil
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

TESTS = Path(__file__).resolve().parents[1]
MODULES = TESTS / "node_modules"
CLIENTS = ("subscribe.mjs", "apollo.mjs")
"""What subscribes with graphql-ws, and with @apollo/client; both take and tell the same."""

WAIT_SECONDS = 20


@functools.cache
def node_version() -> int:
    """Of Node, the major version; 0 where it is not installed."""
    if shutil.which("node") is None:
        return 0
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.removeprefix("v").partition(".")[0])


def require_node() -> None:
    """Skips the test where Node or the packages are missing."""
    if not node_version():
        pytest.skip("Node is not installed (Debian: apt-get install nodejs npm)")
    if not (MODULES / "graphql-ws").is_dir() or not (MODULES / "@apollo" / "client").is_dir():
        pytest.skip("the packages of tests/package.json are not installed: run `npm ci` in tests/")


class NodeClient:
    """One of CLIENTS at `url`, subscribed to a query, and on the same socket to others; each is completed after the
    first result that holds its text. `told` gives what happens to it, thing by thing."""

    def __init__(self, script: str, url: str, token: str, query: str, until: str, *others: str) -> None:
        require_node()
        command = ["node", str(TESTS / "js" / script), url, token, query, until, *others]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(line)

    def told(self) -> dict[str, Any]:
        return dict(json.loads(self._lines.get(timeout=WAIT_SECONDS)))

    def told_until(self, what: str) -> list[dict[str, Any]]:
        """Everything up to the first thing of this kind."""
        told = [self.told()]
        while what not in told[-1]:
            told.append(self.told())
        return told

    def told_to_the_end(self) -> list[dict[str, Any]]:
        """Everything that was not told yet, after it ended by itself."""
        assert self.end() == 0
        return [json.loads(self._lines.get()) for _ in range(self._lines.qsize())]

    def end(self) -> int:
        """Its exit code, after it ended by itself."""
        try:
            return self._process.wait(WAIT_SECONDS)
        finally:
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """It must have ended well by itself, where the test did."""
        if kind is not None:
            self.kill()
            return
        assert self.end() == 0
