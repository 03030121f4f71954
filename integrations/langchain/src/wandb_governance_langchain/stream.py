"""A streamed answer under policy: chunks in, chunks that may leave out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessageChunk, BaseMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from wandb_governance.errors import PolicyViolation
from wandb_governance.policy.stream import StreamRedactor
from wandb_governance.policy.verdict import Scope
from wandb_governance_langchain import rewrite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wandb_governance.runtime import Governance
    from wandb_governance.tracing.recorder import OpenSpan

_TEXT_KEYS = ("text", "reasoning", "thinking", "refusal")
_Place = tuple[str, Any]
"""Which text of an answer: a field, and the index of its block."""
_PLAIN: _Place = ("", None)
_REASONING: _Place = ("reasoning_content", None)


class GovernedStream:
    """One answer. Text is released exactly as its whole would be redacted; tool calls wait until they are whole.

    Args:
        governance: The policies, and where verdicts go.
        span: The call.
    """

    def __init__(self, governance: Governance, span: OpenSpan) -> None:
        self._governance = governance
        self._span = span
        engine = governance.engine
        self._engine = engine if engine is not None and engine.links_on(Scope.OUTPUT) else None
        self._redactors: dict[_Place, StreamRedactor] = {}
        self._calls: dict[Any, dict[str, Any]] = {}
        self._last: ChatGenerationChunk | None = None
        self._recorded = False

    def feed(self, chunk: ChatGenerationChunk) -> Iterator[ChatGenerationChunk]:
        """Take a chunk; give what may leave.

        Raises:
            PolicyViolation: A policy blocks.
        """
        if self._engine is None:
            yield chunk
            return
        message = chunk.message
        with_text = self._released(message)
        self._hold_calls(message)
        update = {"content": with_text, "tool_call_chunks": [], "tool_calls": [], "invalid_tool_calls": []}
        made = self._copy(chunk, message.model_copy(update=update))
        if getattr(message, "chunk_position", None) == "last":
            self._last = made
        else:
            yield made

    def finish(self) -> Iterator[ChatGenerationChunk]:
        """The rest, once the answer is whole; verdicts are written down.

        Raises:
            PolicyViolation: A policy blocks.
        """
        if self._engine is None:
            return
        rest = {place: self._guarded(redactor.finish) for place, redactor in self._redactors.items()}
        self._record()
        calls = self._released_calls()
        if any(rest.values()) or calls:
            yield ChatGenerationChunk(message=_tail(rest, calls))
        if self._last is not None:
            yield self._last

    def leave(self) -> None:
        """Write the verdicts of an answer down whose reader left before its end; else there is nothing to do."""
        self._record()

    def _released(self, message: BaseMessageChunk) -> Any:
        content = message.content
        if isinstance(content, str):
            return self._feed(_PLAIN, content)
        return [made for number, block in enumerate(content) if (made := self._block(block, number)) is not None]

    def _block(self, block: Any, number: int) -> Any:
        if isinstance(block, str):
            return self._feed(("text", number), block)
        index = block.get("index", number)
        for key in _TEXT_KEYS:
            if isinstance(block.get(key), str):
                return {**block, key: self._feed((key, index), block[key])}
        # Raw arguments of a tool call stand in tool_call_chunks too, which are held.
        return (
            None if block.get("type") in ("tool_use", "input_json_delta", "tool_call_chunk", "function_call") else block
        )

    def _feed(self, place: _Place, text: str) -> str:
        if not text:
            return text
        redactor = self._redactors.get(place)
        if redactor is None:
            assert self._engine is not None
            context = self._governance.rule_context(self._span, Scope.OUTPUT)
            redactor = self._redactors[place] = StreamRedactor(self._engine, context)
        return self._guarded(lambda: redactor.feed(text))

    def _guarded(self, step: Any) -> str:
        """The result of a step; a block is written down before it is raised."""
        try:
            return str(step())
        except PolicyViolation as violation:
            raise self._record() or violation from None

    def _record(self) -> PolicyViolation | None:
        decisions = [redactor.decision for redactor in self._redactors.values()]
        if not decisions or self._recorded:
            return None
        self._recorded = True
        return self._governance.record(self._span, decisions, Scope.OUTPUT).violation

    def _copy(self, chunk: ChatGenerationChunk, message: BaseMessageChunk) -> ChatGenerationChunk:
        clean = rewrite.without_copies(message)
        reasoning = clean.additional_kwargs.get("reasoning_content")
        if isinstance(reasoning, str):
            released = self._feed(_REASONING, reasoning)
            extra = {**clean.additional_kwargs, "reasoning_content": released}
            clean = clean.model_copy(update={"additional_kwargs": extra})
        info = {key: value for key, value in (chunk.generation_info or {}).items() if key != "logprobs"}
        return ChatGenerationChunk(message=clean, generation_info=info or None)  # type: ignore[arg-type]

    def _hold_calls(self, message: BaseMessageChunk) -> None:
        for piece in getattr(message, "tool_call_chunks", None) or ():
            held = self._calls.setdefault(
                piece.get("index"), {"name": "", "args": "", "id": None, "index": piece.get("index")}
            )
            held["name"] += piece.get("name") or ""
            held["args"] += piece.get("args") or ""
            held["id"] = held["id"] or piece.get("id")

    def _released_calls(self) -> list[dict[str, Any]]:
        """Tool calls with their arguments as they may leave."""
        return [{**call, "args": self._arguments(call)} for call in self._calls.values()]

    def _arguments(self, call: dict[str, Any]) -> str:
        written = str(call["args"])
        try:
            arguments = json.loads(written)
        except ValueError:
            arguments = written
        judgement = self._governance.judge(
            self._span, rewrite.texts_of([arguments]), Scope.TOOL_ARGS, tool=call["name"] or None
        )
        if judgement is None:
            return written
        if judgement.violation is not None:
            raise judgement.violation
        if not judgement.redacted:
            return written
        (made,) = rewrite.with_texts([arguments], judgement.texts)
        return made if isinstance(made, str) else json.dumps(made, ensure_ascii=False)


def _tail(rest: dict[_Place, str], calls: list[dict[str, Any]]) -> AIMessageChunk:
    """A chunk with what was held back."""
    reasoning = rest.pop(_REASONING, "")
    plain = rest.pop(_PLAIN, "")
    blocks: list[str | dict[Any, Any]] = [
        {"type": "text" if key == "text" else key, key: text, "index": index}
        for (key, index), text in rest.items()
        if text
    ]
    content: str | list[str | dict[Any, Any]] = blocks or plain
    extra = {"reasoning_content": reasoning} if reasoning else {}
    return AIMessageChunk(content=content, tool_call_chunks=calls, additional_kwargs=extra)  # type: ignore[arg-type]
