"""The main job at a real CA in all of its moods: each ends with a certificate that verifies, or with the right problem,
and none needs a second try by hand."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.house import House, await_value
from tests.support.pebble import Pebble

EAB_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


def verified(chain: str, root: str, directory: Path) -> bool:
    """Whether openssl accepts a chain under a root."""
    (directory / "root.pem").write_text(root)
    (directory / "chain.pem").write_text(chain)
    command = ["openssl", "verify", "-CAfile", "root.pem", "-untrusted", "chain.pem", "chain.pem"]
    told = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    return told.stdout == "chain.pem: OK\n"


def registered(house: House, **input: Any) -> str:
    """An account; a CA that refuses most requests may take a while, and nobody tries again by hand."""
    account = house.create_account(**input)
    query = "query($a: ID!) { account(id: $a) { status } }"
    await_value(lambda: house.graphql(query, a=account["id"])["account"]["status"], lambda status: status == "VALID")
    return str(account["id"])


def await_challenges(house: House, order_id: str, count: int) -> None:
    """As a user who looks again: a CA that refuses most requests tells of one name after the other."""
    await_value(
        lambda: [c for c in house.order(order_id)["challenges"] if c["type"] == "dns-01"],
        lambda found: len(found) == count,
    )


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "lax"])
@pytest.mark.parametrize("authz_reuse", [0, 100])
@pytest.mark.parametrize("nonce_reject", [0, 20, 90])
def test_certificate_is_issued_twice(tmp_path: Path, nonce_reject: int, authz_reuse: int, strict: bool) -> None:
    """The second order for the same names finds them proved already, where the CA reuses authorizations."""
    options = {"nonce_reject": nonce_reject, "authz_reuse": authz_reuse, "strict": strict}
    with Pebble(tmp_path / "pebble", **options) as pebble, House(tmp_path, pebble) as house:  # type: ignore[arg-type]  # of many types
        account = registered(house)
        names = ["a.example", "*.a.example"]
        order = house.create_order(account, *names)
        await_challenges(house, order["id"], len(names))
        house.prove(order["id"])
        first = house.await_order(order["id"], "VALID")
        assert verified(first["certificate"]["chain"], pebble.root_pem(), tmp_path)
        second = house.create_order(account, *names)
        if not authz_reuse:
            await_challenges(house, second["id"], len(names))
            house.prove(second["id"])
        again = house.await_order(second["id"], "VALID")["certificate"]
        assert verified(again["chain"], pebble.root_pem(), tmp_path)
        assert again["serial"] != first["certificate"]["serial"]


def test_longer_chain_under_other_roots(tmp_path: Path) -> None:
    with Pebble(tmp_path / "pebble", alternate_roots=2, chain_length=3) as pebble, House(tmp_path, pebble) as house:
        certificate = house.issue(registered(house), "long.example")["certificate"]
        assert certificate["chain"].count("BEGIN CERTIFICATE") == 4
        chains = [certificate["chain"], *certificate["alternateChains"]]
        assert all(verified(chain, pebble.root_pem(n), tmp_path) for n, chain in enumerate(chains))
        assert not verified(chains[1], pebble.root_pem(0), tmp_path)


def test_preferred_chain_is_the_one_that_is_kept_first(tmp_path: Path) -> None:
    with Pebble(tmp_path / "pebble", alternate_roots=1) as pebble, House(tmp_path, pebble) as house:
        account = registered(house)
        usual = house.issue(account, "usual.example")["certificate"]
        preferred = issuer_of(pebble.root_pem(1), tmp_path)
        chosen = house.issue(account, "chosen.example", preferredChain=preferred)["certificate"]
        assert verified(usual["chain"], pebble.root_pem(0), tmp_path)
        assert verified(chosen["chain"], pebble.root_pem(1), tmp_path)
        assert verified(chosen["alternateChains"][0], pebble.root_pem(0), tmp_path)
        unknown = house.issue(account, "unknown.example", preferredChain="no such root")["certificate"]
        assert verified(unknown["chain"], pebble.root_pem(0), tmp_path)


def issuer_of(pem: str, directory: Path) -> str:
    (directory / "one.pem").write_text(pem)
    command = ["openssl", "x509", "-in", "one.pem", "-noout", "-subject", "-nameopt", "multiline"]
    told = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True).stdout
    return next(line.partition("=")[2].strip() for line in told.splitlines() if "commonName" in line)


def test_external_account_is_bound(tmp_path: Path) -> None:
    with Pebble(tmp_path / "pebble", eab_keys={"kid-1": EAB_KEY}) as pebble, House(tmp_path, pebble) as house:
        account = registered(house, externalAccountBinding={"keyId": "kid-1", "hmacKey": EAB_KEY})
        assert verified(house.issue(account, "bound.example")["certificate"]["chain"], pebble.root_pem(), tmp_path)


def test_slow_validation_is_waited_for(tmp_path: Path) -> None:
    with Pebble(tmp_path / "pebble", va_nosleep=False) as pebble, House(tmp_path, pebble) as house:
        certificate = house.issue(registered(house), "slow.example")["certificate"]
        assert verified(certificate["chain"], pebble.root_pem(), tmp_path)


def test_name_whose_dns_fails_is_refused_with_the_cas_reason(house: House, pebble: Pebble) -> None:
    order = house.create_order(registered(house), "servfail.example", "fine.example")
    house.await_order(order["id"], "PENDING")
    pebble.management.servfail("_acme-challenge.servfail.example")
    house.prove(order["id"])
    error = house.await_order(order["id"], "INVALID")["error"]
    assert [s["identifier"] for s in error["subproblems"]] == ["servfail.example"]
    assert error["subproblems"][0]["type"].startswith("urn:ietf:params:acme:error:")


def test_address_is_certified(tmp_path: Path) -> None:
    """RFC 8738; the http-01 request comes to the service itself."""
    from certwright.local.test_ca import free_port

    port = free_port()
    with Pebble(tmp_path / "pebble", http_port=port) as pebble, House(tmp_path, pebble, port=port) as house:
        order = house.create_order(registered(house), "127.0.0.1")
        challenges = house.challenges(order["id"])
        assert "dns-01" not in {c["type"] for c in challenges}
        [challenge] = [c for c in challenges if c["type"] == "http-01"]
        assert challenge["preparation"]["url"].startswith("http://127.0.0.1/.well-known/")
        house.respond(challenge["id"])
        certificate = house.await_order(order["id"], "VALID")["certificate"]
        assert certificate["names"] == ["127.0.0.1"]
        assert verified(certificate["chain"], pebble.root_pem(), tmp_path)
