"""Pictures of every page of the console, for docs/console.md: `make screenshots`.

    python -m tests.screenshots [DIRECTORY [NAME …]]

The service is real, its CA is the tests' own: certificates of any age come from it at once.
"""

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.browser import drive
from tests.support.house import House
from tests.support.stub_ca import StubCa, acme_problem

ROOT = Path(__file__).parents[1]
ISSUED = {
    ("www.example.com", "example.com"): 41,
    ("shop.example.com",): 20,
    ("*.apps.example.net", "apps.example.net"): 52,
    ("mail.example.org", "smtp.example.org", "imap.example.org"): 33,
    ("grafana.example.net",): 8,
    ("vpn.example.org",): 2,
    ("api.example.com",): 57,
}
"""Names, and how many days ago a certificate for them was issued, of the ninety that it lasts."""

PROVIDERS: tuple[tuple[str, str, list[str], dict[str, str]], ...] = (
    ("Primary name server", "rfc2136", ["example.com", "example.net"],
     {"server": "ns1.example.com", "keyName": "certwright", "secret": "c2VjcmV0IG9mIHRoZSBzY3JlZW5zaG90cw=="}),
    ("Delegated names", "acme-dns", ["example.org"],
     {"url": "https://auth.example.org", "username": "certwright", "password": "x" * 40, "subdomain": "d420c923"}),
)  # fmt: skip


def furnish(house: House, ca: StubCa) -> dict[str, str]:
    """Gives a house what its pages show; the ids that their addresses need."""
    account = house.create_account(email="ops@example.com")["id"]
    ca.alternates = 1
    ca.authorized = True
    certificates = {names: _issue(house, ca, account, names, age) for names, age in ISSUED.items()}
    _renew(house, ca, certificates["vpn.example.org",])
    ca.clock, ca.authorized = now, False
    pending = house.create_order(account, "new.example.com", "*.new.example.com", "docs.example.com")["id"]
    house.challenges(pending)
    failed = _fail(house, ca, account)
    providers = [_provider(house, *provider) for provider in PROVIDERS]
    return {
        "account": account,
        "certificate": certificates["www.example.com", "example.com"],
        "pending": pending,
        "failed": failed,
        "provider": providers[0],
    }


def now() -> datetime:
    return datetime.now(UTC)


def _issue(house: House, ca: StubCa, account: str, names: tuple[str, ...], age: int) -> str:
    ca.clock = lambda: now() - timedelta(days=age)
    order = house.create_order(account, *names)
    certificate: dict[str, Any] = house.await_order(order["id"], "VALID")["certificate"]
    return str(certificate["id"])


def _renew(house: House, ca: StubCa, certificate: str) -> None:
    ca.clock = now
    order = house.graphql("mutation($c: ID!) { renewCertificate(id: $c) { id } }", c=certificate)["renewCertificate"]
    house.await_order(order["id"], "VALID")


def _fail(house: House, ca: StubCa, account: str) -> str:
    ca.validation, ca.validation_error = (
        "invalid",
        acme_problem(
            "dns",
            "DNS problem: NXDOMAIN looking up TXT for _acme-challenge.old.example.org - check that a DNS record exists",
        ),
    )
    order = house.create_order(account, "old.example.org")
    house.prove(order["id"])
    return str(house.await_order(order["id"], "INVALID")["id"])


def _provider(house: House, name: str, kind: str, zones: list[str], settings: dict[str, str]) -> str:
    query = "mutation($i: CreateChallengeProviderInput!) { createChallengeProvider(input: $i) { id } }"
    pairs = [{"name": key, "value": value} for key, value in settings.items()]
    given = {"name": name, "kind": kind, "zones": zones, "settings": pairs}
    return str(house.graphql(query, i=given)["createChallengeProvider"]["id"])


def pages(ids: dict[str, str]) -> dict[str, str]:
    """The address of each picture, by its name."""
    return {
        "sign-in": "",
        "dashboard": "/acme",
        "accounts": "/acme/accounts",
        "account-create": "/acme/accounts/create",
        "account": f"/acme/accounts/{ids['account']}",
        "orders": "/acme/orders",
        "order-create": "/acme/orders/create",
        "order": f"/acme/orders/{ids['pending']}",
        "order-failed": f"/acme/orders/{ids['failed']}",
        "challenges": f"/acme/orders/{ids['pending']}/challenges",
        "certificates": "/acme/certificates",
        "certificate": f"/acme/certificates/{ids['certificate']}",
        "providers": "/acme/providers",
        "provider": f"/acme/providers/{ids['provider']}",
        "provider-create": "/acme/providers/create",
        "audit": "/acme/audit",
    }


def main(directory: Path, *names: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        StubCa(Path(folder) / "ca", name="Example Trust R3") as ca,
        House(Path(folder), ca) as house,
    ):
        ids = furnish(house, ca)
        wanted = {name: path for name, path in pages(ids).items() if not names or name in names}
        drive("screenshots.mjs", house, token=house.admin, pages=wanted, directory=str(directory.resolve()))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs" / "screenshots", *sys.argv[2:])
