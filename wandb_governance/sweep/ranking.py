"""The k best of many, in one fixed order, whatever the size of the batch or of the block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FloatArray = npt.NDArray[np.float32]
Hits = list[tuple[int, float]]
"""Row and score from best to worst."""

_DIGITS = 9
_MARGIN = 1e-4  # more than a single-precision product of unit vectors can be off
_BLOCK = 65_536  # rows scored at once: 100 MB of scores for 400 queries
_FUSION_CONSTANT = 60


def best(scores: npt.NDArray[np.floating], k: int) -> Hits:
    """The k highest scores; ties go to the lower row.

    Args:
        scores: Shape (n_rows,).
        k: At least 1; fewer rows give fewer hits.
    """
    k = min(k, len(scores))
    if k < 1:
        return []
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    rows = np.nonzero(scores >= threshold)[0]
    order = rows[np.argsort(-scores[rows], kind="stable")][:k]
    return list(zip(order.tolist(), scores[order].astype(float).tolist(), strict=True))


def dense_hits(vectors: FloatArray, queries: FloatArray, k: int) -> list[Hits]:
    """Exact nearest rows by inner product, block by block, so that vectors may be a file on disk.

    A matrix product finds the candidates; their scores are then computed one by one in double precision, because a
    product rounds a row in a way that depends on its neighbours, and equal texts must tie in any batch.

    Args:
        vectors: Shape (n_rows, dimensions); may be memory-mapped.
        queries: Shape (n_queries, dimensions).
        k: Hits for each query.

    Returns:
        One list for each query; ties go to the lower row.
    """
    found: list[Hits] = [[] for _ in queries]
    exact_queries = queries.astype(np.float64)
    for first in range(0, len(vectors), _BLOCK):
        block = np.asarray(vectors[first : first + _BLOCK])
        rough = queries @ block.T
        cut = max(len(block) - k, 0)
        thresholds = np.partition(rough, cut, axis=1)[:, cut] - _MARGIN
        for query, row in enumerate(rough):
            near = np.nonzero(row >= thresholds[query])[0]
            exact = np.round((block[near].astype(np.float64) * exact_queries[query]).sum(axis=1), _DIGITS)
            fresh = zip((first + near).tolist(), exact.tolist(), strict=True)
            found[query] = sorted([*found[query], *fresh], key=lambda hit: (-hit[1], hit[0]))[:k]
    return found


def fuse(rankings: Iterable[Sequence[tuple[int, float]]], weights: Sequence[float]) -> Hits:
    """Weighted reciprocal rank fusion of rankings of one query; ties go to the lower row.

    Source:
        Cormack, Clarke and Büttcher, Reciprocal Rank Fusion, 2009; constant 60.
    """
    totals: dict[int, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, (row, _) in enumerate(ranking, start=1):
            totals[row] = totals.get(row, 0.0) + weight / (_FUSION_CONSTANT + rank)
    return sorted(((row, round(total, 9)) for row, total in totals.items()), key=lambda hit: (-hit[1], hit[0]))
