"""Pebble on free ports, with the DNS and HTTP servers that it validates against.

    with Pebble(tmp_path) as pebble:
        ca = Ca(pebble.directory_url, clock, ca_bundle=pebble.ca_bundle)
        pebble.management.set_txt("_acme-challenge.example.com", value)

It is strict unless told otherwise, and does not sleep, refuse good nonces or reuse authorizations.
`stop()` and `start()` give an outage: the ports stay, but Pebble has forgotten everything.
"""

import json
import shutil
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

from certwright.local.test_ca import PebbleOptions, Ports, TestCa, free_port


class Management:
    """What pebble-challtestsrv answers to Pebble's validation; names with or without the final dot."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc

    def set_txt(self, name: str, value: str) -> None:
        """Adds a value beside those that are there."""
        self._post("/set-txt", host=_absolute(name), value=value)

    def clear_txt(self, name: str) -> None:
        self._post("/clear-txt", host=_absolute(name))

    def add_http01(self, token: str, content: str) -> None:
        self._post("/add-http01", token=token, content=content)

    def remove_http01(self, token: str) -> None:
        self._post("/del-http01", token=token)

    def set_cname(self, name: str, target: str) -> None:
        self._post("/set-cname", host=_absolute(name), target=_absolute(target))

    def servfail(self, name: str) -> None:
        self._post("/set-servfail", host=_absolute(name))

    def clear_servfail(self, name: str) -> None:
        self._post("/clear-servfail", host=_absolute(name))

    def add_caa(self, name: str, *policies: tuple[str, str]) -> None:
        """Policies are (tag, value), such as ("issue", "example.net")."""
        records = [{"tag": tag, "value": value} for tag, value in policies]
        self._post("/add-caa", host=_absolute(name), policies=records)

    def _post(self, path: str, **fields: Any) -> None:
        connection = HTTPConnection(self._address, timeout=5)
        try:
            connection.request("POST", path, json.dumps(fields))
            response = connection.getresponse()
            assert response.status == 200, (path, response.status, response.read())
        finally:
            connection.close()


class Pebble:
    """A running Pebble; it starts when it is made, or at `start()` after a `stop()`."""

    def __init__(
        self,
        directory: Path,
        *,
        strict: bool = True,
        va_nosleep: bool = True,
        nonce_reject: int = 0,
        authz_reuse: int = 0,
        eab_keys: dict[str, str] | None = None,
        alternate_roots: int = 0,
        chain_length: int = 1,
        certificate_seconds: int | None = None,
        dns_server: str | None = None,
        http_port: int | None = None,
    ) -> None:
        """It asks pebble-challtestsrv; with `dns_server` (ADDRESS:PORT) and `http_port` others, who are there."""
        require_pebble()
        options = PebbleOptions(
            strict=strict,
            sleep=not va_nosleep,
            nonce_reject=nonce_reject,
            authz_reuse=authz_reuse,
            alternate_roots=alternate_roots,
            chain_length=chain_length,
            eab_keys=eab_keys or {},
            certificate_seconds=certificate_seconds,
            dns_server=dns_server,
        )
        self._test_ca = TestCa(
            directory,
            http_port or free_port(),
            lambda: datetime.now(UTC),
            ports=Ports(*(free_port() for _ in range(4))),
            options=options,
            serves_http=http_port is None,
        )
        self.start()

    def start(self) -> None:
        self._test_ca.start()
        self.management = Management(self._test_ca.management_url)

    def stop(self) -> None:
        self._test_ca.stop()

    def restart(self) -> None:
        self.stop()
        self.start()

    @property
    def directory_url(self) -> str:
        return self._test_ca.directory_url

    @property
    def dns_port(self) -> int:
        """Where its DNS server answers, by UDP and TCP."""
        return self._test_ca.ports.dns

    @property
    def ca_bundle(self) -> Path:
        """PEM that Pebble's own TLS certificate is trusted by."""
        return self._test_ca.ca_bundle

    def root_pem(self, index: int = 0) -> str:
        return self._test_ca.root_pem(index)

    def certificate_status(self, serial: int) -> str:
        """What Pebble knows of a certificate: "Valid" or "Revoked"."""
        answer = self._test_ca.ask(self._test_ca.ports.roots, f"/cert-status-by-serial/{serial:x}")
        return str(json.loads(answer)["Status"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


def require_pebble() -> None:
    """Skips the test where Pebble is not installed."""
    if not all(map(shutil.which, ("pebble", "pebble-challtestsrv"))):
        pytest.skip("Pebble is not installed (Debian: apt-get install pebble)")


def _absolute(name: str) -> str:
    return name if name.endswith(".") else name + "."
