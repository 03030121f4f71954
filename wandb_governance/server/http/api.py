"""``POST /graphql`` and the file stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from wandb_governance.server.context import Context
from wandb_governance.server.graphql.document import read_operation
from wandb_governance.server.graphql.executor import execute, root_fields
from wandb_governance.server.graphql.schema import OWN_TRANSACTION
from wandb_governance.server.hook import GATED, Actor
from wandb_governance.server.http.requests import (
    JsonResponse,
    authenticate,
    base_url,
    guarded,
    read_body,
    read_json,
    services_of,
)
from wandb_governance.server.problem import BadRequest, Refused
from wandb_governance.server.runs import filestream

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from wandb_governance.server.context import Services
    from wandb_governance.server.graphql.document import Operation
    from wandb_governance.server.graphql.schema import Row


async def graphql(request: Request) -> Response:
    """Answer one GraphQL request."""
    services = services_of(request)
    user = await run_in_threadpool(user_of, services, request)
    body = await read_body(request, services.settings.max_body_bytes)
    data = await run_in_threadpool(_answer, services, user, base_url(request), body)
    return JsonResponse({"data": data})


def user_of(services: Services, request: Request) -> Row:
    """The user whose key a request carries."""
    with services.database.read() as tx:
        return authenticate(tx, request)


def _answer(services: Services, user: Row, base: str, body: bytes) -> Row:
    operation = read_operation(read_json(body))
    if not operation.mutation:
        with services.database.read() as tx:
            return execute(operation, Context(services=services, tx=tx, user=user, base_url=base))
    names = [name for name, _ in root_fields(operation)]
    if any(name in OWN_TRANSACTION for name in names):
        if len(names) > 1:
            raise BadRequest(f"{names[0]!r} must be the only field of its mutation")
        return execute(operation, Context(services=services, tx=cast("Any", None), user=user, base_url=base))
    _ask_hook(services, user, operation)
    with services.database.write() as tx:
        return execute(operation, Context(services=services, tx=tx, user=user, base_url=base))


def _ask_hook(services: Services, user: Row, operation: Operation) -> None:
    for name, args in root_fields(operation):
        if name in GATED:
            given: Any = args.get("input")
            reason = services.hook.check(
                name, given if isinstance(given, dict) else {}, Actor(username=user["username"], entity=None)
            )
            if reason is not None:
                raise Refused(reason)


async def file_stream(request: Request) -> Response:
    """Take one request of a run's file stream."""
    services = services_of(request)
    user = await run_in_threadpool(user_of, services, request)
    raw = await read_body(request, services.settings.max_body_bytes)
    body = read_json(raw) if raw else {}
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    reply = await run_in_threadpool(_receive, services, user, base_url(request), dict(request.path_params), body)
    return JsonResponse(reply)


def _receive(services: Services, user: Row, base: str, path: Row, body: Row) -> Row:
    with services.database.write() as tx:
        ctx = Context(services=services, tx=tx, user=user, base_url=base)
        return filestream.receive(ctx, path["entity"], path["project"], path["run"], body)


ROUTES = [
    Route("/graphql", guarded(graphql), methods=["POST"]),
    Route("/files/{entity}/{project}/{run}/file_stream", guarded(file_stream), methods=["POST"]),
]
