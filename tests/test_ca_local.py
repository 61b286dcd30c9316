"""The test CA that `certwright serve --test-ca` starts."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwk import JWKEC

from certwright.ca.client import Ca, Client
from certwright.ca.jws import thumbprint
from certwright.challenges.preparation import key_authorization
from certwright.local.test_ca import Ports, TestCa, TestCaFailed, ensure_tls_certificate, free_port
from tests.support.pebble import Management, require_pebble


def now() -> datetime:
    return datetime.now(UTC)


def free_ports() -> Ports:
    return Ports(*(free_port() for _ in range(4)))


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    require_pebble()
    return tmp_path / "test-ca"


@pytest.fixture
def http_port() -> Iterator[int]:
    """A port where one answer is given for every token: the key authorization."""
    with HTTPServer(("127.0.0.1", 0), WellKnown) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


KEY = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))


class WellKnown(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        token = self.path.removeprefix("/.well-known/acme-challenge/")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(key_authorization(token, thumbprint(KEY)).encode())

    def log_message(self, *args: object) -> None:
        pass


def test_any_domain_is_validated_at_our_own_port(directory: Path, http_port: int) -> None:
    test_ca = TestCa(directory, http_port, now, ports=free_ports())
    test_ca.start()
    try:
        client = Client(Ca(test_ca.directory_url, now, ca_bundle=test_ca.ca_bundle), KEY)
        client.new_account([], True)
        order = client.new_order([("dns", "anything.example")])
        authorization = client.fetch_authorization(order.authorizations[0])
        client.respond_challenge(next(c.url for c in authorization.challenges if c.type == "http-01"))
        until = time.monotonic() + 10
        while client.fetch_order(order.url).status != "ready":
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        test_ca.stop()


def test_management_and_root_are_there_for_the_user(directory: Path) -> None:
    test_ca = TestCa(directory, 8000, now, ports=free_ports())
    test_ca.start()
    try:
        Management(test_ca.management_url).set_txt("_acme-challenge.example.com", "value")
        assert test_ca.root_path.read_text() == test_ca.root_pem()
        assert x509.load_pem_x509_certificate(test_ca.root_pem().encode()).subject
    finally:
        test_ca.stop()


def test_url_and_bundle_stay_over_a_restart_and_nothing_is_left_over(directory: Path) -> None:
    test_ca = TestCa(directory, 8000, now, ports=free_ports())
    test_ca.start()
    before = (test_ca.directory_url, test_ca.ca_bundle.read_bytes())
    test_ca.stop()
    assert not is_listening(test_ca.ports.directory)
    test_ca.start()
    test_ca.stop()
    assert (test_ca.directory_url, test_ca.ca_bundle.read_bytes()) == before


def test_a_taken_port_is_replaced(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        test_ca = TestCa(directory, 8000, now, ports=Ports(port, free_port(), free_port(), free_port()))
        test_ca.start()
        test_ca.stop()
        assert test_ca.ports.directory != port


def test_a_ca_that_cannot_start_says_where_to_look(directory: Path) -> None:
    directory.mkdir()
    ensure_tls_certificate(directory, now())
    (directory / "tls-key.pem").write_text("broken")
    with pytest.raises(TestCaFailed, match="its logs are in"):
        TestCa(directory, 8000, now, ports=free_ports()).start()


def test_without_pebble_there_is_none(directory: Path, tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from certwright.local.test_ca import TestCa
print(TestCa.find(Path({str(directory)!r}), 8000, None))
"""
    bare = {"PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=bare, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"


def test_with_pebble_there_is_one(directory: Path) -> None:
    test_ca = TestCa.find(directory, 8000, now)
    assert test_ca
    assert test_ca.name == "Local test CA (Pebble)"


def test_kill_9_of_the_parent_ends_the_ca(directory: Path) -> None:
    ports = free_ports()
    program = f"""
import time
from datetime import UTC, datetime
from pathlib import Path
from certwright.local.test_ca import Ports, TestCa
TestCa(Path({str(directory)!r}), 8000, lambda: datetime.now(UTC), ports={ports!r}).start()
print("ready", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "ready\n"
        assert is_listening(ports.directory)
        parent.send_signal(signal.SIGKILL)
    until = time.monotonic() + 5
    while is_listening(ports.directory) or is_listening(ports.management):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_the_tls_certificate_is_made_anew_before_it_expires(directory: Path) -> None:
    directory.mkdir()
    ensure_tls_certificate(directory, now())
    first = (directory / "tls-certificate.pem").read_bytes()
    ensure_tls_certificate(directory, now() + timedelta(days=700))
    assert (directory / "tls-certificate.pem").read_bytes() == first
    ensure_tls_certificate(directory, now() + timedelta(days=800))
    assert (directory / "tls-certificate.pem").read_bytes() != first
    assert (directory / "tls-key.pem").stat().st_mode & 0o777 == 0o600
