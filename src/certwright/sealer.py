"""The sealing of what must stay secret: account keys, certificate keys, credentials.

The cryptography library is imported with the first secret: the API's cold path does without it.
"""

import base64
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from certwright.errors import CertwrightError

_KEY_OCTETS = 32


class SealBroken(CertwrightError):
    """A sealed text does not open: it was altered, belongs to another entity, or was sealed with another key."""


class KeyFileRefused(CertwrightError):
    """The sealing key's file is not safe or not whole; nothing is sealed or opened until that is put right."""


class Sealer(Protocol):
    """Encrypts what must stay secret at rest. Every method may be called from any thread."""

    def seal(self, plaintext: bytes, context: Mapping[str, str]) -> str:
        """An ASCII text that only opens with the same `context` (such as the tenant and the entity's id)."""

    def open(self, sealed: str, context: Mapping[str, str]) -> bytes:
        """The plaintext. Raises SealBroken."""


class LocalSealer:
    """A Sealer whose 256-bit key is a file of 32 octets, readable by its owner alone, made at the first `seal`.

    AES-256-GCM with a random 96-bit nonce (NIST SP 800-38D §8.2.2: good for 2^32 seals). A sealed text reads
    `local:v1:<key id>:<base64url of nonce and ciphertext>`; all of it and the context are authenticated.
    Both methods raise KeyFileRefused for a file that others may read or that is no such key.
    """

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file
        self._key: bytes | None = None

    def seal(self, plaintext: bytes, context: Mapping[str, str]) -> str:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key, nonce = self._load(make=True), secrets.token_bytes(12)
        header = _header(key)
        ciphertext = AESGCM(key).encrypt(nonce, plaintext, _associated_data(header, context))
        return header + base64.urlsafe_b64encode(nonce + ciphertext).decode("ascii")

    def open(self, sealed: str, context: Mapping[str, str]) -> bytes:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = self._load()
        header = _header(key)
        if not sealed.startswith(header):
            raise SealBroken(f"this secret was not sealed with the key in {self._key_file}: restore the key it needs")
        try:
            data = base64.b64decode(sealed.removeprefix(header), altchars=b"-_", validate=True)
            return AESGCM(key).decrypt(data[:12], data[12:], _associated_data(header, context))
        except (ValueError, InvalidTag):
            raise SealBroken("this secret was altered, or it belongs to another entity") from None

    def _load(self, *, make: bool = False) -> bytes:
        if self._key is None:
            if make and not self._key_file.exists():
                _make_key_file(self._key_file)
            self._key = _read_key_file(self._key_file)
        return self._key


def _header(key: bytes) -> str:
    return f"local:v1:{hashlib.sha256(key).hexdigest()[:16]}:"


def _associated_data(header: str, context: Mapping[str, str]) -> bytes:
    return (header + json.dumps(dict(context), sort_keys=True)).encode()


def _make_key_file(path: Path) -> None:
    """Make the key file unless it is there: complete or not at all, and the first of two racing processes wins."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_OCTETS))
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read_key_file(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            key = file.read(_KEY_OCTETS + 1)
    except OSError as error:
        raise KeyFileRefused(f"the key file {path} cannot be read ({error.strerror}): restore it") from None
    if mode & 0o077:
        raise KeyFileRefused(f"the key file {path} is open to others (mode {mode:04o}): chmod 600 it")
    if len(key) != _KEY_OCTETS:
        raise KeyFileRefused(f"the key file {path} does not hold exactly 32 octets: restore it from its backup")
    return key
