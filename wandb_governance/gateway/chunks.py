"""The chunks of an upstream's stream, and every way in which it may end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import orjson

from wandb_governance.gateway.sse import SseReader
from wandb_governance.gateway.wire import WireError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wandb_governance.gateway.upstream import Answer


async def chunks_of(answer: Answer) -> AsyncIterator[dict[str, Any]]:
    """Chunks of a streamed answer, up to its end.

    Raises:
        WireError: The upstream broke off, stopped, or sent what is no chunk.
    """
    reader = SseReader()
    ended = False
    try:
        async for piece in answer.response.content.iter_any():
            for data in reader.feed(piece):
                if data == b"[DONE]":
                    return
                chunk = _chunk(data)
                ended = ended or _is_last(chunk)
                yield chunk
    except TimeoutError as error:
        raise WireError(504, "the upstream stopped in the middle of its answer", kind="server_error") from error
    except ValueError as error:
        raise WireError(502, f"the upstream's stream can't be read: {error}", kind="server_error") from error
    except (aiohttp.ClientError, OSError) as error:
        raise WireError(502, "the upstream broke off its answer", kind="server_error") from error
    for data in reader.finish():
        if data != b"[DONE]":
            chunk = _chunk(data)
            ended = ended or _is_last(chunk)
            yield chunk
    if not ended:
        raise WireError(502, "the upstream ended its stream without finishing its answer", kind="server_error")


def _chunk(data: bytes) -> dict[str, Any]:
    try:
        chunk = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise WireError(502, "the upstream sent a chunk that is not JSON", kind="server_error") from error
    if not isinstance(chunk, dict):
        raise WireError(502, "the upstream sent a chunk that is no object", kind="server_error")
    if isinstance(chunk.get("error"), dict) and "choices" not in chunk and "type" not in chunk:
        message = str(chunk["error"].get("message", "the upstream failed"))
        raise WireError(502, message, kind=str(chunk["error"].get("type") or "upstream_error"))
    return chunk


def _is_last(chunk: dict[str, Any]) -> bool:
    kind = chunk.get("type")
    if kind is not None:
        return kind in {"response.completed", "response.incomplete", "response.failed", "error"}
    choices = chunk.get("choices")
    return isinstance(choices, list) and any(isinstance(c, dict) and c.get("finish_reason") for c in choices)
