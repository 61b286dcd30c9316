"""Chromium, without a window, at a console: scripts of tests/js/console, in the words of Playwright.

    drive("first_account.mjs", house, token=house.admin)

or, where the test has its part while the script runs:

    with Script("watching.mjs", house, token=house.viewer) as script:
        assert script.told() == "watching"
        house.stop()
        script.say("stopped")

A script that fails, or whose page logs errors, breaks its Content-Security-Policy or asks another host, fails the test.
"""

import json
import queue
import shutil
import subprocess
import tempfile
import threading
from types import TracebackType
from typing import Any, Self

import pytest

from certwright.api.console import BUILT
from tests.support.house import House
from tests.support.node import MODULES, TESTS

WAIT_SECONDS = 90


def require_console() -> None:
    """Skips the test where the console was not built."""
    if not (BUILT / "index.html").is_file() or not (BUILT / "graphiql.html").is_file():
        pytest.skip("the console is not built: run `make console`, which needs Node and npm")


def require_browser() -> None:
    """Skips the test where there is nothing to drive, or to drive it with."""
    require_console()
    if shutil.which("chromium") is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    if not (MODULES / "playwright-core").is_dir():
        pytest.skip("the packages of tests/package.json are not installed: run `npm ci` in tests/")


class Script:
    """A script of tests/js/console that is given the console's address and `given`, and runs while the test does.

    `allowed` in `given` are other URLs that pages may ask, `expected` patterns of errors that are none here.
    """

    def __init__(self, name: str, house: House, **given: Any) -> None:
        require_browser()
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  Closed by `end`.
        at = {"url": house.url, "chromium": shutil.which("chromium"), "screenshot": str(house.data_dir / "failed.png")}
        command = ["node", str(TESTS / "js" / "console" / "run.mjs"), f"./{name}", json.dumps(at | given)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._errors, text=True)
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def told(self) -> Any:
        """What the script tells next; it waits then for `say`."""
        line = self._lines.get(timeout=WAIT_SECONDS)
        assert line, self.end()
        return json.loads(line)

    def say(self, thing: object = None) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(thing) + "\n")
        self._process.stdin.flush()

    def finish(self) -> None:
        """Waits until it has ended by itself, while what it looks at is still there."""
        self._process.wait(WAIT_SECONDS)

    def end(self) -> str:
        """Waits until it has ended by itself; what went wrong in it."""
        try:
            self._process.wait(WAIT_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            for stream in (self._process.stdin, self._process.stdout):
                if stream:
                    stream.close()
        self._errors.seek(0)
        return self._errors.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None:
            self._process.terminate()
        try:
            wrong = self.end()
            assert kind is not None or (self._process.returncode == 0 and not wrong), wrong
        finally:
            self._errors.close()


def drive(name: str, house: House, **given: Any) -> None:
    """Runs a script to its end."""
    with Script(name, house, **given):
        pass
