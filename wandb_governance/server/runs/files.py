"""Files of a run: upload links, listing, deletion; bytes are blobs."""

from __future__ import annotations

import mimetypes
from typing import TYPE_CHECKING, Any

from wandb_governance.server.context import iso
from wandb_governance.server.gid import decode, encode
from wandb_governance.server.graphql.connection import page, page_bounds
from wandb_governance.server.graphql.schema import MUTATION, NodeType
from wandb_governance.server.problem import BadRequest, NotFound
from wandb_governance.server.runs.lookup import require_run
from wandb_governance.server.runs.nodes import RUN

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Row
    from wandb_governance.server.store.blobs import Blob
    from wandb_governance.server.store.database import Transaction

FILE = NodeType("File")
FILE.columns(name="name", displayName="name", sizeBytes="size", md5="md5", digest="md5", storagePath="storage_path")
FILE.field("id")(lambda file, _args, _ctx: encode("File", file["id"]))
FILE.field("mimetype")(lambda file, _args, _ctx: mimetype(file["name"]))
FILE.field("updatedAt")(lambda file, _args, _ctx: iso(file["updated_at"]))
FILE.field("directUrl")(lambda file, _args, ctx: ctx.link("GET", file["path"]))


@FILE.field("url")
def url(file: Row, args: Args, ctx: Context) -> str:
    """A link to the bytes, or with ``upload`` one to replace them."""
    return ctx.link("PUT" if args.get("upload") else "GET", file["path"])


def mimetype(name: str) -> str:
    """Media type by the name's ending."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def clean_name(name: Any) -> str:
    """A file name relative to its run or artifact, ``./`` taken away.

    Raises:
        BadRequest: It leaves the folder, is absolute, is empty or holds a control character.
    """
    if not isinstance(name, str) or not name or len(name) > 1024 or any(ord(c) < 32 for c in name):
        raise BadRequest("a file name must be 1 to 1,024 characters without control characters")
    parts = [part for part in name.replace("\\", "/").split("/") if part != "."]
    if name.startswith("/") or not parts or any(part in {"", ".."} for part in parts):
        raise BadRequest(f"the file name {name[:80]!r} leaves its folder")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise BadRequest("a file name must be valid Unicode") from None
    return "/".join(parts)


def storage_path(run_id: int, name: str) -> str:
    """Path of the link under which a run's file is put and fetched."""
    return f"/storage/run/{run_id}/{name}"


def file_node(row: Row) -> object:
    """The node of a ``run_file`` row."""
    path = storage_path(row["run_id"], row["name"])
    return FILE(row | {"path": path, "storage_path": path.removeprefix("/storage/")})


def save_file(tx: Transaction, run_id: int, name: str, blob: Blob, now_ns: int) -> None:
    """Record that a run's file now has these bytes.

    Raises:
        NotFound: The run was deleted meanwhile.
    """
    if tx.one("SELECT 1 AS found FROM run WHERE id = ?", run_id) is None:
        raise NotFound("the run does not exist any more")
    tx.execute(
        "INSERT INTO run_file (run_id, name, sha256, md5, size, updated_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT "
        "(run_id, name) DO UPDATE SET sha256 = excluded.sha256, md5 = excluded.md5, size = excluded.size, "
        "updated_at = excluded.updated_at",
        run_id, name, blob.sha256, blob.md5, blob.size, now_ns,
    )  # fmt: skip


@MUTATION.field("createRunFiles")
def create_run_files(_root: Row, args: Args, ctx: Context) -> Row:
    """Upload links for files of a run."""
    given = args.get("input") or {}
    run = require_run(ctx, given.get("entityName"), given.get("projectName"), given.get("runName"))
    names = given.get("files")
    if not isinstance(names, list) or len(names) > 10_000:
        raise BadRequest("files must be a list of at most 10,000 names")
    files = [{"name": name, "uploadUrl": ctx.link("PUT", storage_path(run["id"], clean_name(name)))} for name in names]
    return {"runID": encode("Run", run["id"]), "uploadHeaders": [], "files": files}


@MUTATION.field("markRunFilesUploaded")
def mark_run_files_uploaded(_root: Row, args: Args, ctx: Context) -> Row:
    """Accepted: this server knows a file from the moment its bytes are complete."""
    given = args.get("input") or {}
    require_run(ctx, given.get("entityName"), given.get("projectName"), given.get("runName"))
    return {"success": True}


@MUTATION.field("deleteFiles")
def delete_files(_root: Row, args: Args, ctx: Context) -> Row:
    """Remove files from their runs."""
    given = args.get("input") or {}
    ids = given.get("files")
    if not isinstance(ids, list):
        raise BadRequest("files must be a list of ids")
    for gid in ids:
        ctx.tx.execute("DELETE FROM run_file WHERE id = ?", decode(gid, "File"))
    return {"success": True}


@RUN.field("fileCount")
def file_count(run: Row, _args: Args, ctx: Context) -> int:
    """Files that were uploaded."""
    return int(ctx.tx.scalar("SELECT count(*) FROM run_file WHERE run_id = ?", run["id"]))


@RUN.field("files")
def files(run: Row, args: Args, ctx: Context) -> Row:
    """Files by name or by a LIKE pattern, in pages."""
    names = args.get("names")
    if names:
        wanted = [clean_name(name) for name in names]
        found = {row["name"]: row for row in _by_names(ctx, run["id"], wanted)}
        rows = [found.get(name) or _not_there(run["id"], name) for name in dict.fromkeys(wanted)]
        return page([file_node(row) for row in rows], 0, len(rows))
    pattern = args.get("pattern")
    if pattern is not None and (not isinstance(pattern, str) or len(pattern) > 256):
        raise BadRequest("pattern must be text of at most 256 characters")
    like = pattern or "%"
    offset, size = page_bounds(args)
    total = ctx.tx.scalar("SELECT count(*) FROM run_file WHERE run_id = ? AND name LIKE ?", run["id"], like)
    rows = ctx.tx.all(
        "SELECT * FROM run_file WHERE run_id = ? AND name LIKE ? ORDER BY name LIMIT ? OFFSET ?",
        run["id"], like, size, offset,
    )  # fmt: skip
    return page([file_node(row) for row in rows], offset, total)


def _by_names(ctx: Context, run_id: int, names: list[str]) -> list[Row]:
    marks = ", ".join("?" * len(names))
    return ctx.tx.all(f"SELECT * FROM run_file WHERE run_id = ? AND name IN ({marks})", run_id, *names)  # noqa: S608


def _not_there(run_id: int, name: str) -> Row:
    # the SDK asks for a name to learn its link before the file exists, and reads size 0 as "not there"
    return {
        "id": 0, "run_id": run_id, "name": name, "md5": None, "size": 0, "sha256": None, "updated_at": None,
    }  # fmt: skip


def run_file_blob(tx: Transaction, run_id: int, name: str) -> Row:
    """The row of an uploaded file.

    Raises:
        NotFound: It has not been uploaded.
    """
    row = tx.one("SELECT * FROM run_file WHERE run_id = ? AND name = ? AND sha256 IS NOT NULL", run_id, name)
    if row is None:
        raise NotFound(f"the run has no file {name[:80]!r}")
    return row
