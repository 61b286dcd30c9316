"""A DNS provider for tests, whose zone is what Pebble's DNS server answers.

    zone = Zone(pebble)
    with House(tmp_path, pebble, kinds={"test": zone.kind}, dns=zone.dns) as house:
        ...
    assert zone.calls == [("present", "_acme-challenge.a.example"), ("clean_up", "_acme-challenge.a.example")]

As a careful provider does, it adds and removes values one by one.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping

import dns.flags
import dns.message
import dns.query
import dns.rdatatype

from certwright.challenges.preparation import DnsRecord, HttpFile
from certwright.challenges.solver import Kind, KindSetting, SolverFailed
from certwright.errors import InvalidInput
from certwright.model import NameServer
from certwright.solvers import Dns
from tests.support.pebble import Pebble

SECONDS = 5


class Zone:
    """`faults` are raised by the next calls, one each (None: the call is good). `publishes` says whether what is
    presented is to be seen. `before` is called at the beginning of each call, with the verb."""

    def __init__(self, pebble: Pebble) -> None:
        self._pebble = pebble
        self.values: dict[str, list[str]] = defaultdict(list)
        self.calls: list[tuple[str, str]] = []
        self.tokens: list[str] = []
        self.faults: deque[BaseException | None] = deque()
        self.publishes = True
        self.before: Callable[[str], None] = lambda _: None
        self._lock = threading.Lock()
        settings = (
            KindSetting("token", "Begins with good.", secret=True),
            KindSetting("region", "Where it is.", required=False, default="eu"),
        )
        self.kind = Kind("test", "A provider of tests", "dns-01", settings, self._make)
        self.dns = Dns(self.follow, self.look)

    def _make(self, settings: Mapping[str, str]) -> "_Solver":
        if not settings["token"].startswith("good"):
            raise InvalidInput("token does not begin with good", field="token")
        return _Solver(self, settings["token"])

    def call(self, verb: str, token: str, prepared: DnsRecord | HttpFile, change: Callable[[list[str]], None]) -> None:
        assert isinstance(prepared, DnsRecord)
        self.before(verb)
        fault = self.faults.popleft() if self.faults else None
        self.calls.append((verb, prepared.name))
        if isinstance(fault, SolverFailed):
            raise fault
        with self._lock:
            self.tokens.append(token)
            change(self.values[prepared.name])
            if self.publishes:
                self._publish(prepared.name)
        if fault is not None:
            raise fault

    def _publish(self, record: str) -> None:
        self._pebble.management.clear_txt(record)
        for value in self.values[record]:
            self._pebble.management.set_txt(record, value)

    def follow(self, name: str) -> str:
        found = self._ask(name, dns.rdatatype.CNAME)
        return found[0].rstrip(".") if found else name

    def look(self, record: str, value: str) -> tuple[NameServer, ...]:
        values = [text.strip('"') for text in self._ask(record, dns.rdatatype.TXT)]
        answer = None if value in values else f"{len(values)} other values"
        return (NameServer("ns.test", "127.0.0.1", value in values, answer),)

    def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> list[str]:
        query = dns.message.make_query(name + ".", kind)
        answer = dns.query.tcp(query, "127.0.0.1", SECONDS, self._pebble.dns_port)
        return [str(rdata) for rrset in answer.answer if rrset.rdtype == kind for rdata in rrset]

    @property
    def left(self) -> list[str]:
        """The records that still have a value."""
        return [record for record, values in self.values.items() if values]


class _Solver:
    def __init__(self, zone: Zone, token: str) -> None:
        self._zone = zone
        self._token = token

    def present(self, prepared: DnsRecord | HttpFile) -> None:
        value = getattr(prepared, "value", "")
        self._zone.call("present", self._token, prepared, lambda v: None if value in v else v.append(value))

    def clean_up(self, prepared: DnsRecord | HttpFile) -> None:
        value = getattr(prepared, "value", "")
        self._zone.call("clean_up", self._token, prepared, lambda v: v.remove(value) if value in v else None)
