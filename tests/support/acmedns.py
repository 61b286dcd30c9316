"""acme-dns as its README says it behaves, over HTTP; what it would answer by DNS is in `values`.

Accounts are made by `register`; each keeps its two latest values: an update takes the place of the older one.
"""

import json
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.web_server import Request, Response, WebServer


@dataclass
class Account:
    username: str = field(default_factory=lambda: str(uuid.uuid4()))
    password: str = field(default_factory=lambda: secrets.token_urlsafe(30))
    subdomain: str = field(default_factory=lambda: str(uuid.uuid4()))
    values: list[str] = field(default_factory=lambda: ["", ""])

    @property
    def fulldomain(self) -> str:
        return f"{self.subdomain}.auth.example"


class AcmeDnsServer(WebServer):
    """`publish` is called with an account whose values changed: the DNS side of it, where a test needs one."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.publish: Callable[[Account], None] = lambda _: None
        super().__init__(self._answer)

    def register(self) -> Account:
        account = Account()
        self.accounts[account.username] = account
        return account

    def _answer(self, request: Request) -> Response:
        if (request.method, request.path) != ("POST", "/update"):
            return 404, b"404 page not found", {}
        document = json.loads(request.body)
        account = self.accounts.get(request.headers.get("X-Api-User", ""))
        if account is None or account.password != request.headers.get("X-Api-Key"):
            return 401, b'{"error": "forbidden"}', {}
        if document["subdomain"] != account.subdomain:
            return 401, b'{"error": "forbidden"}', {}
        if len(document["txt"]) != 43:
            return 400, b'{"error": "bad_txt"}', {}
        account.values = [account.values[1], document["txt"]]
        self.publish(account)
        return 200, json.dumps({"txt": document["txt"]}).encode(), {}
