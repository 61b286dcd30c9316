"""What a user has to put in place before the CA is told to look (RFC 8555 §8.3, §8.4)."""

import base64
import hashlib
from dataclasses import dataclass

from certwright.model import Authorization, Challenge

WELL_KNOWN_PATH = "/.well-known/acme-challenge/"
_TTL = 60


@dataclass(frozen=True)
class HttpFile:
    """http-01: serve exactly `content` at `url`, over plain HTTP on port 80."""

    url: str
    path: str
    content: str


@dataclass(frozen=True)
class DnsRecord:
    """dns-01: publish this record. Other values of the same name stay: apex and wildcard need one each. TTL in s."""

    name: str
    type: str
    value: str
    ttl: int


def prepare(authorization: Authorization, challenge: Challenge, key_thumbprint: str) -> HttpFile | DnsRecord | None:
    """The preparation of a challenge, None for types that are unknown to us."""
    if challenge.token is None:
        return None
    answer = key_authorization(challenge.token, key_thumbprint)
    if challenge.type == "http-01":
        path = WELL_KNOWN_PATH + challenge.token
        host = f"[{authorization.identifier}]" if ":" in authorization.identifier else authorization.identifier
        return HttpFile(f"http://{host}{path}", path, answer)
    if challenge.type == "dns-01":
        return DnsRecord(f"_acme-challenge.{authorization.identifier}", "TXT", dns01_value(answer), _TTL)
    return None


def key_authorization(token: str, key_thumbprint: str) -> str:
    """RFC 8555 §8.1: what the http-01 file holds."""
    return f"{token}.{key_thumbprint}"


def dns01_value(key_authorization: str) -> str:
    """RFC 8555 §8.4: what the `_acme-challenge` TXT record holds."""
    digest = hashlib.sha256(key_authorization.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
