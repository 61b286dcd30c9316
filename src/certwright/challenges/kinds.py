"""The kinds of solver that need nothing but a network, with their settings.

A kind's own module, and the library that it stands on, is imported when a solver is made: the list costs neither.
"""

import base64
import functools
import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from certwright.challenges.solver import Kind, KindSetting, Solver
from certwright.errors import InvalidInput

if TYPE_CHECKING:
    from certwright.challenges.propagation import Propagation
    from certwright.challenges.web import Reach, Url, Web

ALGORITHM = "hmac-sha256"
ALGORITHMS = ("hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha1")
DNS_PORT = "53"
MIN_HOOK_SECRET = 16

_HEADER_VALUE = re.compile(r"[\x20-\x7e]+")
_HOST = re.compile(r"(?!.*[.]{2})(?=.{1,253}$)[A-Za-z0-9:_-][A-Za-z0-9.:_-]*")
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")


def kinds(
    *,
    clock: Callable[[], datetime],
    watch: Callable[[], "Propagation"],
    networks: Sequence[str] = (),
    ca_bundle: Path | None = None,
) -> dict[str, Kind]:
    """By name. Providers may be at public addresses, and in `networks`; `ca_bundle` is trusted besides public roots.

    `watch` gives what looks at name servers. `lexicon` is among them only where the package dns-lexicon is installed.
    """

    @functools.cache
    def reach() -> "Reach":
        from certwright.challenges.web import Reach

        return Reach(networks)

    @functools.cache
    def web() -> "Web":
        from certwright.challenges.web import Web

        return Web(reach(), ca_bundle)

    found = [
        rfc2136(reach),
        acme_dns(web, watch),
        http_hook("http-hook", "dns-01", web, clock),
        http_hook("http-hook-file", "http-01", web, clock),
    ]
    if importlib.util.find_spec("lexicon"):
        found.append(lexicon(watch))
    return {kind.name: kind for kind in found}


def rfc2136(reach: "Callable[[], Reach]") -> Kind:
    def make(settings: Mapping[str, str]) -> Solver:
        import dns.tsig

        from certwright.challenges.rfc2136 import Place, Rfc2136

        host = _matching(_HOST, settings, "server", "a host name or an IP address")
        transport = _one_of(("tcp", "udp"), settings, "transport", "tcp")
        name = _matching(_HOST, settings, "keyName", "the key's name, such as update-key")
        key = dns.tsig.Key(name, _base64(settings), _one_of(ALGORITHMS, settings, "algorithm", ALGORITHM))
        return Rfc2136(Place(host, _port(settings), transport), key, zone(settings), reach())

    settings = (
        KindSetting("server", "Host name or address of the zone's primary server."),
        KindSetting("port", "Its port.", required=False, default=DNS_PORT),
        KindSetting("zone", "The zone that is updated; found by its SOA record if left out.", required=False),
        KindSetting("keyName", "Name of the TSIG key, exactly as the server has it."),
        KindSetting("algorithm", f"One of {', '.join(ALGORITHMS)}.", required=False, default=ALGORITHM),
        KindSetting("secret", "The key's secret in base64.", secret=True),
        KindSetting("transport", "tcp or udp.", required=False, default="tcp"),
    )
    return Kind("rfc2136", "DNS server that takes dynamic updates (RFC 2136)", "dns-01", settings, make)


def acme_dns(web: "Callable[[], Web]", watch: "Callable[[], Propagation]") -> Kind:
    def make(settings: Mapping[str, str]) -> Solver:
        from certwright.challenges.acme_dns import AcmeDns

        return AcmeDns(
            _url(settings),
            username=_matching(_HEADER_VALUE, settings, "username", "the text that /register gave"),
            password=_matching(_HEADER_VALUE, settings, "password", "the text that /register gave"),
            subdomain=_matching(_LABEL, settings, "subdomain", "the first label of the account's fulldomain"),
            web=web(),
            is_visible=lambda record, value: watch().has(record, value),
        )

    settings = (
        KindSetting("url", "Address of acme-dns, such as https://auth.example.com."),
        KindSetting("username", "What its /register answered."),
        KindSetting("password", "What its /register answered.", secret=True),
        KindSetting("subdomain", "What its /register answered."),
    )
    return Kind("acme-dns", "acme-dns", "dns-01", settings, make)


def http_hook(name: str, challenge_type: str, web: "Callable[[], Web]", clock: Callable[[], datetime]) -> Kind:
    def make(settings: Mapping[str, str]) -> Solver:
        from certwright.challenges.http_hook import HttpHook

        secret = given(settings, "secret")
        if len(secret) < MIN_HOOK_SECRET:
            raise InvalidInput(f"secret has less than {MIN_HOOK_SECRET} characters; take a random one", field="secret")
        return HttpHook(_url(settings), secret, web(), clock)

    settings = (
        KindSetting("url", "Where what is to be done is posted to."),
        KindSetting("secret", f"What posts are signed with, {MIN_HOOK_SECRET} characters or more.", secret=True),
    )
    return Kind(name, f"Program of your own, told by HTTP ({challenge_type})", challenge_type, settings, make)


def lexicon(watch: "Callable[[], Propagation]") -> Kind:
    def make(settings: Mapping[str, str]) -> Solver:
        from certwright.challenges.lexicon import Lexicon, parse_options

        provider = given(settings, "provider").strip().lower()
        options = parse_options(provider, settings.get("options", ""))
        return Lexicon(provider, options, zone(settings) or "", lambda record: watch().zone(record))

    settings = (
        KindSetting("provider", "One of lexicon's providers, such as cloudflare."),
        KindSetting(
            "options", "Its options, NAME=VALUE, one per line; such as auth-token=…", secret=True, multiline=True
        ),
        KindSetting("zone", "The zone that is changed; found by its SOA record if left out.", required=False),
    )
    return Kind("lexicon", "Another DNS provider, by dns-lexicon", "dns-01", settings, make)


def given(settings: Mapping[str, str], name: str) -> str:
    """A setting that must be there. Raises InvalidInput."""
    value = settings.get(name, "").strip()
    if not value:
        raise InvalidInput(f"{name} is not given", field=name)
    return value


def zone(settings: Mapping[str, str]) -> str | None:
    """The setting `zone` without its final dot. Raises InvalidInput."""
    text = settings.get("zone", "").strip().lower().removesuffix(".")
    if not text:
        return None
    if not all(_LABEL.fullmatch(label) for label in text.split(".")) or len(text) > 253:
        raise InvalidInput("zone is no DNS name; give one such as example.com, or leave it out", field="zone")
    return text


def _matching(pattern: re.Pattern[str], settings: Mapping[str, str], name: str, right: str) -> str:
    value = given(settings, name)
    if not pattern.fullmatch(value):
        raise InvalidInput(f"{name} has characters that cannot be meant; give {right}", field=name)
    return value


def _base64(settings: Mapping[str, str]) -> bytes:
    try:
        return base64.b64decode(given(settings, "secret"), validate=True)
    except ValueError:
        raise InvalidInput("secret is not base64, as TSIG secrets are written", field="secret") from None


def _one_of(choices: Sequence[str], settings: Mapping[str, str], name: str, default: str) -> str:
    value = settings.get(name, "").strip().lower().removesuffix(".") or default
    if value not in choices:
        raise InvalidInput(f"{name} is {value[:80]!r}; give one of {', '.join(choices)}", field=name)
    return value


def _port(settings: Mapping[str, str]) -> int:
    text = settings.get("port", "").strip() or DNS_PORT
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise InvalidInput(f"port is {text[:80]!r}; give a number from 1 to 65535", field="port")
    return int(text)


def _url(settings: Mapping[str, str]) -> "Url":
    from certwright.challenges.web import Url

    return Url.parse(given(settings, "url"), "url")
