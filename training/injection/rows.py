"""Examples as rows of features: the whole text, and windows of long ones."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp

from wandb_governance.policy.normalize import decoded_views, disguised_views, fold_confusables, normalize
from wandb_governance.policy.rules.injection.features import BITS, hash_text
from wandb_governance.policy.rules.injection.lexicon import load_lexicon
from wandb_governance.policy.rules.injection.patterns import shapes
from wandb_governance.policy.rules.injection.signals import context_signals, shape_hits, shape_signals, style_signals
from wandb_governance.policy.rules.injection.windows import windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from corpus import Example

MAX_TEXT = 3000
"""Code points of a text that training looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Features of all rows and what is known of them."""

    grams: sp.csr_matrix
    """Counts of n-grams over the square root of their number, shape (n, 2**BITS)."""
    signals: np.ndarray
    """Shape (n, n_signals)."""
    label: np.ndarray
    weight: np.ndarray
    source: np.ndarray
    example: np.ndarray
    """Index of the example that a row comes from."""
    whole: np.ndarray
    """Whether the row is the whole text."""


class _Row(NamedTuple):
    """One stretch of one example."""

    grams: np.ndarray
    signals: np.ndarray
    label: int
    weight: float
    source: str
    example: int
    whole: bool


def build_rows(examples: Sequence[Example], seed: int) -> Rows:
    """Rows of all examples, in order; windows that are sampled depend on ``seed`` alone."""
    rng = random.Random(seed)
    parts = [row for number, example in enumerate(examples) for row in _example_rows(example, number, rng)]
    sizes = np.array([len(part.grams) for part in parts])
    matrix = sp.csr_matrix(
        (
            np.repeat((1 / np.sqrt(np.maximum(sizes, 1))).astype(np.float32), sizes),
            np.concatenate([part.grams for part in parts]).astype(np.int32),
            np.concatenate([[0], np.cumsum(sizes)]),
        ),
        shape=(len(parts), 2**BITS),
    )
    matrix.sum_duplicates()
    return Rows(
        grams=matrix,
        signals=np.stack([part.signals for part in parts]),
        label=np.array([part.label for part in parts]),
        weight=np.array([part.weight for part in parts], dtype=np.float32),
        source=np.array([part.source for part in parts]),
        example=np.array([part.example for part in parts]),
        whole=np.array([part.whole for part in parts]),
    )


def _example_rows(example: Example, number: int, rng: random.Random) -> Iterator[_Row]:
    view = fold_confusables(normalize(example.text[:MAX_TEXT]))
    text = view.text
    views = (*decoded_views(text), *disguised_views(text))
    context = context_signals(view.marks, [found.encoding for found in views])
    hashed, hits = hash_text(text, load_lexicon()), shape_hits(text, shapes())

    def row(start: int, end: int, label: int, weight: float) -> _Row:
        whole = (start, end) == (0, len(text))
        inside = hashed.index if whole else hashed.index[(hashed.start >= start) & (hashed.start < end)]
        signals = np.concatenate([shape_signals(hits, start, end), style_signals(text[start:end]), context])
        return _Row(inside, signals, label, example.weight * weight, example.source, number, whole)

    yield row(0, len(text), example.label, 1.0)
    spans = windows(hashed.words, len(text))
    if example.label == 0:
        for start, end in rng.sample(spans, min(3, len(spans))):
            yield row(start, end, 0, 0.5)
    elif example.span is not None and view.is_identity:
        first, last = example.span
        hit = [span for span in spans if min(span[1], last) - max(span[0], first) >= 0.8 * (last - first)]
        clear = [span for span in spans if span[1] <= first or span[0] >= last]
        for start, end in rng.sample(hit, min(2, len(hit))):
            yield row(start, end, 1, 1.0)
        for start, end in rng.sample(clear, min(2, len(clear))):
            yield row(start, end, 0, 1.0)
    else:
        for start, end in rng.sample(spans, min(2, len(spans))):
            yield row(start, end, 1, 0.2)
