"""dns-01 by acme-dns, a small DNS server that holds nothing but challenges (its README's "update" endpoint).

The user's own zone needs one CNAME, once: `_acme-challenge.example.com` to the account's `fulldomain`.
"""

import json
from collections.abc import Callable

from certwright.challenges.preparation import DnsRecord, HttpFile
from certwright.challenges.solver import SolverFailed, dns_record
from certwright.challenges.web import Answer, Unreached, Url, Web

SECONDS = 20

_LASTING = {
    400: "takes no such value (400)",
    401: "does not know this username and password, or not from this address (401)",
    404: "has no such path (404): give the address of acme-dns itself",
}


class AcmeDns:
    """One account of an acme-dns server at `url`.

    The server keeps an account's two latest values, as many as an apex and its wildcard need, and drops the older one
    for each update: a repeat could drop the other value. So nothing is sent where `is_visible(name, value)` already.
    """

    def __init__(
        self,
        url: Url,
        *,
        username: str,
        password: str,
        subdomain: str,
        web: Web,
        is_visible: Callable[[str, str], bool],
    ) -> None:
        self._url = Url(url.scheme, url.host, url.port, url.target.rstrip("/") + "/update")
        self._headers = {"X-Api-User": username, "X-Api-Key": password, "Content-Type": "application/json"}
        self._subdomain = subdomain.lower()
        self._web = web
        self._is_visible = is_visible

    def present(self, prepared: DnsRecord | HttpFile) -> None:
        record = dns_record(prepared)
        if record.name.partition(".")[0].lower() != self._subdomain:
            raise SolverFailed(
                f"{record.name} is not at acme-dns: publish it as a CNAME to the account's fulldomain, "
                f"which begins with {self._subdomain}",
                lasting=True,
            )
        if not self._is_visible(record.name, record.value):
            self._update(record.value)

    def clean_up(self, prepared: DnsRecord | HttpFile) -> None:
        """Nothing: the server has no way to remove a value, and the next ones take its place."""

    def _update(self, value: str) -> None:
        body = json.dumps({"subdomain": self._subdomain, "txt": value}).encode()
        try:
            answer = self._web.post(self._url, body, self._headers, seconds=SECONDS)
        except Unreached as unreached:
            raise SolverFailed(f"acme-dns: {unreached}", lasting=unreached.lasting) from unreached
        if answer.status != 200 or _stored(answer) != value:
            reason = _LASTING.get(answer.status, f"answered with status {answer.status}")
            raise SolverFailed(f"acme-dns at {self._url.place} {reason}", lasting=answer.status in _LASTING)


def _stored(answer: Answer) -> object:
    try:
        return json.loads(answer.body)["txt"]
    except (ValueError, LookupError, TypeError):
        return None
