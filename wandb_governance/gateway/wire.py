"""The OpenAI wire format: where its bodies hold text, and what its errors look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.policy.verdict import Scope

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Slot:
    """One text in a body, and where to write it back."""

    holder: Any
    """The dict or list that holds it."""
    key: str | int
    scope: Scope
    role: str | None = None
    is_json: bool = False
    """JSON as text, such as a tool call's arguments."""
    tool: str | None = None

    @property
    def text(self) -> str:
        """The text."""
        value: str = self.holder[self.key]
        return value

    def write(self, text: str) -> None:
        """Put ``text`` in its place."""
        self.holder[self.key] = text


class WireError(Exception):
    """An answer other than 200, in the shape that openai clients understand."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        details: dict[str, Any] | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.code = code
        self.error: dict[str, Any] = {"message": message, "type": kind, "param": param, "code": code}
        if details:
            self.error |= details
        super().__init__(message)

    @property
    def body(self) -> bytes:
        """The JSON body."""
        return orjson.dumps({"error": self.error})


NO_RETRY = ((b"x-should-retry", b"false"),)
"""Tells openai clients that the same request will get the same answer."""

_ROLE_SCOPE = {"tool": Scope.TOOL_RESULT, "function": Scope.TOOL_RESULT}
_TEXT_PARTS = frozenset({"text", "input_text", "output_text", "summary_text", "reasoning_text"})


def chat_request(body: dict[str, Any]) -> Iterator[Slot]:
    """Texts of a chat completion's request.

    Raises:
        WireError: ``messages`` has a form that can't be read.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise WireError(400, "messages must be a list with at least one message", param="messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise WireError(400, "a message must be an object", param=f"messages[{index}]")
        role = str(message.get("role"))
        scope = _ROLE_SCOPE.get(role, Scope.INPUT)
        yield from _content(message, "content", scope, role, f"messages[{index}].content")
        yield from _message_extras(message, Scope.INPUT, Scope.TOOL_ARGS, role)
    prediction = body.get("prediction")
    if isinstance(prediction, dict):
        yield from _content(prediction, "content", Scope.INPUT, "user", "prediction.content")


def chat_response(body: dict[str, Any]) -> Iterator[Slot]:
    """Texts of a chat completion's answer."""
    for choice in _dicts(body.get("choices")):
        message = choice.get("message")
        if isinstance(message, dict):
            yield from _content(message, "content", Scope.OUTPUT, "assistant", "content")
            yield from _message_extras(message, Scope.OUTPUT, Scope.TOOL_ARGS, "assistant")
        if isinstance(choice.get("text"), str):
            yield Slot(choice, "text", Scope.OUTPUT, "assistant")


def responses_request(body: dict[str, Any]) -> Iterator[Slot]:
    """Texts of a request to ``/v1/responses``.

    Raises:
        WireError: ``input`` has a form that can't be read.
    """
    if isinstance(body.get("instructions"), str):
        yield Slot(body, "instructions", Scope.INPUT, "system")
    given = body.get("input")
    if isinstance(given, str):
        yield Slot(body, "input", Scope.INPUT, "user")
        return
    if given is None:
        return
    if not isinstance(given, list):
        raise WireError(400, "input must be text or a list of items", param="input")
    for index, item in enumerate(given):
        if not isinstance(item, dict):
            raise WireError(400, "an item must be an object", param=f"input[{index}]")
        yield from _item(item, Scope.INPUT, f"input[{index}]")


def responses_response(body: dict[str, Any]) -> Iterator[Slot]:
    """Texts of an answer of ``/v1/responses``."""
    for item in _dicts(body.get("output")):
        yield from _item(item, Scope.OUTPUT, "output")


def output_item(item: dict[str, Any]) -> Iterator[Slot]:
    """Texts of one output item, as streams send it."""
    yield from _item(item, Scope.OUTPUT, "item")


def output_part(part: dict[str, Any]) -> Iterator[Slot]:
    """Texts of one content part, as streams send it."""
    for key in ("text", "refusal", "transcript"):
        if isinstance(part.get(key), str):
            yield Slot(part, key, Scope.OUTPUT, "assistant")


def embeddings_request(body: dict[str, Any]) -> Iterator[Slot]:
    """Texts of an embeddings request.

    Raises:
        WireError: ``input`` is tokens, which no policy can look into, or has another form that can't be read.
    """
    given = body.get("input")
    if isinstance(given, str):
        yield Slot(body, "input", Scope.INPUT, "user")
        return
    if not isinstance(given, list) or not given:
        raise WireError(400, "input must be text or a list of texts", param="input")
    for index, item in enumerate(given):
        if not isinstance(item, str):
            raise WireError(400, "token ids can't be checked by a policy: send text", param=f"input[{index}]")
        yield Slot(given, index, Scope.INPUT, "user")


def embeddings_response(body: dict[str, Any]) -> Iterator[Slot]:
    """Nothing: an embedding holds no text."""
    del body
    return iter(())


_STRUCTURAL = frozenset(
    """
    $ref anyOf b64_json call_id const data detail encoding_format encrypted_content enum file_data file_id file_url
    finish_reason format id image_url input_audio item_id key model name object pattern previous_response_id required
    role service_tier status system_fingerprint tool_call_id tool_choice type url
    """.split()  # noqa: SIM905 - one a line would be a page
)
"""Keys whose text a provider acts on and no person wrote; changing it would change what the request means."""
_SHORTEST = 4
_DEEPEST = 40


def other_texts(body: dict[str, Any], known: list[Slot], scope: Scope = Scope.INPUT) -> Iterator[Slot]:
    """Every text of a body that ``known`` does not hold: descriptions of tools, metadata, keys nobody has heard of.

    Raises:
        WireError: The body is nested too deep to look through.
    """
    seen = {(id(slot.holder), slot.key) for slot in known}
    yield from _walk(body, seen, scope, 0)


def _walk(holder: Any, seen: set[tuple[int, str | int]], scope: Scope, depth: int) -> Iterator[Slot]:
    if depth > _DEEPEST:
        raise WireError(400, f"the body is nested more than {_DEEPEST} deep")
    items: Any = holder.items() if isinstance(holder, dict) else enumerate(holder)
    for key, value in items:
        if key in _STRUCTURAL and not isinstance(value, dict | list):
            continue
        if isinstance(value, str):
            if len(value) >= _SHORTEST and (id(holder), key) not in seen:
                yield Slot(holder, key, scope, "system")
        elif isinstance(value, dict) or (isinstance(value, list) and key not in {"enum", "required"}):
            yield from _walk(value, seen, scope, depth + 1)


def drop_logprobs(body: dict[str, Any]) -> None:
    """Token log-probabilities repeat the text in pieces that no policy has seen."""
    for choice in _dicts(body.get("choices")):
        if choice.get("logprobs") is not None:
            choice["logprobs"] = None
    for item in _dicts(body.get("output")):
        for part in _dicts(item.get("content")):
            if part.get("logprobs"):
                part["logprobs"] = []


def _message_extras(message: dict[str, Any], text: Scope, args: Scope, role: str) -> Iterator[Slot]:
    for key in ("refusal", "reasoning_content", "reasoning"):
        if isinstance(message.get(key), str):
            yield Slot(message, key, text, role)
    audio = message.get("audio")
    if isinstance(audio, dict) and isinstance(audio.get("transcript"), str):
        yield Slot(audio, "transcript", text, role)
    calls = [call.get("function") for call in _dicts(message.get("tool_calls"))]
    for function in (*calls, message.get("function_call")):
        if isinstance(function, dict) and isinstance(function.get("arguments"), str):
            yield Slot(function, "arguments", args, role, is_json=True, tool=_name(function))
    for call in _dicts(message.get("tool_calls")):
        custom = call.get("custom")
        if isinstance(custom, dict) and isinstance(custom.get("input"), str):
            yield Slot(custom, "input", args, role, tool=_name(custom))


def _content(holder: dict[str, Any], key: str, scope: Scope, role: str, param: str) -> Iterator[Slot]:
    value = holder.get(key)
    if value is None:
        return
    if isinstance(value, str):
        yield Slot(holder, key, scope, role)
        return
    if not isinstance(value, list):
        raise WireError(400, "content must be text or a list of parts", param=param)
    for part in value:
        if not isinstance(part, dict):
            raise WireError(400, "a part must be an object", param=param)
        for name in ("text", "refusal"):
            if isinstance(part.get(name), str):
                yield Slot(part, name, scope, role)


def _item(item: dict[str, Any], scope: Scope, param: str) -> Iterator[Slot]:
    kind = item.get("type")
    if kind in {"function_call", "custom_tool_call", "mcp_call"}:
        for key in ("arguments", "input"):
            if isinstance(item.get(key), str):
                yield Slot(item, key, Scope.TOOL_ARGS, "assistant", is_json=key == "arguments", tool=_name(item))
        if isinstance(item.get("output"), str):
            yield Slot(item, "output", Scope.TOOL_RESULT, "tool")
        return
    if isinstance(kind, str) and kind.endswith("_output"):
        yield from (
            _content(item, "output", Scope.TOOL_RESULT, "tool", f"{param}.output")
            if isinstance(item.get("output"), str | list)
            else iter(())
        )
        return
    role = str(item.get("role", "assistant" if scope is Scope.OUTPUT else "user"))
    yield from _content(item, "content", scope, role, f"{param}.content")
    for part in _dicts(item.get("summary")):
        if part.get("type") in _TEXT_PARTS and isinstance(part.get("text"), str):
            yield Slot(part, "text", scope, role)


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def _name(function: dict[str, Any]) -> str | None:
    name = function.get("name")
    return name if isinstance(name, str) else None
