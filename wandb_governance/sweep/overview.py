"""What a sweep file means, in numbers, before anything is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.sweep.program import holdout_questions, search_questions

if TYPE_CHECKING:
    from wandb_governance.sweep.config import RagSweep


def overview(sweep: RagSweep) -> dict[str, Any]:
    """Counts of configurations, documents and questions, and what is wrong with the data."""
    spec, space, corpus = sweep.spec, sweep.space, sweep.corpus
    grid = None if space.has_range else space.grid()
    impossible = () if space.has_range else space.impossible_pairs()
    report = sweep.questions.report
    return {
        "name": spec.name,
        "method": spec.search.method,
        "configurations": len(grid) if grid is not None else "a range: no end",
        "trials": spec.search.runs or (len(grid) if grid is not None else 0),
        "indexes": len({c.index_key for c in grid}) if grid is not None else "a range: no end",
        "impossible_pairs": [f"{size}/{overlap}" for size, overlap in impossible],
        "documents": len(corpus.documents),
        "characters": corpus.characters,
        "empty_documents": list(corpus.empty_ids),
        "duplicate_documents": list(corpus.duplicate_ids),
        "corpus_digest": corpus.digest[:16],
        "questions": len(sweep.questions.questions),
        "searched_with": len(search_questions(sweep)),
        "held_out": len(holdout_questions(sweep)),
        "unanswerable": report.unanswerable,
        "gold_checked": report.checked,
        "gold_repaired": report.repaired,
        "gold_dropped": report.dropped,
        "gold_problems": list(report.problems[:20]),
        "questions_digest": sweep.questions.digest[:16],
    }
