"""Decide on values that are no text: arguments of a tool, a tool's result, a document's metadata."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wandb_governance.policy.engine import conclude

if TYPE_CHECKING:
    from wandb_governance.policy.engine import PolicyEngine
    from wandb_governance.policy.rule import RuleContext
    from wandb_governance.policy.verdict import Decision, Verdict

_MAX_DEPTH = 64


def evaluate_structure(engine: PolicyEngine, value: Any, context: RuleContext) -> tuple[Any, Decision]:
    """Decide on every text and number inside ``value``.

    Args:
        engine: The policies.
        value: Mappings, lists, tuples and plain values, nested up to 64 deep; anything else stays as it is.
        context: Scope and what else is known.

    Returns:
        A redacted copy, and one decision for all of it. What the caller passed is never changed.

    Raises:
        ValueError: ``value`` is nested deeper or contains itself.
    """
    walk = _Walk(engine, context)
    copy = walk.visit(value, None, 0)
    links = engine.links_on(context.scope)
    verdicts = [walk.merged.get(link.name) for link in links]
    if any(verdict is None for verdict in verdicts):
        decision = engine.evaluate("", context)
    else:
        decision = conclude("", [v for v in verdicts if v is not None], links, digest=engine.digest)
    return copy, decision


class _Walk:
    def __init__(self, engine: PolicyEngine, context: RuleContext) -> None:
        self._engine = engine
        self._context = context
        self.merged: dict[str, Verdict] = {}

    def visit(self, value: Any, key: str | None, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError(f"nested deeper than {_MAX_DEPTH}, or contains itself")
        if isinstance(value, str):
            return self._text(value, key)
        if isinstance(value, dict):
            return {
                self._text(k, None) if isinstance(k, str) else k: self.visit(v, str(k), depth + 1)
                for k, v in value.items()
            }
        if isinstance(value, list | tuple):
            items = [self.visit(item, key, depth + 1) for item in value]
            return items if isinstance(value, list) else tuple(items)
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = str(value)
            changed = self._text(text, key)
            return value if changed == text else changed
        return value

    def _text(self, text: str, key: str | None) -> str:
        prefix = f"{key}: " if key else ""
        decision = self._engine.evaluate(prefix + text, self._context)
        links = self._engine.links_on(self._context.scope)
        inside = []
        for verdict in decision.verdicts:
            findings = tuple(
                replace(f, start=max(f.start - len(prefix), 0), end=f.end - len(prefix))
                for f in verdict.findings
                if f.end > len(prefix) or f.start == f.end
            )
            action = verdict.action if findings or verdict.failure else type(verdict.action).ALLOW
            kept = replace(verdict, findings=findings, action=action)
            inside.append(kept)
            self._merge(kept)
        return conclude(text, inside, links, digest=self._engine.digest, context=self._context).text

    def _merge(self, verdict: Verdict) -> None:
        known = self.merged.get(verdict.policy)
        if known is None:
            self.merged[verdict.policy] = verdict
            return
        self.merged[verdict.policy] = replace(
            known,
            action=max(known.action, verdict.action, key=lambda action: action.severity),
            findings=known.findings + verdict.findings,
            latency_ns=known.latency_ns + verdict.latency_ns,
            failure=known.failure or verdict.failure,
        )
