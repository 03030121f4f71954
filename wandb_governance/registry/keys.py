"""Ed25519 keys: from the environment, a file or the keyring; never from a document that is committed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from wandb_governance.errors import MissingExtraError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "ed25519:"
_RAW_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyKey:
    """A public key."""

    raw: bytes
    """32 bytes."""

    @property
    def text(self) -> str:
        """``ed25519:`` and base64: the form that stands in ``governance.yaml``."""
        return _PREFIX + base64.b64encode(self.raw).decode()

    @property
    def key_id(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the key."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def accepts(self, signature: bytes, message: bytes) -> bool:
        """Whether the key's owner signed ``message``."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def pem(self) -> bytes:
        """The form that ``openssl pkeyutl`` reads."""
        return Ed25519PublicKey.from_public_bytes(self.raw).public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )

    @classmethod
    def parse(cls, text: str) -> VerifyKey:
        """Read ``ed25519:<base64>``.

        Raises:
            SettingsError: It is anything else.
        """
        try:
            raw = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError) as error:
            raise SettingsError("a public key must read ed25519:<base64 of 32 bytes>") from error
        if not text.startswith(_PREFIX) or len(raw) != _RAW_BYTES:
            raise SettingsError("a public key must read ed25519:<base64 of 32 bytes>")
        return cls(raw=raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key. It never shows in ``repr``, logs or errors."""

    private: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> VerifyKey:
        """The key that others verify with."""
        return VerifyKey(raw=self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, message: bytes) -> bytes:
        """64 bytes of signature."""
        return self.private.sign(message)

    def pem(self) -> bytes:
        """PKCS#8, unencrypted: for the key file of mode 0600 and nothing else."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key from the operating system's randomness."""
        return cls(private=Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, text: str, *, source: str) -> SigningKey:
        """Read PKCS#8 PEM or the base64 of the 32-byte seed.

        Args:
            text: The key.
            source: Where it came from, for the error message.

        Raises:
            SettingsError: It is no Ed25519 private key. The message never holds the text.
        """
        stripped = text.strip()
        try:
            if stripped.startswith("-----BEGIN"):
                private = load_pem_private_key(stripped.encode(), password=None)
                if isinstance(private, Ed25519PrivateKey):
                    return cls(private=private)
            else:
                return cls(private=Ed25519PrivateKey.from_private_bytes(base64.b64decode(stripped, validate=True)))
        except (ValueError, TypeError, binascii.Error):
            pass
        raise SettingsError(f"{source} holds no Ed25519 private key (PKCS#8 PEM or base64 of the 32-byte seed)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReference:
    """Where a secret is: exactly one of the three."""

    env: str | None = None
    """Name of an environment variable."""
    file: str | None = None
    """Path of a file that only its owner can read."""
    keyring: str | None = None
    """``service/name`` in the system's keyring."""

    def read(self, environ: Mapping[str, str] = os.environ) -> str:
        """The secret.

        Raises:
            SettingsError: It is not there, empty, or in a file that others can read.
        """
        if self.env:
            value = environ.get(self.env, "")
        elif self.file:
            value = _private_file(Path(self.file))
        elif self.keyring:
            value = _from_keyring(self.keyring)
        else:
            raise SettingsError("a secret needs one of env, file or keyring")
        if not value.strip():
            raise SettingsError(f"the secret at {self} is empty or not set")
        return value.strip()

    def __str__(self) -> str:
        if self.env:
            return f"environment variable {self.env}"
        return f"file {self.file}" if self.file else f"keyring entry {self.keyring}"


def load_signing_key(name: str = "WANDB_GOVERNANCE_SIGNING_KEY", environ: Mapping[str, str] = os.environ) -> SigningKey:
    """The private key named by the environment.

    ``NAME`` holds the key, or ``NAME_FILE`` the path of a file of mode 0600, or ``NAME_KEYRING`` ``service/name``.

    Raises:
        SettingsError: None of the three is set, or what is there is no key.
    """
    for suffix, kind in (("", "env"), ("_FILE", "file"), ("_KEYRING", "keyring")):
        if environ.get(name + suffix):
            target = name if kind == "env" else environ[name + suffix]
            reference = SecretReference(**{kind: target})
            return SigningKey.parse(reference.read(environ), source=str(reference))
    raise SettingsError(
        f"no signing key: set {name}, {name}_FILE or {name}_KEYRING (make one: wandb-governance approve --new-key FILE)"
    )


def _private_file(path: Path) -> str:
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SettingsError(f"{path} can be read by others: chmod 600 {path}")
        return path.read_text()
    except OSError as error:
        raise SettingsError(f"can't read the secret file {path}: {error.strerror}") from error


def _from_keyring(entry: str) -> str:
    try:
        import keyring  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise MissingExtraError("keyring", extra="keyring") from error
    service, _, name = entry.partition("/")
    return str(keyring.get_password(service, name) or "")
