"""Manifests: what an artifact holds, as JSON the SDK wrote; merged here for incremental and distributed artifacts."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.server.problem import BadRequest, Unprocessable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Row
    from wandb_governance.server.store.blobs import Blob

Contents = dict[str, dict[str, Any]]
"""Entries by path: ``digest`` (base64 MD5), ``size``, ``birthArtifactID``, for references ``ref`` and ``extra``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A decoded manifest."""

    header: Mapping[str, Any]
    """Everything but the contents."""

    contents: Contents
    """The entries."""

    @property
    def size(self) -> int:
        """Bytes of all entries."""
        return sum(int(entry.get("size") or 0) for entry in self.contents.values())


def read_manifest(content: bytes) -> Manifest:
    """Decode manifest JSON.

    Raises:
        BadRequest: It is not a manifest.
    """
    try:
        document = orjson.loads(content)
    except ValueError:
        raise BadRequest("the manifest is not valid JSON") from None
    contents = document.get("contents") if isinstance(document, dict) else None
    if not isinstance(contents, dict):
        raise BadRequest('the manifest must be an object with "contents"')
    for name, entry in contents.items():
        size = entry.get("size", 0) if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(entry.get("digest"), str):
            raise BadRequest(f"the manifest entry {name[:80]!r} has no digest")
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**53):
            raise BadRequest(f"the manifest entry {name[:80]!r} has no valid size")
    return Manifest(header={k: v for k, v in document.items() if k != "contents"}, contents=contents)


def manifest_of(ctx: Context, artifact: Row) -> Manifest:
    """The manifest of a committed artifact; empty while it is pending."""
    if artifact["manifest_sha256"] is None:
        return Manifest(header={}, contents={})
    return _cached(ctx, artifact["manifest_sha256"])


def _cached(ctx: Context, sha256: str) -> Manifest:
    path = str(ctx.services.blobs.path(sha256))
    return _small(path) if ctx.services.blobs.path(sha256).stat().st_size < 256 * 1024 else _load(path)


@lru_cache(maxsize=32)
def _small(path: str) -> Manifest:
    return _load(path)


def _load(path: str) -> Manifest:
    with open(path, "rb") as file:
        return read_manifest(file.read())


def build(ctx: Context, artifact: Row) -> tuple[Blob, Manifest]:
    """The final manifest of an artifact at commit, checked against what was uploaded.

    A FULL manifest stands alone; an INCREMENTAL one adds its entries to those of its base version; PATCH manifests of a
    distributed artifact are laid over each other in the order in which they were made.

    Raises:
        Unprocessable: No manifest was uploaded, or a file it names was not.
    """
    rows = ctx.tx.all("SELECT * FROM manifest WHERE artifact_id = ? AND sha256 IS NOT NULL ORDER BY id", artifact["id"])
    if not rows:
        raise Unprocessable("the artifact can't be committed: its manifest has not been uploaded")
    if rows[-1]["type"] == "FULL":
        rows = rows[-1:]
    header: dict[str, Any] = {}
    contents: Contents = {}
    bases: set[int] = set()
    for row in rows:
        base_id = row["base_artifact_id"]
        if row["type"] != "FULL" and base_id is not None and base_id not in bases:
            bases.add(base_id)
            base = ctx.tx.one("SELECT * FROM artifact WHERE id = ?", base_id)
            contents |= manifest_of(ctx, base).contents if base else {}
        manifest = read_manifest(ctx.services.blobs.read(row["sha256"]))
        header = dict(manifest.header)
        contents |= manifest.contents
    _check_uploaded(ctx, contents)
    merged = Manifest(header=header, contents=contents)
    if len(rows) == 1 and rows[0]["type"] == "FULL":
        stored = ctx.tx.one("SELECT * FROM blob WHERE sha256 = ?", rows[0]["sha256"])
        assert stored is not None
        from wandb_governance.server.store.blobs import Blob

        return Blob(sha256=stored["sha256"], md5=stored["md5"], size=stored["size"]), merged
    blob = ctx.services.blobs.put(orjson.dumps({**header, "contents": contents}))
    record_blob(ctx, blob)
    return blob, merged


def _check_uploaded(ctx: Context, contents: Contents) -> None:
    for name, entry in contents.items():
        if entry.get("ref") is None and blob_by_md5(ctx, entry["digest"]) is None:
            raise Unprocessable(f"the artifact can't be committed: {name[:200]!r} has not been uploaded")


def blob_by_md5(ctx: Context, md5: str) -> Row | None:
    """Stored bytes with this base64 MD5."""
    return ctx.tx.one("SELECT * FROM blob WHERE md5 = ? LIMIT 1", md5)


def record_blob(ctx: Context, blob: Blob) -> None:
    """Let the store know of a blob on disk."""
    ctx.tx.execute(
        "INSERT INTO blob (sha256, md5, size, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (sha256) DO NOTHING",
        blob.sha256, blob.md5, blob.size, ctx.now_ns,
    )  # fmt: skip


def checked_md5(value: Any) -> str:
    """A base64 MD5.

    Raises:
        BadRequest: It is not one.
    """
    try:
        raw = base64.b64decode(str(value), validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != 16:
        raise BadRequest(f"{str(value)[:64]!r} is not a base64 MD5")
    return base64.b64encode(raw).decode()
