"""What leaves the house: private keys, PKCS#12 files, and chains taken apart."""

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import load_pem_x509_certificate

from certwright import keys
from certwright.model import KeyType
from tests.support.house import GraphQLFailed, House
from tests.support.stub_ca import StubCa

PASSWORD = "correct horse"
EXPORT = "mutation($c: ID!, $p: String!) { exportPkcs12(certificateId: $c, password: $p) }"
CHAINS = """query($c: ID!) { certificateChains(certificateId: $c) {
    subject issuer notBefore notAfter fingerprintSha256 pem } }"""


def export(house: House, certificate: dict[str, Any], password: str = PASSWORD) -> str:
    return str(house.graphql(EXPORT, house.operator, c=certificate["id"], p=password)["exportPkcs12"])


def openssl(*arguments: str, given: bytes = b"") -> str:
    done = subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.parametrize("key_type", ["EC_P256", "RSA_2048"])
def test_openssl_finds_the_key_and_the_whole_chain_in_a_pkcs12_file(
    house: House, tmp_path: Path, key_type: str
) -> None:
    certificate = house.issue(house.create_account()["id"], "packed.example", keyType=key_type)["certificate"]
    (tmp_path / "packed.p12").write_bytes(base64.b64decode(export(house, certificate)))
    found = openssl("pkcs12", "-in", str(tmp_path / "packed.p12"), "-passin", f"pass:{PASSWORD}", "-nodes")
    assert found.count("BEGIN CERTIFICATE") == certificate["chain"].count("BEGIN CERTIFICATE") > 1
    of_key = openssl("pkey", "-pubout", given=found.encode())
    assert of_key == openssl("x509", "-pubkey", "-noout", given=certificate["chain"].encode())


def test_pkcs12_file_cannot_be_opened_by_another_password(house: House, tmp_path: Path) -> None:
    certificate = house.issue(house.create_account()["id"], "packed.example")["certificate"]
    (tmp_path / "packed.p12").write_bytes(base64.b64decode(export(house, certificate)))
    command = ["openssl", "pkcs12", "-in", str(tmp_path / "packed.p12"), "-passin", "pass:another one", "-nodes"]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("password", ["seven77", "x" * 201, "grüße an alle", "with a\nnew line"])
def test_password_that_programs_could_not_use_is_refused_and_not_repeated(house: House, password: str) -> None:
    certificate = house.issue(house.create_account()["id"], "packed.example")["certificate"]
    with pytest.raises(GraphQLFailed) as failed:
        export(house, certificate, password)
    assert (failed.value.code, failed.value.extensions["field"]) == ("INVALID_INPUT", "password")
    assert password not in str(failed.value.errors) + str(house.audit(certificate["id"]))


def test_export_as_pkcs12_is_audited_without_the_password(house: House) -> None:
    certificate = house.issue(house.create_account()["id"], "packed.example")["certificate"]
    export(house, certificate)
    newest = house.audit(certificate["id"])[0]
    assert (newest["type"], newest["actor"]) == ("PrivateKeyExported", "token:operator")
    assert PASSWORD not in str(newest)


def test_key_that_is_not_kept_here_is_in_no_file(house: House) -> None:
    csr = keys.build_csr(keys.generate_key(KeyType.EC_P256), ["own.example"])
    certificate = house.issue(house.create_account()["id"], "own.example", csr=csr)["certificate"]
    with pytest.raises(GraphQLFailed, match="not kept here"):
        export(house, certificate)
    found = house.graphql("query($c: ID!) { certificate(id: $c) { hasPrivateKey } }", c=certificate["id"])
    assert found["certificate"] == {"hasPrivateKey": False}


def test_chains_are_taken_apart_the_one_in_use_first(stub_house: House, stub: StubCa) -> None:
    stub.alternates = 1
    stub.authorized = True
    house = stub_house
    order = house.create_order(house.create_account()["id"], "parts.example")
    certificate = house.await_order(order["id"], "VALID")["certificate"]
    chain, alternate = house.graphql(CHAINS, house.viewer, c=certificate["id"])["certificateChains"]
    for parts, whole in ((chain, certificate["chain"]), (alternate, certificate["alternateChains"][0])):
        assert "".join(part["pem"] for part in parts).split() == whole.split()
    leaf = load_pem_x509_certificate(chain[0]["pem"].encode())
    assert chain[0]["fingerprintSha256"] == certificate["fingerprintSha256"]
    assert (chain[0]["issuer"], chain[0]["notAfter"]) == (leaf.issuer.rfc4514_string(), certificate["notAfter"])
