"""The certificate authorities that may be used, and a signed client for an account at one of them."""

import functools
import ipaddress
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from certwright.ca.presets import PRESETS, Preset
from certwright.errors import InvalidInput
from certwright.model import Account

if TYPE_CHECKING:
    from certwright.ca.client import Ca, Client
    from certwright.ca.limits import Limit
    from certwright.sealer import Sealer

_CLIENTS = 512


class Authorities:
    """Knows which ACME servers are allowed: the public presets, `further` ones, and with `any_public` every other.

    Keeps one `Ca` (connections, nonces, directory) per server and one `Client` per account. Safe from any thread. The
    ACME library is imported with the first client: the API's cold path does without it.
    """

    def __init__(
        self,
        sealer: "Sealer",
        *,
        further: Sequence[Preset] = (),
        any_public: bool = False,
        ca_bundle: Path | None = None,
        clock: Callable[[], datetime],
    ) -> None:
        self.presets = [*further, *PRESETS]
        self._any_public = any_public
        self.sealer = sealer
        self._ca_bundle = ca_bundle
        self._clock = clock
        self._cas: dict[str, Ca] = {}
        self._lock = threading.Lock()
        self._client = functools.lru_cache(_CLIENTS)(self._make_client)

    def check(self, url: str) -> str:
        """The directory URL of an allowed ACME server. Raises InvalidInput for any other."""
        if any(preset.url == url for preset in self.presets):
            return url
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or parts.username or parts.fragment:
            raise InvalidInput(
                f"acmeServer {url!r} is not a directory URL; give an https URL such as those of acmeServers",
                field="acmeServer",
            )
        if self._any_public and _is_public(parts.hostname):
            return url
        raise InvalidInput(
            f"the ACME server {url!r} is not among those allowed here (see acmeServers); "
            "an administrator can add its directory URL to CERTWRIGHT_ACME_SERVERS",
            field="acmeServer",
        )

    def limits(self, url: str) -> "tuple[Limit, ...]":
        """The rate limits that the CA behind a directory URL publishes."""
        return next((preset.limits for preset in self.presets if preset.url == url), ())

    def ca(self, url: str) -> "Ca":
        """The CA behind a directory URL that was checked when it was recorded."""
        from certwright.ca.client import Ca

        with self._lock:
            if url not in self._cas:
                known = any(preset.url == url for preset in self.presets)
                self._cas[url] = Ca(url, self._clock, ca_bundle=self._ca_bundle, public_only=not known)
            return self._cas[url]

    def client(self, account: Account) -> "Client":
        """A client that signs as `account`. Raises sealer.SealBroken when its key cannot be opened."""
        return self._client(account.tenant, account.id, account.acme_server, account.sealed_key, account.url)

    def _make_client(self, tenant: str, id: str, acme_server: str, sealed_key: str, url: str | None) -> "Client":
        from certwright.ca.client import Client
        from certwright.ca.jws import load_key

        key = load_key(self.sealer.open(sealed_key, seal_context(tenant, id)))
        return Client(self.ca(acme_server), key, url)

    def successor(self, account: Account) -> "Client":
        """A client that signs with the key that `account` is changing to, as nobody yet."""
        assert account.sealed_next_key is not None, "only an account with a next key has a successor"  # noqa: S101
        return self._make_client(account.tenant, account.id, account.acme_server, account.sealed_next_key, None)

    def binding(self, account: Account) -> tuple[str, str] | None:
        """The external account binding that was given for an account and is not used yet: (key id, HMAC key)."""
        if account.sealed_binding is None:
            return None
        opened = self.sealer.open(account.sealed_binding, seal_context(account.tenant, account.id)).decode()
        kid, _, hmac_key = opened.partition("\n")
        return kid, hmac_key


def seal_context(tenant: str, id: str) -> dict[str, str]:
    """What a sealed secret is bound to: it opens for this tenant's object only."""
    return {"tenant": tenant, "entity": id}


def _is_public(hostname: str) -> bool:
    """Whether a host may be addressed when any public server is allowed: a name with a dot, or a global IP address.

    What a name's address is shows when it is connected to: `Ca` goes no further with one that is not public.
    """
    try:
        return ipaddress.ip_address(hostname).is_global
    except ValueError:
        special = ("localhost", ".localhost", ".local", ".internal", ".lan", ".home.arpa")
        return "." in hostname and not hostname.endswith(special)
