"""Backup of a data directory while its server runs, and restore into a new one.

A backup is one ``.tar.gz``: the store as it was at one moment, then every blob it knew. Blobs are never changed, so
those copied later are the same; a blob that came later is left out with the rows that would name it.
"""

from __future__ import annotations

import io
import shutil
import sqlite3
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from wandb_governance.errors import ServerError

_STORE = "store.sqlite3"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSummary:
    """What a backup holds."""

    path: str
    """The archive, or the restored data directory."""

    blobs: int
    """Files by content."""

    size_bytes: int
    """Bytes of the store and the blobs, unpacked."""


def backup(data_dir: Path, archive: Path) -> BackupSummary:
    """Write an archive of a data directory; its server may run.

    Raises:
        ServerError: There is no store, or the archive exists already.
    """
    store = data_dir / _STORE
    if not store.is_file():
        raise ServerError(f"{data_dir}: no store here; name the --data-dir of a server")
    if archive.exists():
        raise ServerError(f"{archive}: exists already; choose another name")
    with tempfile.TemporaryDirectory(dir=data_dir) as scratch:
        copy = Path(scratch) / _STORE
        _copy_store(store, copy)
        names = _blob_names(copy)
        size = copy.stat().st_size
        partial = archive.with_name(archive.name + ".partial")
        with tarfile.open(partial, "w:gz", compresslevel=3) as tar:
            tar.add(copy, _STORE)
            _add_bytes(tar, "api_key", (data_dir / "api_key").read_bytes())
            for sha256 in names:
                blob = data_dir / "blobs" / sha256[:2] / sha256[2:]
                size += blob.stat().st_size
                tar.add(blob, f"blobs/{sha256[:2]}/{sha256[2:]}")
        partial.chmod(0o600)
        partial.replace(archive)
    return BackupSummary(path=str(archive), blobs=len(names), size_bytes=size)


def _copy_store(source: Path, target: Path) -> None:
    reader, writer = sqlite3.connect(source), sqlite3.connect(target)
    try:
        reader.backup(writer, pages=4096)
        writer.execute("PRAGMA journal_mode = DELETE")
    finally:
        reader.close()
        writer.close()


def _blob_names(store: Path) -> list[str]:
    connection = sqlite3.connect(store)
    try:
        return [row[0] for row in connection.execute("SELECT sha256 FROM blob ORDER BY sha256")]
    finally:
        connection.close()


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o600
    tar.addfile(info, io.BytesIO(content))


def restore(archive: Path, data_dir: Path) -> BackupSummary:
    """Unpack an archive into a data directory that does not exist or is empty.

    Raises:
        ServerError: The directory holds something, the archive is not one of :func:`backup`, or a blob is damaged.
    """
    if data_dir.exists() and any(data_dir.iterdir()):
        raise ServerError(f"{data_dir}: is not empty; restore into a new directory")
    if not archive.is_file():
        raise ServerError(f"{archive}: no such file")
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data_dir.parent) as scratch:
        unpacked = Path(scratch) / "data"
        try:
            with tarfile.open(archive, "r:gz") as tar:
                tar.extractall(unpacked, filter="data")
        except (tarfile.TarError, OSError, EOFError) as error:
            raise ServerError(f"{archive}: is not a backup of this server: {error}") from error
        if not (unpacked / _STORE).is_file() or not (unpacked / "api_key").is_file():
            raise ServerError(f"{archive}: is not a backup of this server: it has no store")
        names = _blob_names(unpacked / _STORE)
        size = (unpacked / _STORE).stat().st_size
        for sha256 in names:
            size += _checked_size(unpacked / "blobs" / sha256[:2] / sha256[2:], sha256, archive)
        unpacked.chmod(0o700)
        (unpacked / "api_key").chmod(0o600)
        if data_dir.exists():
            data_dir.rmdir()
        shutil.move(str(unpacked), data_dir)
    return BackupSummary(path=str(data_dir), blobs=len(names), size_bytes=size)


def _checked_size(path: Path, sha256: str, archive: Path) -> int:
    import hashlib

    if not path.is_file():
        raise ServerError(f"{archive}: the blob {sha256} is missing")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ServerError(f"{archive}: the blob {sha256} is damaged")
    return path.stat().st_size
