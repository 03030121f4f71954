"""Signed checkpoints, as C2SP tlog-checkpoint writes them: origin, size, root, signature lines."""

from __future__ import annotations

import base64
import contextlib
import os
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wandb_governance.errors import AuditError

if TYPE_CHECKING:
    from pathlib import Path

_ED25519 = b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The size and root of a log at one moment."""

    origin: str
    """Name of the log."""
    size: int
    root: bytes
    """32 bytes."""

    @property
    def body(self) -> bytes:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()


class Signer:
    """An Ed25519 key of this installation."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    @classmethod
    def open(cls, path: Path) -> Signer:
        """The key in ``path``, made at first use and readable by its owner alone."""
        with contextlib.suppress(FileNotFoundError):
            return cls(Ed25519PrivateKey.from_private_bytes(path.read_bytes()))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(Ed25519PrivateKey.generate().private_bytes_raw())
        with contextlib.suppress(FileExistsError):
            os.link(scratch, path)
        scratch.unlink()
        return cls(Ed25519PrivateKey.from_private_bytes(path.read_bytes()))

    def sign(self, data: bytes) -> bytes:
        """64 bytes of signature."""
        return self._key.sign(data)

    def note(self, checkpoint: Checkpoint) -> str:
        """The checkpoint as a signed note."""
        signature = base64.b64encode(key_hash(checkpoint.origin, self.public) + self.sign(checkpoint.body)).decode()
        return f"{checkpoint.body.decode()}\n\u2014 {checkpoint.origin} {signature}\n"


def key_hash(name: str, public: bytes) -> bytes:
    """The 4 bytes by which a note names its key."""
    return sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def read_note(note: str, public: bytes) -> Checkpoint:
    """The checkpoint in a note, its signature checked.

    Raises:
        AuditError: The note is not well-formed, or not signed by ``public``.
    """
    body, separator, signatures = note.partition("\n\n")
    lines = body.split("\n")
    if not separator or len(lines) < 3:
        raise AuditError("a checkpoint is not well-formed")
    origin, size, root = lines[:3]
    wanted = key_hash(origin, public)
    for line in signatures.splitlines():
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "\u2014" or parts[1] != origin:
            continue
        try:
            raw = base64.b64decode(parts[2], validate=True)
            if raw[:4] != wanted:
                continue
            Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], (body + "\n").encode())
            return Checkpoint(origin=origin, size=int(size), root=base64.b64decode(root, validate=True))
        except (ValueError, InvalidSignature) as error:
            raise AuditError(f"the signature of the checkpoint at size {size} is wrong") from error
    raise AuditError(f"the checkpoint at size {size} is not signed by this log's key")


def verify_signature(public: bytes, signature: bytes, data: bytes) -> bool:
    """Whether ``signature`` of ``data`` is by ``public``."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
