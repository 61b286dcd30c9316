"""The Sealer of AWS: envelope encryption with a KMS key that never leaves KMS.

Every secret has a data key of its own. What it is bound to (tenant, entity) is the encryption context of that key, so
that it stands in CloudTrail with each use, and KMS itself refuses to open the key for anything else.
"""

import base64
import functools
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as EndpointError

from certwright.errors import CertwrightError, Unavailable
from certwright.sealer import SealBroken

_HEADER = "kms:v1:"
_BUSY = {
    "DependencyTimeoutException",
    "KMSInternalException",
    "KeyUnavailableException",
    "LimitExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "ThrottlingException",
}
_BROKEN = {"InvalidCiphertextException", "IncorrectKeyException"}


class KmsKeyRefused(CertwrightError):
    """KMS does not let us use the key; nothing is sealed or opened until that is put right."""


class KmsSealer:
    """A Sealer with the KMS key `key_id` (an ARN or id). Safe from any thread.

    `connect` makes its boto3 client (of service "kms") when the first secret is sealed or opened.

    AES-256-GCM with a data key and a random 96-bit nonce for each secret. A sealed text reads
    `kms:v1:<base64url of the data key, encrypted by KMS>:<base64url of nonce and ciphertext>`; all of it and the
    context are authenticated. Both methods raise Unavailable while KMS does not answer, and KmsKeyRefused.
    """

    def __init__(self, connect: Callable[[], Any], key_id: str) -> None:
        self._connect = functools.cache(connect)
        self._key_id = key_id

    def seal(self, plaintext: bytes, context: Mapping[str, str]) -> str:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        answer = self._ask("generate_data_key", KeySpec="AES_256", **self._bound(context))
        header, nonce = f"{_HEADER}{_encode(answer['CiphertextBlob'])}:", secrets.token_bytes(12)
        ciphertext = AESGCM(answer["Plaintext"]).encrypt(nonce, plaintext, _associated_data(header, context))
        return header + _encode(nonce + ciphertext)

    def open(self, sealed: str, context: Mapping[str, str]) -> bytes:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if not sealed.startswith(_HEADER):
            raise SealBroken("this secret was not sealed with a KMS key: it is from another deployment")
        header, _, body = sealed.rpartition(":")
        try:
            wrapped, data = _decode(header.removeprefix(_HEADER)), _decode(body)
            answer = self._ask("decrypt", CiphertextBlob=wrapped, **self._bound(context))
            return AESGCM(answer["Plaintext"]).decrypt(data[:12], data[12:], _associated_data(header + ":", context))
        except (ValueError, InvalidTag):
            raise SealBroken("this secret was altered, or it belongs to another entity") from None

    def _bound(self, context: Mapping[str, str]) -> dict[str, Any]:
        return {"KeyId": self._key_id, **({"EncryptionContext": dict(context)} if context else {})}

    def _ask(self, method: str, **request: Any) -> Any:
        if not self._key_id:
            raise KmsKeyRefused("this function has no key (STACK_KEY): it has no business with secrets")
        try:
            return getattr(self._connect(), method)(**request)
        except (EndpointError, HTTPClientError) as error:
            raise Unavailable("KMS does not answer; try again later") from error
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _BROKEN:
                raise SealBroken("this secret was altered, or it belongs to another entity") from None
            if code in _BUSY:
                raise Unavailable("KMS is too busy; try again later") from error
            raise KmsKeyRefused(f"KMS does not let us use the key {self._key_id} ({code})") from None


def _associated_data(header: str, context: Mapping[str, str]) -> bytes:
    return (header + json.dumps(dict(context), sort_keys=True)).encode()


def _encode(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode("ascii")


def _decode(text: str) -> bytes:
    octets = base64.b64decode(text, altchars=b"-_", validate=True)
    if not octets:
        raise ValueError("nothing is there")
    return octets
