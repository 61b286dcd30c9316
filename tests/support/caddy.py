"""Caddy's own ACME server, a CA by other hands than Pebble's: 12-hour certificates, no way to change a key.

    with Caddy(tmp_path / "caddy") as ca:
        ca.management.set_txt("_acme-challenge.example.com", value)

It validates by the system's resolver at port 53. So it runs with a resolv.conf of its own, in a mount namespace of its
own, and a pebble-challtestsrv answers at port 53 of a loopback address that nobody else uses. That takes root.
"""

import json
import os
import secrets
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from certwright.local.test_ca import ensure_tls_certificate, free_port
from tests.support.house import await_true
from tests.support.pebble import Management

START_SECONDS = 30

IN_NAMESPACE = """
mount --bind "$1" /etc/resolv.conf && exec caddy run --config "$2"
"""


class Caddy:
    """A running server; it starts when it is made. Its management is that of its name server."""

    def __init__(self, directory: Path) -> None:
        require_caddy()
        directory.mkdir(parents=True)
        ensure_tls_certificate(directory, datetime.now(UTC))
        self.ca_bundle = directory / "tls-root.pem"
        self._directory = directory
        port, management = free_port(), free_port()
        resolver = f"127.53.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
        self.directory_url = f"https://127.0.0.1:{port}/acme/local/directory"
        self.management = Management(f"http://127.0.0.1:{management}")
        (directory / "resolv.conf").write_text(f"nameserver {resolver}\n")
        (directory / "caddy.json").write_text(json.dumps(self._settings(port)))
        names = ["pebble-challtestsrv", "-dns01", f"{resolver}:53", "-management", f"127.0.0.1:{management}"]
        self._processes = [
            self._start("dns", *names, "-http01", "", "-https01", "", "-tlsalpn01", ""),
            self._start(
                "caddy", "unshare", "--mount", "sh", "-c", IN_NAMESPACE, "caddy",
                str(directory / "resolv.conf"), str(directory / "caddy.json"),
            ),
        ]  # fmt: skip
        await_true(lambda: self._answers() or any(p.poll() is not None for p in self._processes), START_SECONDS)
        assert all(process.poll() is None for process in self._processes), self.log

    def _start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self._directory / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                env=os.environ | {"GODEBUG": "netdns=go", "HOME": str(self._directory)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _settings(self, port: int) -> dict[str, Any]:
        keys = {"certificate": "tls-certificate.pem", "key": "tls-key.pem"}
        server = {
            "listen": [f"127.0.0.1:{port}"],
            "automatic_https": {"disable": True},
            "tls_connection_policies": [{}],
            "routes": [{"handle": [{"handler": "acme_server", "ca": "local", "host": f"127.0.0.1:{port}"}]}],
        }
        return {
            "admin": {"disabled": True},
            "storage": {"module": "file_system", "root": str(self._directory / "storage")},
            "apps": {
                "pki": {"certificate_authorities": {"local": {"install_trust": False}}},
                "tls": {"certificates": {"load_files": [{k: str(self._directory / v) for k, v in keys.items()}]}},
                "http": {"servers": {"acme": server}},
            },
        }

    @property
    def log(self) -> str:
        return "\n".join((self._directory / f"{name}.log").read_text() for name in ("dns", "caddy"))

    @property
    def root_pem(self) -> str:
        return (self._directory / "storage/pki/authorities/local/root.crt").read_text()

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
        for process in reversed(self._processes):
            process.terminate()
            process.wait(10)


def require_caddy() -> None:
    """Skips the test where Caddy is not installed, or where this user may not make a mount namespace."""
    if not shutil.which("caddy"):
        pytest.skip("Caddy is not installed (Debian: apt-get install caddy)")
    try:
        allowed = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("Caddy's ACME server needs a resolv.conf of its own: a mount namespace, which takes root")
