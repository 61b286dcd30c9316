"""The websocket function on serverless-offline, an emulator of API Gateway: real handshakes, sockets, `@connections`.

    with Offline(tmp_path, {"CERTWRIGHT_STORE": "dynamodb:table", ...}) as offline:
        NodeClient("subscribe.mjs", offline.ws_url, ...)

The function is the one of serverless.yml, with its routes, in processes of their own. The emulator chooses the first
subprotocol that a client offers whatever the function answers, and takes an exception for a function that hangs.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from certwright.local.test_ca import free_port
from tests.support.node import MODULES, TESTS, node_version

OLDEST_NODE = 20
START_SECONDS = 60
DEPLOYED = TESTS.parent / "serverless.yml"
REGION = "eu-central-1"


class _Reader(yaml.SafeLoader):
    """Takes CloudFormation's short forms, such as !Sub, for their names."""


_Reader.add_multi_constructor("!", lambda _, name, __: name)


def missing_for_offline() -> str | None:
    """Why serverless-offline cannot run here, or None when it can."""
    if not node_version():
        return "serverless-offline needs Node, which is not installed"
    if node_version() < OLDEST_NODE:
        return f"serverless-offline needs Node {OLDEST_NODE} or newer; this one is {node_version()}"
    if not (MODULES / "serverless-offline").is_dir():
        return "serverless-offline is not installed: run `npm ci` in tests/"
    return None


def service(environment: Mapping[str, str]) -> dict[str, Any]:
    """What osls is to run: of serverless.yml, the websocket function and how a message finds its route."""
    deployed = yaml.load(DEPLOYED.read_text(), _Reader)
    function = {name: deployed["functions"]["websocket"][name] for name in ("handler", "timeout", "events")}
    expression = "websocketsApiRouteSelectionExpression"
    provider = {"name": "aws", "region": REGION, "runtime": "python3.11", expression: deployed["provider"][expression]}
    return {
        "service": deployed["service"],
        "plugins": ["serverless-offline"],
        "provider": provider,
        "functions": {"websocket": {**function, "environment": {**environment}}},
    }


class Offline:
    """A running emulator on free ports of the loopback address; functions are told `environment`, and where it is."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.ws_url = f"ws://127.0.0.1:{self._port}"
        told = {**environment, "STACK_SOCKETS": self.url}
        (directory / "serverless.json").write_text(json.dumps(service(told)))
        (directory / "node_modules").symlink_to(MODULES)
        self._log = directory / "offline.log"
        # A function's processes find `python3` by the path.
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["node", MODULES / ".bin" / "osls", "offline", "--noSponsor", *self._places()],
                cwd=directory,
                env={"PATH": path, "HOME": str(directory), "SLS_TELEMETRY_DISABLED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait()

    def _places(self) -> list[str]:
        ports = {"websocketPort": self._port, "lambdaPort": free_port(), "httpPort": free_port()}
        return ["--host", "127.0.0.1", *(text for name, port in ports.items() for text in (f"--{name}", str(port)))]

    def _wait(self) -> None:
        until = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=2):
                return
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, self._log.read_text()
            time.sleep(0.05)

    @property
    def connections(self) -> int:
        """How many sockets were opened so far, as the emulator counts them."""
        return self._log.read_text().count("received connection")

    def complaints(self) -> list[str]:
        """The lines of its log that tell of errors."""
        wrong = re.compile(r"\bERROR\b|\b[Ee]rror\b|Traceback|timeout")
        return [line for line in self._log.read_text().splitlines() if wrong.search(line)]

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
