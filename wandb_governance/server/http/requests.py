"""What every route needs: the key, a bounded body, an answer for every failure."""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import logging
import zlib
from typing import TYPE_CHECKING, Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from wandb_governance.server.accounts.keys import user_of_key
from wandb_governance.server.problem import BadRequest, Overloaded, Problem, TooLarge, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from wandb_governance.server.context import Services
    from wandb_governance.server.graphql.schema import Row
    from wandb_governance.server.store.database import Transaction

logger = logging.getLogger("wandb_governance.server")

Handler = "Callable[[Request], Awaitable[Response]]"


class JsonResponse(JSONResponse):
    """JSON by orjson."""

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)


def services_of(request: Request) -> Services:
    """The services of the process."""
    services: Services = request.app.state.services
    return services


def base_url(request: Request) -> str:
    """Scheme and host that the client used."""
    return str(request.base_url).rstrip("/")


def key_of(request: Request) -> str:
    """The key in the request's Authorization header: the password of Basic, or a Bearer token.

    Raises:
        Unauthorized: There is none.
    """
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (ValueError, binascii.Error):
            raise Unauthorized("the Authorization header is not valid Basic authentication") from None
    raise Unauthorized("an API key is required: log in with the key that the server printed")


def authenticate(tx: Transaction, request: Request) -> Row:
    """The user of the request.

    Raises:
        Unauthorized: No key, or none of this server.
    """
    return user_of_key(tx, key_of(request))


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, unpacked when it is gzipped.

    Raises:
        TooLarge: It is over ``limit`` bytes, packed or unpacked.
        BadRequest: It is not what its encoding says.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise TooLarge(f"the body is over {limit} bytes")
    parts = bytearray()
    async for chunk in request.stream():
        parts += chunk
        if len(parts) > limit:
            raise TooLarge(f"the body is over {limit} bytes")
    if request.headers.get("content-encoding", "").lower() == "gzip":
        return await run_in_threadpool(_unpack, bytes(parts), limit)
    return bytes(parts)


def _unpack(packed: bytes, limit: int) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            content = file.read(limit + 1)
    except (OSError, EOFError, zlib.error):
        raise BadRequest("the body is not valid gzip") from None
    if len(content) > limit:
        raise TooLarge(f"the unpacked body is over {limit} bytes")
    return content


def read_json(body: bytes) -> Any:
    """A decoded JSON body.

    Raises:
        BadRequest: It is not JSON.
    """
    try:
        return orjson.loads(body)
    except ValueError:
        raise BadRequest("the body is not valid JSON") from None


def refusal(problem: Problem) -> Response:
    """The answer to a failure, in the form whose message the SDK shows."""
    headers = {"Retry-After": "2"} if isinstance(problem, Overloaded) else {}
    if isinstance(problem, Unauthorized):
        headers["WWW-Authenticate"] = 'Basic realm="wandb"'
    return JsonResponse({"errors": [{"message": problem.message}]}, status_code=problem.status, headers=headers)


def guarded(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """``handler`` with every failure answered; a fault of the server is logged and becomes 422, never 500.

    The SDK retries a 5xx for minutes while the user's process waits, and the retry would fail the same way.
    """

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Problem as problem:
            return refusal(problem)
        except RecursionError:
            return refusal(BadRequest("the request is nested too deeply"))
        except Exception as error:
            logger.exception("%s %s failed", request.method, request.url.path)
            return refusal(
                Problem(f"the server could not answer ({type(error).__name__}); its log has the details", status=422)
            )

    return answer
