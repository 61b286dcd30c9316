"""BIND on a free port of loopback addresses: its own zones, and a root zone that makes it a resolver for them.

    with Bind(tmp_path / "named", {"a.example": "www IN A 127.0.0.1"}) as bind:
        bind.values("_acme-challenge.a.example")

Each zone takes dynamic updates with the key `update.`. With a `primary` it is a secondary that is told of no change:
what it has is what its primary had when it began.
"""

import base64
import os
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.tsig
import dns.update
import pytest
from dns.rdtypes.txtbase import TXTBase

from certwright.local.test_ca import free_port
from tests.support.house import await_true

START_SECONDS = 20
KEY_NAME = "update."
HOST = "127.0.0.1"


class Bind:
    """A running named; it starts when it is made. Several may share a port at addresses of their own.

    `zones` are names with further records, as master files have them. Every zone's name servers are `ns` at this
    address, and `others`: host names (with final dot) with their addresses, comma-separated. Those that are
    `broken` are not loaded: it answers SERVFAIL.
    """

    def __init__(
        self,
        directory: Path,
        zones: Mapping[str, str],
        *,
        address: str = HOST,
        port: int | None = None,
        others: Mapping[str, str] | None = None,
        broken: Sequence[str] = (),
        primary: "Bind | None" = None,
    ) -> None:
        require_bind()
        directory.mkdir(parents=True)
        self.address = address
        self.port = port or free_port()
        self._own_port = self.port if address == HOST else free_port()
        self._relay = None if address == HOST else UdpRelay((address, self.port), (HOST, self._own_port))
        self.place = f"{self.address}:{self.port}"
        self.secret: str = primary.secret if primary else base64.b64encode(secrets.token_bytes(32)).decode()
        self.zones = dict(zones) | dict.fromkeys(broken, "no record")
        self._broken = broken
        self._primary = primary
        self._others = others or {}
        self._directory = directory
        self._start()

    def _start(self) -> None:
        names = [*self.zones, "."] if self._primary is None else list(self.zones)
        (self._directory / "named.conf").write_text(self._head() + "".join(map(self._zone, names)))
        for name in names:
            self._file(name).write_text(self._content(name))
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._program(), "-g", "-4", "-n", "1", "-c", str(self._directory / "named.conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            await_true(self._answers, START_SECONDS)
        except AssertionError:
            self.stop()
            raise AssertionError(self.log) from None

    def _program(self) -> Path:
        """A copy: where AppArmor is at work, its profile for the original keeps it from folders of tests."""
        return Path(shutil.copy(_named() or "", self._directory / "named"))

    def _head(self) -> str:
        folder = self._directory
        return f"""
            options {{
                directory "{folder}"; pid-file "{folder}/pid"; session-keyfile "{folder}/session";
                managed-keys-directory "{folder}"; listen-on port {self._own_port} {{ {HOST}; }};
                dnssec-validation no; recursion yes; allow-query {{ any; }}; notify no; empty-zones-enable no;
                allow-transfer {{ any; }}; max-ncache-ttl 0; max-cache-ttl 0; minimal-responses no;
            }};
            controls {{ }};
            key "{KEY_NAME}" {{ algorithm hmac-sha256; secret "{self.secret}"; }};
            key "strong." {{ algorithm hmac-sha512; secret "{self.secret}"; }};
            key "other." {{ algorithm hmac-sha256; secret "{self.secret}"; }};
        """

    def _zone(self, name: str) -> str:
        if self._primary:
            source = f"primaries port {self._primary.port} {{ {HOST}; }};"
            return f'zone "{name}" {{ type secondary; {source} file "{self._file(name)}"; masterfile-format text; }};\n'
        policy = f"update-policy {{ grant {KEY_NAME} zonesub ANY; grant strong. zonesub TXT; }};"
        return f'zone "{name}" {{ type primary; file "{self._file(name)}"; {"" if name == "." else policy} }};\n'

    def _content(self, name: str) -> str:
        """Small times, so that nobody keeps what was true before; but a refresh that no test lives to see."""
        soa = "@ 0 IN SOA ns.test. host.test. 1 3600 600 86400 0\n"
        servers = {"ns.test.": self.address, **self._others}
        told = "".join(f"@ 0 IN NS {server}\n" for server in servers)
        if name != ".":
            return f"$TTL 0\n{soa}{told}{self.zones[name]}\n"
        glue = "".join(
            f"{server} 0 IN {'AAAA' if ':' in address else 'A'} {address}\n"
            for server, addresses in servers.items()
            for address in addresses.split(",")
            if address
        )
        delegations = "".join(f"{zone}. 0 IN NS ns.test.\n" for zone in self.zones)
        return f"$TTL 0\n{soa}@ 0 IN NS ns.test.\n{glue}{delegations}"

    def _file(self, name: str) -> Path:
        return self._directory / f"{name if name != '.' else 'root'}.zone"

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.log
        try:
            answers = [self.ask(name, "SOA") for name in self.zones if name not in self._broken]
        except (dns.exception.DNSException, OSError):
            return False
        return all(answer.answer for answer in answers)

    @property
    def log(self) -> str:
        return (self._directory / "log").read_text()

    @property
    def key(self) -> dns.tsig.Key:
        return dns.tsig.Key(KEY_NAME, self.secret, "hmac-sha256")

    def ask(self, name: str, kind: str) -> dns.message.Message:
        query = dns.message.make_query(name, kind)
        return dns.query.udp(query, self.address, timeout=1, port=self.port, ignore_unexpected=True)

    def values(self, name: str) -> set[str]:
        """The TXT values of a name."""
        rdatas = [rdata for rrset in self.ask(name, "TXT").answer for rdata in rrset]
        return {b"".join(rdata.strings).decode() for rdata in rdatas if isinstance(rdata, TXTBase)}

    def add(self, zone: str, name: str, kind: str, content: str) -> None:
        """A record more, by dynamic update; `name` is relative to the zone, or has a final dot."""
        update = dns.update.UpdateMessage(zone)
        update.add(name, 0, kind, content)
        self._send(update)

    def remove(self, zone: str, name: str, kind: str, content: str) -> None:
        update = dns.update.UpdateMessage(zone)
        update.delete(name, kind, content)
        self._send(update)

    def _send(self, update: dns.update.UpdateMessage) -> None:
        update.use_tsig(self.key)
        answer = dns.query.tcp(update, self.address, timeout=5, port=self.port)
        assert answer.rcode() == dns.rcode.NOERROR, answer

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(START_SECONDS)
        if self._relay:
            self._relay.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


class UdpRelay:
    """Passes datagrams on, and their answers back: named listens only at addresses that the machine has."""

    def __init__(self, here: tuple[str, int], there: tuple[str, int]) -> None:
        self._there = there
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.bind(here)
        self._socket.settimeout(0.1)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                question, sender = self._socket.recvfrom(65535)
                self._socket.sendto(self._ask(question), sender)
            except TimeoutError:
                continue

    def _ask(self, question: bytes) -> bytes:
        with socket.socket(type=socket.SOCK_DGRAM) as asking:
            asking.settimeout(1)
            asking.sendto(question, self._there)
            return asking.recv(65535)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._socket.close()


def _named() -> str | None:
    return shutil.which("named", path=f"{os.environ['PATH']}:/usr/sbin")


def require_bind() -> None:
    """Skips the test where BIND is not installed."""
    if _named() is None:
        pytest.skip("BIND is not installed (Debian: apt-get install bind9)")
