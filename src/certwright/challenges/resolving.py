"""DNS questions: to the resolvers that were set, and to single servers. On top of dnspython."""

import socket
from collections.abc import Callable, Iterator, Sequence

import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.query
import dns.rdata
import dns.rdatatype
import dns.resolver
from dns.rdatatype import RdataType
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from certwright.challenges.solver import SolverFailed

LIFETIME = 5.0
"""Seconds that the resolvers have for one answer, all of them together."""


class Unresolved(Exception):
    """The resolvers gave no answer, not even that there is none. `timed_out` where they were silent."""

    def __init__(self, question: str, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(f"{question} could not be looked up: {reason}")
        self.timed_out = timed_out


class Resolvers:
    """The servers asked: each an address or ADDRESS:PORT (IPv6 in brackets); none means the system's own."""

    def __init__(self, servers: Sequence[str] = (), *, lifetime: float = LIFETIME) -> None:
        self._resolver = _resolver() if not servers else dns.resolver.Resolver(configure=False)
        self._resolver.lifetime = lifetime
        self._resolver.timeout = min(2.0, lifetime)
        # Answers are wanted as they are now, and as large as they may be without fragments.
        self._resolver.use_edns(0, 0, 1232)
        if servers:
            places = [split_place(server) for server in servers]
            self._resolver.nameservers = [dns.nameserver.Do53Nameserver(address, port) for address, port in places]

    def ask(self, name: dns.name.Name, kind: RdataType) -> dns.message.Message:
        """The whole answer; NXDOMAIN is one. Raises Unresolved."""
        question = f"{text(name)} {dns.rdatatype.to_text(kind)}"
        try:
            answer = self._resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
            return answer.response
        except dns.resolver.NXDOMAIN as error:
            return error.responses()[name]  # type: ignore[no-any-return, no-untyped-call]  # dnspython left it out
        except dns.resolver.NoNameservers as error:
            raise Unresolved(question, _refusals(error)) from error
        except dns.resolver.LifetimeTimeout as error:
            raise Unresolved(question, "the resolvers did not answer", timed_out=True) from error
        except dns.exception.DNSException as error:
            raise Unresolved(question, "the answer makes no sense") from error

    def addresses(self, name: dns.name.Name) -> list[str]:
        """All addresses of a host, IPv6 first. Raises Unresolved where neither kind can be asked for."""
        found: list[str] = []
        failures: list[Unresolved] = []
        for kind in (RdataType.AAAA, RdataType.A):
            try:
                rdatas = records(self.ask(name, kind), kind)
                found += [rdata.address for rdata in rdatas if isinstance(rdata, A | AAAA)]
            except Unresolved as failure:
                failures.append(failure)
        if failures and not found:
            raise failures[0]
        return found


def _resolver() -> dns.resolver.Resolver:
    """The system's; where none is set up, one on this machine, as the C library has it (resolv.conf(5))."""
    try:
        return dns.resolver.Resolver()
    except dns.resolver.NoResolverConfiguration:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        return resolver


def split_place(server: str) -> tuple[str, int]:
    """An address and a port, 53 where none is named."""
    if server.startswith("["):
        address, _, rest = server[1:].partition("]")
        return address, int(rest.removeprefix(":") or 53)
    if server.count(":") == 1:
        address, _, port = server.partition(":")
        return address, int(port)
    return server, 53


def zone_of(name: dns.name.Name, ask: Callable[[dns.name.Name], dns.message.Message]) -> dns.name.Name | None:
    """The zone that holds a name, by the SOA records that `ask` gets: the name's own, or the one that comes with
    the news that it has none (RFC 2308 §3). Where a server leaves that out, the names above are asked for."""
    for ancestor in ancestors(name):
        answer = ask(ancestor)
        for rrset in (*answer.answer, *answer.authority):
            if rrset.rdtype == RdataType.SOA and name.is_subdomain(rrset.name):
                return rrset.name
    return None


def ancestors(name: dns.name.Name) -> Iterator[dns.name.Name]:
    """The name and those above it, without the root."""
    while name != dns.name.root:
        yield name
        name = name.parent()


def records(answer: dns.message.Message, kind: RdataType) -> list[dns.rdata.Rdata]:
    """The records of one type in an answer, whatever name an alias led to."""
    return [rdata for rrset in answer.answer if rrset.rdtype == kind for rdata in rrset]


def parse_name(name: str) -> dns.name.Name:
    """Raises SolverFailed for what is no DNS name."""
    try:
        return dns.name.from_text(name)
    except (dns.exception.DNSException, UnicodeError):
        raise SolverFailed(f"{name!r} is no DNS name", lasting=True) from None


def text(name: dns.name.Name) -> str:
    """Lower case, without the final dot."""
    return name.canonicalize().to_text(omit_final_dot=True)


def ask_server(address: str, port: int, query: dns.message.Message, seconds: float) -> dns.message.Message:
    """One server's own answer, by UDP, and by TCP where that is too small. Raises OSError or DNSException."""
    answer, _ = dns.query.udp_with_fallback(query, address, timeout=seconds, port=port, ignore_unexpected=True)
    return answer


def has_route(address: str) -> bool:
    """Whether this machine can send to an address at all: many, such as AWS Lambda's, have no IPv6."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 53))  # UDP: nothing is sent
    except OSError:
        return False
    return True


def _refusals(error: dns.resolver.NoNameservers) -> str:
    """What the resolvers answered, such as SERVFAIL, each once."""
    found = {str(entry[3]) for entry in error.kwargs.get("errors", []) if entry[3]}
    return ", ".join(sorted(found))[:200] or "no resolver gave an answer"
