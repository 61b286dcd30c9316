"""The signed hook, against real web servers; its receiver does what docs/automation.md says."""

import hashlib
import hmac
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from certwright.challenges.kinds import kinds
from certwright.challenges.preparation import DnsRecord, HttpFile
from certwright.challenges.propagation import Propagation
from certwright.challenges.solver import Solver, SolverFailed
from certwright.challenges.web import Reach, Unreached, Url, Web
from certwright.errors import InvalidInput
from certwright.local.app import utc_now
from certwright.local.test_ca import free_port
from tests.support.web_server import Request, Response, WebServer

SECRET = "hook secret that nobody guesses"
RECORD = DnsRecord("_acme-challenge.a.example", "TXT", "value", 60)
FILE = HttpFile("http://a.example/.well-known/acme-challenge/t", "/.well-known/acme-challenge/t", "t.thumbprint")
DOCUMENTATION = Path(__file__).parents[1] / "docs" / "automation.md"


def hook(
    url: str,
    *,
    kind: str = "http-hook",
    secret: str = SECRET,
    networks: tuple[str, ...] = ("127.0.0.0/8",),
    ca_bundle: Path | None = None,
) -> Solver:
    made = kinds(clock=utc_now, watch=Propagation, networks=networks, ca_bundle=ca_bundle)[kind]
    return made.make({"url": url, "secret": secret})


def accept(_: Request) -> Response:
    return 204, b"", {}


def is_signed(request: Request, secret: str = SECRET) -> bool:
    signed = request.headers["Certwright-Timestamp"].encode() + b"." + request.body
    expected = "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(request.headers["Certwright-Signature"], expected)


def test_a_record_is_posted_signed_for_both_actions(tmp_path: Path) -> None:
    with WebServer(accept, tls=tmp_path) as server:
        solver = hook(server.url + "/dns?x=1", ca_bundle=server.ca_bundle)
        solver.present(RECORD)
        solver.clean_up(RECORD)
    assert [(request.method, request.path) for request in server.requests] == [("POST", "/dns?x=1")] * 2
    assert all(map(is_signed, server.requests))
    assert [json.loads(request.body) for request in server.requests] == [
        {
            "action": action,
            "challenge": "dns-01",
            "name": "_acme-challenge.a.example",
            "type": "TXT",
            "value": "value",
            "ttl": 60,
        }
        for action in ("present", "clean_up")
    ]


def test_a_file_is_posted_too() -> None:
    with WebServer(accept) as server:
        hook(server.url, kind="http-hook-file").present(FILE)
    assert json.loads(server.requests[0].body) == {
        "action": "present",
        "challenge": "http-01",
        "url": FILE.url,
        "path": FILE.path,
        "content": FILE.content,
    }


def test_the_timestamp_is_the_time_of_the_post() -> None:
    with WebServer(accept) as server:
        hook(server.url).present(RECORD)
    assert abs(int(server.requests[0].headers["Certwright-Timestamp"]) - utc_now().timestamp()) < 60


def documented_receiver() -> Callable[[Mapping[str, str], bytes, str, float], bool]:
    """The function `is_genuine` of the documentation."""
    (code,) = re.findall(r"```python\n(.*?def is_genuine.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    scope: dict[str, Any] = {}
    exec(code, scope)
    receiver: Callable[[Mapping[str, str], bytes, str, float], bool] = scope["is_genuine"]
    return receiver


def test_the_documented_receiver_takes_what_is_genuine_and_nothing_else() -> None:
    is_genuine = documented_receiver()
    with WebServer(accept) as server:
        hook(server.url).present(RECORD)
    request, now = server.requests[0], time.time()
    assert is_genuine(request.headers, request.body, SECRET, now)
    assert not is_genuine(request.headers, request.body + b" ", SECRET, now)
    assert not is_genuine(request.headers, request.body, "another secret", now)
    assert not is_genuine(request.headers, request.body, SECRET, now + 600)


@pytest.mark.parametrize(
    ("answer", "reason", "lasting"),
    [
        ((400, b'{"error": "no such zone"}', {}), "status 400: no such zone", True),
        ((403, b"<html>internal page</html>", {}), "status 403$", True),
        ((400, b'{"error": {"deep": 1}}', {}), "status 400$", True),
        ((404, b"[]", {}), "status 404$", True),
        ((429, b"", {}), "status 429", False),
        ((500, b"", {}), "status 500", False),
        ((302, b"", {"Location": "http://127.0.0.1/"}), "redirects are not followed", True),
    ],
)
def test_a_refusal_is_told_with_its_own_words_only(answer: Response, reason: str, lasting: bool) -> None:
    with WebServer(lambda _: answer) as server, pytest.raises(SolverFailed, match=reason) as failed:
        hook(server.url).present(RECORD)
    assert failed.value.lasting == lasting
    assert SECRET not in str(failed.value)
    assert len(server.requests) == 1


def test_a_hook_that_is_down_may_come_back() -> None:
    with pytest.raises(SolverFailed, match="refused the connection") as failed:
        hook(f"http://127.0.0.1:{free_port()}").present(RECORD)
    assert not failed.value.lasting


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "0.0.0.0",
        "169.254.169.254",
    ],
)
def test_addresses_that_are_not_public_are_not_asked(host: str) -> None:
    with pytest.raises(SolverFailed, match=r"not a public address.*CERTWRIGHT_PROVIDER_NETWORKS") as failed:
        hook(f"https://{host}/", networks=()).present(RECORD)
    assert failed.value.lasting


def test_plain_http_is_for_allowed_networks_only() -> None:
    with pytest.raises(SolverFailed, match="is not https"):
        hook("http://8.8.8.8/", networks=("10.0.0.0/8",)).present(RECORD)


def test_a_certificate_that_is_not_trusted_ends_the_call(tmp_path: Path) -> None:
    with WebServer(accept, tls=tmp_path) as server, pytest.raises(SolverFailed, match="TLS certificate is not trusted"):
        hook(server.url).present(RECORD)
    assert server.requests == []


@pytest.mark.parametrize(
    "text", ["", "hook.example", "ftp://h.example", "https://u:p@h.example", "https://h.example/ü"]
)
def test_urls_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        hook(text)
    assert refused.value.field == "url"


def test_a_short_secret_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidInput, match="less than 16 characters") as refused:
        hook("https://h.example", secret="short")
    assert "short" not in str(refused.value).replace("shorter", "")


@contextmanager
def dripping() -> Iterator[Url]:
    """A server that answers with an octet now and then, without end."""
    ended = threading.Event()

    def drip(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            while not ended.wait(0.05):
                try:
                    connection.sendall(b"H")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening,))
        thread.start()
        yield Url("http", "127.0.0.1", listening.getsockname()[1], "/")
        ended.set()
        thread.join()


def test_a_server_that_drips_is_given_up() -> None:
    with dripping() as url, pytest.raises(Unreached) as unreached:
        Web(Reach(["127.0.0.0/8"])).post(url, b"", {}, seconds=0.5)
    assert unreached.value.sent


def test_a_long_answer_is_cut() -> None:
    with WebServer(lambda _: (200, b"x" * 1_000_000, {})) as server:
        answer = Web(Reach(["127.0.0.0/8"])).post(Url.parse(server.url, "url"), b"", {}, seconds=10)
    assert len(answer.body) == 64 * 1024
