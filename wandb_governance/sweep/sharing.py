"""Shared work between machines: the store as a W&B artifact, checked entry by entry when it is taken in."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from wandb_governance.errors import IndexIntegrityError, SweepError
from wandb_governance.sweep.cache import DiskStore, entry_digest
from wandb_governance.sweep.index import MANIFEST, open_index

if TYPE_CHECKING:
    from wandb_governance.sweep.config import RagSweep

WORK_TYPE = "rag-work"


def push_work(folder: Path, sweep: RagSweep) -> str:
    """Log embeddings, retrievals and indexes as an artifact; answers stay here, as they can hold private text.

    Returns:
        ``name:version`` of the artifact.
    """
    from wandb_governance.backend.sweeps import log_folder

    with tempfile.TemporaryDirectory() as scratch:
        export_work(folder, Path(scratch))
        return log_folder(f"{sweep.spec.name}-work", WORK_TYPE, Path(scratch), project=sweep.spec.project)


def pull_work(folder: Path, sweep: RagSweep) -> dict[str, int]:
    """Add the latest shared work to the store of this machine.

    Returns:
        How many ``entries`` and ``indexes`` were added and how many were ``refused``.
    """
    from wandb_governance.backend.sweeps import download_folder

    name = f"{sweep.spec.name}-work:latest"
    path = f"{sweep.spec.project}/{name}" if sweep.spec.project else name
    with tempfile.TemporaryDirectory() as scratch:
        return import_work(download_folder(path, root=Path(scratch)), folder)


def export_work(store: Path, target: Path) -> None:
    """Copy what may be shared from a store into an empty folder.

    Raises:
        SweepError: There is no store.
    """
    if not (store / "cache.sqlite").is_file():
        raise SweepError(f"{store} holds no shared work yet")
    with (
        sqlite3.connect(store / "cache.sqlite", timeout=120) as source,
        sqlite3.connect(target / "work.sqlite") as copy,
    ):
        copy.execute("CREATE TABLE entries (kind TEXT, key TEXT, value BLOB, sha BLOB)")
        rows = source.execute("SELECT * FROM entries WHERE kind IN ('embedding', 'retrieval') ORDER BY kind, key")
        copy.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", rows)
    for index in sorted((store / "indexes").glob(f"*/{MANIFEST}")):
        shutil.copytree(index.parent, target / "indexes" / index.parent.name)


def import_work(source: Path, folder: Path) -> dict[str, int]:
    """Add shared work to a store. Entries and indexes that do not fit their digests are refused."""
    added = {"entries": 0, "indexes": 0, "refused": 0}
    DiskStore(folder).close()
    with (
        sqlite3.connect(f"file:{source / 'work.sqlite'}?mode=ro", uri=True) as work,
        sqlite3.connect(folder / "cache.sqlite", timeout=120) as db,
    ):
        for kind, key, value, sha in work.execute("SELECT kind, key, value, sha FROM entries"):
            if kind not in {"embedding", "retrieval"} or entry_digest(key, value) != sha:
                added["refused"] += 1
                continue
            cursor = db.execute("INSERT OR IGNORE INTO entries VALUES (?, ?, ?, ?)", (kind, key, value, sha))
            added["entries"] += cursor.rowcount
    for manifest in sorted((source / "indexes").glob(f"*/{MANIFEST}")):
        added["indexes" if _take_index(manifest.parent, folder / "indexes") else "refused"] += 1
    return added


def _take_index(source: Path, target: Path) -> bool:
    try:
        index = open_index(source)
    except IndexIntegrityError:
        return False
    if index.recipe.key != source.name:
        return False
    if not (target / source.name).exists():
        target.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".pulled-", dir=target))
        shutil.copytree(source, work, dirs_exist_ok=True)
        work.rename(target / source.name)
    return True
