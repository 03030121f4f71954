"""Pieces of streamed answers: what each says, and what of it may go out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from wandb_governance.errors import PolicyViolation
from wandb_governance.policy.verdict import Scope
from wandb_governance_openai import convert
from wandb_governance_openai.convert import get

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wandb_governance_openai.texts import Key, StreamedTexts


class Reader(Protocol):
    """Reads the pieces of one kind of stream. A piece is changed in place: it is nobody else's yet."""

    facts: dict[str, Any]
    """What the pieces have said of the call."""

    def take(self, piece: Any) -> Iterator[Any]:
        """The pieces to hand on for one that came; none where it is held back."""
        ...

    def rest(self) -> Iterator[Any]:
        """What is still held back when the stream ends."""
        ...

    def has_content(self, piece: Any) -> bool:
        """Whether a piece carries the first of an answer: text, thought, refusal or a tool call."""
        ...

    def output(self) -> object:
        """The answer as it went out, for the trace."""
        ...


class ChatReader:
    """Chunks of ``chat.completions`` and ``completions``.

    Args:
        texts: The texts of the answer.
        hide_usage: Drop the last chunk that only carries usage: the application did not ask for it.
        keep_logprobs: Leave log probabilities in; they spell every token out.
    """

    def __init__(self, texts: StreamedTexts, *, hide_usage: bool, keep_logprobs: bool) -> None:
        self._texts = texts
        self._hide_usage = hide_usage
        self._keep_logprobs = keep_logprobs
        self._last: Any = None
        self._reasons: dict[object, str] = {}
        self._names: dict[Key, str] = {}
        self.facts: dict[str, Any] = {}

    def has_content(self, piece: Any) -> bool:
        """Whether a chunk carries more than a role."""
        for choice in get(piece, "choices") or ():
            delta = get(choice, "delta")
            fields = ("content", "refusal", "reasoning_content", "reasoning", "tool_calls", "function_call", "audio")
            if get(choice, "text") or any(get(delta, name) for name in fields):
                return True
        return False

    def take(self, piece: Any) -> Iterator[Any]:
        """The chunk with the text that may go out."""
        self._note(piece)
        choices = get(piece, "choices") or ()
        if not choices and self._hide_usage and get(piece, "usage") is not None:
            return
        for choice in choices:
            self._last = piece
            self._choice(choice)
        yield piece

    def _note(self, piece: Any) -> None:
        for name in ("model", "service_tier"):
            if get(piece, name):
                self.facts["response_model" if name == "model" else name] = get(piece, name)
        usage = convert.usage_of(piece)
        if usage is not None:
            self.facts["usage"] = usage
        for choice in get(piece, "choices") or ():
            if get(choice, "finish_reason"):
                self._reasons[get(choice, "index")] = get(choice, "finish_reason")
        if self._reasons:
            self.facts["finish_reason"] = ",".join(dict.fromkeys(self._reasons.values()))

    def _choice(self, choice: Any) -> None:
        index, delta = get(choice, "index") or 0, get(choice, "delta")
        if not self._keep_logprobs and get(choice, "logprobs") is not None:
            choice.logprobs = None
        if isinstance(get(choice, "text"), str):
            choice.text = self._texts.feed((index, "text"), choice.text)
        for name in ("content", "refusal", "reasoning_content", "reasoning"):
            if isinstance(get(delta, name), str):
                setattr(delta, name, self._texts.feed((index, name), getattr(delta, name)))
        if get(delta, "audio") is not None and not self._keep_logprobs:
            reasons = ("a policy acts on output, and streamed speech can't be judged",)
            raise PolicyViolation(policy="engine", scope=Scope.OUTPUT, reasons=reasons)
        for call in get(delta, "tool_calls") or ():
            self._arguments((index, "tool_calls", get(call, "index") or 0), get(call, "function"))
        self._arguments((index, "function_call"), get(delta, "function_call"))
        if get(choice, "finish_reason"):
            self._append_rest(choice, index)

    def _arguments(self, key: Key, function: Any) -> None:
        if get(function, "name"):
            self._names[key] = function.name
        if isinstance(get(function, "arguments"), str):
            name = self._names.get(key)
            function.arguments = self._texts.feed(key, function.arguments, scope=Scope.TOOL_ARGS, tool=name)

    def _append_rest(self, choice: Any, index: object) -> None:
        """Put what was held back of a choice into its last chunk."""
        for key in self._texts.begun((index,)):
            rest = self._texts.finish(key)
            if rest:
                _append(choice, key, rest)

    def rest(self) -> Iterator[Any]:
        """One more chunk per choice that never said that it was finished."""
        for key in self._texts.begun(()):
            rest = self._texts.finish(key)
            if rest:
                piece = self._last.model_copy(deep=True)
                piece.choices = piece.choices[:1]
                choice = piece.choices[0]
                choice.index = key[0]
                _clear(choice)
                _append(choice, key, rest)
                yield piece

    def output(self) -> object:
        """The text of each choice, with its tool calls."""
        told: dict[object, dict[str, Any]] = {}
        for key in self._texts.keys:
            entry = told.setdefault(key[0], {})
            text = self._texts.released(key)
            if key[1] in ("tool_calls", "function_call"):
                entry.setdefault("tool_calls", []).append({"name": self._names.get(key), "arguments": text})
            elif text and key[1] not in ("reasoning_content", "reasoning"):
                entry["content"] = entry.get("content", "") + text
        answers = [entry if "tool_calls" in entry else entry.get("content", "") for entry in told.values()]
        return answers[0] if len(answers) == 1 else answers


def _clear(choice: Any) -> None:
    choice.finish_reason = None
    if get(choice, "delta") is None:
        choice.text = ""
        return
    for name in ("content", "refusal", "reasoning_content", "tool_calls", "function_call"):
        if get(choice.delta, name) is not None:
            setattr(choice.delta, name, None)


def _append(choice: Any, key: Key, rest: str) -> None:
    """Add text to a chunk's choice at the place that ``key`` names."""
    delta = get(choice, "delta")
    if delta is None:
        choice.text = (choice.text or "") + rest
    elif key[1] == "tool_calls":
        for call in delta.tool_calls or ():
            if call.index == key[2]:
                call.function.arguments = (call.function.arguments or "") + rest
                return
        from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall, ChoiceDeltaToolCallFunction

        made = ChoiceDeltaToolCall(index=int(str(key[2])), function=ChoiceDeltaToolCallFunction(arguments=rest))
        delta.tool_calls = [*(delta.tool_calls or ()), made]
    elif key[1] == "function_call":
        from openai.types.chat.chat_completion_chunk import ChoiceDeltaFunctionCall

        before = get(get(delta, "function_call"), "arguments") or ""
        delta.function_call = ChoiceDeltaFunctionCall(arguments=before + rest)
    else:
        setattr(delta, str(key[1]), (get(delta, str(key[1])) or "") + rest)


_DELTAS = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "summary",
    "response.function_call_arguments.delta": "arguments",
    "response.mcp_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
    "response.code_interpreter_call_code.delta": "code",
}
_DONES = {
    "response.output_text.done": ("text", "text"),
    "response.refusal.done": ("refusal", "refusal"),
    "response.reasoning_text.done": ("reasoning", "text"),
    "response.reasoning_summary_text.done": ("summary", "text"),
    "response.function_call_arguments.done": ("arguments", "arguments"),
    "response.mcp_call_arguments.done": ("arguments", "arguments"),
    "response.custom_tool_call_input.done": ("input", "input"),
    "response.code_interpreter_call_code.done": ("code", "code"),
}
"""Event -> field of the key, attribute that holds the whole text."""
_TOOL_FIELDS = frozenset({"arguments", "input", "code"})
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_PART_FIELDS = {
    "output_text": ("text", "text"),
    "refusal": ("refusal", "refusal"),
    "reasoning_text": ("reasoning", "text"),
    "summary_text": ("summary", "text"),
}


class ResponsesReader:
    """Events of ``responses``. A text comes in deltas and then whole, up to four times; each is what went out.

    Args:
        texts: The texts of the answer.
        keep_logprobs: Leave log probabilities in; they spell every token out.
    """

    def __init__(self, texts: StreamedTexts, *, keep_logprobs: bool) -> None:
        self._texts = texts
        self._keep_logprobs = keep_logprobs
        self._deltas: dict[Key, Any] = {}
        self._names: dict[object, str] = {}
        self.facts: dict[str, Any] = {}

    def has_content(self, piece: Any) -> bool:
        """Whether an event carries text, thought or arguments."""
        return get(piece, "type") in _DELTAS

    def take(self, piece: Any) -> Iterator[Any]:
        """The event, after what was held back before it."""
        kind = get(piece, "type")
        if not self._keep_logprobs and get(piece, "logprobs"):
            piece.logprobs = []
        if kind in _DELTAS:
            key = _key(piece, _DELTAS[kind])
            self._deltas[key] = piece
            piece.delta = self._texts.feed(key, piece.delta, **self._scope(key))
        elif kind == "error":
            self.facts["finish_reason"] = "failed"
        elif kind in _DONES:
            yield from self._done(piece, *_DONES[kind])
        elif kind in ("response.content_part.done", "response.reasoning_summary_part.done"):
            self._part(piece.part, piece.item_id, get(piece, "content_index") or get(piece, "summary_index") or 0)
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._item(piece.item, whole=kind.endswith("done"))
        elif kind in _ENDS or get(piece, "response") is not None:
            self._response(piece.response, ended=kind in _ENDS)
        yield piece

    def rest(self) -> Iterator[Any]:
        """A delta for each text that was cut off."""
        for key in self._texts.begun(()):
            yield from self._late(key, self._texts.finish(key))

    def output(self) -> object:
        """Texts and tool calls in order."""
        told: list[object] = []
        for key in self._texts.keys:
            text = self._texts.released(key)
            if key[1] in _TOOL_FIELDS:
                told.append({"tool_calls": [{"name": self._texts.tool(key), "arguments": text}]})
            elif key[1] in ("text", "refusal") and text:
                told.append(text)
        return told[0] if len(told) == 1 else told

    def _done(self, piece: Any, field: str, attribute: str) -> Iterator[Any]:
        key = _key(piece, field)
        text = getattr(piece, attribute)
        yield from self._late(key, self._texts.finish(key))
        setattr(piece, attribute, self._texts.whole(key, text, **self._scope(key)))

    def _late(self, key: Key, rest: str) -> Iterator[Any]:
        """A delta for what was held back, shaped like the last one."""
        if rest and key in self._deltas:
            piece = self._deltas[key].model_copy()
            piece.delta = rest
            yield piece

    def _part(self, part: Any, item_id: object, index: object) -> None:
        field, attribute = _PART_FIELDS.get(str(get(part, "type")), (None, ""))
        text = get(part, attribute) if field else None
        if isinstance(text, str) and text:
            setattr(part, attribute, self._texts.whole((item_id, field, index), text))
        if not self._keep_logprobs and get(part, "logprobs"):
            part.logprobs = []

    def _item(self, item: Any, *, whole: bool) -> None:
        item_id = get(item, "id")
        field = convert.ITEM_TEXTS.get(str(get(item, "type")))
        if field is not None:
            self._names[item_id] = str(get(item, "name") or item.type)
            if whole and getattr(item, field):
                key = (item_id, field, 0)
                setattr(item, field, self._texts.whole(key, getattr(item, field), **self._scope(key)))
        if whole:
            for name in ("content", "summary"):
                for index, part in enumerate(get(item, name) or ()):
                    self._part(part, item_id, index)

    def _response(self, response: Any, *, ended: bool) -> None:
        for item in get(response, "output") or ():
            self._item(item, whole=ended)
        found = {
            "response_model": get(response, "model"),
            "service_tier": get(response, "service_tier"),
            "usage": convert.usage_of(response) if ended else None,
            "finish_reason": convert.finish_reason_of(response) if ended else None,
        }
        self.facts.update({name: value for name, value in found.items() if value is not None})

    def _scope(self, key: Key) -> dict[str, Any]:
        if key[1] not in _TOOL_FIELDS:
            return {}
        return {"scope": Scope.TOOL_ARGS, "tool": self._names.get(key[0])}


def _key(piece: Any, field: str) -> Key:
    index = get(piece, "summary_index") if field == "summary" else get(piece, "content_index")
    return get(piece, "item_id"), field, index or 0
