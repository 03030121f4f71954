"""What the SDK returns, brought under governance: objects, raw responses, streams."""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from wandb_governance.policy.verdict import Scope
from wandb_governance.tracing.span import SpanStatus
from wandb_governance_openai import convert
from wandb_governance_openai.call import GovernedCall, OpenAIPolicyViolation
from wandb_governance_openai.convert import get
from wandb_governance_openai.guard import judged_json, tee
from wandb_governance_openai.stream import AsyncGovernedIterator, GovernedIterator, StreamedCall

if TYPE_CHECKING:
    from collections.abc import Callable

_UNPARSED = ("iter_bytes", "iter_text", "iter_lines", "iter_raw", "read", "text", "json", "stream_to_file")


def governed(call: GovernedCall, result: Any, streamed: StreamedCall | None) -> Any:
    """What the application gets from a sync client."""
    if streamed is not None:
        return _streamed(call, result, streamed)
    if hasattr(result, "http_response"):
        _ending_on_error(call, result.http_response.read)
        _judge_raw(call, result.http_response)
        return result
    return _whole(call, result)


async def governed_async(call: GovernedCall, result: Any, streamed: StreamedCall | None) -> Any:
    """What the application gets from an async client."""
    if streamed is not None:
        return _streamed(call, result, streamed)
    if hasattr(result, "http_response"):
        try:
            await result.http_response.aread()
        except BaseException as error:
            call.end(error=error)
            raise
        _judge_raw(call, result.http_response)
        return result
    return _whole(call, result)


def _ending_on_error(call: GovernedCall, action: Callable[[], object]) -> None:
    try:
        action()
    except BaseException as error:
        call.end(error=error)
        raise


def _whole(call: GovernedCall, answer: Any) -> Any:
    """A whole answer, redacted where a policy says so."""
    changes = call.judged(answer)
    if changes:
        try:
            answer = _reparsed(convert.rewritten(answer, changes))
        except OpenAIPolicyViolation as error:
            call.end(error=error)
            raise
    call.complete(answer)
    return answer


def _judge_raw(call: GovernedCall, response: Any) -> None:
    """The body of a raw response; what a policy redacts is written back into it before anyone reads it."""
    content = judged_json(call, response.content)
    if content is not None:
        response._content = content  # noqa: SLF001 - read already, so this is what every way to read it gives


def _reparsed(answer: Any) -> Any:
    """An answer whose structured parts are read again from the redacted text.

    Raises:
        OpenAIPolicyViolation: The redacted text does not fit the structure any more.
    """
    holders = [get(choice, "message") for choice in get(answer, "choices") or ()]
    holders += [part for item in get(answer, "output") or () for part in get(item, "content") or ()]
    for holder in holders:
        _reparse(holder, "parsed", get(holder, "content") or get(holder, "text"))
        for call in get(holder, "tool_calls") or ():
            _reparse(get(call, "function"), "parsed_arguments", get(get(call, "function"), "arguments"))
    for item in get(answer, "output") or ():
        _reparse(item, "parsed_arguments", get(item, "arguments"))
    return answer


def _reparse(holder: Any, name: str, text: object) -> None:
    parsed = get(holder, name)
    if parsed is None or not isinstance(text, str):
        return
    try:
        if isinstance(parsed, BaseModel):
            made: Any = type(parsed).model_validate_json(text)
        else:
            made = TypeAdapter(type(parsed)).validate_json(text)
    except ValidationError:
        raise OpenAIPolicyViolation(
            policy="redaction", scope=Scope.OUTPUT, reasons=("the redacted answer does not fit its structure any more",)
        ) from None
    setattr(holder, name, made)


def _streamed(call: GovernedCall, result: Any, streamed: StreamedCall) -> Any:
    """A stream, or a raw response that becomes one when it is parsed."""
    if hasattr(result, "_iterator"):
        _take_over(result, streamed)
        return result
    http_response = getattr(result, "http_response", None)
    if http_response is None:
        return _unknown(call, result)
    parse = result.parse
    seen = None if call.acts_on_answers else tee(call, http_response)

    def take_over(stream: Any) -> Any:
        if seen is not None:
            seen.active = False
        return _take_over(stream, streamed)

    async def parsed_async(*args: Any, **kwargs: Any) -> Any:
        return take_over(await parse(*args, **kwargs))

    is_async = inspect.iscoroutinefunction(getattr(parse, "__func__", parse))
    result.parse = parsed_async if is_async else lambda *args, **kwargs: take_over(parse(*args, **kwargs))
    if seen is None:
        _forbid_unparsed(result)
        _end_with(http_response, streamed.leave)
    return result


def _unknown(call: GovernedCall, result: Any) -> Any:
    """A stream of a class that the application brought: not to be read by anyone else."""
    if call.acts_on_answers:
        reasons = (f"a policy acts on output, and {type(result).__name__} can't be judged",)
        error = OpenAIPolicyViolation(policy="engine", scope=Scope.OUTPUT, reasons=reasons)
        call.end(error=error)
        raise error
    call.end(SpanStatus.OK)
    return result


def _take_over(stream: Any, streamed: StreamedCall) -> Any:
    """Put governance inside the SDK's stream; the object stays the one that the SDK made."""
    source = stream._iterator  # noqa: SLF001 - the one place through which all pieces pass
    if isinstance(source, GovernedIterator | AsyncGovernedIterator):
        return stream
    kind = AsyncGovernedIterator if hasattr(source, "__anext__") else GovernedIterator
    stream._iterator = kind(source, streamed)  # noqa: SLF001
    _end_with(stream.response, streamed.leave)
    return stream


def _end_with(response: Any, leave: Callable[[], None]) -> None:
    """Call ``leave`` when a response is closed: the helpers close it, not the stream."""
    close, aclose = response.close, response.aclose

    def closed() -> None:
        leave()
        close()

    async def aclosed() -> None:
        leave()
        await aclose()

    response.close, response.aclose = closed, aclosed


def _forbid_unparsed(response: Any) -> None:
    """Where a policy acts on output, the lines of a raw stream can't be handed out."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        raise OpenAIPolicyViolation(
            policy="engine",
            scope=Scope.OUTPUT,
            reasons=("a policy acts on output, and a raw stream can't be judged; read response.parse() instead",),
        )

    for name in _UNPARSED:
        with contextlib.suppress(AttributeError):
            if callable(getattr(type(response), name, None)):
                setattr(response, name, refuse)
