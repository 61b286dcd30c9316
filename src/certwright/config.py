"""Settings, read once from the environment. Each stands in the README's table."""

import ipaddress
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
    "CERTWRIGHT_CA_BUNDLE": Setting("PEM file trusted for ACME servers besides the public roots.", "none"),
    "CERTWRIGHT_ALLOWED_ORIGINS": Setting(
        "Origins of frontends on other hosts, such as `https://app.example`, comma-separated; `*` allows any.", "none"
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
}
"""Every setting; the README's table is tested against it."""

TALKATIVE = ("acme", "urllib3", "botocore", "requests")
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
    trusted_proxies: tuple[str, ...] = ("127.0.0.1",)
    lease_seconds: float = 90
    log_level: str = "info"
    oidc_issuer: str = ""
    oidc_audience: str = ""
    oidc_tenant_claim: str = "tenant"
    oidc_role_claim: str = "role"
    oidc_name_claim: str = "email"

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
            trusted_proxies=tuple(map(_network, _list(given["CERTWRIGHT_TRUSTED_PROXIES"]))) or cls.trusted_proxies,
            lease_seconds=_seconds(given["CERTWRIGHT_LEASE_SECONDS"] or str(cls.lease_seconds)),
            log_level=_level(given["CERTWRIGHT_LOG_LEVEL"] or cls.log_level),
            oidc_issuer=_issuer(given["CERTWRIGHT_OIDC_ISSUER"]),
            oidc_audience=given["CERTWRIGHT_OIDC_AUDIENCE"],
            oidc_tenant_claim=given["CERTWRIGHT_OIDC_TENANT_CLAIM"] or cls.oidc_tenant_claim,
            oidc_role_claim=given["CERTWRIGHT_OIDC_ROLE_CLAIM"] or cls.oidc_role_claim,
            oidc_name_claim=given["CERTWRIGHT_OIDC_NAME_CLAIM"] or cls.oidc_name_claim,
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


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text) if "/" in text else ipaddress.ip_address(text))
    except ValueError:
        raise InvalidInput(
            f"CERTWRIGHT_TRUSTED_PROXIES holds {text!r}; give IP addresses or networks such as 10.0.0.0/8"
        ) from None


def _issuer(text: str) -> str:
    if text and not _is_url(text, "https", "http"):
        raise InvalidInput(f"CERTWRIGHT_OIDC_ISSUER is {text!r}; give the issuer's URL, which starts with https://")
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 1 <= seconds <= 3600:
        raise InvalidInput(f"CERTWRIGHT_LEASE_SECONDS is {text!r}; give a number from 1 to 3600")
    return seconds


def _level(text: str) -> str:
    if text.lower() not in _LOG_LEVELS:
        raise InvalidInput(f"CERTWRIGHT_LOG_LEVEL is {text!r}; give one of {', '.join(_LOG_LEVELS)}")
    return text.lower()
