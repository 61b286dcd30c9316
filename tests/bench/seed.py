"""A store that holds many orders, within seconds.

One order is committed as any other; its rows are then multiplied inside SQLite, each with an id of its own, and the
counters told. What is missing of a real store, the orders' certificates and events, no dashboard reads.
"""

import sqlite3
from datetime import timedelta
from pathlib import Path

from certwright.events import AccountCreated, OrderCreated
from certwright.items import COUNT_SHARDS
from certwright.keys import build_csr, generate_key
from certwright.local.app import utc_now
from certwright.model import (
    Account,
    AccountStatus,
    Authorization,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
    KeyType,
    Order,
    OrderStatus,
)
from certwright.store import Store
from certwright.table import Add
from tests.bench.processes import OWNER, own_store

ACCOUNTS = 3
SERVER = "https://ca.example/directory"

# Every id here has the length of a ULID, and is older than any real one.
_MULTIPLY = """
WITH RECURSIVE number(n) AS (VALUES(:first) UNION ALL SELECT n + 1 FROM number WHERE n < :last)
INSERT INTO item SELECT pk, printf('%026d', n), replace(attributes, :id, printf('%026d', n)), version,
    index_pk, iif(index_sk IS NULL, NULL, printf('%026d', n)), due, expires_at
FROM (SELECT * FROM item WHERE sk = :id), number ORDER BY pk, n
"""


def seed(directory: Path, orders: int) -> str:
    """Fill the data folder up to so many orders; returns a token."""
    with own_store(directory) as (table, store, token):
        present = store.counts(OWNER.tenant).orders
        if not present:
            newest = [new_account(store, number) for number in range(ACCOUNTS)][-1]
            new_order(store, newest.id)
            present = 1
        [prototype] = store.orders(OWNER.tenant, first=1, after=None).nodes
        table.write([Add(f"{OWNER.tenant}#counts", str(COUNT_SHARDS - 1), {"orders": orders - present})])
    if orders > present:
        multiply(directory / "certwright.db", prototype.id, present, orders - 1)
    return token


def multiply(path: Path, id: str, first: int, last: int) -> None:
    """Give the entity `id`, with all of its rows, so many twins, in a database that no server uses at the moment."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -400000"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.execute(_MULTIPLY, {"id": id, "first": first, "last": last})
        connection.execute("ANALYZE")
    finally:
        connection.close()


def new_account(store: Store, number: int) -> Account:
    now = utc_now()
    account = Account(
        id=store.new_id(),
        tenant=OWNER.tenant,
        email=f"a{number}@example.com",
        contact=(),
        acme_server=SERVER,
        status=AccountStatus.VALID,
        sealed_key="x" * 400,
        key_thumbprint="x" * 43,
        created_at=now,
        updated_at=now,
        url=f"{SERVER}/account/{number}",
    )
    event = AccountCreated(subject_id=account.id, email=account.email, acme_server=SERVER, key_thumbprint="x" * 43)
    return store.save(None, account, events=[event], actor=OWNER)


def new_order(store: Store, account_id: str) -> Order:
    """A fulfilled order, as large as they are."""
    now, id = utc_now(), store.new_id()
    challenges = tuple(
        Challenge(
            id=f"{id}-{number}",
            type=type,
            url=f"{SERVER}/challenge/{number}",
            status=ChallengeStatus.VALID if type == "dns-01" else ChallengeStatus.PENDING,
            token="x" * 43,
        )
        for number, type in enumerate(("dns-01", "http-01", "tls-alpn-01"))
    )
    proof = Authorization(f"{SERVER}/authz/1", "a.example", False, AuthorizationStatus.VALID, now, challenges)
    order = Order(
        id=id,
        tenant=OWNER.tenant,
        account_id=account_id,
        acme_server=SERVER,
        domains=("a.example",),
        status=OrderStatus.VALID,
        csr=build_csr(generate_key(KeyType.EC_P256), ["a.example"]),
        created_at=now,
        updated_at=now,
        url=f"{SERVER}/order/1",
        finalize_url=f"{SERVER}/order/1/finalize",
        certificate_url=f"{SERVER}/certificate/1",
        expires=now + timedelta(days=7),
        authorizations=(proof,),
        fetched_at=now,
        certificate_id=store.new_id(),
    )
    event = OrderCreated(subject_id=id, account_id=account_id, domains=order.domains)
    return store.save(None, order, events=[event], actor=OWNER)
