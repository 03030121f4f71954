"""Inputs and outputs as bounded, redacted text; quick for what repeats, as chat history does with every call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.prompt_values import ChatPromptValue

from wandb_governance.tracing.guard import fault
from wandb_governance.tracing.span import Content
from wandb_governance_langchain import convert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.tracing.content import ContentEncoder

_SIMPLE = frozenset({AIMessage, HumanMessage, SystemMessage})
_CACHED_CHARS = 2_048
_CACHE_ENTRIES = 2_048
_LIMITS_READ = 4
"""How many times the limit of a conversation is read before the rest is only counted."""


class Texts:
    """Encodes what LangChain hands over. Safe from any thread.

    Args:
        encoder: Bounds and redacts.
        limit_chars: Its limit, in code points.
    """

    def __init__(self, encoder: ContentEncoder, *, limit_chars: int) -> None:
        self._encoder = encoder.with_convert(convert.plain)
        self._limit_chars = limit_chars
        self._written: dict[tuple[type[BaseMessage], str], str] = {}

    def content(self, value: object) -> Content:
        """``value`` as text, whatever it is."""
        try:
            if isinstance(value, str):
                return self._encoder.encode(value if type(value) is str else str(value))
            if isinstance(value, BaseMessage):
                return self._encoder.bounded(self._message(value))
            if type(value) is ChatPromptValue:
                return self.conversation(value.messages)
            return self._encoder.encode(value)
        except Exception as error:  # noqa: BLE001 - an object of the application may raise anything when read
            fault("langchain.texts", error)
            return Content(text=f"<unreadable {type(value).__name__}>", length=0)

    def conversation(self, messages: Sequence[BaseMessage]) -> Content:
        """Messages as a JSON list."""
        parts, left = [], self._limit_chars * _LIMITS_READ
        for count, item in enumerate(messages):
            if left <= 0:
                parts.append(f'"… {len(messages) - count} more"')
                break
            written = self._message(item)
            left -= len(written)
            parts.append(written)
        return self._encoder.bounded(f"[{','.join(parts)}]")

    def _message(self, message: BaseMessage) -> str:
        fields = message.__dict__
        content = fields["content"]
        kind = type(message)
        if (
            kind not in _SIMPLE
            or type(content) is not str
            or len(content) > _CACHED_CHARS
            or fields.get("name")
            or fields.get("tool_calls")
            or fields.get("invalid_tool_calls")
        ):
            return orjson.dumps(self._encoder.plain(convert.message(message))).decode()
        known = self._written.get((kind, content))
        if known is None:
            known = orjson.dumps({"role": convert.role(message), "content": self._encoder.text(content)}).decode()
            if len(self._written) >= _CACHE_ENTRIES:
                self._written.clear()
            self._written[kind, content] = known
        return known
