import base64
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtensionOID, NameOID
from hypothesis import given
from hypothesis import strategies as st
from josepy.json_util import encode_b64jose
from josepy.jwk import JWK

from certwright.errors import InvalidInput
from certwright.keys import (
    Csr,
    MismatchedCertificate,
    build_csr,
    check_csr,
    check_leaf,
    csr_der,
    generate_account_key,
    generate_key,
    inspect_chain,
    parse_csr,
    same_key,
    thumbprint,
)
from certwright.model import KeyType

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
SHA256 = hashes.SHA256()
DOMAINS = ("*.example.com", "example.com", "a" * 63 + ".example.net")


def private_key(pem: bytes) -> CertificateIssuerPrivateKeyTypes:
    key = load_pem_private_key(pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return key


def foreign_csr(
    key: CertificateIssuerPrivateKeyTypes,
    names: Sequence[x509.GeneralName],
    common_name: str | None = None,
    algorithm: hashes.SHA224 | hashes.SHA256 = SHA256,
) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signing_hash = None if isinstance(key, ed25519.Ed25519PrivateKey) else algorithm
    return builder.sign(key, signing_hash).public_bytes(Encoding.PEM).decode()


class SigningCa:
    """Signs whatever it is told, as no real CA would."""

    def __init__(self, common_name: str = "Test Root") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        self.root = self.issue(self.key.public_key(), [], subject=self.name)

    def issue(
        self,
        key: ec.EllipticCurvePublicKey,
        names: Sequence[str],
        *,
        subject: x509.Name | None = None,
        serial: int = 10,
    ) -> str:
        builder = (
            x509.CertificateBuilder(self.name, subject or x509.Name([]), key, serial)
            .not_valid_before(NOON)
            .not_valid_after(NOON + timedelta(days=45))
        )
        if names:
            alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            builder = builder.add_extension(alternatives, critical=True)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.fixture(scope="module")
def ca() -> SigningCa:
    return SigningCa()


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def refused_csr(text: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse_csr(text)
    assert caught.value.field == "csr"
    return caught.value.message


@pytest.mark.parametrize("key_type", list(KeyType))
def test_our_own_csr_is_good_for_every_key_type(key_type: KeyType) -> None:
    pem = generate_key(key_type)
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    csr = parse_csr(build_csr(pem, DOMAINS))
    assert (csr.names, csr.key_type) == (DOMAINS, key_type)
    check_csr(csr, DOMAINS)


@pytest.mark.parametrize("key_type", [KeyType.EC_P256, KeyType.EC_P384, KeyType.RSA_2048])
def test_thumbprint_equals_josepys(key_type: KeyType) -> None:
    pem = generate_key(key_type)
    assert thumbprint(pem) == encode_b64jose(JWK.load(pem).thumbprint())


def test_account_key_is_p256_and_never_the_same() -> None:
    first, second = generate_account_key(), generate_account_key()
    key = private_key(first)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert thumbprint(first) != thumbprint(second)


def test_our_csr_has_an_empty_subject_and_asks_for_nothing_but_names() -> None:
    csr = x509.load_der_x509_csr(csr_der(build_csr(generate_account_key(), DOMAINS)))
    assert list(csr.subject) == []
    assert [(extension.oid, extension.critical) for extension in csr.extensions] == [
        (ExtensionOID.SUBJECT_ALTERNATIVE_NAME, False)
    ]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
def test_openssl_verifies_our_csr() -> None:
    text = build_csr(generate_key(KeyType.EC_P384), DOMAINS).encode()
    command = ["openssl", "req", "-verify", "-noout", "-text"]
    shown = subprocess.run(command, input=text, capture_output=True, check=True, timeout=20)
    assert b"DNS:*.example.com, DNS:example.com" in shown.stdout
    assert b"Extended Key Usage" not in shown.stdout


def test_csr_names_are_lower_case_and_include_the_common_name(key: ec.EllipticCurvePrivateKey) -> None:
    csr = parse_csr(foreign_csr(key, [x509.DNSName("WWW.Example.com")], common_name="Example.com"))
    assert csr.names == ("www.example.com", "example.com")


def test_csr_text_is_cleaned_of_what_surrounds_it(key: ec.EllipticCurvePrivateKey) -> None:
    text = foreign_csr(key, [x509.DNSName("example.com")])
    assert parse_csr(f"Subject: whatever\r\n{text}\n").pem == text


def test_rsa_between_the_usual_sizes_passes_without_a_key_type() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2560)
    assert parse_csr(foreign_csr(key, [x509.DNSName("example.com")])).key_type is None


def test_unreadable_csr_is_refused() -> None:
    good = build_csr(generate_account_key(), ["example.com"])
    der = base64.b64encode(csr_der(good)).decode()
    for text in ("", "nonsense", der, good[:200], good.replace("REQUEST", "THING"), "\ud800", "\x00"):
        assert "cannot be read: give PEM text" in refused_csr(text)
    assert "at most 65536" in refused_csr(good + " " * 70_000)
    assert "more than one PEM block" in refused_csr(good + good)


def test_private_key_beside_the_csr_is_refused_and_not_echoed() -> None:
    pem = generate_account_key().decode()
    message = refused_csr(pem + build_csr(pem.encode(), ["example.com"]))
    assert "holds a private key" in message
    assert pem.splitlines()[1] not in message


def test_altered_csr_is_refused() -> None:
    der = csr_der(build_csr(generate_account_key(), ["example.com"]))
    altered = base64.encodebytes(der.replace(b"example.com", b"example.org")).decode()
    text = f"-----BEGIN CERTIFICATE REQUEST-----\n{altered}-----END CERTIFICATE REQUEST-----\n"
    assert "has a bad signature" in refused_csr(text)


def test_csr_signed_with_a_weak_hash_is_refused(key: ec.EllipticCurvePrivateKey) -> None:
    text = foreign_csr(key, [x509.DNSName("example.com")], algorithm=hashes.SHA224())
    assert "is not signed with SHA-256" in refused_csr(text)


@pytest.mark.parametrize(
    ("unfit", "reason"),
    [
        (rsa.generate_private_key(public_exponent=65537, key_size=1024), "RSA key of 1024 bits"),
        (ec.generate_private_key(ec.SECP521R1()), "of a kind that CAs do not certify"),
        (ed25519.Ed25519PrivateKey.generate(), "of a kind that CAs do not certify"),
    ],
)
def test_csr_for_an_unfit_key_is_refused(unfit: CertificateIssuerPrivateKeyTypes, reason: str) -> None:
    assert reason in refused_csr(foreign_csr(unfit, [x509.DNSName("example.com")]))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], "names no domain"),
        ([x509.RFC822Name("a@a.example")], "(RFC822Name)"),
        ([x509.UniformResourceIdentifier("https://a.example")], "(UniformResourceIdentifier)"),
    ],
)
def test_csr_with_names_that_are_no_identifiers_is_refused(
    key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName], reason: str
) -> None:
    assert reason in refused_csr(foreign_csr(key, names))


@pytest.mark.parametrize(
    ("domains", "reason"),
    [
        (("a.example", "b.example", "c.example"), "lacks c.example"),
        (("a.example",), "also names b.example"),
    ],
)
def test_csr_must_name_exactly_the_domains(domains: tuple[str, ...], reason: str) -> None:
    csr = Csr("", ("b.example", "a.example"), None, b"")
    check_csr(csr, ("a.example", "b.example"))
    with pytest.raises(InvalidInput, match=reason):
        check_csr(csr, domains)


def test_csr_for_the_account_key_is_recognised() -> None:
    account_key, other_key = generate_account_key(), generate_account_key()
    csr = parse_csr(build_csr(account_key, ["example.com"]))
    assert same_key(csr, account_key)
    assert not same_key(csr, other_key)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: base64.b64encode(b).decode()))
def test_any_text_is_no_csr_and_no_chain(text: str) -> None:
    for wrapped in (text, f"-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n"):
        refused_csr(wrapped)
    with pytest.raises(MismatchedCertificate):
        inspect_chain(f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")


def test_leaf_tells_what_the_certificate_says(ca: SigningCa, key: ec.EllipticCurvePrivateKey) -> None:
    chain = ca.issue(key.public_key(), ["B.example", "a.example"], serial=0x0ABC) + ca.root
    leaf = inspect_chain(chain)
    assert leaf.names == ("b.example", "a.example")
    assert (leaf.serial, leaf.issuer) == ("0abc", "CN=Test Root")
    assert (leaf.not_before, leaf.not_after) == (NOON, NOON + timedelta(days=45))
    certificate = x509.load_pem_x509_certificate(chain.encode())
    assert leaf.fingerprint_sha256 == certificate.fingerprint(hashes.SHA256()).hex()


def test_certificate_for_the_csr_and_the_domains_passes(ca: SigningCa, key: ec.EllipticCurvePrivateKey) -> None:
    chain = ca.issue(key.public_key(), ["a.example", "b.example"]) + ca.root
    csr = foreign_csr(key, [x509.DNSName("b.example"), x509.DNSName("a.example")])
    assert check_leaf(chain, csr, ["b.example", "a.example"]) == inspect_chain(chain)


def test_certificate_for_another_key_is_refused(ca: SigningCa, key: ec.EllipticCurvePrivateKey) -> None:
    chain = ca.issue(key.public_key(), ["a.example"])
    with pytest.raises(MismatchedCertificate, match="another key") as caught:
        check_leaf(chain, build_csr(generate_account_key(), ["a.example"]), ["a.example"])
    assert caught.value.code == "CA_ERROR"


@pytest.mark.parametrize("names", [[], ["b.example"], ["a.example", "b.example"]])
def test_certificate_for_other_names_is_refused(
    ca: SigningCa, key: ec.EllipticCurvePrivateKey, names: list[str]
) -> None:
    csr = foreign_csr(key, [x509.DNSName("a.example")])
    with pytest.raises(MismatchedCertificate, match=r"and the order is for a\.example"):
        check_leaf(ca.issue(key.public_key(), names), csr, ["a.example"])


@pytest.mark.parametrize("chain", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_empty_or_garbled_chain_is_refused(chain: str) -> None:
    with pytest.raises(MismatchedCertificate, match="not a readable chain"):
        inspect_chain(chain)


@pytest.mark.parametrize("name", ["Test Root", "Other Root"])
def test_chain_whose_links_do_not_sign_each_other_is_refused(ca: SigningCa, name: str) -> None:
    leaf = ca.issue(ec.generate_private_key(ec.SECP256R1()).public_key(), ["a.example"])
    with pytest.raises(MismatchedCertificate, match="certificate 1 of the CA's chain is not signed by certificate 2"):
        inspect_chain(leaf + SigningCa(name).root)


def test_csr_holds_addresses_beside_names(key: ec.EllipticCurvePrivateKey) -> None:
    names = ["a.example", "192.0.2.1", "2001:db8::1"]
    parsed = parse_csr(build_csr(generate_key(KeyType.EC_P256), names))
    assert list(parsed.names) == names
    brought = foreign_csr(key, [x509.DNSName("a.example"), x509.IPAddress(ip_address("192.0.2.1"))])
    assert parse_csr(brought).names == ("a.example", "192.0.2.1")
