"""Settings, read once from the environment. Each stands in the README's table."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from certwright.errors import InvalidInput

SETTINGS = {
    "CERTWRIGHT_DATA_DIR": "Folder of the database, the sealing key and the test CA; `--data-dir` goes before it.",
    "CERTWRIGHT_STORE": "`sqlite:PATH` or `dynamodb:TABLE`.",
    "CERTWRIGHT_SEALING_KEY": "File of the key that seals account and certificate keys; made at the first start.",
    "CERTWRIGHT_ACME_SERVERS": "Further allowed directory URLs, comma-separated; `*` allows any public https URL.",
    "CERTWRIGHT_CA_BUNDLE": "PEM file trusted for ACME servers besides the public roots.",
    "CERTWRIGHT_ALLOWED_ORIGINS": "Origins of frontends on other hosts, comma-separated; `*` allows any.",
    "CERTWRIGHT_LEASE_SECONDS": "How long one process holds a step; orders of a process that died go on after it.",
    "CERTWRIGHT_LOG_LEVEL": "`debug`, `info`, `warning` or `error`.",
    "CERTWRIGHT_OIDC_ISSUER": "Issuer URL of an OpenID Connect provider; empty: API tokens only.",
    "CERTWRIGHT_OIDC_AUDIENCE": "The audience that its tokens must be for.",
    "CERTWRIGHT_OIDC_TENANT_CLAIM": "Claim that holds the tenant.",
    "CERTWRIGHT_OIDC_ROLE_CLAIM": "Claim that holds viewer, operator or admin; a string or a list.",
    "CERTWRIGHT_OIDC_NAME_CLAIM": "Claim that names the user in the audit trail.",
}
"""Every setting, and what it means."""

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
            store=given["CERTWRIGHT_STORE"] or f"sqlite:{folder / 'certwright.db'}",
            sealing_key=Path(given["CERTWRIGHT_SEALING_KEY"] or folder / "sealing.key"),
            acme_servers=tuple(_https(url) for url in servers if url != "*"),
            any_public_server="*" in servers,
            ca_bundle=_file(given["CERTWRIGHT_CA_BUNDLE"], "CERTWRIGHT_CA_BUNDLE"),
            allowed_origins=_list(given["CERTWRIGHT_ALLOWED_ORIGINS"]),
            lease_seconds=_seconds(given["CERTWRIGHT_LEASE_SECONDS"] or str(cls.lease_seconds)),
            log_level=_level(given["CERTWRIGHT_LOG_LEVEL"] or cls.log_level),
            oidc_issuer=given["CERTWRIGHT_OIDC_ISSUER"],
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
    if not url.startswith("https://"):
        raise InvalidInput(f"CERTWRIGHT_ACME_SERVERS holds {url!r}; a directory URL starts with https://")
    return url


def _file(text: str, name: str) -> Path | None:
    if text and not Path(text).is_file():
        raise InvalidInput(f"{name} is {text!r}, which is no file")
    return Path(text) if text else None


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
