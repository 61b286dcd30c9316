"""Identifiers (domain names and IP addresses) and contact addresses: from what a person types to what a CA accepts, or
one clear reason why not.

Names become A-labels (IDNA 2008 after the UTS #46 mapping), lower case, in the order given. What only some CAs refuse
(`.test`, `.internal`, eleven labels, …) passes: private CAs issue for such names, and the CA's own answer is clear.
"""

import functools
import ipaddress
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

import idna

from certwright.errors import InvalidInput

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

MAX_NAMES = 100
"""The most names in one order (Let's Encrypt's classic profile; no public CA allows more)."""

MAX_CONTACTS = 10

_MAX_NAME = 253
_MAX_LABEL = 63
_MAX_TYPED = 1024
_MAX_ADDRESS = 254
_MAX_URI = 512
_MAX_MESSAGE = 10_000

_IP_ADDRESS = "is an IP address with something around it: give the address alone, such as 192.0.2.1 or 2001:db8::1"

_PASTED = (
    (re.compile(r"^[a-z][a-z0-9+.-]*://"), "is a URL: give the name alone, without https:// and path"),
    (re.compile(r"@"), "is an e-mail address: give the domain name alone, what follows the @"),
    (re.compile(r"[/?#\\]"), "has a path: give the name alone, up to the first slash"),
    (re.compile(r":"), "has a port: give the name alone, without the colon and what follows it"),
    (re.compile(r"\s"), "has a space in it: separate names by commas"),
    (re.compile(r"_"), "has an underscore: only letters, digits and hyphens may stand in a certificate's names"),
)


class _Refused(Exception):
    """Its text is a predicate whose subject is the bad text: what is wrong, and what would be right."""


@dataclass(frozen=True)
class Check:
    """One name among those for an order: `name` is how it would be ordered, None where it is no name at all; `problem`
    is why it cannot be, as what is said of `given`: "has no dot: …"."""

    given: str
    name: str | None
    problem: str | None


def parse_domains(domains: Sequence[str]) -> tuple[str, ...]:
    """Names to order, as A-labels and IP addresses (RFC 8738, in their shortest form), in the order given; each
    element may itself hold several, separated by commas.

    Raises InvalidInput (field `domains`) that lists every bad name with what is wrong and what would be right.
    """
    checks = check_domains(domains)
    if not any(check.given for check in checks):
        raise InvalidInput("no domain name is given: name at least one, such as www.example.com", field="domains")
    if faults := [f"{_quote(check.given)} {check.problem}" for check in checks if check.problem]:
        raise InvalidInput(_listed(faults), field="domains")
    return tuple(check.name for check in checks if check.name is not None)


def check_domains(domains: Sequence[str]) -> list[Check]:
    """What `parse_domains` finds of each name, good or bad, in the order given. Raises InvalidInput for too many."""
    texts = [text.strip() for element in domains for text in element.split(",")]
    if len(texts) > MAX_NAMES and any(texts):
        raise InvalidInput(
            f"{len(texts)} domain names are given, and one certificate holds at most {MAX_NAMES}: "
            "spread them over several orders",
            field="domains",
        )
    names: list[str | None] = [None] * len(texts)
    positions: dict[str, int] = {}
    faults: dict[int, str] = {}
    for position, text in enumerate(texts):
        try:
            names[position] = name = _parse_ip(text) or _parse_domain(text)
        except _Refused as refused:
            faults[position] = str(refused)
            continue
        if name in positions:
            faults[position] = _duplicate(text, texts[positions[name]])
        else:
            positions[name] = position
    faults |= _redundant(positions)
    return [Check(text, names[position], faults.get(position)) for position, text in enumerate(texts)]


def parse_zone(text: str) -> str:
    """One domain whose names a challenge provider serves, as A-labels. A public suffix is good, a wildcard is not.

    Raises InvalidInput (field `zones`).
    """
    try:
        name = _parse_name(text.strip())
        if name.startswith("*"):
            raise _Refused("has a wildcard: a zone holds all names below it anyway; give it without the *.")
    except _Refused as refused:
        raise InvalidInput(f"{_quote(text)} {refused}", field="zones") from None
    return name


def parse_email(text: str, field: str) -> str:
    """One bare e-mail address, its domain as A-labels: `mailto:` before it makes a contact URI (RFC 8555 §7.3).

    Raises InvalidInput for `field`.
    """
    try:
        return _parse_address(text.strip())
    except _Refused as refused:
        raise InvalidInput(f"{_quote(text)} {refused}", field=field) from None


def parse_contact(uris: Sequence[str]) -> tuple[str, ...]:
    """Contact URIs without repeats; mailto: URIs hold one address and no header fields (RFC 8555 §7.3).

    Other schemes, such as tel:, are kept as they are: the CA says which it supports. Raises InvalidInput (`contact`).
    """
    if len(uris) > MAX_CONTACTS:
        raise InvalidInput(f"{len(uris)} contacts are given: give at most {MAX_CONTACTS}", field="contact")
    try:
        return tuple(dict.fromkeys(_parse_contact(uri.strip()) for uri in uris))
    except _Refused as refused:
        raise InvalidInput(str(refused), field="contact") from None


def identifier_type(name: str) -> str:
    """`ip` (RFC 8738) or `dns` (RFC 8555 §9.7.7), for a name that was parsed here."""
    return "ip" if _parse_ip(name) else "dns"


def _parse_ip(text: str) -> str | None:
    """An IP address that is typed as one and nothing else; brackets are allowed around IPv6, as in URLs."""
    try:
        bare = text[1:-1] if text.startswith("[") and text.endswith("]") and ":" in text else text
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return None if "%" in bare else str(address)


def _parse_domain(text: str) -> str:
    name = _parse_name(text)
    _refuse_public_suffix(name)
    return name


def _parse_name(text: str) -> str:
    if not text:
        raise _Refused("is empty: leave out the comma too many, or give a name such as www.example.com")
    _refuse_long(text, _MAX_TYPED)
    _refuse_ip(text)
    mapped = _map(text).removesuffix(".")
    for pattern, reason in _PASTED:
        if pattern.search(mapped):
            raise _Refused(reason)
    # A-labels are never shorter than what they stand for; and the work below grows with the length.
    _refuse_long(mapped, _MAX_NAME)
    wildcard, base = _split_wildcard(mapped)
    base = _to_ascii(base)
    if "." not in base:
        what = f"is a wildcard over the top-level domain {base}" if wildcard else "has no dot"
        raise _Refused(f"{what}: give the full name, such as {wildcard or 'www.'}example.com")
    _refuse_long(wildcard + base, _MAX_NAME)
    return wildcard + base


def _refuse_long(text: str, most: int) -> None:
    if len(text) > most:
        raise _Refused(f"is longer than {_MAX_NAME} octets, the most that a domain name may have")


def _map(text: str) -> str:
    try:
        # Without the STD3 rules, so that a mapped colon or slash is refused below by its own, clearer, reason.
        return idna.uts46_remap(text, std3_rules=False)
    except idna.IDNAError as error:
        raise _Refused(f"is no valid internationalised name ({_clip(str(error))})") from None


def _split_wildcard(name: str) -> tuple[str, str]:
    wildcard, base = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    if "*" in base:
        raise _Refused("has a misplaced wildcard: a * is the whole leftmost label, once, as in *.example.com")
    return wildcard, base


def _to_ascii(name: str) -> str:
    labels = name.split(".")
    if "" in labels:
        raise _Refused("has an empty label: a dot has a label on each side of it")
    _refuse_ip(name)
    if re.fullmatch("[0-9]+", labels[-1]):
        raise _Refused(f"ends in a number: no top-level domain is numeric ({_quote(labels[-1])})")
    return ".".join(_label_to_ascii(label) for label in labels)


def _label_to_ascii(label: str) -> str:
    """The A-label of one non-empty label. IDNA's own checks come last because its reasons are the least plain."""
    if bad := re.search(r"[\x00-\x2c\x2e\x2f\x3a-\x60\x7b-\x7f]", label):
        raise _Refused(f"has the character {_quote(bad[0])}: only letters, digits, hyphens and dots make a name")
    if label.startswith("-") or label.endswith("-"):
        raise _Refused(f"has a label that begins or ends with a hyphen ({_quote(label)})")
    try:
        return idna.alabel(label).decode("ascii")
    except idna.IDNAError as error:
        if error.code == "label_too_long":
            raise _Refused(f"has a label longer than {_MAX_LABEL} octets ({_quote(label)})") from None
        raise _Refused(f"is no valid internationalised name ({_clip(str(error))})") from None


def _refuse_ip(text: str) -> None:
    bracketed = re.fullmatch(r"\[(.*)\](:\d*)?", text)
    try:
        ipaddress.ip_address(bracketed[1] if bracketed else text.removesuffix("."))
    except ValueError:
        return
    raise _Refused(_IP_ADDRESS)


@functools.cache  # constant data of a package, but 50 ms to read: not at import, and not twice
def _read_icann_suffixes() -> "PublicSuffixList":
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(only_icann=True, accept_unknown=False)


_reading = threading.Lock()


def _icann_suffixes() -> "PublicSuffixList":
    """Read once: `cache` alone would let every thread that comes while it is being read read it as well."""
    with _reading:
        return _read_icann_suffixes()


@functools.cache  # as `_read_icann_suffixes`
def _read_suffixes() -> "PublicSuffixList":
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()


def registered_domain(name: str) -> str:
    """The name that its owner registered, or got below a private suffix such as github.io; CAs count by it.

    Of an IPv4 address it is the address itself, of an IPv6 address its /64. Names are as `parse_domains` gives them.
    """
    address = _parse_ip(name)
    if address:
        return str(ipaddress.ip_network(f"{address}/64", strict=False)) if ":" in address else address
    with _reading:
        suffixes = _read_suffixes()
    return suffixes.privatesuffix(name.removeprefix("*.")) or name.removeprefix("*.")


def _refuse_public_suffix(name: str) -> None:
    """Only the list's ICANN section counts: owners of private suffixes (github.io) do get certificates for them."""
    base = name.removeprefix("*.")
    if not _icann_suffixes().is_public(base):
        return
    if base == name:
        raise _Refused("is a public suffix, under which others register names: give a name below it")
    raise _Refused(f"is a wildcard over the public suffix {base}: give a name below it, such as *.example.{base}")


def _duplicate(text: str, earlier: str) -> str:
    what = "is given twice" if earlier == text else f"is the same name as {_quote(earlier)}"
    return f"{what}: leave one of them out"


def _redundant(positions: dict[str, int]) -> dict[int, str]:
    """Faults of names that a wildcard of the same order covers: Let's Encrypt refuses an order for them."""
    wildcards = {name: "*." + name.partition(".")[2] for name in positions}
    return {
        positions[name]: f"is already covered by {wildcard} in the same order: leave one of them out"
        for name, wildcard in wildcards.items()
        if wildcard in positions and wildcard != name
    }


def _parse_address(text: str) -> str:
    if not text:
        raise _Refused("is empty: give an e-mail address such as admin@example.com")
    if text.lower().startswith("mailto:"):
        raise _Refused("begins with mailto: give the address alone")
    if "?" in text:
        raise _Refused("has header fields or a question mark: give the address alone (RFC 8555 §7.3)")
    if "," in text or ";" in text or text.count("@") > 1:
        raise _Refused("is more than one address: give one alone (RFC 8555 §7.3)")
    local, at, domain = text.rpartition("@")
    if not (at and local and domain):
        raise _Refused("is no e-mail address: give one such as admin@example.com")
    # These characters need no escape in a mailto: URI (RFC 6068 §2); the others hardly occur in real addresses.
    if len(local) > 64 or not re.fullmatch(r"[A-Za-z0-9_~!$'*+-]+(\.[A-Za-z0-9_~!$'*+-]+)*", local):
        raise _Refused("has a bad part before the @: up to 64 letters, digits and any of . _ ~ ! $ ' * + - are right")
    address = f"{local}@{_mail_domain(domain)}"
    if len(address) > _MAX_ADDRESS:
        raise _Refused(f"is longer than {_MAX_ADDRESS} octets")
    return address


def _mail_domain(domain: str) -> str:
    try:
        name = _parse_name(domain)
    except _Refused as refused:
        raise _Refused(f"has a bad domain: {_quote(domain)} {refused}") from None
    if name.startswith("*"):
        raise _Refused("has a wildcard for its domain: give one mail domain")
    return name


def _parse_contact(uri: str) -> str:
    scheme, colon, rest = uri.partition(":")
    try:
        if scheme.lower() == "mailto" and colon:
            if "?" in rest:
                raise _Refused("has header fields: give mailto: and one address alone (RFC 8555 §7.3)")
            return "mailto:" + _parse_address(unquote(rest))
        if "@" in uri and not colon:
            raise _Refused("lacks its scheme: write mailto: before an e-mail address")
        if len(uri) > _MAX_URI or not re.fullmatch(
            r"[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+", uri
        ):
            raise _Refused(f"is no URI of up to {_MAX_URI} characters: give one such as mailto:admin@example.com")
    except _Refused as refused:
        raise _Refused(f"{_quote(uri)} {refused}") from None
    return uri


def _listed(faults: Sequence[str]) -> str:
    """All of them in one line; past a length that no honest mistake reaches, the rest as a number."""
    message = ""
    for position, fault in enumerate(faults):
        if len(message) + len(fault) > _MAX_MESSAGE:
            return f"{message}; and {len(faults) - position} more"
        message += "; " * bool(message) + fault
    return message


def _quote(text: str) -> str:
    return f"'{_clip(text)}'"


def _clip(text: str) -> str:
    """At most 80 characters, with nothing in them that could forge a log line or turn the reading direction."""
    visible = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text[:80])
    return visible + "…" * (len(text) > 80)
