"""A selection as rows and JSON, for the terminal, for files and for W&B."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb_governance.sweep.select import Candidate, Selection

COLUMNS = ("configuration", "metric", "95%", "P(best)", "context", "ms", "USD", "")


def selection_json(
    selection: Selection, *, index_artifact: str | None = None, digest: str | None = None
) -> dict[str, Any]:
    """The selection as a JSON object; ``winner`` is null where all are tied."""
    winner = selection.winner
    confident = [c.record.run for c in selection.candidates if c.confident]
    return {
        "winner": winner.to_json() if winner else None,
        "metric": {"name": selection.metric, "value": selection.choice.mean},
        "confidence": {
            "p_best": selection.choice.p_best,
            "low": selection.choice.low,
            "high": selection.choice.high,
            "confident_set": confident,
            "candidates": len(selection.candidates),
            "questions": selection.questions,
        },
        "claim": selection.claim,
        "sentence": selection.sentence,
        "choice": selection.choice.to_json(),
        "index_artifact": index_artifact,
        "index_digest": digest,
        "holdout": asdict(selection.confirmation) if selection.confirmation else None,
        "importance": dict(selection.importance),
        "pareto_front": [c.record.run for c in selection.candidates if c.on_front],
        "excluded": [{"run": run, "why": why} for run, why in selection.excluded],
        "failed": selection.failed,
        "stopped_by": selection.stopped_by,
    }


def candidate_row(candidate: Candidate, *, chosen: bool) -> tuple[str, ...]:
    """Cells for ``COLUMNS``."""
    metrics = candidate.record.metrics
    cost = metrics.get("cost_usd")
    marks = [
        mark for mark, holds in (("taken", chosen), ("front", candidate.on_front), ("=", candidate.confident)) if holds
    ]
    return (
        candidate.record.configuration.label,
        f"{candidate.mean:.4f}",
        f"{candidate.low:.3f}-{candidate.high:.3f}",
        f"{candidate.p_best:.2f}",
        f"{metrics.get('context_tokens', 0):.0f}",
        f"{1000 * metrics.get('latency_s', 0):.2f}",
        "?" if cost is None else f"{cost:.2g}",
        " ".join(marks),
    )


def report_facts(selection: Selection, index_artifact: str | None) -> dict[str, Any]:
    """What a W&B report of this selection is made of."""
    choice, confirmation = selection.choice, selection.confirmation
    rows = {
        "Taken": choice.record.configuration.label,
        selection.metric: f"{choice.mean:.4f} ({choice.low:.3f} to {choice.high:.3f})",
        "P(best)": f"{choice.p_best:.2f} of {len(selection.candidates)} candidates",
        "Index": index_artifact or "not published",
    }
    if confirmation:
        state = "confirmed" if confirmation.confirmed else "not confirmed"
        rows["Held-out questions"] = f"{confirmation.mean:.4f} on {confirmation.questions}: {state}"
    axes = ["rag.chunk_size", "rag.chunk_overlap", "rag.top_k", "rag.retriever"]
    title = f"RAG sweep: {choice.record.configuration.label}"
    return {"title": title, "sentence": selection.sentence, "metric": selection.metric, "axes": axes, "rows": rows}
