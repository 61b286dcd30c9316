"""The command `certwright` in processes of its own, as users run it.

with serving(tmp_path, "--test-ca") as server:
    httpx.get(server.url + "/healthz")
assert server.status == 0
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.house import await_true

CERTWRIGHT = Path(sys.executable).parent / "certwright"
START_SECONDS = 30
END_SECONDS = 20


def environment(**settings: str) -> dict[str, str]:
    """This process's environment with these settings of Certwright's and no others."""
    return {k: v for k, v in os.environ.items() if not k.startswith("CERTWRIGHT_")} | settings


def certwright(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, to its end."""
    return subprocess.run(
        [CERTWRIGHT, *arguments],
        cwd=folder,
        env=environment() if env is None else env,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )


class Server:
    """`certwright serve` on a free port, in `folder`; it is up when the object is made."""

    def __init__(self, folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self._log = folder / "serve.log"
        self._welcome = folder / "serve.out"
        with self._welcome.open("wb") as output, self._log.open("wb") as errors:
            self._process = subprocess.Popen(
                [CERTWRIGHT, "serve", "--port", "0", *arguments],
                cwd=folder,
                env=environment() if env is None else env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
        await_true(lambda: "startup complete" in self.log or self._process.poll() is not None, START_SECONDS)
        assert self._process.poll() is None, self.log
        found = re.search(r"^Certwright is at (\S+)$", self.welcome, re.MULTILINE)
        assert found, self.welcome
        self.url = found[1]

    @property
    def welcome(self) -> str:
        """What it printed."""
        return self._welcome.read_text()

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def token(self) -> str | None:
        """The token that it printed."""
        found = re.search(r"^  (cw_\S+)$", self.welcome, re.MULTILINE)
        return found and found[1]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; the exit status that follows."""
        self._process.send_signal(number)
        return self._process.wait(END_SECONDS)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@contextmanager
def serving(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server that is ended in any case, in an orderly manner by `end` or else by force."""
    server = Server(folder, *arguments, env=env)
    try:
        yield server
    finally:
        server.close()
