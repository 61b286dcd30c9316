"""Account keys, and the JWSs within requests: external account bindings and key changes (RFC 8555 §7.3.4, §7.3.5)."""

import hmac
import json
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from josepy.b64 import b64decode, b64encode
from josepy.errors import DeserializationError
from josepy.jwk import JWK, JWKEC, JWKRSA

from certwright.ca.network import algorithm, compact_json, flattened_jws
from certwright.ca.resources import BASE64URL
from certwright.errors import InvalidInput


def key_change(old: JWK, new: JWK, account_url: str, url: str) -> dict[str, str]:
    """The inner JWS of RFC 8555 §7.3.5: the account and its old key, signed with the new one; it has no nonce."""
    signature = algorithm(new)
    protected = {"alg": signature.name, "jwk": new.public_key().to_json(), "url": url}
    payload = compact_json({"account": account_url, "oldKey": old.public_key().to_json()})
    return flattened_jws(protected, payload, lambda text: signature.sign(new.key, text))


def external_account_binding(key: JWK, kid: str | None, hmac_key: str | None, url: str) -> dict[str, str]:
    """The inner JWS of RFC 8555 §7.3.4: `key`'s public half, signed with the HMAC key (base64url) of another account.

    Raises InvalidInput, which never shows the HMAC key.
    """
    secret = check_binding(kid, hmac_key)
    protected = {"alg": "HS256", "kid": kid, "url": url}
    payload = compact_json(key.public_key().to_json())
    return flattened_jws(protected, payload, lambda message: hmac.digest(secret, message, "sha256"))


def check_binding(kid: str | None, hmac_key: str | None) -> bytes:
    """The octets of an HMAC key, which CAs show with and without padding. Raises InvalidInput, never showing it."""
    if not kid:
        raise InvalidInput("the key id of the external account is missing", field="externalAccountBinding.keyId")
    unpadded = (hmac_key or "").strip().rstrip("=")
    if not BASE64URL.fullmatch(unpadded) or len(unpadded) % 4 == 1:
        message = "the HMAC key of the external account must be base64url, exactly as the CA shows it"
        raise InvalidInput(message, field="externalAccountBinding.hmacKey")
    return b64decode(unpadded)


def load_key(pem: bytes) -> JWK:
    """An account key from PKCS8 PEM: EC P-256, EC P-384 or RSA. Raises InvalidInput, which never shows it."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, rsa.RSAPrivateKey):
        return JWKRSA(key=key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        return JWKEC(key=key)
    raise InvalidInput("an account key must be EC P-256, EC P-384 or RSA, in unencrypted PEM")


def read_key(text: str) -> bytes:
    """An account key as another client keeps it, as PKCS8 PEM: PEM, or a JWK as certbot's private_key.json.

    Raises InvalidInput (field `privateKey`), which never shows it.
    """
    try:
        is_jwk = text.lstrip().startswith("{")
        pem = _pem(JWK.from_json(json.loads(text)) if is_jwk else load_key(text.encode()))
        load_key(pem)
    except (InvalidInput, DeserializationError, ValueError, AttributeError, KeyError):
        raise InvalidInput(
            "privateKey is no account key: give an EC P-256, EC P-384 or RSA key as unencrypted PEM, "
            "or the JWK that certbot keeps as private_key.json",
            field="privateKey",
        ) from None
    return pem


def _pem(key: Any) -> bytes:
    private = key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return bytes(private)


def thumbprint(key: JWK) -> str:
    """RFC 7638, SHA-256, base64url."""
    return b64encode(key.thumbprint()).decode()
