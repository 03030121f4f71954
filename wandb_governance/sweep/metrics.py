"""Retrieval metrics of one question: spans against excerpts, and rankings against judged documents."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from wandb_governance.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wandb_governance.sweep.tokens import IntArray

METRICS = (
    "recall",
    "precision",
    "iou",
    "precision_omega",
    "recall_docs",
    "mrr",
    "ndcg",
    "exact_match",
    "f1",
    "answer_similarity",
    "groundedness",
    "judge",
)
"""What a sweep can maximise; retrieval first, then answers."""

ANSWER_METRICS = frozenset({"exact_match", "f1", "answer_similarity", "groundedness", "judge"})

Span = tuple[int, int]
DocSpan = tuple[str, int, int]
"""Document id, first position, one past the last: in characters or in tokens."""


def union(spans: Iterable[Span]) -> list[Span]:
    """Disjoint spans in order that cover the same positions; empty ones go."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def measure(spans: Iterable[Span]) -> int:
    """Positions covered by disjoint spans."""
    return sum(end - start for start, end in spans)


def overlap(left: Sequence[Span], right: Sequence[Span]) -> int:
    """Positions that two lists of disjoint, ordered spans share."""
    shared = i = j = 0
    while i < len(left) and j < len(right):
        shared += max(0, min(left[i][1], right[j][1]) - max(left[i][0], right[j][0]))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return shared


def span_scores(gold: Sequence[DocSpan], retrieved: Sequence[DocSpan]) -> dict[str, float]:
    """Recall, precision and intersection over union of retrieved chunks against gold excerpts.

    With g the positions of all excerpts, r those of the retrieved chunks and s the sum of chunk lengths (a position in
    two overlapping chunks counts twice, as the reader pays for it twice): recall = |g ∩ r| / |g|, precision =
    |g ∩ r| / s, iou = |g ∩ r| / (s + |g| - |g ∩ r|). The unit of the spans (character or token) is the caller's.

    Args:
        gold: Excerpts, at least one.
        retrieved: Chunks in any order.

    Returns:
        ``recall``, ``precision`` and ``iou``, each in [0, 1]; nothing retrieved gives 0.

    Raises:
        SweepError: There is no gold excerpt.

    Source:
        Smith and Troynikov, Evaluating Chunking Strategies for Retrieval, Chroma technical report, July 2024.
    """
    wanted, covered = _by_document(gold), _by_document(retrieved)
    size = sum(measure(spans) for spans in wanted.values())
    if not size:
        raise SweepError("a question without gold excerpts has no span score; count it as unanswerable")
    found = sum(overlap(spans, covered.get(doc, [])) for doc, spans in wanted.items())
    handed_over = sum(end - start for _, start, end in retrieved)
    return {
        "recall": found / size,
        "precision": found / handed_over if handed_over else 0.0,
        "iou": found / (handed_over + size - found),
    }


def precision_omega(
    gold: Sequence[DocSpan], chunks: Mapping[str, tuple[IntArray, IntArray]], *, touching: bool = False
) -> float:
    """Precision if retrieval were perfect: every chunk that touches an excerpt and no other.

    |g ∩ c| / |c ∪ g| where c is the union of all chunks that share a position with an excerpt. It depends on the
    splitter alone.

    Args:
        gold: Excerpts, at least one.
        chunks: All chunks by document: starts and ends, each of shape (n_chunks,).
        touching: Count a chunk that only touches an excerpt's end, as the published evaluator does.

    Source:
        Smith and Troynikov, Evaluating Chunking Strategies for Retrieval, Chroma technical report, July 2024.
    """
    shared = total = 0
    for doc, spans in _by_document(gold).items():
        met: list[Span] = []
        if doc in chunks:
            starts, ends = chunks[doc]
            for start, end in spans:
                meets = (starts <= end) & (ends >= start) if touching else (starts < end) & (ends > start)
                hits = np.nonzero(meets)[0]
                met.extend(zip(starts[hits].tolist(), ends[hits].tolist(), strict=True))
        covered = union(met)
        common = overlap(spans, covered)
        shared += common
        total += measure(covered) + measure(spans) - common
    if not total:
        raise SweepError("a question without gold excerpts has no precision-omega; count it as unanswerable")
    return shared / total


def ranking_scores(grades: Mapping[str, float], ranked: Sequence[str]) -> dict[str, float]:
    """Recall, reciprocal rank and nDCG of a ranking of document ids.

    Args:
        grades: Grade of each judged document; above 0 is relevant. At least one.
        ranked: Document ids from best to worst; a repeated id counts at its first place only.

    Returns:
        ``recall_docs``, ``mrr`` and ``ndcg``, each in [0, 1]. Gains are 2^grade - 1, discounts log2(rank + 1), over
        all given ranks.

    Raises:
        SweepError: No document is relevant.

    Source:
        Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, 2002; gain: Burges et al., 2005.
    """
    relevant = {doc: grade for doc, grade in grades.items() if grade > 0}
    if not relevant:
        raise SweepError("a question without relevant documents has no ranking score; count it as unanswerable")
    unique = list(dict.fromkeys(ranked))
    ranks = [rank for rank, doc in enumerate(unique, start=1) if doc in relevant]
    gained = sum((2 ** relevant[unique[rank - 1]] - 1) / math.log2(rank + 1) for rank in ranks)
    ideal = sorted(relevant.values(), reverse=True)[: max(len(unique), 1)]
    best = sum((2**grade - 1) / math.log2(rank + 1) for rank, grade in enumerate(ideal, start=1))
    return {
        "recall_docs": len(ranks) / len(relevant),
        "mrr": 1 / ranks[0] if ranks else 0.0,
        "ndcg": gained / best,
    }


def in_tokens(spans: Sequence[DocSpan], starts: Mapping[str, IntArray]) -> list[DocSpan]:
    """Character spans as spans of the tokens that they touch.

    Args:
        spans: In characters.
        starts: First character of each token, by document.
    """
    converted = []
    for doc, start, end in spans:
        first = int(np.searchsorted(starts[doc], start, side="right")) - 1
        last = int(np.searchsorted(starts[doc], end, side="left"))
        converted.append((doc, max(first, 0), last))
    return converted


def _by_document(spans: Iterable[DocSpan]) -> dict[str, list[Span]]:
    grouped: dict[str, list[Span]] = {}
    for doc, start, end in spans:
        grouped.setdefault(doc, []).append((start, end))
    return {doc: union(found) for doc, found in grouped.items()}
