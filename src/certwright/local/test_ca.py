"""A real ACME server on this machine, to try everything without a domain: Pebble, with pebble-challtestsrv as its DNS.

Every domain's address is 127.0.0.1 there, and http-01 asks at Certwright's own port: its well-known path answers with
nothing to put in place. For dns-01, POST {"host": "_acme-challenge.example.com.", "value": "…"} to `management_url`
with the path /set-txt. Pebble keeps nothing: when it starts anew, its accounts, orders and root are others.
"""

import ipaddress
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field
from datetime import datetime, timedelta
from http.client import HTTPException, HTTPSConnection
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"
START_SECONDS = 15
STOP_SECONDS = 5

# The pipe on standard input ends when we do, even by kill -9: then the watcher ends the server. A process group of
# its own keeps Ctrl-C for us alone, so that we can end orderly before our CA does.
SUPERVISE = """
exec 3<&0
"$@" </dev/null 3<&- & server=$!
(read -r _ <&3; kill $server) & watcher=$!
wait $server; status=$?
kill $watcher
exit $status
"""


class TestCaFailed(Exception):
    """The test CA did not start; the text says why, and where its log is."""

    __test__ = False  # pytest would collect it by its name


@dataclass(frozen=True)
class Ports:
    """Where the servers listen. The same `directory` port makes the directory's URL the same after a restart."""

    directory: int = 14000
    roots: int = 15000
    dns: int = 8053
    management: int = 8055

    def or_free(self) -> "Ports":
        """The same ports, but a free one instead of each that is taken."""
        return Ports(*(port if port and _is_free(port) else free_port() for port in astuple(self)))


@dataclass(frozen=True)
class PebbleOptions:
    """Pebble's ways. `nonce_reject` and `authz_reuse` are percentages; `eab_keys` is key id → HMAC key (base64url).

    `certificate_seconds` is how long its certificates last, None: five years. `dns_server` (ADDRESS:PORT) is whom it
    asks instead of pebble-challtestsrv.
    """

    strict: bool = False
    sleep: bool = False
    nonce_reject: int = 0
    authz_reuse: int = 0
    alternate_roots: int = 0
    chain_length: int = 1
    eab_keys: Mapping[str, str] = field(default_factory=dict)
    certificate_seconds: int | None = None
    dns_server: str | None = None

    def environment(self) -> dict[str, str]:
        return {
            "PEBBLE_VA_NOSLEEP": "" if self.sleep else "1",
            "PEBBLE_WFE_NONCEREJECT": str(self.nonce_reject),
            "PEBBLE_AUTHZREUSE": str(self.authz_reuse),
            "PEBBLE_ALTERNATE_ROOTS": str(self.alternate_roots),
            "PEBBLE_CHAIN_LENGTH": str(self.chain_length),
        }


class TestCa:
    """Pebble and its DNS server as child processes, which end with us, however we end.

    `directory` keeps their TLS certificate (so that `ca_bundle` stays good), configuration and logs. http-01 asks at
    `http_port`; with `serves_http` it is pebble-challtestsrv that listens there. Ports that are taken are replaced at
    the first start, and kept from then on.
    """

    __test__ = False  # pytest would collect it by its name
    name = "Local test CA (Pebble)"

    def __init__(
        self,
        directory: Path,
        http_port: int,
        clock: Callable[[], datetime],
        *,
        ports: Ports | None = None,
        options: PebbleOptions | None = None,
        serves_http: bool = False,
    ) -> None:
        self._directory = directory
        self._http_port = http_port
        self._clock = clock
        self._wanted_ports = ports or Ports()
        self._ports: Ports | None = None
        self._options = options or PebbleOptions()
        self._serves_http = serves_http
        self._servers: list[_Server] = []
        self.ca_bundle = directory / "tls-root.pem"
        self.root_path = directory / "root.pem"

    @staticmethod
    def find(
        directory: Path, http_port: int, clock: Callable[[], datetime], *, certificate_seconds: int | None = None
    ) -> "TestCa | None":
        """A test CA to start; None where Pebble is not installed."""
        if not all(map(shutil.which, ("pebble", "pebble-challtestsrv"))):
            return None
        return TestCa(directory, http_port, clock, options=PebbleOptions(certificate_seconds=certificate_seconds))

    @property
    def ports(self) -> Ports:
        if self._ports is None:
            raise TestCaFailed("the test CA has no ports before its first start")
        return self._ports

    @property
    def directory_url(self) -> str:
        return f"https://{HOST}:{self.ports.directory}/dir"

    @property
    def management_url(self) -> str:
        """Where pebble-challtestsrv takes /set-txt, /clear-txt and the like."""
        return f"http://{HOST}:{self.ports.management}"

    def start(self) -> None:
        """Returns when the directory answers and `root_path` holds the root (PEM). Raises TestCaFailed."""
        self._directory.mkdir(parents=True, exist_ok=True)
        ensure_tls_certificate(self._directory, self._clock())
        ports_before = self._ports
        self._ports = ports_before or self._wanted_ports.or_free()
        self._servers = [
            _Server(self._challtestsrv(), self._directory / "challtestsrv.log"),
            _Server(self._pebble(), self._directory / "pebble.log", self._options.environment()),
        ]
        try:
            self._await_answer()
        except TestCaFailed:
            self.stop()
            self._ports = ports_before
            raise
        self.root_path.write_text(self.root_pem())

    def _challtestsrv(self) -> list[str]:
        http = f"{HOST}:{self._http_port}" if self._serves_http else ""
        addresses = {
            "dns01": f"{HOST}:{self.ports.dns}",
            "management": f"{HOST}:{self.ports.management}",
            "http01": http,
        }
        others_off = {"https01": "", "tlsalpn01": "", "defaultIPv6": ""}
        flags = {"defaultIPv4": HOST, **addresses, **others_off}
        return ["pebble-challtestsrv", *(f"-{name}={value}" for name, value in flags.items())]

    def _pebble(self) -> list[str]:
        config = {
            "listenAddress": f"{HOST}:{self.ports.directory}",
            "managementListenAddress": f"{HOST}:{self.ports.roots}",
            "certificate": str(self._directory / "tls-certificate.pem"),
            "privateKey": str(self._directory / "tls-key.pem"),
            "httpPort": self._http_port,
            "tlsPort": self._http_port,
            "externalAccountBindingRequired": bool(self._options.eab_keys),
            "externalAccountMACKeys": dict(self._options.eab_keys),
        }
        if self._options.certificate_seconds is not None:
            config["certificateValidityPeriod"] = self._options.certificate_seconds
        path = self._directory / "pebble.json"
        path.write_text(json.dumps({"pebble": config}))
        strict = ["-strict"] if self._options.strict else []
        dns_server = self._options.dns_server or f"{HOST}:{self.ports.dns}"
        return ["pebble", "-config", str(path), "-dnsserver", dns_server, *strict]

    def _await_answer(self) -> None:
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > until or any(server.has_ended() for server in self._servers):
                raise TestCaFailed(f"the test CA did not start; its logs are in {self._directory}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            socket.create_connection((HOST, self.ports.management), timeout=1).close()
            return bool(self.ask(self.ports.directory, "/dir"))
        except OSError:
            return False

    def stop(self) -> None:
        for server in self._servers:
            server.stop()
        self._servers = []

    def root_pem(self, index: int = 0) -> str:
        """The root that signs everything until the next start; others than 0 with `alternate_roots`."""
        return self.ask(self.ports.roots, f"/roots/{index}")

    def ask(self, port: int, path: str) -> str:
        """GET from one of Pebble's two ports. Raises OSError."""
        context = ssl.create_default_context(cafile=self.ca_bundle)
        connection = HTTPSConnection(HOST, port, context=context, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        except HTTPException as error:
            raise ConnectionError(f"no HTTP answer from port {port}") from error
        finally:
            connection.close()


class _Server:
    """One child process under its supervisor, writing to `log`."""

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603  the command is ours, with no word from outside
                ["/bin/sh", "-c", SUPERVISE, "test-ca", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def free_port() -> int:
    """A port on the loopback address that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    try:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((HOST, port))
            udp.bind((HOST, port))
    except OSError:
        return False
    return True


def ensure_tls_certificate(directory: Path, now: datetime) -> None:
    """Puts `tls-certificate.pem` and `tls-key.pem` for the loopback address there, and `tls-root.pem` to trust it by.

    Made anew only where one is missing or about to expire. The root's own key is kept nowhere.
    """
    names = ("tls-certificate.pem", "tls-key.pem", "tls-root.pem")
    certificate_path, key_path, root_path = (directory / name for name in names)
    if all(path.exists() for path in (certificate_path, key_path, root_path)):
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        if certificate.not_valid_after_utc > now + timedelta(days=30):
            return
    root_path.unlink(missing_ok=True)
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate("Certwright local test CA, TLS root", root_key, root_key, now, issuer=None)
    certificate = _certificate(HOST, key, root_key, now, issuer=root)
    key_path.touch(mode=0o600)
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    root_path.write_bytes(root.public_bytes(serialization.Encoding.PEM))


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    signing_key: ec.EllipticCurvePrivateKey,
    now: datetime,
    issuer: x509.Certificate | None,
) -> x509.Certificate:
    """A root where there is no `issuer`, else a server certificate for the loopback address."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    addresses = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650 if issuer is None else 820))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
    )
    if issuer is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
    return builder.sign(signing_key, hashes.SHA256())
