"""dns-01 by dynamic update (RFC 2136), signed with TSIG (RFC 8945): BIND, Knot, PowerDNS, Windows and others."""

from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.tsig
import dns.update
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.TXT import TXT

from certwright.challenges import resolving
from certwright.challenges.preparation import DnsRecord, HttpFile
from certwright.challenges.solver import SolverFailed, dns_record
from certwright.challenges.web import MAX_ADDRESSES, Reach, Unreached

SECONDS = 10
"""What a server has for one answer."""

_REFUSALS = {
    dns.rcode.REFUSED: "refused the update: let its policy allow this key to change TXT records there",
    dns.rcode.NOTAUTH: "is no primary server of the zone",
    dns.rcode.NOTZONE: "says that the name is in another zone",
    dns.rcode.NOTIMP: "does not take dynamic updates",
}
_TSIG_REFUSALS: dict[type[dns.exception.DNSException], tuple[str, bool]] = {
    dns.tsig.PeerBadKey: ("does not know the key", True),
    dns.tsig.PeerBadSignature: ("found the signature wrong: the secret or its algorithm is another one there", True),
    dns.tsig.PeerBadTime: ("has a clock that is too far from ours", False),
    dns.tsig.PeerBadTruncation: ("wants a longer signature", True),
}


@dataclass(frozen=True)
class Place:
    """A server that takes updates. `transport` is tcp or udp."""

    host: str
    port: int
    transport: str = "tcp"

    def __str__(self) -> str:
        return f"{self.host} port {self.port}"


class Rfc2136:
    """Adds and deletes single values, so that a repeat changes nothing (RFC 2136 §2.5.1, §2.5.4).

    Without a `zone` the server itself is asked for the one that holds the name.
    """

    def __init__(self, place: Place, key: dns.tsig.Key, zone: str | None, reach: Reach) -> None:
        self._place = place
        self._key = key
        self._zone = dns.name.from_text(zone) if zone else None
        self._reach = reach

    def present(self, prepared: DnsRecord | HttpFile) -> None:
        record = dns_record(prepared)
        update, name = self._update(record)
        update.add(name, record.ttl, _rdata(record))
        self._send(update)

    def clean_up(self, prepared: DnsRecord | HttpFile) -> None:
        record = dns_record(prepared)
        update, name = self._update(record)
        update.delete(name, _rdata(record))
        self._send(update)

    def _update(self, record: DnsRecord) -> tuple[dns.update.UpdateMessage, dns.name.Name]:
        name = resolving.parse_name(record.name)
        zone = self._zone or self._find_zone(name)
        if not name.is_subdomain(zone):
            raise SolverFailed(f"{record.name} is not in the zone {resolving.text(zone)}", lasting=True)
        return dns.update.UpdateMessage(zone), name

    def _find_zone(self, name: dns.name.Name) -> dns.name.Name:
        elsewhere = f"has no zone that holds {resolving.text(name)}"

        def ask(ancestor: dns.name.Name) -> dns.message.Message:
            answer = self._exchange(dns.message.make_query(ancestor, RdataType.SOA, flags=0))
            if answer.rcode() != dns.rcode.NXDOMAIN:
                _refuse(answer, self._place, {dns.rcode.REFUSED: elsewhere})
            if not answer.flags & dns.flags.AA:
                raise SolverFailed(f"{self._place} {elsewhere}", lasting=True)
            return answer

        zone = resolving.zone_of(name, ask)
        if zone is None:
            raise SolverFailed(f"{self._place} {elsewhere}", lasting=True)
        return zone

    def _send(self, update: dns.update.UpdateMessage) -> None:
        _refuse(self._exchange(update), self._place, _REFUSALS)

    def _exchange(self, message: dns.message.Message) -> dns.message.Message:
        """The signed answer of the first of the server's addresses that gives one. Raises SolverFailed."""
        message.use_tsig(self._key)
        failure: OSError | dns.exception.DNSException = OSError()
        for address in self._addresses():
            try:
                return self._signed(self._ask(message, address))
            except (OSError, dns.exception.DNSException) as error:
                failure = error
                if type(error) in _TSIG_REFUSALS:
                    break
        raise self._failed(failure)

    def _addresses(self) -> list[str]:
        try:
            return self._reach.addresses(self._place.host, self._place.port)[:MAX_ADDRESSES]
        except Unreached as unreached:
            raise SolverFailed(str(unreached), lasting=unreached.lasting) from unreached

    def _ask(self, message: dns.message.Message, address: str) -> dns.message.Message:
        if self._place.transport == "tcp":
            return dns.query.tcp(message, address, timeout=SECONDS, port=self._place.port)
        return dns.query.udp(
            message, address, timeout=SECONDS, port=self._place.port, ignore_unexpected=True, raise_on_truncation=True
        )

    def _signed(self, answer: dns.message.Message) -> dns.message.Message:
        if not answer.had_tsig:
            raise SolverFailed(f"{self._place} answered {dns.rcode.to_text(answer.rcode())} without a signature")
        return answer

    def _failed(self, failure: OSError | dns.exception.DNSException) -> SolverFailed:
        lasting = False
        if isinstance(failure, dns.exception.Timeout):
            reason = f"gave no answer within {SECONDS} s"
        elif isinstance(failure, OSError):
            reason = f"cannot be reached: {failure.strerror or 'the connection broke'}"
        else:
            reason, lasting = _TSIG_REFUSALS.get(type(failure), ("gave an answer that makes no sense", False))
        return SolverFailed(f"{self._place} {reason}", lasting=lasting)


def _rdata(record: DnsRecord) -> TXT:
    octets = record.value.encode()
    strings = [octets[start : start + 255] for start in range(0, len(octets), 255)]
    return TXT(dns.rdataclass.IN, RdataType.TXT, strings)


def _refuse(answer: dns.message.Message, place: Place, reasons: dict[dns.rcode.Rcode, str]) -> None:
    rcode = answer.rcode()
    if rcode != dns.rcode.NOERROR:
        words = reasons.get(rcode, f"answered {dns.rcode.to_text(rcode)}")
        raise SolverFailed(f"{place} {words}", lasting=rcode in reasons)
