"""HTTP to servers that users named: bounded in time and size, to allowed addresses only, and without redirects.

Whoever configures a provider decides where we send requests. So addresses that are not public (this machine, its
network, a cloud's metadata service) are asked only where the operator allows their network, by
CERTWRIGHT_PROVIDER_NETWORKS. The address that was judged is the address that is connected to: a name cannot turn to
another one in between.
"""

import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import certifi

from certwright.errors import InvalidInput

MAX_BODY = 64 * 1024
MAX_ADDRESSES = 4
"""How many of a host's addresses are tried."""

_CONNECT_SECONDS = 5
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PRINTABLE = re.compile(r"[\x21-\x7e]+")


class Unreached(Exception):
    """There is no answer; the text says why. `sent` where the request may have arrived nevertheless."""

    def __init__(self, reason: str, *, sent: bool = False, lasting: bool = False) -> None:
        super().__init__(reason)
        self.sent = sent
        self.lasting = lasting


@dataclass(frozen=True)
class Answer:
    """`body` is cut after MAX_BODY octets; the names of `headers` are in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Url:
    """The parts of an http or https URL that a request needs; `host` has no brackets."""

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)

    @classmethod
    def parse(cls, text: str, field: str) -> "Url":
        """Raises InvalidInput for `field`."""
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or parts.scheme not in _PORTS or "@" in parts.netloc or not _PRINTABLE.fullmatch(text):
            raise InvalidInput(f"{field} is no URL; give one such as https://dns.example.com/update", field=field)
        target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], target)

    @property
    def place(self) -> str:
        """What messages call it: without path and query, which may hold a secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")


class Reach:
    """Which addresses may be asked: public ones, and those in `networks` (such as 10.0.0.0/8)."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def has(self, address: str) -> bool:
        return self.is_allowed(address) or _is_public(_plain(address))

    def is_allowed(self, address: str) -> bool:
        """Whether the operator named its network."""
        plain = _plain(address)
        return any(plain in network for network in self._networks)

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host that may be asked, in the system's order of preference. Raises Unreached."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError):
            raise Unreached(f"the name {host} was not found in DNS") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        return self.among(host, addresses)

    def among(self, host: str, addresses: Sequence[str]) -> list[str]:
        """Those that may be asked. Raises Unreached where there are none."""
        allowed = [address for address in addresses if self.has(address)]
        if not allowed:
            raise Unreached(
                f"{host} is at {addresses[0]}, which is not a public address; "
                "an administrator can allow its network by CERTWRIGHT_PROVIDER_NETWORKS",
                lasting=True,
            )
        return allowed


class Web:
    """Sends single requests. `ca_bundle` (PEM) is trusted besides the public roots."""

    def __init__(self, reach: Reach, ca_bundle: Path | None = None) -> None:
        self.reach = reach
        self._context = ssl.create_default_context(cafile=certifi.where())
        if ca_bundle is not None:
            self._context.load_verify_locations(cafile=ca_bundle)

    def post(self, url: Url, body: bytes, headers: Mapping[str, str], *, seconds: float) -> Answer:
        """A POST to the first of the host's addresses that takes the connection. Raises Unreached.

        Plain http would show everybody on the way what is sent: it is for networks that the operator named.
        """
        addresses = self.reach.addresses(url.host, url.port)
        if url.scheme == "http":
            addresses = [address for address in addresses if self.reach.is_allowed(address)]
            if not addresses:
                raise Unreached(f"{url.place} is not https, and its network is not a private one", lasting=True)
        return send("POST", url, addresses, self._context, body=body, headers=headers, seconds=seconds)


def send(
    method: str,
    url: Url,
    addresses: Sequence[str],
    context: ssl.SSLContext,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float,
) -> Answer:
    """One request, over within about `seconds` even where a server drips its answer. Raises Unreached."""
    connected = _connect(url, addresses, min(_CONNECT_SECONDS, seconds))
    # A socket's time-out starts anew with each octet: this ends the whole. TLS takes the socket away; its twin stays.
    connected.settimeout(seconds)
    twin = connected.dup()
    ending = threading.Timer(seconds, lambda: _end(twin))
    ending.daemon = True
    ending.start()
    try:
        return _exchange(method, url, _secured(connected, url, context), body, headers or {})
    finally:
        ending.cancel()
        twin.close()


def _connect(url: Url, addresses: Sequence[str], seconds: float) -> socket.socket:
    failure: OSError | None = None
    for address in addresses[:MAX_ADDRESSES]:
        try:
            return socket.create_connection((address, url.port), seconds)
        except OSError as error:
            failure = error
    raise Unreached(f"{url.place} {_reason(failure)}") from failure


def _end(connection: socket.socket) -> None:
    with suppress(OSError):  # It may have ended by itself.
        connection.shutdown(socket.SHUT_RDWR)


def _secured(connected: socket.socket, url: Url, context: ssl.SSLContext) -> socket.socket:
    if url.scheme == "http":
        return connected
    try:
        return context.wrap_socket(connected, server_hostname=url.host)
    except (OSError, ValueError) as error:
        connected.close()
        raise Unreached(f"{url.place}: {_reason(error)}") from error


def _exchange(
    method: str, url: Url, connected: socket.socket, body: bytes | None, headers: Mapping[str, str]
) -> Answer:
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    connection = kind(url.host, url.port)
    connection.sock = connected
    try:
        connection.request(method, url.target, body, {"User-Agent": "certwright", "Connection": "close", **headers})
        response = connection.getresponse()
        return Answer(
            response.status, response.read(MAX_BODY), {name.lower(): value for name, value in response.getheaders()}
        )
    except (OSError, HTTPException, ValueError) as error:
        raise Unreached(f"{url.place} gave no answer: {_reason(error)}", sent=True) from error
    finally:
        connection.close()


def _reason(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its TLS certificate is not trusted ({error.verify_message})"
    if isinstance(error, ConnectionRefusedError):
        return "refused the connection"
    if isinstance(error, TimeoutError):
        return "took too long"
    return "TLS failed" if isinstance(error, ssl.SSLError) else "the connection broke"


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address without its scope; the IPv4 address that an IPv6 address only stands for."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if parsed.version == 4:
        return parsed
    if parsed in _NAT64:
        return ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
    return parsed.ipv4_mapped or parsed.sixtofour or parsed


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_global and not address.is_multicast
