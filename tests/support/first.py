"""Functions of which every call is the first of a process, and what such a process finds around it.

with answers() as url:
    function = First("certwright.aws.stream", surroundings("table", dynamodb=…, others=url))
    function(event)
    function.told[-1].modules
"""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[2] / "src"
FIRST_CALL = Path(__file__).with_name("first_call.py")
WAIT_SECONDS = 60


@dataclass(frozen=True)
class Told:
    """Of one call: `seconds` from the import to the answer, the packages imported by then, whether Python
    looks for garbage then, and the lines of log."""

    seconds: float
    answer: Any
    modules: frozenset[str]
    collects: bool
    lines: list[str]


class First:
    """The handler of `module`, and all calls of it so far, oldest first.

    With a `folder`, that and the standard library are all that the process can import.
    """

    def __init__(self, module: str, environment: Mapping[str, str], folder: Path | None = None) -> None:
        alone = ["-S"] if folder else []
        self._command = [sys.executable, *alone, str(FIRST_CALL), str(folder or SOURCE), module]
        self._environment = {"PATH": os.environ["PATH"], "AWS_LAMBDA_FUNCTION_NAME": module, **environment}
        self.told: list[Told] = []

    def __call__(self, event: Mapping[str, Any], _: object = None) -> Any:
        done = subprocess.run(
            self._command,
            input=json.dumps(event, default=as_lambda_writes),
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stderr)
        modules = frozenset(told["modules"])
        lines = done.stdout.splitlines()
        self.told.append(Told(told["seconds"], told["answer"], modules, told["collects"], lines))
        return told["answer"]


def as_lambda_writes(value: object) -> str:
    """For json.dumps: octets of a stream's record are base64 in a Lambda event."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def surroundings(table: str, *, dynamodb: str, others: str = "", sockets: str = "") -> dict[str, str]:
    """The environment of the functions; by addresses of DynamoDB, of `answers`, and of API Gateway's sockets."""
    services = ("SQS", "CLOUDWATCH_LOGS", "FIREHOSE", "EVENTBRIDGE")
    return {
        **{f"AWS_ENDPOINT_URL_{service}": others for service in services if others},
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb,
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "CERTWRIGHT_STORE": f"dynamodb:{table}",
        "STACK_KEY": "alias/none",
        "STACK_SOCKETS": sockets,
        "STACK_WAKE_QUEUE": f"{others}/1/wake",
        "STACK_AUDIT_LOG": "audit",
        "STACK_AUDIT_STREAM": "audit",
        "STACK_BUS": "bus",
    }


@contextmanager
def answers() -> Iterator[str]:
    """SQS, CloudWatch Logs, Firehose and EventBridge in one place, each of which takes what it is given, at once."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Taker)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Taker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        entries = request.get("Entries", ())
        successful = [
            {"Id": entry["Id"], "MessageId": "1", "MD5OfMessageBody": ""} for entry in entries if "Id" in entry
        ]
        taken = {"Entries": [{"EventId": "1"} for _ in entries], "Successful": successful, "RecordId": "1"}
        body = json.dumps(taken).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""
