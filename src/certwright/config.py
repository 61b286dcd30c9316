"""Settings, read once from the environment. Each stands in the README's table."""

import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from certwright.errors import InvalidInput


@dataclass(frozen=True)
class Setting:
    """What a variable means, and what it is when it is not set; both as the README shows them."""

    meaning: str
    default: str = ""


SETTINGS = {
    "CERTWRIGHT_DATA_DIR": Setting(
        "Folder of the database, the sealing key and the test CA; `--data-dir` goes before it.", "`data`"
    ),
    "CERTWRIGHT_STORE": Setting(
        "`sqlite:PATH` or `dynamodb:TABLE`.", "`sqlite:` and `certwright.db` in the data folder"
    ),
    "CERTWRIGHT_SEALING_KEY": Setting(
        "File of the key that seals account and certificate keys; made when it is first needed.",
        "`sealing.key` in the data folder",
    ),
    "CERTWRIGHT_ACME_SERVERS": Setting(
        "Further allowed directory URLs, comma-separated; `*` allows any https URL whose host is public.", "none"
    ),
    "CERTWRIGHT_CA_BUNDLE": Setting(
        "PEM file trusted for ACME servers, acme-dns servers and HTTP hooks besides the public roots.", "none"
    ),
    "CERTWRIGHT_ALLOWED_ORIGINS": Setting(
        "Origins of frontends on other hosts, such as `https://app.example`, comma-separated; `*` allows any.", "none"
    ),
    "CERTWRIGHT_HTTP_01_ZONES": Setting(
        "Domains whose http-01 requests arrive here, with all below them, comma-separated; `*` for all. Their orders "
        "need no further action.",
        "none; with `--test-ca` all, for orders at the test CA",
    ),
    "CERTWRIGHT_PROPAGATION_SECONDS": Setting(
        "How long a dns-01 record may take to be seen at every name server of its zone; from 1 to 86400.", "`300`"
    ),
    "CERTWRIGHT_SOCKET_URL": Setting(
        "Where the console's subscriptions connect, if not to `/graphql` of the same host: a URL with `wss://`.", "none"
    ),
    "CERTWRIGHT_DNS_SERVERS": Setting(
        "Resolvers asked about delegation, name servers and CAA: ADDRESS or ADDRESS:PORT, comma-separated.",
        "the system's",
    ),
    "CERTWRIGHT_PROVIDER_NETWORKS": Setting(
        "Networks, besides the public internet, in which challenge providers and the web servers of domains are asked, "
        "such as `10.0.0.0/8`, comma-separated. Providers there may be without TLS.",
        "none",
    ),
    "CERTWRIGHT_TRUSTED_PROXIES": Setting(
        "Addresses or networks of reverse proxies whose `X-Forwarded-For` is believed, comma-separated.", "`127.0.0.1`"
    ),
    "CERTWRIGHT_LEASE_SECONDS": Setting(
        "How long one process holds a step; orders of a process that died go on after it. "
        "From 1 to 3600, and longer than a CA may take to answer.",
        "`90`",
    ),
    "CERTWRIGHT_LOG_LEVEL": Setting("`debug`, `info`, `warning` or `error`.", "`info`"),
    "CERTWRIGHT_OIDC_ISSUER": Setting("Issuer URL of an OpenID Connect provider.", "none: API tokens only"),
    "CERTWRIGHT_OIDC_AUDIENCE": Setting("The audience that its tokens must be for; needed with an issuer.", "none"),
    "CERTWRIGHT_OIDC_TENANT_CLAIM": Setting("Claim that holds the tenant.", "`tenant`"),
    "CERTWRIGHT_OIDC_ROLE_CLAIM": Setting("Claim that holds viewer, operator or admin; a string or a list.", "`role`"),
    "CERTWRIGHT_OIDC_NAME_CLAIM": Setting("Claim that names the user in the audit trail.", "`email`"),
    "CERTWRIGHT_OIDC_CLIENT_ID": Setting(
        "Public client by which the console signs users in at the issuer, with PKCE and the redirect URI "
        "`/acme/signed-in` of this server.",
        "none: the console takes tokens only",
    ),
    "CERTWRIGHT_OIDC_SCOPE": Setting("Scopes that the console asks for.", "`openid email`"),
}
"""Every setting; the README's table is tested against it."""

TALKATIVE = ("acme", "urllib3", "botocore", "requests", "lexicon")
"""Libraries whose loggers are held at WARNING: what they log at DEBUG holds request bodies."""

_LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class Settings:
    """Raises InvalidInput, naming the variable, for a value that cannot be meant."""

    data_dir: Path = Path("data")
    store: str = ""
    sealing_key: Path | None = None
    acme_servers: tuple[str, ...] = ()
    any_public_server: bool = False
    ca_bundle: Path | None = None
    allowed_origins: tuple[str, ...] = ()
    http_01_zones: tuple[str, ...] = ()
    propagation_seconds: float = 300
    socket_url: str = ""
    dns_servers: tuple[str, ...] = ()
    provider_networks: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ("127.0.0.1",)
    lease_seconds: float = 90
    log_level: str = "info"
    oidc_issuer: str = ""
    oidc_audience: str = ""
    oidc_tenant_claim: str = "tenant"
    oidc_role_claim: str = "role"
    oidc_name_claim: str = "email"
    oidc_client_id: str = ""
    oidc_scope: str = "openid email"

    @classmethod
    def read(cls, environment: Mapping[str, str], data_dir: Path | None = None) -> "Settings":
        """The settings of an environment; unknown CERTWRIGHT_ variables are refused, as they are misspelt ones."""
        unknown = sorted(k for k in environment if k.startswith("CERTWRIGHT_") and k not in SETTINGS)
        if unknown:
            raise InvalidInput(f"{unknown[0]} is no setting; there are {', '.join(SETTINGS)}")
        given = {key: environment.get(key, "").strip() for key in SETTINGS}
        folder = data_dir or Path(given["CERTWRIGHT_DATA_DIR"] or cls.data_dir)
        servers = _list(given["CERTWRIGHT_ACME_SERVERS"])
        settings = cls(
            data_dir=folder,
            store=_store(given["CERTWRIGHT_STORE"]) or f"sqlite:{folder / 'certwright.db'}",
            sealing_key=_key_file(given["CERTWRIGHT_SEALING_KEY"]) or folder / "sealing.key",
            acme_servers=tuple(_https(url) for url in servers if url != "*"),
            any_public_server="*" in servers,
            ca_bundle=_bundle(given["CERTWRIGHT_CA_BUNDLE"]),
            allowed_origins=tuple(map(_origin, _list(given["CERTWRIGHT_ALLOWED_ORIGINS"]))),
            http_01_zones=tuple(map(_zone, _list(given["CERTWRIGHT_HTTP_01_ZONES"]))),
            propagation_seconds=_within(given, "CERTWRIGHT_PROPAGATION_SECONDS", cls.propagation_seconds, 86400),
            socket_url=_socket(given["CERTWRIGHT_SOCKET_URL"]),
            dns_servers=tuple(map(_resolver, _list(given["CERTWRIGHT_DNS_SERVERS"]))),
            provider_networks=_networks(given, "CERTWRIGHT_PROVIDER_NETWORKS"),
            trusted_proxies=_networks(given, "CERTWRIGHT_TRUSTED_PROXIES") or cls.trusted_proxies,
            lease_seconds=_within(given, "CERTWRIGHT_LEASE_SECONDS", cls.lease_seconds, 3600),
            log_level=_level(given["CERTWRIGHT_LOG_LEVEL"] or cls.log_level),
            oidc_issuer=_issuer(given["CERTWRIGHT_OIDC_ISSUER"]),
            oidc_audience=given["CERTWRIGHT_OIDC_AUDIENCE"],
            oidc_tenant_claim=given["CERTWRIGHT_OIDC_TENANT_CLAIM"] or cls.oidc_tenant_claim,
            oidc_role_claim=given["CERTWRIGHT_OIDC_ROLE_CLAIM"] or cls.oidc_role_claim,
            oidc_name_claim=given["CERTWRIGHT_OIDC_NAME_CLAIM"] or cls.oidc_name_claim,
            oidc_client_id=given["CERTWRIGHT_OIDC_CLIENT_ID"],
            oidc_scope=given["CERTWRIGHT_OIDC_SCOPE"] or cls.oidc_scope,
        )
        if settings.oidc_issuer and not settings.oidc_audience:
            raise InvalidInput(
                "CERTWRIGHT_OIDC_ISSUER is set, so CERTWRIGHT_OIDC_AUDIENCE must be: whose tokens are ours?"
            )
        return settings


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _https(url: str) -> str:
    if not _is_url(url, "https"):
        raise InvalidInput(f"CERTWRIGHT_ACME_SERVERS holds {url!r}; give directory URLs, which start with https://")
    return url


def _is_url(text: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _store(text: str) -> str:
    kind, _, where = text.partition(":")
    if text and not (kind in ("sqlite", "dynamodb") and where):
        raise InvalidInput(f"CERTWRIGHT_STORE is {text!r}; give sqlite:PATH or dynamodb:TABLE")
    return text


def _key_file(text: str) -> Path | None:
    if text and not Path(text).absolute().parent.is_dir():
        raise InvalidInput(f"CERTWRIGHT_SEALING_KEY is {text!r}, whose folder does not exist; make it first")
    return Path(text) if text else None


def _bundle(text: str) -> Path | None:
    if not text:
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(text)
    except OSError as error:
        reason = "holds no PEM certificate" if isinstance(error, ssl.SSLError) else f"cannot be read ({error.strerror})"
        raise InvalidInput(f"CERTWRIGHT_CA_BUNDLE is {text!r}, which {reason}") from None
    return Path(text)


def _origin(text: str) -> str:
    if text != "*" and not (_is_url(text, "https", "http") and text.count("/") == 2):
        raise InvalidInput(
            f"CERTWRIGHT_ALLOWED_ORIGINS holds {text!r}; an origin is a scheme and a host, such as https://app.example"
        )
    return text


def _socket(text: str) -> str:
    if text and not _is_url(text, "wss", "ws"):
        raise InvalidInput(f"CERTWRIGHT_SOCKET_URL is {text!r}; give a WebSocket's URL, which starts with wss://")
    return text


def _networks(given: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(_network(text, name) for text in _list(given[name]))


def _network(text: str, name: str) -> str:
    try:
        return str(ipaddress.ip_network(text) if "/" in text else ipaddress.ip_address(text))
    except ValueError:
        raise InvalidInput(f"{name} holds {text!r}; give IP addresses or networks such as 10.0.0.0/8") from None


def _resolver(text: str) -> str:
    """An IP address, or one with a port: 192.0.2.1:5353 or [2001:db8::1]:5353."""
    try:
        if text.count(":") < 2 or text.startswith("["):
            parts = urlsplit(f"//{text}")
            ipaddress.ip_address(parts.hostname or "")
            if parts.netloc != text or parts.port == 0:
                raise ValueError
        else:
            ipaddress.ip_address(text)
    except ValueError:
        raise InvalidInput(
            f"CERTWRIGHT_DNS_SERVERS holds {text!r}; give IP addresses, with a port if it is not 53: 192.0.2.1:5353"
        ) from None
    return text


def _issuer(text: str) -> str:
    if text and not _is_url(text, "https", "http"):
        raise InvalidInput(f"CERTWRIGHT_OIDC_ISSUER is {text!r}; give the issuer's URL, which starts with https://")
    return text


def _within(given: Mapping[str, str], name: str, default: float, most: int) -> float:
    """A number of seconds from 1 to `most`."""
    text = given[name] or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 1 <= seconds <= most:
        raise InvalidInput(f"{name} is {text!r}; give a number from 1 to {most}")
    return seconds


def _zone(text: str) -> str:
    zone = text.lower().strip(".")
    if zone != "*" and not re.fullmatch(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", zone):
        raise InvalidInput(
            f"CERTWRIGHT_HTTP_01_ZONES holds {text!r}; give domains such as example.com, in ASCII (xn--…), or *"
        )
    return zone


def _level(text: str) -> str:
    if text.lower() not in _LOG_LEVELS:
        raise InvalidInput(f"CERTWRIGHT_LOG_LEVEL is {text!r}; give one of {', '.join(_LOG_LEVELS)}")
    return text.lower()
