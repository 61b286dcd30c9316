"""Issued chains: taken apart for people to read, and packed with their key for programs that want one file."""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from certwright.errors import InvalidInput

SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 200


@dataclass(frozen=True)
class ChainCertificate:
    """One certificate of a chain. `subject` and `issuer` are RFC 4514 strings; the fingerprint is lower-case hex."""

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    fingerprint_sha256: str
    pem: str


def take_apart(chain_pem: str) -> tuple[ChainCertificate, ...]:
    """The certificates of a chain that was inspected when it was issued, leaf first."""
    return tuple(
        ChainCertificate(
            subject=certificate.subject.rfc4514_string(),
            issuer=certificate.issuer.rfc4514_string(),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            fingerprint_sha256=certificate.fingerprint(hashes.SHA256()).hex(),
            pem=certificate.public_bytes(Encoding.PEM).decode("ascii"),
        )
        for certificate in x509.load_pem_x509_certificates(chain_pem.encode("ascii"))
    )


def check_password(password: str) -> None:
    """Raises InvalidInput (field `password`), which does not repeat it.

    Programs disagree about how other characters than ASCII's become octets (RFC 7292 B.1): the file could not be
    opened.
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise InvalidInput(
            f"the password has {len(password)} characters; from {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} are right",
            field="password",
        )
    if not (password.isascii() and password.isprintable()):
        raise InvalidInput("the password may hold printable ASCII characters only", field="password")


def pkcs12(chain_pem: str, key_pem: bytes, password: str, name: str) -> bytes:
    """A PKCS#12 file (RFC 7292) of a key and its chain, encrypted with AES-256 by a checked password."""
    leaf, *issuers = x509.load_pem_x509_certificates(chain_pem.encode("ascii"))
    key = load_pem_private_key(key_pem, password=None)
    encryption = BestAvailableEncryption(password.encode("ascii"))
    # Certificate keys are RSA or on an elliptic curve, which is what PKCS#12 takes, among others.
    return serialize_key_and_certificates(name.encode(), key, leaf, issuers, encryption)  # type: ignore[arg-type]
