"""Where a dns-01 record must be written, and which of its zone's own servers answer with it already.

A CA asks these servers, through a resolver that has not asked before. Any other resolver may know an older answer.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
from dns.rdatatype import RdataType
from dns.rdtypes.nsbase import NSBase
from dns.rdtypes.txtbase import TXTBase

from certwright.challenges import resolving
from certwright.challenges.resolving import Resolvers, Unresolved
from certwright.challenges.solver import SolverFailed
from certwright.model import NameServer

MAX_ALIASES = 10
MAX_NAME_SERVERS = 16
MAX_ADDRESSES = 32
"""The most that are asked: no zone in earnest has more, and nobody shall have us ask thousands."""

_MAX_SHOWN, _MAX_LENGTH = 3, 100


class Propagation:
    """Asks `servers` (see Resolvers) where to look, and then each authoritative server at `port`.

    Each has `seconds` for its answer; all are asked at the same time. Private addresses are asked as well, as zones
    are split between inside and outside: nothing is sent but a question for a record, and only its values are shown.
    """

    def __init__(self, servers: Sequence[str] = (), *, port: int = 53, seconds: float = 3) -> None:
        self._resolvers = Resolvers(servers, lifetime=min(resolving.LIFETIME, 2 * seconds))
        self._port = port
        self._seconds = seconds

    def follow(self, name: str) -> str:
        """Where the record of a name is to be written: CNAME and DNAME are followed (RFC 8555 §8.4 allows both).

        Raises SolverFailed where that cannot be said.
        """
        current = resolving.parse_name(name)
        seen = [current]
        while target := self._alias(current):
            if target in seen or len(seen) > MAX_ALIASES:
                raise SolverFailed(
                    f"{name} is delegated by CNAME, without end or over more than {MAX_ALIASES} names, "
                    f"at last from {resolving.text(current)} to {resolving.text(target)}",
                    lasting=True,
                )
            seen.append(target)
            current = target
        return resolving.text(current)

    def _alias(self, name: dns.name.Name) -> dns.name.Name | None:
        """What a name is an alias of. A DNAME above it shows as a CNAME, too (RFC 6672 §3.1)."""
        for rrset in self._ask(name, RdataType.CNAME).answer:
            if rrset.rdtype == RdataType.CNAME and rrset.name == name:
                target = rrset[0].target
                return target if isinstance(target, dns.name.Name) else None
        return None

    def zone(self, record: str) -> str:
        """The zone that a record belongs to. Raises SolverFailed where none is found."""
        return resolving.text(self._zone(resolving.parse_name(record)))

    def _zone(self, record: dns.name.Name) -> dns.name.Name:
        zone = resolving.zone_of(record, lambda name: self._ask(name, RdataType.SOA))
        if zone is None or zone == dns.name.root:
            raise SolverFailed(f"no zone was found that holds {resolving.text(record)}")
        return zone

    def look(self, record: str, value: str) -> tuple[NameServer, ...]:
        """What each authoritative server of the record's zone answers for a TXT record; at least one is in it.

        `record` is what `follow` gave. Raises SolverFailed where the servers cannot be found.
        """
        name = resolving.parse_name(record)
        zone = self._zone(name)
        rdatas = resolving.records(self._ask(zone, RdataType.NS), RdataType.NS)
        servers = sorted({rdata.target for rdata in rdatas if isinstance(rdata, NSBase)})[:MAX_NAME_SERVERS]
        if not servers:
            raise SolverFailed(f"the zone {resolving.text(zone)} names no name servers")
        with ThreadPoolExecutor(MAX_ADDRESSES) as pool:
            found = dict(zip(servers, pool.map(self._addresses, servers), strict=True))
            told = pool.map(lambda place: self._told(place[0], place[1], name, value), _each_once(found))
            return (*told, *(_lost(server) for server in servers if not found[server]))

    def has(self, record: str, value: str) -> bool:
        """Whether every server has a value; False also where that cannot be found out."""
        try:
            return is_everywhere(self.look(record, value))
        except SolverFailed:
            return False

    def _addresses(self, server: dns.name.Name) -> list[str]:
        """Those that can be sent to from here, or else all, so that each server is shown."""
        try:
            addresses = self._resolvers.addresses(server)[:MAX_ADDRESSES]
        except Unresolved:
            return []
        return [address for address in addresses if resolving.has_route(address)] or addresses

    def _told(self, server: dns.name.Name, address: str, record: dns.name.Name, value: str) -> NameServer:
        query = dns.message.make_query(record, RdataType.TXT, use_edns=0, payload=1232, flags=0)
        name = resolving.text(server)
        try:
            answer = resolving.ask_server(address, self._port, query, self._seconds)
        except dns.exception.Timeout:
            return NameServer(name, address, False, f"no answer within {self._seconds:g} s", answered=False)
        except OSError as error:
            return NameServer(name, address, False, f"cannot be reached: {error.strerror}", answered=False)
        except dns.exception.DNSException:
            return NameServer(name, address, False, "an answer that makes no sense")
        values = _values(answer)
        return NameServer(name, address, value in values, _shown(answer, values))

    def _ask(self, name: dns.name.Name, kind: RdataType) -> dns.message.Message:
        try:
            return self._resolvers.ask(name, kind)
        except Unresolved as failure:
            raise SolverFailed(str(failure)) from failure


def is_everywhere(servers: Sequence[NameServer]) -> bool:
    """Whether every server has the value: whichever a CA asks, it sees it."""
    return bool(servers) and all(server.agrees for server in servers)


def is_wherever_reached(servers: Sequence[NameServer]) -> bool:
    """Whether all servers that answer have the value: a resolver goes on to another where one is silent."""
    return is_everywhere([server for server in servers if server.answered])


def _each_once(found: Mapping[dns.name.Name, Sequence[str]]) -> Sequence[tuple[dns.name.Name, str]]:
    """Servers with their addresses; those that share one are one server, under the first of their names."""
    names: dict[str, dns.name.Name] = {}
    for server, addresses in found.items():
        for address in addresses:
            names.setdefault(address, server)
    return [(server, address) for address, server in names.items()][:MAX_ADDRESSES]


def _lost(server: dns.name.Name) -> NameServer:
    return NameServer(resolving.text(server), "", False, "its address was not found", answered=False)


def _values(answer: dns.message.Message) -> list[str]:
    """TXT values, each with its strings put together (RFC 7208 §3.3 says how everybody does)."""
    rdatas = resolving.records(answer, RdataType.TXT)
    return [b"".join(r.strings).decode("ascii", "backslashreplace") for r in rdatas if isinstance(r, TXTBase)]


def _shown(answer: dns.message.Message, values: Sequence[str]) -> str:
    """What a server said, for people, on one line."""
    if values:
        more = f" and {len(values) - _MAX_SHOWN} more" if len(values) > _MAX_SHOWN else ""
        return ", ".join(ascii(value[:_MAX_LENGTH]) for value in values[:_MAX_SHOWN]) + more
    rcode = answer.rcode()
    if rcode == dns.rcode.NXDOMAIN:
        return "no such name"
    if rcode != dns.rcode.NOERROR:
        return dns.rcode.to_text(rcode)
    return "no TXT record" if answer.flags & dns.flags.AA else "not its zone"
