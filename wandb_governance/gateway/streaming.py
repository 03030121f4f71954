"""One streamed answer under policy: chunks in, chunks that may go out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from wandb_governance.gateway.wire import Slot, other_texts
from wandb_governance.policy.stream import StreamRedactor
from wandb_governance.policy.stream_json import JsonStreamRedactor
from wandb_governance.policy.verdict import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wandb_governance.errors import PolicyViolation
    from wandb_governance.policy.document import Streaming
    from wandb_governance.policy.engine import PolicyEngine
    from wandb_governance.policy.rule import RuleContext
    from wandb_governance.policy.stream import Redactor
    from wandb_governance.policy.vault import RestoreStream
    from wandb_governance.policy.verdict import Decision


class StreamFilter(Protocol):
    """Turns the chunks of one answer into those that may go out."""

    usage: dict[str, Any] | None
    """Token counts, once the provider sent them."""
    response_model: str | None
    finish_reason: str | None

    @property
    def redactors(self) -> Redactors:
        """Every text of the answer."""
        ...

    def feed(self, chunk: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Chunks that may go out now.

        Raises:
            PolicyViolation: A policy blocks the answer.
        """
        ...

    def finish(self) -> Iterator[dict[str, Any]]:
        """What is still held back, where the upstream ended without saying so."""
        ...

    def blocked(self, violation: PolicyViolation) -> Iterator[dict[str, Any]]:
        """Chunks that tell a client that the answer ends here."""
        ...


class Redactors:
    """The texts of one answer, each with a redactor of its own: they never join."""

    def __init__(self, engine: PolicyEngine, context: RuleContext, settings: Streaming) -> None:
        self._engine = engine
        self._context = context
        self._settings = settings
        self.open: dict[tuple[Any, ...], Redactor] = {}
        self.closed: dict[tuple[Any, ...], Redactor] = {}
        self.tools: dict[tuple[Any, ...], str] = {}
        self.restore: Callable[[bool], RestoreStream] | None = None
        """Makes what turns this call's placeholders back, for text or for JSON."""

    def get(self, key: tuple[Any, ...], *, is_json: bool = False) -> Redactor:
        """The redactor of the text ``key``."""
        found = self.open.get(key)
        if found is not None:
            return found
        kind = JsonStreamRedactor if is_json else StreamRedactor
        context = self._context
        if is_json:
            context = replace(context, scope=Scope.TOOL_ARGS, tool=self.tools.get(key))
        made: Redactor = kind(
            self._engine, context, mode=self._settings.mode, max_hold_chars=self._settings.max_hold_chars
        )
        if self.restore is not None:
            made = RestoringRedactor(made, self.restore(is_json))
        self.open[key] = made
        return made

    def finish(self, key: tuple[Any, ...]) -> str:
        """The rest of the text ``key``.

        Raises:
            PolicyViolation: A policy blocks it.
        """
        redactor = self.open.get(key)
        if redactor is None:
            return ""
        rest = redactor.finish()
        self.closed[key] = self.open.pop(key)
        return rest

    def apart(self) -> Redactors:
        """The same policies for texts that are not counted as part of the answer."""
        made = Redactors(self._engine, self._context, self._settings)
        made.restore = self.restore
        return made

    @property
    def every(self) -> list[Redactor]:
        """All texts so far."""
        return [*self.closed.values(), *self.open.values()]

    @property
    def released_chars(self) -> int:
        """Characters that have gone out."""
        return sum(redactor.released_chars for redactor in self.every)

    @property
    def decisions(self) -> list[Decision]:
        """One for each text."""
        return [redactor.decision for redactor in self.every]

    @property
    def text(self) -> str:
        """What has gone out, text by text."""
        return "\n".join(filter(None, (decision.text for decision in self.decisions)))

    def sent(self, key: tuple[Any, ...]) -> str:
        """What the client has of the finished text ``key``."""
        redactor = self.closed[key]
        return redactor.sent if isinstance(redactor, RestoringRedactor) else redactor.decision.text

    def whole(self, slot: Slot) -> str:
        """A text that comes at once, under the same policies.

        Raises:
            PolicyViolation: A policy blocks it.
        """
        if not slot.text:
            return ""
        redactor = self.apart().get(("whole",), is_json=slot.is_json)
        return redactor.feed(slot.text) + redactor.finish()

    @property
    def changes(self) -> bool:
        """Whether any text may differ from what the provider sent."""
        return self._engine.redacts_on(Scope.OUTPUT)


class RestoringRedactor:
    """A redactor whose released text has the caller's own values back. Its decision, for records, has not."""

    def __init__(self, inner: Redactor, restore: RestoreStream) -> None:
        self._inner = inner
        self._restore = restore
        self._sent: list[str] = []
        self.released_chars = 0

    def feed(self, text: str) -> str:
        """See ``Redactor``."""
        return self._released(self._restore.feed(self._inner.feed(text)))

    def finish(self) -> str:
        """See ``Redactor``."""
        return self._released(self._restore.feed(self._inner.finish()) + self._restore.finish())

    @property
    def decision(self) -> Decision:
        """See ``Redactor``."""
        return self._inner.decision

    @property
    def sent(self) -> str:
        """What the client has."""
        return "".join(self._sent)

    def _released(self, text: str) -> str:
        self.released_chars += len(text)
        self._sent.append(text)
        return text


class ChatStream:
    """Chunks of ``/v1/chat/completions``.

    Args:
        redactors: Texts of the answer.
        include_usage: Whether the client asked for the chunk with the token counts.
    """

    def __init__(self, redactors: Redactors, *, include_usage: bool) -> None:
        self.redactors = redactors
        self.usage: dict[str, Any] | None = None
        self.response_model: str | None = None
        self.finish_reason: str | None = None
        self._include_usage = include_usage
        self._envelope: dict[str, Any] = {"object": "chat.completion.chunk"}
        self._started: set[int] = set()
        self._ended: set[int] = set()

    def feed(self, chunk: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """See ``StreamFilter``."""
        if chunk.get("usage"):
            self.usage = chunk["usage"]
        if isinstance(chunk.get("model"), str):
            self.response_model = chunk["model"]
        self._envelope = {key: value for key, value in chunk.items() if key not in {"choices", "usage"}}
        choices = chunk.get("choices")
        if not choices:
            if self._include_usage or not chunk.get("usage"):
                yield chunk
            return
        kept = []
        for choice in choices:
            changed = self._choice(choice)
            yield from self._flushes
            if changed is not None:
                kept.append(changed)
        if kept:
            out = {**self._envelope, "choices": kept}
            if self._include_usage and "usage" in chunk:
                out["usage"] = chunk["usage"]
            yield out

    def finish(self) -> Iterator[dict[str, Any]]:
        """See ``StreamFilter``."""
        for index in sorted(self._started - self._ended):
            yield from self._flush(index)

    def blocked(self, violation: PolicyViolation) -> Iterator[dict[str, Any]]:
        """See ``StreamFilter``."""
        del violation
        self.finish_reason = "content_filter"
        indices = sorted(self._started - self._ended) or [0]
        choices: list[dict[str, Any]] = [
            {"index": i, "delta": {}, "finish_reason": "content_filter", "logprobs": None} for i in indices
        ]
        yield {**self._envelope, "choices": choices}

    def _choice(self, choice: dict[str, Any]) -> dict[str, Any] | None:
        self._flushes: list[dict[str, Any]] = []
        index = choice.get("index", 0)
        delta = choice.get("delta") or {}
        self._started.add(index)
        reason = choice.get("finish_reason")
        held = self._delta(index, delta)
        if self.redactors.changes and choice.get("logprobs") is not None:
            choice["logprobs"] = None
        for slot in other_texts(choice, self._streamed(choice), Scope.OUTPUT):
            slot.write(self.redactors.whole(slot))
        if reason is not None:
            self.finish_reason = reason
            self._flushes = list(self._flush(index))
            self._ended.add(index)
        elif held and not delta:
            return None
        choice["delta"] = delta
        return choice

    def _streamed(self, choice: dict[str, Any]) -> list[Slot]:
        """Texts that go on in the next chunk, and so have a redactor of their own."""
        delta = choice.get("delta") or {}
        slots = [Slot(delta, name, Scope.OUTPUT) for name in delta]
        if isinstance(delta.get("audio"), dict):
            slots.append(Slot(delta["audio"], "transcript", Scope.OUTPUT))
        for call in [*(delta.get("tool_calls") or ()), delta]:
            for name, key in (("function", "arguments"), ("custom", "input"), ("function_call", "arguments")):
                if isinstance(call, dict) and isinstance(call.get(name), dict):
                    slots.append(Slot(call[name], key, Scope.OUTPUT))
        return slots

    def _delta(self, index: int, delta: dict[str, Any]) -> bool:
        """Put into ``delta`` what may go out; whether anything was held back."""
        held = False
        # A field that nobody has heard of carries text like any other.
        for field in [name for name, value in delta.items() if isinstance(value, str) and value and name != "role"]:
            held |= self._text(delta, field, (index, field))
        audio = delta.get("audio")
        if isinstance(audio, dict) and isinstance(audio.get("transcript"), str):
            held |= self._text(audio, "transcript", (index, "audio"))
        call = delta.get("function_call")
        if isinstance(call, dict):
            held |= self._arguments(call, (index, "function_call"))
            if not call:
                del delta["function_call"]
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            kept = [call for call in calls if not self._tool_call(index, call)]
            held |= len(kept) < len(calls)
            if kept:
                delta["tool_calls"] = kept
            else:
                del delta["tool_calls"]
        return held

    def _tool_call(self, index: int, call: dict[str, Any]) -> bool:
        """Filter one tool call; whether nothing of it is left to send."""
        function = call.get("function")
        if isinstance(function, dict):
            self._arguments(function, (index, "tool", call.get("index", 0)))
            if not function:
                del call["function"]
        custom = call.get("custom")
        if isinstance(custom, dict) and isinstance(custom.get("input"), str):
            self._text(custom, "input", (index, "custom", call.get("index", 0)))
        return not (call.keys() - {"index"})

    def _arguments(self, function: dict[str, Any], key: tuple[Any, ...]) -> bool:
        if isinstance(function.get("name"), str):
            self.redactors.tools[key] = function["name"]
        arguments = function.get("arguments")
        if not isinstance(arguments, str) or not arguments:
            return False
        released = self.redactors.get(key, is_json=True).feed(arguments)
        if released or "name" in function:
            function["arguments"] = released
            return False
        del function["arguments"]
        return True

    def _text(self, holder: dict[str, Any], field: str, key: tuple[Any, ...]) -> bool:
        released = self.redactors.get(key).feed(holder[field])
        if released:
            holder[field] = released
            return False
        del holder[field]
        return True

    def _flush(self, index: int) -> Iterator[dict[str, Any]]:
        for key in [key for key in self.redactors.open if key[0] == index]:
            rest = self.redactors.finish(key)
            if rest:
                choice = {"index": index, "delta": _delta_of(key, rest), "finish_reason": None, "logprobs": None}
                yield {**self._envelope, "choices": [choice]}


def _delta_of(key: tuple[Any, ...], text: str) -> dict[str, Any]:
    field = key[1]
    if field == "tool":
        return {"tool_calls": [{"index": key[2], "function": {"arguments": text}}]}
    if field == "custom":
        return {"tool_calls": [{"index": key[2], "custom": {"input": text}}]}
    if field == "function_call":
        return {"function_call": {"arguments": text}}
    if field == "audio":
        return {"audio": {"transcript": text}}
    return {field: text}
