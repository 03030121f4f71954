r"""The SHA-256 root over an artifact's content, to which approvals bind.

W&B's own ``digest`` is an MD5 or XXH128 of a manifest of MD5s: two different files can share it. The root is the
SHA-256 of what ``sha256sum`` prints for the files in byte order of their paths, so coreutils can recompute it:

    cd ARTIFACT && find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wandb_governance.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class FileDigest:
    """One file of an artifact."""

    path: str
    """Relative, with forward slashes."""
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What an artifact holds, and the digest of all of it."""

    files: tuple[FileDigest, ...]
    """In byte order of their paths."""
    root: str
    """SHA-256 (hex)."""


def content_of(folder: Path) -> Content:
    """Digest every regular file below ``folder``.

    Raises:
        RegistryError: A path is a symbolic link or holds a line break or a backslash, or there is no file at all.
    """
    files = []
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise RegistryError(
                f"{path.relative_to(folder)} is a symbolic link: its target is not part of the artifact"
            )
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            files.append(FileDigest(path=name, sha256=file_sha256(path), size_bytes=path.stat().st_size))
    return content_from(files)


def content_from(files: Iterable[FileDigest]) -> Content:
    """The root over files whose digests are known."""
    ordered = tuple(sorted(files, key=lambda file: file.path.encode()))
    if not ordered:
        raise RegistryError("the artifact holds no file: there is nothing an approval could bind to")
    for file in ordered:
        if "\n" in file.path or "\\" in file.path:
            raise RegistryError(f"the path {file.path!r} holds a line break or a backslash; rename the file")
    listing = "".join(f"{file.sha256}  {file.path}\n" for file in ordered)
    return Content(files=ordered, root=hashlib.sha256(listing.encode()).hexdigest())


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
