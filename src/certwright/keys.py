"""Key pairs, certificate signing requests and issued chains.

Private keys pass through as unencrypted PKCS#8 PEM in memory; only what a Sealer made of them is ever stored.
"""

import base64
import hashlib
import ipaddress
import itertools
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from certwright.errors import CertwrightError, InvalidInput
from certwright.identifiers import identifier_type
from certwright.model import KeyType

_RSA_BITS = {KeyType.RSA_2048: 2048, KeyType.RSA_3072: 3072, KeyType.RSA_4096: 4096}
_CURVES: dict[KeyType, ec.EllipticCurve] = {KeyType.EC_P256: ec.SECP256R1(), KeyType.EC_P384: ec.SECP384R1()}
_CURVE_NAMES = {"secp256r1": "P-256", "secp384r1": "P-384"}
_MAX_CSR = 65_536

_UNREADABLE = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for bytes that someone else made."""


class MismatchedCertificate(CertwrightError):
    """The CA delivered a chain that is not for this order: another key, other names, or no proper chain at all."""

    code = "CA_ERROR"


@dataclass(frozen=True)
class Csr:
    """A signing request that was checked. `names` are lower case; `public_key` is a DER SubjectPublicKeyInfo.

    `key_type` is None for an RSA key of a size between the ones that we make ourselves.
    """

    pem: str
    names: tuple[str, ...]
    key_type: KeyType | None
    public_key: bytes


@dataclass(frozen=True)
class Leaf:
    """What the first certificate of a chain says. `serial` and the fingerprint are lower-case hex, whole octets.

    `names` are the subjectAltName's, lower case; `issuer` is an RFC 4514 string; `public_key` as in Csr.
    """

    names: tuple[str, ...]
    serial: str
    issuer: str
    not_before: datetime
    not_after: datetime
    fingerprint_sha256: str
    public_key: bytes


def generate_key(key_type: KeyType) -> bytes:
    """A fresh private key as unencrypted PKCS#8 PEM."""
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if key_type in _CURVES:
        key = ec.generate_private_key(_CURVES[key_type])
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS[key_type])
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def generate_account_key() -> bytes:
    """A fresh account key: P-256, which every ACME server must support (ES256, RFC 8555 §6.2)."""
    return generate_key(KeyType.EC_P256)


def thumbprint(pem: bytes) -> str:
    """The JWK thumbprint of a private key's public half: SHA-256, base64url without padding (RFC 7638)."""
    public_key = load_pem_private_key(pem, password=None).public_key()
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        point, size = public_key.public_numbers(), (public_key.curve.key_size + 7) // 8
        curve = _CURVE_NAMES[public_key.curve.name]
        jwk = {"crv": curve, "kty": "EC", "x": _base64url(point.x, size), "y": _base64url(point.y, size)}
    elif isinstance(public_key, rsa.RSAPublicKey):
        numbers = public_key.public_numbers()
        jwk = {"e": _base64url(numbers.e), "kty": "RSA", "n": _base64url(numbers.n)}
    else:
        raise ValueError("an account key is RSA or on the curve P-256 or P-384")
    canonical = json.dumps(jwk, sort_keys=True, separators=(",", ":"))
    return _base64url(int.from_bytes(hashlib.sha256(canonical.encode()).digest()), 32)


def build_csr(key_pem: bytes, domains: Sequence[str]) -> str:
    """A PEM CSR for exactly these names and IP addresses, all in the subjectAltName (RFC 8555 §7.4, RFC 8738 §3).

    The subject stays empty: no name needs to fit into the 64 octets of a commonName, and CAs set or omit it as their
    profile says. No extended key usage is asked for, so that no CA refuses the order for clientAuth.
    """
    key = load_pem_private_key(key_pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("a certificate key is RSA or on an elliptic curve")
    names = x509.SubjectAlternativeName([_general_name(domain) for domain in domains])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode("ascii")


def parse_csr(text: str) -> Csr:
    """Check a user's PEM CSR: one request, well signed, a key that CAs accept, DNS names and IP addresses only.

    Raises InvalidInput (field `csr`). Only the request itself is kept of the text, not what stands around it.
    """
    if len(text) > _MAX_CSR:
        raise _bad_csr(f"is {len(text)} characters long: a CSR in PEM has at most {_MAX_CSR}")
    if "PRIVATE KEY-----" in text:
        raise _bad_csr("holds a private key: send the CSR alone, and use that key no more, as it has been shown")
    if text.count("-----BEGIN ") > 1:
        raise _bad_csr("holds more than one PEM block: send one CSR alone")
    try:
        return _read_csr(x509.load_pem_x509_csr(text.encode()))
    except _UNREADABLE:
        raise _bad_csr("cannot be read: give PEM text from -----BEGIN CERTIFICATE REQUEST----- to its END") from None


def check_csr(csr: Csr, domains: Sequence[str]) -> None:
    """The names of the CSR must be exactly those of the order (RFC 8555 §7.4). Raises InvalidInput (field `csr`)."""
    missing, extra = set(domains) - set(csr.names), set(csr.names) - set(domains)
    if missing:
        raise _bad_csr(f"lacks {_listed(missing)}: its names must be exactly the domains of the order")
    if extra:
        raise _bad_csr(f"also names {_listed(extra)}: its names must be exactly the domains of the order")


def same_key(csr: Csr, account_key_pem: bytes) -> bool:
    """Whether a CSR is for the account's own key, which no CA certifies (RFC 8555 §11.1)."""
    return csr.public_key == _spki(load_pem_private_key(account_key_pem, password=None).public_key())


def csr_der(pem: str) -> bytes:
    """The DER of a CSR that was built or checked here, as finalize sends it."""
    return x509.load_pem_x509_csr(pem.encode("ascii")).public_bytes(Encoding.DER)


def leaf_der(chain_pem: str) -> bytes:
    """The DER of a chain's first certificate, as revokeCert sends it."""
    return x509.load_pem_x509_certificate(chain_pem.encode("ascii")).public_bytes(Encoding.DER)


def issued_by(chain_pem: str) -> tuple[bytes, int] | None:
    """(key identifier of the issuer, serial number) of a chain's first certificate, None where it names no issuer."""
    try:
        leaf = x509.load_pem_x509_certificate(chain_pem.encode("ascii"))
        issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return None
    return None if issuer is None else (issuer, leaf.serial_number)


def inspect_chain(chain_pem: str) -> Leaf:
    """Read a chain, leaf first; each certificate must be signed by the next. Raises MismatchedCertificate."""
    try:
        chain = x509.load_pem_x509_certificates(chain_pem.encode())
        leaf = _read_leaf(chain[0])
    except _UNREADABLE:
        raise MismatchedCertificate("the CA's answer is not a readable chain of PEM certificates") from None
    for position, (certificate, issuer) in enumerate(itertools.pairwise(chain), start=1):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (*_UNREADABLE, InvalidSignature):
            raise MismatchedCertificate(
                f"certificate {position} of the CA's chain is not signed by certificate {position + 1}"
            ) from None
    return leaf


def prefer_chain(chains: Sequence[str], issuer: str | None) -> list[str]:
    """The chains, the first of those first that has a certificate issued by this common name; else as they are."""
    preferred = next((chain for chain in chains if issuer in _issuer_names(chain)), chains[0])
    return [preferred, *(chain for chain in chains if chain != preferred)]


def _issuer_names(chain_pem: str) -> set[str]:
    issuers = [certificate.issuer for certificate in x509.load_pem_x509_certificates(chain_pem.encode())]
    return {str(name.value) for issuer in issuers for name in issuer.get_attributes_for_oid(NameOID.COMMON_NAME)}


def check_leaf(chain_pem: str, csr_pem: str, domains: Sequence[str]) -> Leaf:
    """Read a chain and see that it certifies the CSR's key for exactly `domains`. Raises MismatchedCertificate."""
    leaf = inspect_chain(chain_pem)
    if leaf.public_key != _spki(x509.load_pem_x509_csr(csr_pem.encode("ascii")).public_key()):
        raise MismatchedCertificate("the CA's certificate is for another key than the CSR's")
    if set(leaf.names) != set(domains):
        raise MismatchedCertificate(
            f"the CA's certificate is for {_listed(leaf.names)}, and the order is for {_listed(domains)}"
        )
    return leaf


def _general_name(name: str) -> x509.GeneralName:
    if identifier_type(name) == "ip":
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


def _bad_csr(fault: str) -> InvalidInput:
    return InvalidInput(f"the CSR {fault}", field="csr")


def _listed(names: Collection[str]) -> str:
    shown = [ascii(name)[1:-1] for name in sorted(names)[:10]]
    more = [f"{len(names) - 10} more"] if len(names) > 10 else []
    return ", ".join(shown + more) or "no name"


def _read_csr(csr: x509.CertificateSigningRequest) -> Csr:
    key_type = _key_type(csr.public_key())
    if not isinstance(csr.signature_hash_algorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512):
        raise _bad_csr("is not signed with SHA-256, SHA-384 or SHA-512: make a new one with one of these")
    if not csr.is_signature_valid:
        raise _bad_csr("has a bad signature: it was altered, or not made with its own key")
    pem = csr.public_bytes(Encoding.PEM).decode("ascii")
    return Csr(pem, _csr_names(csr), key_type, _spki(csr.public_key()))


def _key_type(key: PublicKeyTypes) -> KeyType | None:
    if isinstance(key, rsa.RSAPublicKey):
        if not 2048 <= key.key_size <= 4096:
            raise _bad_csr(f"has an RSA key of {key.key_size} bits: 2048 to 4096 are right")
        return next((key_type for key_type, bits in _RSA_BITS.items() if bits == key.key_size), None)
    if isinstance(key, ec.EllipticCurvePublicKey):
        for key_type, curve in _CURVES.items():
            if curve.name == key.curve.name:
                return key_type
    raise _bad_csr("has a key of a kind that CAs do not certify: RSA of 2048 to 4096 bits, P-256 and P-384 are right")


def _csr_names(csr: x509.CertificateSigningRequest) -> tuple[str, ...]:
    """Names of the subjectAltName, then commonNames, which are names of the order as well (RFC 8555 §7.4)."""
    alternatives = _alternatives(csr.extensions)
    known = x509.DNSName, x509.IPAddress
    if others := sorted({type(name).__name__ for name in alternatives if not isinstance(name, known)}):
        raise _bad_csr(f"asks for names that CAs do not certify here ({', '.join(others)}): leave DNS names and IPs")
    common = [str(attribute.value) for attribute in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    names = [str(name.value) for name in alternatives] + common
    if not names:
        raise _bad_csr("names no domain: put the domains into its subjectAltName")
    return tuple(dict.fromkeys(name.lower() for name in names))


def _read_leaf(certificate: x509.Certificate) -> Leaf:
    serial = certificate.serial_number
    return Leaf(
        names=tuple(str(name.value).lower() for name in _alternatives(certificate.extensions)),
        serial=serial.to_bytes((serial.bit_length() + 7) // 8 or 1).hex(),
        issuer=certificate.issuer.rfc4514_string(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint_sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        public_key=_spki(certificate.public_key()),
    )


def _alternatives(extensions: x509.Extensions) -> list[x509.GeneralName]:
    try:
        return list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _base64url(number: int, size: int | None = None) -> str:
    octets = number.to_bytes((number.bit_length() + 7) // 8 if size is None else size)
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")
