"""BM25 over chunks: the baseline that a sweep must beat, and costs next to nothing."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from wandb_governance.sweep.ranking import best

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wandb_governance.sweep.ranking import Hits
    from wandb_governance.sweep.tokens import IntArray

VERSION = "1"
"""Changes whenever rankings may."""

_WORD = re.compile(r"\w+")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af\u0e00-\u0e7f]+")
_K1 = 1.2
_B = 0.75


def terms(text: str) -> Iterator[str]:
    """Lower-case words; runs of scripts that are written without spaces give pairs of characters."""
    for match in _WORD.finditer(text.lower()):
        word = match.group()
        unspaced = _UNSPACED.findall(word)
        if not unspaced:
            yield word
            continue
        yield from (part for part in _UNSPACED.split(word) if part)
        for run in unspaced:
            yield from (run[at : at + 2] for at in range(max(1, len(run) - 1)))


class Bm25:
    """An inverted index over texts.

    Args:
        texts: One for each row.

    Source:
        Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009; k1 1.2, b 0.75, and
        idf = ln(1 + (N - n + 0.5) / (n + 0.5)), which is never negative.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        postings: dict[str, tuple[list[int], list[int]]] = {}
        lengths: list[int] = []
        for row, text in enumerate(texts):
            counts = Counter(terms(text))
            lengths.append(counts.total())
            for term, count in counts.items():
                rows, frequencies = postings.setdefault(term, ([], []))
                rows.append(row)
                frequencies.append(count)
        length = np.array(lengths, dtype=np.float64)
        mean = max(float(length.mean()) if lengths else 1.0, 1.0)
        self._rows = len(lengths)
        self._norm = _K1 * (1 - _B + _B * length / mean)
        self._postings: dict[str, tuple[IntArray, IntArray]] = {
            term: (np.array(rows, dtype=np.int64), np.array(counts, dtype=np.int64))
            for term, (rows, counts) in postings.items()
        }

    def search(self, query: str, k: int) -> Hits:
        """The k best rows, ties to the lower row; rows that share no term with the query come last, with score 0."""
        scores = np.zeros(self._rows)
        for term, weight in sorted(Counter(terms(query)).items()):
            if term not in self._postings:
                continue
            rows, counts = self._postings[term]
            idf = np.log(1 + (self._rows - len(rows) + 0.5) / (len(rows) + 0.5))
            scores[rows] += weight * idf * counts * (_K1 + 1) / (counts + self._norm[rows])
        return best(np.round(scores, 9), k)
