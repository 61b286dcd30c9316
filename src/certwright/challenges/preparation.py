"""What a user has to put in place before the CA is told to look (RFC 8555 §8.3, §8.4)."""

import base64
import hashlib
from dataclasses import dataclass

from certwright.model import Authorization, Challenge

WELL_KNOWN_PATH = "/.well-known/acme-challenge/"
_TTL = 60
_LASTING_TTL = 3600


@dataclass(frozen=True)
class HttpFile:
    """http-01: serve exactly `content` at `url`, over plain HTTP on port 80."""

    url: str
    path: str
    content: str


@dataclass(frozen=True)
class DnsRecord:
    """dns-01, dns-account-01, dns-persist-01: publish this record. Other values of the same name stay: apex and
    wildcard need one each. TTL in s.
    """

    name: str
    type: str
    value: str
    ttl: int


def prepare(
    authorization: Authorization, challenge: Challenge, key_thumbprint: str, account_url: str | None
) -> HttpFile | DnsRecord | None:
    """The preparation of a challenge, None for types that are unknown to us.

    Some types are bound to the account's URL; they have none while it is not known.
    """
    if challenge.type == "dns-persist-01":
        return _persistent_record(authorization, challenge, account_url)
    if challenge.token is None:
        return None
    answer = key_authorization(challenge.token, key_thumbprint)
    if challenge.type == "http-01":
        path = WELL_KNOWN_PATH + challenge.token
        host = f"[{authorization.identifier}]" if ":" in authorization.identifier else authorization.identifier
        return HttpFile(f"http://{host}{path}", path, answer)
    if challenge.type == "dns-01":
        return DnsRecord(f"_acme-challenge.{authorization.identifier}", "TXT", dns01_value(answer), _TTL)
    if challenge.type == "dns-account-01" and account_url:
        name = f"{account_label(account_url)}._acme-challenge.{authorization.identifier}"
        return DnsRecord(name, "TXT", dns01_value(answer), _TTL)
    return None


def _persistent_record(authorization: Authorization, challenge: Challenge, account_url: str | None) -> DnsRecord | None:
    """draft-ietf-acme-dns-persist: a record that stays, and proves control for every later order of the account."""
    if not (challenge.issuers and account_url):
        return None
    policy = "; policy=wildcard" if authorization.wildcard else ""
    value = f"{challenge.issuers[0]}; accounturi={account_url}{policy}"
    return DnsRecord(f"_validation-persist.{authorization.identifier}", "TXT", value, _LASTING_TTL)


def account_label(account_url: str) -> str:
    """draft-ietf-acme-dns-account-label: what keeps the records of several accounts for one name apart."""
    digest = hashlib.sha256(account_url.encode()).digest()
    return "_" + base64.b32encode(digest[:10]).decode().lower()


def key_authorization(token: str, key_thumbprint: str) -> str:
    """RFC 8555 §8.1: what the http-01 file holds."""
    return f"{token}.{key_thumbprint}"


def dns01_value(key_authorization: str) -> str:
    """RFC 8555 §8.4: what the `_acme-challenge` TXT record holds."""
    digest = hashlib.sha256(key_authorization.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
