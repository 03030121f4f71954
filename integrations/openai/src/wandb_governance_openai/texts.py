"""The texts of one streamed answer, each under policy and each kept for the trace."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wandb_governance.policy.verdict import Scope

if TYPE_CHECKING:
    from wandb_governance.policy.stream import Redactor
    from wandb_governance.policy.verdict import Decision
    from wandb_governance.runtime import Governance
    from wandb_governance.tracing.recorder import OpenSpan

Key = tuple[object, ...]
"""Which text of the answer: choice and field, or item and part."""


@dataclass(slots=True)
class _Text:
    scope: Scope
    tool: str | None
    redactor: Redactor | None
    released: list[str] = field(default_factory=list)
    finished: bool = False


class StreamedTexts:
    """All texts of one answer: content of each choice, refusals, arguments of each tool call.

    Args:
        governance: The policies.
        span: The call.
    """

    def __init__(self, governance: Governance, span: OpenSpan) -> None:
        self._governance = governance
        self._span = span
        self._texts: dict[Key, _Text] = {}
        self.received_chars = 0

    def feed(self, key: Key, piece: str, *, scope: Scope = Scope.OUTPUT, tool: str | None = None) -> str:
        """What of a text may go out after another piece of it.

        Raises:
            PolicyViolation: A policy blocks.
        """
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = _Text(scope=scope, tool=tool, redactor=self._redactor(scope, tool))
        self.received_chars += len(piece)
        out = piece if text.redactor is None else text.redactor.feed(piece)
        text.released.append(out)
        return out

    def finish(self, key: Key) -> str:
        """The rest of a text, once it is whole; empty for a text that was not begun.

        Raises:
            PolicyViolation: A policy blocks.
        """
        text = self._texts.get(key)
        if text is None or text.finished:
            return ""
        text.finished = True
        rest = "" if text.redactor is None else text.redactor.finish()
        text.released.append(rest)
        return rest

    def whole(self, key: Key, given: str, *, scope: Scope = Scope.OUTPUT, tool: str | None = None) -> str:
        """The text as it went out, in place of ``given``, which repeats it whole."""
        if key not in self._texts:
            self.feed(key, given, scope=scope, tool=tool)
        self.finish(key)
        return "".join(self._texts[key].released)

    def released(self, key: Key) -> str:
        """What of a text has gone out."""
        text = self._texts.get(key)
        return "" if text is None else "".join(text.released)

    @property
    def keys(self) -> list[Key]:
        """The texts begun so far, in order."""
        return list(self._texts)

    def begun(self, prefix: Key) -> list[Key]:
        """Texts whose key starts with ``prefix`` and that are not finished."""
        return [key for key, text in self._texts.items() if key[: len(prefix)] == prefix and not text.finished]

    def tool(self, key: Key) -> str | None:
        """Name of the tool whose arguments a text is."""
        return self._texts[key].tool

    def record(self) -> str | None:
        """Write the verdicts on all texts down.

        Returns:
            Id of the verdict row that blocks, where one does.
        """
        decisions: dict[Scope, list[Decision]] = defaultdict(list)
        for text in self._texts.values():
            if text.redactor is not None:
                decisions[text.scope].append(text.redactor.decision)
        blocking = None
        for scope, made in decisions.items():
            violation = self._governance.record(self._span, made, scope).violation
            blocking = blocking or (violation.verdict_id if violation is not None else None)
        return blocking

    def _redactor(self, scope: Scope, tool: str | None) -> Redactor | None:
        engine = self._governance.engine
        if engine is None or not engine.links_on(scope):
            return None
        from wandb_governance.policy.stream import StreamRedactor
        from wandb_governance.policy.stream_json import JsonStreamRedactor

        kind = JsonStreamRedactor if scope is Scope.TOOL_ARGS else StreamRedactor
        return kind(engine, self._governance.rule_context(self._span, scope, tool=tool))
