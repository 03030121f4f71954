"""A streamed answer of ``/v1/responses``: typed events, each text with a key of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.gateway.wire import other_texts, output_item, output_part, responses_response
from wandb_governance.policy.verdict import Scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wandb_governance.errors import PolicyViolation
    from wandb_governance.gateway.streaming import Redactors
    from wandb_governance.gateway.wire import Slot

_ARGUMENTS = ("response.function_call_arguments", "response.mcp_call_arguments")
_TEXTS = (
    "response.output_text",
    "response.refusal",
    "response.reasoning_summary_text",
    "response.reasoning_text",
    "response.audio.transcript",
    "response.audio_transcript",
    "response.custom_tool_call_input",
)
_WHOLE = {"response.output_text": "text", "response.refusal": "refusal", "response.reasoning_summary_text": "text",
          "response.reasoning_text": "text", "response.custom_tool_call_input": "input"}  # fmt: skip


class ResponsesStream:
    """Events of ``/v1/responses``."""

    def __init__(self, redactors: Redactors) -> None:
        self.redactors = redactors
        self.usage: dict[str, Any] | None = None
        self.response_model: str | None = None
        self.finish_reason: str | None = None
        self._response: dict[str, Any] = {}
        self._number = 0
        self._texts: dict[tuple[Any, ...], str] = {}

    def feed(self, chunk: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """See ``StreamFilter``."""
        for event in self._events(chunk):
            if "sequence_number" in chunk:
                event["sequence_number"] = self._number
            self._number += 1
            yield event

    def finish(self) -> Iterator[dict[str, Any]]:
        """See ``StreamFilter``."""
        for key in list(self.redactors.open):
            rest = self.redactors.finish(key)
            if rest:
                yield {"type": f"{key[0]}.delta", **dict(key[1:]), "delta": rest, "sequence_number": self._number}
                self._number += 1

    def blocked(self, violation: PolicyViolation) -> Iterator[dict[str, Any]]:
        """See ``StreamFilter``."""
        del violation
        self.finish_reason = "content_filter"
        response = {**self._response, "status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
        response["output"] = []
        yield {"type": "response.incomplete", "response": response, "sequence_number": self._number}

    def _events(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        kind = str(event.get("type", ""))
        base, _, what = kind.rpartition(".")
        if what == "delta" and base in (*_TEXTS, *_ARGUMENTS) and isinstance(event.get("delta"), str):
            released = self.redactors.get(_key(base, event), is_json=base in _ARGUMENTS).feed(event["delta"])
            if self.redactors.changes and event.get("logprobs"):
                event["logprobs"] = []
            if released:
                yield {**event, "delta": released}
            return
        if what == "done" and base in (*_TEXTS, *_ARGUMENTS):
            yield from self._done(base, event)
            return
        response = event.get("response")
        if isinstance(response, dict):
            self._take_response(kind, response)
        yield self._rewritten(event)

    def _done(self, base: str, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        key = _key(base, event)
        field = "arguments" if base in _ARGUMENTS else _WHOLE.get(base, "transcript")
        if key not in self.redactors.open and isinstance(event.get(field), str):
            rest = self.redactors.get(key, is_json=base in _ARGUMENTS).feed(event[field])
            rest += self.redactors.finish(key)
        else:
            rest = self.redactors.finish(key)
            if rest:
                yield {"type": f"{base}.delta", **dict(key[1:]), "delta": rest}
        if key in self.redactors.closed and field in event:
            event[field] = self.redactors.sent(key)
        if self.redactors.changes and event.get("logprobs"):
            event["logprobs"] = []
        yield event

    def _take_response(self, kind: str, response: dict[str, Any]) -> None:
        self._response = response
        if isinstance(response.get("model"), str):
            self.response_model = response["model"]
        if response.get("usage"):
            self.usage = response["usage"]
        if kind in {"response.completed", "response.incomplete", "response.failed"}:
            self.finish_reason = str(response.get("status"))

    def _rewritten(self, event: dict[str, Any]) -> dict[str, Any]:
        slots: list[Slot] = []
        if isinstance(event.get("response"), dict):
            slots = list(responses_response(event["response"]))
        elif isinstance(event.get("item"), dict):
            slots = list(output_item(event["item"]))
        elif isinstance(event.get("part"), dict):
            slots = list(output_part(event["part"]))
        for slot in (*slots, *other_texts(event, slots, Scope.OUTPUT)):
            slot.write(self.redactors.whole(slot))
        return event


def _key(base: str, event: dict[str, Any]) -> tuple[Any, ...]:
    names = ("item_id", "output_index", "content_index", "summary_index")
    return (base, *((name, event[name]) for name in names if name in event))
