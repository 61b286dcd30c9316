"""Everything that a full run writes and says is searched for everything that is secret in it, however it is spelt."""

import base64
import json
import logging
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from certwright import keys
from certwright.accounts import ExternalAccountBinding
from certwright.auth import DEFAULT_TENANT
from certwright.authorities import seal_context
from certwright.model import KeyType
from certwright.sealer import LocalSealer
from tests.support.house import GraphQLFailed, House
from tests.support.pebble import Pebble
from tests.support.stub_ca import Answer, StubCa, acme_problem

EAB_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
SPELT_WRONG = "c3VwZXIrc2VjcmV0/2tleSE"
"""An HMAC key in plain base64, which is refused."""
FORGED_TOKEN = "cw_01M7ZZZZZZZZZZZZZZZZZZZZZZ_ThisLooksLikeASecretAndMayWellBeOne"


_FORMS = (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL)


def spellings(secret: bytes) -> set[bytes]:
    """A secret as it is, in hex, and in base64 wherever it stands in what was encoded."""
    shifted = [base64.b64encode(b"\0" * shift + secret) for shift in range(3)]
    # The first and last characters of a shifted text also depend on its neighbours.
    inner = {text[4 if shift else 0 : -4] for shift, text in enumerate(shifted)}
    urlsafe = {text.replace(b"+", b"-").replace(b"/", b"_") for text in inner}
    return {secret, secret.hex().encode(), secret.hex().upper().encode()} | inner | urlsafe


def key_spellings(pem: str) -> set[bytes]:
    """A private key: its PEM's lines, its DER and its scalar (or primes), in every spelling."""
    key = load_pem_private_key(pem.encode(), None)
    ders = [key.private_bytes(Encoding.DER, form, NoEncryption()) for form in _FORMS]
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    scalar = key.private_numbers().private_value
    found = {line.encode() for line in pem.splitlines()[1:-2]} | {str(scalar).encode()}
    for octets in (*ders, scalar.to_bytes(32)):
        found |= spellings(octets)
    return found


class Findings:
    """All that was written and said, by where."""

    def __init__(self) -> None:
        self.texts: dict[str, bytes] = {}

    def add(self, where: str, content: bytes | str) -> None:
        octets = content if isinstance(content, bytes) else content.encode()
        self.texts[where] = self.texts.get(where, b"") + octets + b"\n"

    def leaks(self, secrets: dict[str, set[bytes]]) -> list[str]:
        return [
            f"{name} in {where}"
            for name, needles in secrets.items()
            for where, text in self.texts.items()
            if any(needle in text for needle in needles)
        ]


class Listener(logging.Handler):
    """Hears everything that is logged, with the arguments and tracebacks."""

    def __init__(self, findings: Findings) -> None:
        super().__init__(logging.DEBUG)
        self._findings = findings

    def emit(self, record: logging.LogRecord) -> None:
        self._findings.add("log", f"{record.name} {record.getMessage()} {record.args!r}")
        if record.exc_info and record.exc_info[1]:
            self._findings.add("log", "".join(traceback.format_exception(record.exc_info[1])))


@pytest.fixture
def findings() -> Iterator[Findings]:
    """With every logger there is at DEBUG."""
    findings = Findings()
    listener, root = Listener(findings), logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in (None, *logging.root.manager.loggerDict)}
    root.addHandler(listener)
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield findings
    root.removeHandler(listener)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def listen_to(house: House, findings: Findings) -> None:
    """Keep every answer, but for those that are meant to carry a secret."""

    def keep(response: httpx.Response) -> None:
        response.read()
        if b"exportPrivateKey(" not in response.request.content:
            findings.add("answers", response.content)

    house.http.event_hooks = {"response": [keep]}


def refused(house: House, query: str, **variables: Any) -> GraphQLFailed:
    with pytest.raises(GraphQLFailed) as failed:
        house.graphql(query, **variables)
    return failed.value


CREATE_ACCOUNT = "mutation($i: CreateAccountInput!) { createAccount(input: $i) { id } }"
CREATE_ORDER = "mutation($i: CreateOrderInput!) { createOrder(input: $i) { id } }"
EXPORT = "mutation($c: ID!) { exportPrivateKey(certificateId: $c) }"


def provoke(house: House, account_id: str, some_key: str) -> None:
    """Inputs that hold secrets and are refused, in all the ways there are."""
    server = house.ca.directory_url if house.ca else ""
    base = {"email": "a@example.com", "acmeServer": server, "termsOfServiceAgreed": True}
    for binding in (
        {"keyId": "kid-1", "hmacKey": SPELT_WRONG},
        {"keyId": "unknown", "hmacKey": EAB_KEY},
        {"keyId": "", "hmacKey": EAB_KEY},
        {"keyId": {"a": 1}, "hmacKey": EAB_KEY},
        {"hmacKey": EAB_KEY},
        {"keyId": "kid-1", "hmacKey": [EAB_KEY, EAB_KEY]},
    ):
        refused(house, CREATE_ACCOUNT, i={**base, "externalAccountBinding": binding})
    refused(house, CREATE_ACCOUNT, i={**base, "externalAccountBindings": {"hmacKey": EAB_KEY}})
    csr = keys.build_csr(some_key.encode(), ["csr.example"])
    for text in (some_key, csr + some_key, some_key + csr, some_key.replace("PRIVATE KEY", "CERTIFICATE REQUEST")):
        refused(house, CREATE_ORDER, i={"accountId": account_id, "domains": ["csr.example"], "csr": text})
    for credential in (FORGED_TOKEN, house.operator[:-1] + "!", house.operator.replace("cw_", ""), "Basic " + EAB_KEY):
        assert house.post({"query": "{ viewer { name } }"}, credential).status_code == 401


def search_store(findings: Findings, folder: Path) -> None:
    """The database as its tables and as its files, whatever SQLite has in them."""
    for path in folder.glob("certwright.db*"):
        findings.add(path.name, path.read_bytes())
    with closing(sqlite3.connect(f"file:{folder / 'certwright.db'}?mode=ro", uri=True)) as database:
        for row in database.execute("SELECT * FROM item"):
            findings.add("tables", json.dumps(row))
            findings.add("tables unescaped", str(row[2]).replace("\\n", "\n"))


def secrets_of(house: House, exported: str, sent_by_mistake: str) -> dict[str, set[bytes]]:
    """What must be nowhere, by name."""
    key_file = house.data_dir / "sealing.key"
    account = next(iter(house.app.store.every_account(DEFAULT_TENANT)))
    account_key = LocalSealer(key_file).open(account.sealed_key, seal_context(account.tenant, account.id)).decode()
    tokens = {"viewer": house.viewer, "operator": house.operator, "admin": house.admin}
    return {
        "the account's key": key_spellings(account_key),
        "the certificate's key": key_spellings(exported),
        "a key sent by mistake": key_spellings(sent_by_mistake),
        "the EAB key": spellings(EAB_KEY.encode()) | spellings(base64.urlsafe_b64decode(EAB_KEY)),
        "a misspelt EAB key": spellings(SPELT_WRONG.encode()),
        "a forged token": {FORGED_TOKEN.rpartition("_")[2].encode()},
        **{f"the {name}'s token": spellings(token.split("_", 2)[2].encode()) for name, token in tokens.items()},
        "the sealing key": spellings(key_file.read_bytes()),
    }


@pytest.fixture
def some_key() -> str:
    return keys.generate_key(KeyType.EC_P256).decode()


def test_full_run_leaves_no_secret_in_anything_written_or_said(
    tmp_path: Path, findings: Findings, some_key: str
) -> None:
    with Pebble(tmp_path / "pebble", eab_keys={"kid-1": EAB_KEY}) as pebble, House(tmp_path, pebble) as house:
        listen_to(house, findings)
        binding = {"keyId": "kid-1", "hmacKey": EAB_KEY}
        account_id = house.create_account(externalAccountBinding=binding)["id"]
        certificate = house.issue(account_id, "kept.example")["certificate"]
        exported = house.graphql(EXPORT, c=certificate["id"])["exportPrivateKey"]
        provoke(house, account_id, some_key)
        [challenge, *_] = house.challenges(house.create_order(account_id, "fails.example")["id"])
        house.respond(challenge["id"])
        house.audit()
        search_store(findings, house.data_dir)
        secrets = secrets_of(house, exported, some_key)
    search_store(findings, house.data_dir)
    assert findings.leaks(secrets) == []
    assert {"log", "answers", "certwright.db", "certwright.db-wal", "tables"} <= set(findings.texts)
    assert b"SignInRefused" in findings.texts["tables"]


def test_secrets_of_an_account_that_waits_for_its_ca_are_sealed_too(
    stub: StubCa, stub_house: House, findings: Findings
) -> None:
    listen_to(stub_house, findings)
    limited = acme_problem("rateLimited", "too many")
    stub.answer_next("newAccount", Answer(429, limited, {"Retry-After": "100"}))
    stub_house.create_account(externalAccountBinding={"keyId": "kid-1", "hmacKey": EAB_KEY})
    stub.garble_next("newAccount")
    stub_house.create_account(externalAccountBinding={"keyId": "kid-1", "hmacKey": EAB_KEY})
    stub.fail_next("newAccount", "unauthorized", status=403)
    binding = {"keyId": "kid-1", "hmacKey": EAB_KEY}
    base = {"email": "a@example.com", "acmeServer": stub.directory_url}
    refused(stub_house, CREATE_ACCOUNT, i={**base, "externalAccountBinding": binding})
    search_store(findings, stub_house.data_dir)
    secrets = {"the EAB key": spellings(EAB_KEY.encode()) | spellings(base64.urlsafe_b64decode(EAB_KEY))}
    assert findings.leaks(secrets) == []


def test_internal_error_shows_no_secret(stub_house: House, findings: Findings) -> None:
    listen_to(stub_house, findings)
    stub_house.create_account(externalAccountBinding={"keyId": "kid-1", "hmacKey": EAB_KEY})
    key_file = stub_house.data_dir / "sealing.key"
    key = key_file.read_bytes()
    binding = ExternalAccountBinding("kid-1", EAB_KEY)
    findings.add("repr", repr([binding, LocalSealer(key_file), stub_house.app.service, stub_house.app.authorities]))
    secrets = {"the EAB key": spellings(EAB_KEY.encode()), "the sealing key": spellings(key)}
    assert findings.leaks(secrets) == []


@pytest.mark.parametrize(
    "planted",
    [
        b"secret octets \x00\xff",
        b"secret octets \x00\xff".hex().encode(),
        base64.b64encode(b"secret octets \x00\xff and more"),
        base64.urlsafe_b64encode(b"1secret octets \x00\xff"),
        base64.b64encode(b"12secret octets \x00\xff!"),
    ],
)
def test_search_finds_a_secret_that_was_planted(planted: bytes) -> None:
    findings = Findings()
    findings.add("somewhere", b"much else " + planted + b" and more")
    assert findings.leaks({"it": spellings(b"secret octets \x00\xff")}) == ["it in somewhere"]


def test_search_finds_keys_and_tokens_that_were_planted_in_a_real_run(
    stub_house: House, findings: Findings, some_key: str
) -> None:
    listen_to(stub_house, findings)
    stub_house.create_account(email="a@example.com", contact=["mailto:" + stub_house.admin[-30:] + "@example.com"])
    logging.getLogger("acme.client").debug("%s", {"key": some_key})
    search_store(findings, stub_house.data_dir)
    found = findings.leaks({"key": key_spellings(some_key), "token": {stub_house.admin[-30:].encode()}})
    assert {"key in log", "token in tables", "token in answers", "token in certwright.db-wal"} <= set(found)
