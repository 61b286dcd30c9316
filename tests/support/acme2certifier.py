"""acme2certifier, a CA by other hands than Pebble's: with ARI, external accounts and profiles.

    with Acme2Certifier(tmp_path / "a2c", pebble.dns_port) as ca:
        House(tmp_path, ca)

It validates dns-01 by the DNS server at that port of the loopback address.
"""

import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from certwright.local.test_ca import ensure_tls_certificate, free_port
from tests.support.house import await_true

START_SECONDS = 30
REPOSITORY = Path(__file__).parents[2]

SETTINGS = """
[DEFAULT]
debug: False
dns_server_list: ["127.0.0.1"]
[Nonce]
nonce_check_disable: False
[DBhandler]
handler: wsgi
dbfile: {directory}/acme.db
[CAhandler]
handler_module: acme2certifier.cahandlers.openssl_ca_handler
issuing_ca_key: {directory}/ca-key.pem
issuing_ca_cert: {directory}/ca-certificate.pem
issuing_ca_crl: {directory}/ca.crl
ca_cert_chain_list: ["{directory}/ca-certificate.pem"]
cert_save_path: {directory}/certificates
cert_validity_days: 30
[Challenge]
challenge_validation_timeout: 20
[Order]
{order}
[Renewalinfo]
renewal_force: {renewal_force}
"""


class Acme2Certifier:
    """A running server; it starts when it is made. `eab_keys` is key id → HMAC key, `profiles` name → URL.

    With `renewal_force` every certificate is to be renewed now.
    """

    def __init__(
        self,
        directory: Path,
        dns_port: int,
        *,
        eab_keys: dict[str, str] | None = None,
        profiles: dict[str, str] | None = None,
        renewal_force: bool = False,
    ) -> None:
        directory.mkdir(parents=True)
        (directory / "certificates").mkdir()
        ensure_tls_certificate(directory, datetime.now(UTC))
        self.ca_bundle = directory / "tls-root.pem"
        self.root_pem = _make_root(directory)
        port = free_port()
        self.directory_url = f"https://127.0.0.1:{port}/directory"
        order = f"profiles: {json.dumps(profiles)}" if profiles else "tnauthlist_support: False"
        settings = SETTINGS.format(directory=directory, order=order, renewal_force=renewal_force)
        if eab_keys:
            (directory / "eab.json").write_text(json.dumps(eab_keys))
            settings += "[EABhandler]\neab_handler_module: acme2certifier.eabhandlers.json_handler\n"
            settings += f"key_file: {directory}/eab.json\n"
        (directory / "acme_srv.cfg").write_text(settings)
        self._log = directory / "log"
        tls = [str(directory / name) for name in ("tls-certificate.pem", "tls-key.pem")]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.acme2certifier_server", str(port), str(dns_port), *tls],
                cwd=REPOSITORY,
                env=os.environ | {"ACME_SRV_CONFIGFILE": str(directory / "acme_srv.cfg")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        await_true(lambda: self._answers() or self._process.poll() is not None, START_SECONDS)
        assert self._process.poll() is None, self.log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def _answers(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.ca_bundle))
        try:
            with urllib.request.urlopen(self.directory_url, timeout=5, context=context) as answer:
                return bool(answer.status == 200)
        except urllib.error.URLError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(10)


def _make_root(directory: Path) -> str:
    """The CA's key and certificate as files; its certificate as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "acme2certifier root")])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    certificate = (
        x509.CertificateBuilder()
        .issuer_name(name)
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    (directory / "ca-key.pem").write_bytes(private)
    (directory / "ca-certificate.pem").write_text(pem)
    return pem
