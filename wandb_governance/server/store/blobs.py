"""Files by content: ``blobs/ab/cdef...`` under their SHA-256, written whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from wandb_governance.server.problem import NotFound

if TYPE_CHECKING:
    from types import TracebackType

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Stored bytes."""

    sha256: str
    """Lower-case hexadecimal; the name on disk."""

    md5: str
    """Base64; what W&B manifests call a digest."""

    size: int
    """Bytes."""


class BlobWriter:
    """A blob that is still being received; nothing exists under its name until :meth:`keep`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        handle, name = tempfile.mkstemp(dir=folder / "incoming")
        self._file: IO[bytes] = os.fdopen(handle, "wb")
        self._path = Path(name)
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Append bytes."""
        self._file.write(chunk)
        self._sha256.update(chunk)
        self._md5.update(chunk)
        self.size += len(chunk)

    @property
    def md5(self) -> str:
        """Base64 MD5 of what was written so far."""
        return base64.b64encode(self._md5.digest()).decode()

    def keep(self) -> Blob:
        """Put the bytes under their name: flushed to disk first, then renamed in one step."""
        self._file.flush()
        os.fsync(self._file.fileno())
        blob = Blob(sha256=self._sha256.hexdigest(), md5=self.md5, size=self.size)
        target = _path_of(self._folder, blob.sha256)
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            return blob
        self._path.replace(target)
        return blob


class BlobStore:
    """The folder of blobs.

    Args:
        folder: Made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        incoming = folder / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        for leftover in incoming.iterdir():
            leftover.unlink()

    def writer(self) -> BlobWriter:
        """Receive a blob."""
        return BlobWriter(self._folder)

    def put(self, content: bytes) -> Blob:
        """Store bytes at hand."""
        with self.writer() as writer:
            writer.write(content)
            return writer.keep()

    def path(self, sha256: str) -> Path:
        """The file of a blob.

        Raises:
            NotFound: There is none.
        """
        path = _path_of(self._folder, sha256)
        if not path.is_file():
            raise NotFound("the file has not been uploaded")
        return path

    def read(self, sha256: str) -> bytes:
        """The bytes of a small blob."""
        return self.path(sha256).read_bytes()


def _path_of(folder: Path, sha256: str) -> Path:
    if not _SHA256.fullmatch(sha256):
        raise NotFound("the file has not been uploaded")
    return folder / sha256[:2] / sha256[2:]


def md5_hex(md5_base64: str) -> str:
    """The hexadecimal form of a base64 MD5."""
    return base64.b64decode(md5_base64).hex()


def md5_base64(md5_hexadecimal: str) -> str:
    """The base64 form of a hexadecimal MD5."""
    return base64.b64encode(bytes.fromhex(md5_hexadecimal)).decode()
