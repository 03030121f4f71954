"""Messages with other texts in them. Pure: what is given stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration

from wandb_governance_langchain.convert import MEDIA

Take = Callable[[str], str]
"""Gets each text in turn and says what stands in its place."""

_LABELS = frozenset({"type", "id", "name", "index", "signature", "tool_use_id", "tool_call_id", "role", "mime_type"})
"""Keys of content blocks whose strings are no text."""
_RAW_CALLS = ("tool_calls", "function_call")


def texts_of(values: Sequence[object]) -> list[str]:
    """Every text in messages or plain data, in order."""
    found: list[str] = []

    def take(text: str) -> str:
        found.append(text)
        return text

    for value in values:
        rewritten(value, take)
    return found


def with_texts(values: Sequence[Any], texts: Sequence[str]) -> list[Any]:
    """Copies of ``values`` with ``texts`` in the order of ``texts_of``."""
    left: Iterator[str] = iter(texts)
    return [rewritten(value, lambda _: next(left)) for value in values]


def rewritten(value: object, take: Take) -> Any:
    """A copy with every text passed through ``take``; media and labels are left out."""
    if isinstance(value, BaseMessage):
        return _message(value, take)
    if isinstance(value, str):
        return take(value) if value else value
    if isinstance(value, Mapping):
        if value.get("type") in MEDIA:
            return value
        return {key: item if key in _LABELS else rewritten(item, take) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rewritten(item, take) for item in value]
    return value


def _message(message: BaseMessage, take: Take) -> BaseMessage:
    update: dict[str, Any] = {"content": rewritten(message.content, take)}
    calls = message.__dict__.get("tool_calls")
    if calls:
        update["tool_calls"] = [{**call, "args": rewritten(call["args"], take)} for call in calls]
    extra = message.additional_kwargs
    if extra.get("reasoning_content"):
        update["additional_kwargs"] = {**extra, "reasoning_content": rewritten(extra["reasoning_content"], take)}
    return message.model_copy(update=update)


def without_copies(message: BaseMessage) -> BaseMessage:
    """``message`` without the places where providers repeat its text: raw tool calls and token probabilities."""
    extra = {key: value for key, value in message.additional_kwargs.items() if key not in _RAW_CALLS}
    said = {key: value for key, value in message.response_metadata.items() if key != "logprobs"}
    return message.model_copy(update={"additional_kwargs": extra, "response_metadata": said})


def generation_of(generation: ChatGeneration, message: BaseMessage) -> ChatGeneration:
    """``generation`` with another message."""
    info = generation.generation_info
    if info is not None:
        info = {key: value for key, value in info.items() if key != "logprobs"}
    return ChatGeneration(message=without_copies(message), generation_info=info)
