"""The client against a real CA."""

import itertools
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from josepy.jwk import JWK, JWKEC, JWKRSA

from certwright.ca.client import Ca, Client
from certwright.ca.jws import thumbprint
from certwright.ca.problems import CaProblem, CaUnavailable
from certwright.ca.resources import OrderResource
from certwright.challenges.preparation import dns01_value, key_authorization
from tests.support.pebble import Pebble

T = TypeVar("T")

CONTACT = ["mailto:a@example.com"]
EAB_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


def now() -> datetime:
    return datetime.now(UTC)


def new_key() -> JWK:
    return JWKEC(key=ec.generate_private_key(ec.SECP256R1()))


def connect(pebble: Pebble, key: JWK | None = None) -> Client:
    return Client(Ca(pebble.directory_url, now, ca_bundle=pebble.ca_bundle), key or new_key())


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("pebble"), alternate_roots=1, chain_length=2) as pebble:
        yield pebble


@pytest.fixture
def key() -> JWK:
    return new_key()


@pytest.fixture
def client(pebble: Pebble, key: JWK) -> Client:
    client = connect(pebble, key)
    client.new_account(CONTACT, True)
    return client


def wait_for(fetch: Callable[[], T], is_done: Callable[[T], bool]) -> T:
    until = time.monotonic() + 10
    while not is_done(found := fetch()):
        assert time.monotonic() < until, found
        time.sleep(0.02)
    return found


def csr(*names: str) -> bytes:
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.add_extension(alternatives, critical=False)
    return request.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(
        serialization.Encoding.DER
    )


def respond(pebble: Pebble, client: Client, key: JWK, order: OrderResource, kind: str = "dns-01") -> None:
    for url in order.authorizations:
        authorization = client.fetch_authorization(url)
        challenge = next(c for c in authorization.challenges if c.type == kind)
        answer = key_authorization(challenge.token or "", thumbprint(key))
        if kind == "dns-01":
            pebble.management.set_txt(f"_acme-challenge.{authorization.identifier}", dns01_value(answer))
        else:
            pebble.management.add_http01(challenge.token or "", answer)
        client.respond_challenge(challenge.url)


def issue(pebble: Pebble, client: Client, key: JWK, *names: str, kind: str = "dns-01") -> OrderResource:
    order = client.new_order([("dns", name) for name in names])
    respond(pebble, client, key, order, kind)
    wait_for(lambda: client.fetch_order(order.url), lambda found: found.status == "ready")
    client.finalize(order.finalize, csr(*names), order_url=order.url)
    return wait_for(lambda: client.fetch_order(order.url), lambda found: found.status == "valid")


def load(chain_pem: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(chain_pem.encode())


@pytest.mark.parametrize("kind", ["dns-01", "http-01"])
def test_a_certificate_is_issued_and_verifies(pebble: Pebble, client: Client, key: JWK, kind: str) -> None:
    order = issue(pebble, client, key, "a.example.com", "b.example.com", kind=kind)
    leaf, *issuers = load(client.download_certificate(order.certificate or "").chain_pem)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"a.example.com", "b.example.com"}
    chain = [leaf, *issuers, *load(pebble.root_pem())]
    for certificate, issuer in itertools.pairwise(chain):
        certificate.verify_directly_issued_by(issuer)


def test_apex_and_wildcard_have_two_values_under_one_name(pebble: Pebble, client: Client, key: JWK) -> None:
    order = issue(pebble, client, key, "both.example.com", "*.both.example.com")
    assert order.status == "valid"


def test_an_rsa_account_is_served_as_well(pebble: Pebble) -> None:
    client = connect(pebble, JWKRSA(key=rsa.generate_private_key(65537, 2048)))
    assert client.new_account(CONTACT, True).created
    assert client.fetch_account().contact == tuple(CONTACT)


def test_a_p384_account_is_served_as_well(pebble: Pebble) -> None:
    client = connect(pebble, JWKEC(key=ec.generate_private_key(ec.SECP384R1())))
    assert client.new_account(CONTACT, True).created


def test_a_wrong_answer_makes_the_order_invalid(pebble: Pebble, client: Client) -> None:
    order = client.new_order([("dns", "wrong.example.com")])
    authorization = client.fetch_authorization(order.authorizations[0])
    challenge = next(c for c in authorization.challenges if c.type == "dns-01")
    pebble.management.set_txt("_acme-challenge.wrong.example.com", "nonsense")
    client.respond_challenge(challenge.url)
    failed = wait_for(lambda: client.fetch_authorization(authorization.url), lambda found: found.status != "pending")
    error = next(c.error for c in failed.challenges if c.type == "dns-01")
    assert (failed.status, error and error.type) == ("invalid", "urn:ietf:params:acme:error:unauthorized")
    assert client.fetch_order(order.url).status == "invalid"


def test_alternate_chains_end_at_the_other_root(pebble: Pebble, client: Client, key: JWK) -> None:
    order = issue(pebble, client, key, "alternate.example.com")
    certificate = client.download_certificate(order.certificate or "")
    assert len(certificate.alternates) == 1
    other = load(client.download_certificate(certificate.alternates[0]).chain_pem)
    assert other[0] == load(certificate.chain_pem)[0]
    other[-1].verify_directly_issued_by(load(pebble.root_pem(1))[0])


def test_a_revoked_certificate_is_revoked_at_the_ca(pebble: Pebble, client: Client, key: JWK) -> None:
    order = issue(pebble, client, key, "revoked.example.com")
    leaf = load(client.download_certificate(order.certificate or "").chain_pem)[0]
    assert pebble.certificate_status(leaf.serial_number) == "Valid"
    client.revoke_certificate(leaf.public_bytes(serialization.Encoding.DER), 4)
    assert pebble.certificate_status(leaf.serial_number) == "Revoked"


def test_an_authorization_is_deactivated(client: Client) -> None:
    order = client.new_order([("dns", "gone.example.com")])
    assert client.deactivate_authorization(order.authorizations[0]).status == "deactivated"


def test_an_account_is_updated_and_then_deactivated_for_good(client: Client) -> None:
    assert client.update_account(["mailto:b@example.com"]).contact == ("mailto:b@example.com",)
    assert client.deactivate_account().status == "deactivated"
    with pytest.raises(CaProblem) as caught:
        client.new_order([("dns", "a.example.com")])
    assert caught.value.status in (401, 403)


def test_terms_of_service_must_be_agreed_to(pebble: Pebble) -> None:
    client = connect(pebble)
    with pytest.raises(CaProblem) as caught:
        client.new_account(CONTACT, False)
    assert caught.value.code == "agreementRequired"


def test_a_csr_for_other_names_leaves_the_order_ready(pebble: Pebble, client: Client, key: JWK) -> None:
    order = client.new_order([("dns", "mine.example.com")])
    respond(pebble, client, key, order)
    wait_for(lambda: client.fetch_order(order.url), lambda found: found.status == "ready")
    with pytest.raises(CaProblem) as caught:
        client.finalize(order.finalize, csr("yours.example.com"))
    assert not caught.value.is_transient
    assert client.fetch_order(order.url).status == "ready"


def test_most_nonces_may_be_refused(tmp_path: Path) -> None:
    with Pebble(tmp_path, nonce_reject=90) as pebble:
        client = connect(pebble)
        assert patiently(lambda: client.new_account(CONTACT, True)).status == "valid"
        assert patiently(lambda: client.new_order([("dns", "a.example.com")])).status == "pending"


def patiently(call: Callable[[], T]) -> T:
    """As our worker does: what failed for a transient reason is tried again. Each call tries six nonces."""
    for _ in range(50):
        try:
            return call()
        except CaProblem as problem:
            if not problem.is_transient:
                raise
    raise AssertionError("the CA refused every nonce")


def test_an_external_account_is_bound(tmp_path: Path) -> None:
    with Pebble(tmp_path, eab_keys={"kid-1": EAB_KEY}) as pebble:
        client = connect(pebble)
        with pytest.raises(CaProblem) as caught:
            client.new_account(CONTACT, True)
        assert caught.value.code == "externalAccountRequired"
        assert client.new_account(CONTACT, True, "kid-1", EAB_KEY).created


def test_a_ca_that_was_away_is_used_again_when_it_is_back(tmp_path: Path) -> None:
    with Pebble(tmp_path) as pebble:
        client = connect(pebble)
        client.new_account(CONTACT, True)
        pebble.stop()
        with pytest.raises(CaUnavailable):
            client.fetch_account()
        pebble.start()
        assert client.new_account(CONTACT, True).created  # on old connections and nonces; Pebble has forgotten all
