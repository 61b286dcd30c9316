"""What may keep a CA from issuing, seen before it is asked: CAA records, and http-01 files that are not there.

All of it is advice. We may see another side of a network than the CA does, so nothing here ever stops an order.
"""

import functools
import ipaddress
import logging
import re
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urljoin

import dns.name
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.CAA import CAA

from certwright.challenges import resolving
from certwright.challenges.preparation import HttpFile
from certwright.challenges.resolving import Resolvers, Unresolved
from certwright.challenges.solver import SolverFailed
from certwright.challenges.web import Answer, Reach, Unreached, Url, send
from certwright.errors import InvalidInput
from certwright.model import Advice

logger = logging.getLogger(__name__)

CAA_FORBIDS, CAA_UNREADABLE = "caaForbids", "caaUnreadable"
HTTP_UNREACHABLE, HTTP_DIFFERS = "httpUnreachable", "httpDiffers"

_T = TypeVar("_T")
_THREADS = 16
_MAX_REDIRECTS = 10
_CRITICAL = 128
_KNOWN_TAGS = ("issue", "issuewild", "iodef", "contactemail", "contactphone", "issuemail", "issuevmc")
_PARAMETER = re.compile(r"\s*([A-Za-z0-9]+)\s*=\s*([\x21-\x3a\x3c-\x7e]*)\s*")
_ISSUER = re.compile(r"\s*([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*)?\s*")


class Adviser:
    """Asks `servers` (see Resolvers). Nothing that it does raises, or takes much longer than `seconds`.

    Files are looked for at `http_port`, which is 80 for every CA but one of tests. Addresses that are neither public
    nor in `networks` are left alone, and nothing is said of them: the name is whatever a user typed.
    """

    def __init__(
        self,
        servers: Sequence[str] = (),
        *,
        networks: Sequence[str] = (),
        http_port: int = 80,
        seconds: float = 10,
    ) -> None:
        self._resolvers = Resolvers(servers, lifetime=min(resolving.LIFETIME, seconds))
        self._reach = Reach(networks)
        self._http_port = http_port
        self._seconds = seconds

    def caa(
        self,
        domains: Sequence[str],
        identities: Sequence[str],
        *,
        account_url: str | None = None,
        methods: Sequence[str] = ("http-01", "dns-01"),
    ) -> tuple[Advice, ...]:
        """Where CAA records (RFC 8659, RFC 8657) forbid a certificate for `domains`, wildcards with their `*.`.

        `identities` are the CA's (its directory's `caaIdentities`); without them only what forbids every CA is seen.
        `methods` are the challenge types that may be answered; wildcards have dns-01 only.
        Of names that could not be looked up in time nothing is said.
        """
        authority = _Authority(tuple(identity.lower() for identity in identities), account_url, frozenset(methods))
        found = self._in_time([functools.partial(self._judge, domain, authority) for domain in domains])
        return tuple(advice for advice in found if advice is not None)

    def _judge(self, domain: str, authority: "_Authority") -> Advice | None:
        if _is_address(domain):
            return None  # CAA is about names (RFC 8738 §7).
        name = domain.removeprefix("*.")
        try:
            owner, records = self._relevant(resolving.parse_name(name))
        except SolverFailed:
            return None
        except Unresolved as failure:
            if failure.timed_out:
                return None
            message = f"{failure}. A CA refuses when it cannot read CAA records; often DNSSEC is broken"
            return Advice(CAA_UNREADABLE, message, domain)
        reason = _forbidden(records, authority, wildcard=domain != name)
        return Advice(CAA_FORBIDS, f"the CAA records of {owner} {reason}", domain) if reason else None

    def _relevant(self, name: dns.name.Name) -> tuple[str, list[CAA]]:
        """The nearest CAA records at or above a name, and whose they are (RFC 8659 §3)."""
        for ancestor in resolving.ancestors(name):
            rdatas = resolving.records(self._resolvers.ask(ancestor, RdataType.CAA), RdataType.CAA)
            if found := [rdata for rdata in rdatas if isinstance(rdata, CAA)]:
                return resolving.text(ancestor), found
        return "", []

    def http01(self, identifier: str, file: HttpFile) -> tuple[Advice, ...]:
        """Whether a file for http-01 is seen from here: it is asked for as a CA would (RFC 8555 §8.3).

        Up to 10 redirects are followed, to ports 80 and 443 alone. Nothing of a body is kept or shown.
        """
        found = self._in_time([functools.partial(self._check, identifier, file)])
        return tuple(advice for advice in found if advice is not None)

    def _check(self, identifier: str, file: HttpFile) -> Advice | None:
        shown = f"http://{identifier}{file.path}"
        try:
            answer = self._get(Url("http", identifier, self._http_port, file.path))
        except _OutOfReach:
            return None
        except Unreached as unreached:
            return Advice(HTTP_UNREACHABLE, f"{shown}: {unreached}", identifier)
        if answer.status != 200:
            return Advice(HTTP_DIFFERS, f"{shown} answers with status {answer.status}", identifier)
        if answer.body.rstrip() != file.content.encode():
            return Advice(HTTP_DIFFERS, f"{shown} answers with another content than it should", identifier)
        return None

    def _get(self, url: Url) -> Answer:
        until = time.monotonic() + self._seconds
        for _ in range(_MAX_REDIRECTS + 1):
            addresses = self._addresses(url.host)
            remaining = until - time.monotonic()
            if remaining <= 0:
                raise Unreached(f"{url.place} took too long")
            answer = send("GET", url, addresses, _any_certificate(), seconds=min(remaining, self._seconds / 2))
            if answer.status not in (301, 302, 303, 307, 308):
                return answer
            url = self._target(url, answer.headers.get("location", ""))
        raise Unreached(f"more than {_MAX_REDIRECTS} redirects")

    def _addresses(self, host: str) -> list[str]:
        """All of a host's addresses, where each may be asked."""
        addresses = [host] if _is_address(host) else self._resolved(host)
        if not addresses:
            raise Unreached(f"{host} has no address in DNS")
        if not all(map(self._reach.has, addresses)):
            raise _OutOfReach
        return [address for address in addresses if resolving.has_route(address)] or addresses

    def _resolved(self, host: str) -> list[str]:
        try:
            return self._resolvers.addresses(resolving.parse_name(host))
        except (Unresolved, SolverFailed) as failure:
            if isinstance(failure, Unresolved) and failure.timed_out:
                raise _OutOfReach from failure
            raise Unreached(str(failure)) from failure

    def _target(self, url: Url, location: str) -> Url:
        if not location:
            raise Unreached(f"{url.place} redirects to nowhere")
        try:
            target = Url.parse(urljoin(url.place + url.target, location), "location")
        except (InvalidInput, ValueError):
            raise Unreached(f"{url.place} redirects to what is no URL") from None
        if target.port not in (80, 443, self._http_port):
            raise Unreached(f"{url.place} redirects to port {target.port}; a CA follows to 80 and 443 only")
        return target

    def _in_time(self, jobs: Sequence[Callable[[], _T]]) -> Iterator[_T]:
        """The results of those that are done in time, in order; the others come to their own end later."""
        pool = ThreadPoolExecutor(min(_THREADS, len(jobs) or 1))
        futures: list[Future[_T]] = [pool.submit(job) for job in jobs]
        wait(futures, self._seconds)
        pool.shutdown(wait=False, cancel_futures=True)
        for future in futures:
            if not future.done() or future.cancelled():
                continue
            if fault := future.exception():
                logger.error("advice was left out", exc_info=fault)
            else:
                yield future.result()


class _OutOfReach(Exception):
    """Nothing can be said of a host: it must not be asked, or our resolvers are silent."""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class _Authority:
    """Who would issue, for whom."""

    identities: tuple[str, ...]
    account_url: str | None
    methods: frozenset[str]


def _forbidden(records: Sequence[CAA], authority: _Authority, *, wildcard: bool) -> str | None:
    """What keeps this authority from issuing; None where it may, or where that cannot be known."""
    for record in records:
        if record.flags & _CRITICAL and _tag(record) not in _KNOWN_TAGS:
            return f"hold the critical tag {_tag(record)!r}, which no CA may pass over without knowing it"
    wild = [record for record in records if _tag(record) == "issuewild"] if wildcard else []
    policies = [_policy(record) for record in wild or [r for r in records if _tag(r) == "issue"]]
    methods = authority.methods & {"dns-01"} if wildcard else authority.methods
    # What is said of this very CA first, and what is said of nobody last: the first reason is the one that is told.
    policies.sort(key=lambda policy: (policy[0] not in authority.identities, not policy[0]))
    reasons = [_against(policy, authority, methods) for policy in policies]
    return reasons[0] if reasons and None not in reasons else None


def _tag(record: CAA) -> str:
    return record.tag.decode("ascii", "replace").lower()


_Policy = tuple[str, list[tuple[str, str]]]


def _policy(record: CAA) -> _Policy:
    """The issuer and the parameters of a value (RFC 8659 §4.2); a malformed one allows nobody."""
    issuer, *parameters = record.value.decode("ascii", "replace").split(";")
    named = _ISSUER.fullmatch(issuer)
    matched = [_PARAMETER.fullmatch(parameter) for parameter in parameters if parameter.strip()]
    if named is None or None in matched:
        return "", []
    return (named[1] or "").lower(), [(match[1].lower(), match[2]) for match in matched if match]


def _against(policy: _Policy, authority: _Authority, methods: frozenset[str]) -> str | None:
    """Why a policy does not let the authority issue."""
    issuer, parameters = policy
    if not issuer:
        return "let no CA issue"
    if not authority.identities:
        return None
    if issuer not in authority.identities:
        return f"let others issue, and not {' or '.join(authority.identities)}"
    accounts = [value for tag, value in parameters if tag == "accounturi"]
    if accounts and (len(accounts) > 1 or authority.account_url not in (None, accounts[0])):
        return f"let {issuer} issue for another account only"
    allowed = [value.lower().split(",") for tag, value in parameters if tag == "validationmethods"]
    if any(methods.isdisjoint(some) for some in allowed):
        return f"let {issuer} issue by other validation methods only than {' and '.join(sorted(methods))}"
    return None


def _any_certificate() -> ssl.SSLContext:
    """CAs do not verify the certificate of an https address that http-01 was redirected to: it may be the old one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
