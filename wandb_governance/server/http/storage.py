"""Bytes: uploads and downloads by signed link, and the paths that the SDK builds itself and sends with its key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from wandb_governance.server.http.requests import authenticate, guarded, services_of
from wandb_governance.server.problem import BadRequest, NotFound, TooLarge, Unprocessable
from wandb_governance.server.runs.files import clean_name, mimetype, run_file_blob, save_file
from wandb_governance.server.runs.lookup import require_run
from wandb_governance.server.store.blobs import Blob, md5_base64

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from wandb_governance.server.context import Context, Services
    from wandb_governance.server.store.database import Transaction

_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, PUT, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Expose-Headers": "ETag",
}

_MD5 = re.compile(r"[0-9a-f]{32}")


def _signed(request: Request) -> Services:
    services = services_of(request)
    services.signer.check(request.method, request.scope["path"], request.query_params)
    return services


async def preflight(_request: Request) -> Response:
    """Browsers may use a signed link; the link itself is the permission."""
    return Response(status_code=204, headers=_CORS)


async def _receive(request: Request, services: Services, *, md5: str | None = None) -> Blob:
    limit = services.settings.max_upload_bytes
    writer = await run_in_threadpool(services.blobs.writer)
    with writer:
        async for chunk in request.stream():
            if writer.size + len(chunk) > limit:
                raise TooLarge(f"the file is over {limit} bytes")
            # a chunk is at most 64 KiB: writing it here costs less than a thread switch
            writer.write(chunk)
        if md5 is not None and writer.md5 != md5:
            raise Unprocessable("the bytes do not have the MD5 that was announced; upload the file again")
        return await run_in_threadpool(writer.keep)


def _record(tx: Transaction, blob: Blob, now_ns: int) -> None:
    tx.execute(
        "INSERT INTO blob (sha256, md5, size, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (sha256) DO NOTHING",
        blob.sha256, blob.md5, blob.size, now_ns,
    )  # fmt: skip


def _stored(blob: Blob) -> Response:
    return Response(status_code=200, headers={"ETag": f'"{blob.md5}"', **_CORS})


async def put_run_file(request: Request) -> Response:
    """A file of a run."""
    services = _signed(request)
    run_id, name = request.path_params["run_id"], clean_name(request.path_params["name"])
    blob = await _receive(request, services)

    def save() -> None:
        now = services.clock.now_ns()
        with services.database.write() as tx:
            _record(tx, blob, now)
            save_file(tx, run_id, name, blob, now)

    await run_in_threadpool(save)
    return _stored(blob)


async def put_manifest(request: Request) -> Response:
    """A manifest; it counts from the moment it is whole and has the digest that was announced."""
    services = _signed(request)
    manifest_id = request.path_params["manifest_id"]
    blob = await _receive(request, services)

    def save() -> None:
        with services.database.write() as tx:
            row = tx.one("SELECT * FROM manifest WHERE id = ?", manifest_id)
            if row is None:
                raise NotFound("no such artifact manifest")
            if row["digest"] and row["digest"] != blob.md5:
                raise Unprocessable("the manifest does not have the digest that was announced; upload it again")
            _record(tx, blob, services.clock.now_ns())
            tx.update("manifest", manifest_id, sha256=blob.sha256)

    await run_in_threadpool(save)
    return _stored(blob)


async def put_artifact_file(request: Request) -> Response:
    """A file of an artifact, under the MD5 that was announced."""
    services = _signed(request)
    blob = await _receive(request, services, md5=_md5_of(request))

    def save() -> None:
        with services.database.write() as tx:
            _record(tx, blob, services.clock.now_ns())

    await run_in_threadpool(save)
    return _stored(blob)


async def put_part(request: Request) -> Response:
    """One part of a large file; the SDK needs the ETag."""
    services = _signed(request)
    upload_id, number = request.path_params["upload_id"], request.path_params["number"]
    blob = await _receive(request, services)

    def save() -> None:
        with services.database.write() as tx:
            if tx.one("SELECT 1 AS found FROM upload WHERE id = ?", upload_id) is None:
                raise NotFound("no such multipart upload")
            tx.execute(
                "INSERT INTO upload_part (upload_id, number, sha256, md5, size) VALUES (?, ?, ?, ?, ?) ON CONFLICT "
                "(upload_id, number) DO UPDATE SET sha256 = excluded.sha256, md5 = excluded.md5, size = excluded.size",
                upload_id, number, blob.sha256, blob.md5, blob.size,
            )  # fmt: skip

    await run_in_threadpool(save)
    return _stored(blob)


def _md5_of(request: Request) -> str:
    value = request.path_params["md5"]
    if not _MD5.fullmatch(value):
        raise BadRequest("the path needs a hexadecimal MD5")
    return md5_base64(value)


def _send(path: Path, name: str, etag: str) -> Response:
    # downloads are never rendered by a browser: a stored HTML file must not run as a page of this server
    headers = {
        "ETag": f'"{etag}"',
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        **_CORS,
    }
    return FileResponse(path, media_type=mimetype(name), headers=headers)


async def get_run_file(request: Request) -> Response:
    """A file of a run by signed link."""
    services = _signed(request)
    run_id, name = request.path_params["run_id"], clean_name(request.path_params["name"])

    def find() -> Any:
        with services.database.read() as tx:
            return run_file_blob(tx, run_id, name)

    row = await run_in_threadpool(find)
    return _send(services.blobs.path(row["sha256"]), name, row["md5"])


async def get_manifest(request: Request) -> Response:
    """The manifest of a version."""
    services = _signed(request)
    sha256 = request.path_params["sha256"]
    return _send(services.blobs.path(sha256), "manifest.json", sha256)


async def get_artifact_file(request: Request) -> Response:
    """A file of a version by signed link."""
    services = _signed(request)
    return await _send_by_md5(services, _md5_of(request), request.path_params["name"])


async def _send_by_md5(services: Services, md5: str, name: str) -> Response:
    def find() -> Any:
        with services.database.read() as tx:
            return tx.one("SELECT * FROM blob WHERE md5 = ? LIMIT 1", md5)

    row = await run_in_threadpool(find)
    if row is None:
        raise NotFound("the file has not been uploaded")
    return _send(services.blobs.path(row["sha256"]), name, md5)


async def get_by_key(request: Request) -> Response:
    """A file of a run under ``/files/{entity}/{project}/{run}/{name}``, with the key instead of a signature."""
    from wandb_governance.server.context import Context
    from wandb_governance.server.http.requests import base_url

    services = services_of(request)
    path = request.path_params
    name = clean_name(path["name"])

    def find() -> Any:
        with services.database.read() as tx:
            ctx: Context = Context(services=services, tx=tx, user=authenticate(tx, request), base_url=base_url(request))
            run = require_run(ctx, path["entity"], path["project"], path["run"])
            return run_file_blob(tx, run["id"], name)

    row = await run_in_threadpool(find)
    return _send(services.blobs.path(row["sha256"]), name, row["md5"])


async def get_artifact_by_key(request: Request) -> Response:
    """An artifact's file under a path the SDK builds when it has no link, with the key instead of a signature."""
    services = services_of(request)

    def check() -> None:
        with services.database.read() as tx:
            authenticate(tx, request)

    await run_in_threadpool(check)
    return await _send_by_md5(services, _md5_of(request), request.path_params.get("name", "file"))


def _route(path: str, **handlers: Any) -> list[Route]:
    routes = [Route(path, guarded(handler), methods=[method]) for method, handler in handlers.items()]
    return [*routes, Route(path, guarded(preflight), methods=["OPTIONS"])]


ROUTES = [
    *_route("/storage/run/{run_id:int}/{name:path}", PUT=put_run_file, GET=get_run_file),
    *_route("/storage/manifest/{manifest_id:int}", PUT=put_manifest),
    *_route("/storage/manifest/{artifact_id:int}/{sha256}", GET=get_manifest),
    *_route("/storage/cas/{artifact_id:int}/{md5}", PUT=put_artifact_file),
    *_route("/storage/cas/{artifact_id:int}/{md5}/{name:path}", GET=get_artifact_file),
    *_route("/storage/part/{upload_id}/{number:int}", PUT=put_part),
    Route("/artifactsV2/{region}/{entity}/{project}/{collection}/{artifact}/{birth}/{md5}/{name:path}",
          guarded(get_artifact_by_key), methods=["GET"]),
    Route("/artifactsV2/{region}/{entity}/{project}/{collection}/{birth}/{md5}/{name:path}",
          guarded(get_artifact_by_key), methods=["GET"]),
    Route("/artifactsV2/{region}/{entity}/{birth}/{md5}/{name:path}", guarded(get_artifact_by_key), methods=["GET"]),
    Route("/artifacts/{entity}/{md5}", guarded(get_artifact_by_key), methods=["GET"]),
    Route("/artifacts/{entity}/{md5}/{name:path}", guarded(get_artifact_by_key), methods=["GET"]),
    Route("/files/{entity}/{project}/{run}/{name:path}", guarded(get_by_key), methods=["GET"]),
]  # fmt: skip
