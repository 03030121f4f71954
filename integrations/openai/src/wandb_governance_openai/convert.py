"""What an OpenAI request and answer say, read from dicts or from the SDK's own objects. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wandb_governance.policy.verdict import Scope
from wandb_governance.tracing.span import LlmCall, SpanKind

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint that models are called on."""

    operation: str
    """Name after the OpenTelemetry GenAI conventions."""
    kind: SpanKind
    input_key: str
    """Key of the body that holds what goes in."""
    describes_usage: bool = False
    """Whether a stream reports usage only when asked by ``stream_options``."""


ENDPOINTS = {
    "/chat/completions": Endpoint(operation="chat", kind=SpanKind.LLM, input_key="messages", describes_usage=True),
    "/responses": Endpoint(operation="responses", kind=SpanKind.LLM, input_key="input"),
    "/embeddings": Endpoint(operation="embeddings", kind=SpanKind.EMBEDDING, input_key="input"),
    "/completions": Endpoint(operation="text_completion", kind=SpanKind.LLM, input_key="prompt", describes_usage=True),
}
"""Path below the API's base -> endpoint."""

_PARAMS = (
    "temperature", "top_p", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "seed", "stop",
    "frequency_penalty", "presence_penalty", "reasoning_effort", "service_tier", "dimensions",
)  # fmt: skip
_TEXT_KEYS = {"refusal": "refusal"}
"""Type of a part -> key of its text, where that is not ``text``."""
_LONG_DATA_CHARS = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One text inside a body or an answer."""

    path: Path
    text: str
    scope: Scope
    tool: str | None = None
    """Name of the tool, for tool scopes."""
    is_json: bool = False
    """The text is a JSON document: a tool call's arguments."""


def get(holder: object, key: str | int) -> Any:
    """A key, index or attribute; None where it is not there."""
    if isinstance(holder, Mapping):
        return holder.get(key)
    if isinstance(key, int):
        known = isinstance(holder, Sequence) and -len(holder) <= key < len(holder)
        return holder[key] if known else None  # type: ignore[index]
    return getattr(holder, key, None)


def endpoint_of(path: str) -> Endpoint | None:
    """The endpoint of a path, also of an Azure deployment's; None for what is no call of a model."""
    plain = path.partition("?")[0].rstrip("/")
    return next((known for suffix, known in _BY_LENGTH if plain.endswith(suffix)), None)


_BY_LENGTH = sorted(ENDPOINTS.items(), key=lambda item: -len(item[0]))


def input_slots(endpoint: Endpoint, body: Mapping[str, Any]) -> list[Slot]:
    """Every text of a request that the model reads."""
    found = list(_content(body.get("instructions"), ("instructions",), Scope.INPUT))
    variables = get(body.get("prompt"), "variables") if endpoint.input_key == "input" else None
    if isinstance(variables, Mapping):
        for name, value in variables.items():
            found.extend(_content(value, ("prompt", "variables", name), Scope.INPUT))
    given = body.get(endpoint.input_key)
    if isinstance(given, str):
        return [*found, Slot(path=(endpoint.input_key,), text=given, scope=Scope.INPUT)]
    tools = _tool_names(given)
    for index, item in enumerate(given or ()):
        found.extend(_item(item, (endpoint.input_key, index), tools))
    return found


def _item(item: object, path: Path, tools: Mapping[str, str]) -> Iterator[Slot]:
    """Texts of one message or input item."""
    if isinstance(item, str):
        yield Slot(path=path, text=item, scope=Scope.INPUT)
        return
    is_result = get(item, "role") == "tool" or str(get(item, "type") or "").endswith("_call_output")
    scope = Scope.TOOL_RESULT if is_result else Scope.INPUT
    tool = tools.get(get(item, "tool_call_id") or get(item, "call_id") or "") if is_result else None
    for key in ("content", "output", "summary", "refusal", "arguments", "reasoning_content"):
        yield from _content(get(item, key), (*path, key), scope, tool)
    for index, call in enumerate(get(item, "tool_calls") or ()):
        arguments = get(get(call, "function"), "arguments")
        yield from _content(arguments, (*path, "tool_calls", index, "function", "arguments"), Scope.INPUT)


def _content(value: object, path: Path, scope: Scope, tool: str | None = None) -> Iterator[Slot]:
    """Texts of a content: a string, or a list of parts."""
    if isinstance(value, str):
        if value:
            yield Slot(path=path, text=value, scope=scope, tool=tool)
        return
    if isinstance(value, Mapping) and isinstance(value.get("text"), str):
        yield Slot(path=(*path, "text"), text=value["text"], scope=scope, tool=tool)
        return
    if isinstance(value, Mapping | bytes) or not isinstance(value, Sequence):
        return
    for index, part in enumerate(value):
        if isinstance(part, str):
            yield from _content(part, (*path, index), scope, tool)
            continue
        key = _TEXT_KEYS.get(str(get(part, "type")), "text")
        text = get(part, key)
        if isinstance(text, str) and text:
            yield Slot(path=(*path, index, key), text=text, scope=scope, tool=tool)


def _tool_names(items: object) -> dict[str, str]:
    """Id of a tool call -> name of the tool, from the conversation so far."""
    names: dict[str, str] = {}
    for item in items if isinstance(items, list | tuple) else ():
        if get(item, "type") == "function_call":
            names[str(get(item, "call_id"))] = str(get(item, "name"))
        for call in get(item, "tool_calls") or ():
            names[str(get(call, "id"))] = str(get(get(call, "function"), "name"))
    return names


def output_slots(answer: object) -> list[Slot]:
    """Every text of an answer that reaches the application."""
    found: list[Slot] = []
    for index, choice in enumerate(get(answer, "choices") or ()):
        path: Path = ("choices", index)
        found.extend(_content(get(choice, "text"), (*path, "text"), Scope.OUTPUT))
        message = get(choice, "message")
        for key in ("content", "refusal", "reasoning_content", "reasoning"):
            found.extend(_content(get(message, key), (*path, "message", key), Scope.OUTPUT))
        found.extend(
            _content(get(get(message, "audio"), "transcript"), (*path, "message", "audio", "transcript"), Scope.OUTPUT)
        )
        for number, call in enumerate(get(message, "tool_calls") or ()):
            at = (*path, "message", "tool_calls", number)
            found.extend(_arguments(get(call, "function"), (*at, "function")))
            found.extend(_arguments(get(call, "custom"), (*at, "custom"), "input"))
        found.extend(_arguments(get(message, "function_call"), (*path, "message", "function_call")))
    for index, item in enumerate(get(answer, "output") or ()):
        for key in ("content", "summary"):
            found.extend(_content(get(item, key), ("output", index, key), Scope.OUTPUT))
        called = ITEM_TEXTS.get(str(get(item, "type")))
        found.extend(_arguments(item, ("output", index), called) if called else ())
    return found


ITEM_TEXTS = {
    "function_call": "arguments",
    "mcp_call": "arguments",
    "custom_tool_call": "input",
    "code_interpreter_call": "code",
}
"""Type of an output item that calls a tool -> where it holds what the tool gets."""


def _arguments(call: object, path: Path, key: str = "arguments") -> Iterator[Slot]:
    given = get(call, key)
    if isinstance(given, str) and given:
        yield Slot(path=(*path, key), text=given, scope=Scope.TOOL_ARGS, tool=get(call, "name"), is_json=True)


def replaced(value: Any, changes: Mapping[Path, str]) -> Any:
    """``value`` with other texts at some paths; everything on the way is copied, nothing is changed in place."""
    heads: dict[str | int, dict[Path, str]] = {}
    for path, text in changes.items():
        if not path:
            return text
        heads.setdefault(path[0], {})[path[1:]] = text
    made = {key: replaced(get(value, key), inner) for key, inner in heads.items()}
    if isinstance(value, Mapping):
        return {**value, **made}
    if isinstance(value, Sequence):
        return [made.get(index, item) for index, item in enumerate(value)]
    return value.model_copy(update=made)


def rewritten(answer: Any, changes: Mapping[Path, str]) -> Any:
    """An answer with other texts, and without what else would tell the old ones: log probabilities, speech."""
    made = replaced(answer, changes)
    for choice in get(made, "choices") or ():
        _put(choice, "logprobs", None)
        _put(get(get(choice, "message"), "audio"), "data", "")
    for item in get(made, "output") or ():
        for part in get(item, "content") or ():
            _put(part, "logprobs", [])
    return made


def _put(holder: Any, key: str, value: object) -> None:
    if not get(holder, key):
        return
    if isinstance(holder, dict):
        holder[key] = value
    else:
        setattr(holder, key, value)


def started(body: Mapping[str, Any], *, provider: str, slots: Sequence[Slot]) -> LlmCall:
    """What is known when a call begins."""
    return LlmCall(
        provider=provider,
        request_model=_name(body.get("model")),
        streaming=bool(body.get("stream")),
        choices=body["n"] if isinstance(body.get("n"), int) else 1,
        service_tier=_name(body.get("service_tier")),
        input_chars=sum(len(slot.text) for slot in slots),
        params={name: body[name] for name in _PARAMS if body.get(name) is not None} or None,
    )


def usage_of(answer: object) -> Mapping[str, Any] | None:
    """The token counts of an answer, in the provider's shape."""
    usage = get(answer, "usage")
    if usage is None:
        return None
    dump = getattr(usage, "model_dump", None)
    return dump(exclude_none=True) if callable(dump) else dict(usage)


def finish_reason_of(answer: object) -> str | None:
    """Why the model stopped; several choices' reasons joined."""
    reasons = [_name(get(choice, "finish_reason")) for choice in get(answer, "choices") or ()]
    known = list(dict.fromkeys(reason for reason in reasons if reason))
    if known:
        return ",".join(known)
    return _name(get(get(answer, "incomplete_details"), "reason")) or _name(get(answer, "status"))


def recorded_input(body: Mapping[str, Any], endpoint: Endpoint) -> object:
    """What goes into the trace for a request: its texts, with media as size and digest."""
    given = body.get(endpoint.input_key)
    instructions = body.get("instructions")
    return without_media({"instructions": instructions, "input": given} if instructions else given)


def recorded_output(answer: object) -> object:
    """What goes into the trace for an answer: the text where that is all, else content and tool calls."""
    vectors = get(answer, "data")
    if isinstance(vectors, list) and vectors and get(vectors[0], "embedding") is not None:
        return f"<{len(vectors)} embeddings>"
    told = [_told(get(choice, "message"), get(choice, "text")) for choice in get(answer, "choices") or ()]
    if not told:
        told = _told_items(get(answer, "output") or ())
    return told[0] if len(told) == 1 else told


def _told(message: object, text: object) -> object:
    if message is None:
        return text
    calls = [_call(get(call, "function")) for call in get(message, "tool_calls") or ()]
    content = get(message, "content") or get(message, "refusal")
    return {"content": content, "tool_calls": calls} if calls else content


def _told_items(items: Sequence[object]) -> list[object]:
    told: list[object] = []
    for item in items:
        if get(item, "type") == "function_call":
            told.append({"tool_calls": [_call(item)]})
        texts = [slot.text for slot in _content(get(item, "content"), (), Scope.OUTPUT)]
        if texts:
            told.append("".join(texts))
    return told


def _call(call: object) -> dict[str, object]:
    return {"name": get(call, "name"), "arguments": get(call, "arguments")}


def without_media(value: object) -> object:
    """``value`` with images, audio and files as kind, length and SHA-256."""
    if isinstance(value, str):
        if not value.startswith("data:"):
            return value
        return _digest(value[5 : value.find(",", 0, 80)], value)
    if isinstance(value, Mapping):
        # Audio and files come as bare base64 under these keys.
        return {
            key: _digest(key, item)
            if key in {"data", "file_data"} and isinstance(item, str) and len(item) > _LONG_DATA_CHARS
            else without_media(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_media(item) for item in value]
    return value


def _digest(kind: str, data: str) -> str:
    return (
        f"<{kind[:64]}, {len(data)} characters, sha256 {hashlib.sha256(data.encode('utf-8', 'replace')).hexdigest()}>"
    )


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
