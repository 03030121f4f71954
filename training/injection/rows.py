"""Examples as rows of features: the whole text, and windows of long ones."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from wandb_governance.policy.normalize import decoded_views, disguised_views, fold_confusables, normalize
from wandb_governance.policy.rules.injection.features import BITS, hash_text
from wandb_governance.policy.rules.injection.lexicon import load_lexicon
from wandb_governance.policy.rules.injection.signals import context_signals, shape_hits, shape_signals, style_signals
from wandb_governance.policy.rules.injection.windows import windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
    texts: list[str]


def build_rows(examples: Sequence[Example], seed: int) -> Rows:
    """Rows of all examples, in order; windows that are sampled depend on ``seed`` alone."""
    rng = random.Random(seed)
    parts: list[tuple[np.ndarray, np.ndarray, int, float, str, int, bool, str]] = []
    for number, example in enumerate(examples):
        parts.extend(_example_rows(example, number, rng))
    grams, signals, label, weight, source, index, whole, texts = zip(*parts, strict=True)
    pointers = np.concatenate([[0], np.cumsum([len(columns) for columns in grams])])
    values = np.concatenate(
        [np.full(len(columns), 1 / np.sqrt(max(1, len(columns))), dtype=np.float32) for columns in grams]
    )
    matrix = sp.csr_matrix((values, np.concatenate(grams).astype(np.int32), pointers), shape=(len(parts), 2**BITS))
    matrix.sum_duplicates()
    return Rows(
        grams=matrix, signals=np.stack(signals), label=np.array(label), weight=np.array(weight, dtype=np.float32),
        source=np.array(source), example=np.array(index), whole=np.array(whole), texts=list(texts),
    )  # fmt: skip


def _example_rows(
    example: Example, number: int, rng: random.Random
) -> Iterable[tuple[np.ndarray, np.ndarray, int, float, str, int, bool, str]]:
    view = fold_confusables(normalize(example.text[:MAX_TEXT]))
    text = view.text
    views = (*decoded_views(text), *disguised_views(text))
    context = context_signals(view.marks, [found.encoding for found in views])
    hashed, hits = hash_text(text, load_lexicon()), shape_hits(text)

    def row(
        start: int, end: int, label: int, weight: float, whole: bool
    ) -> tuple[np.ndarray, np.ndarray, int, float, str, int, bool, str]:
        inside = hashed.index if whole else hashed.index[(hashed.start >= start) & (hashed.start < end)]
        signals = np.concatenate([shape_signals(hits, start, end), style_signals(text[start:end]), context])
        return inside, signals, label, weight, example.source, number, whole, text[start:end]

    yield row(0, len(text), example.label, example.weight, True)
    spans = windows(hashed.words, len(text))
    if example.label == 0:
        for start, end in rng.sample(spans, min(3, len(spans))):
            yield row(start, end, 0, example.weight * 0.5, False)
    elif example.span is not None and view.is_identity:
        first, last = example.span
        hit = [span for span in spans if min(span[1], last) - max(span[0], first) >= 0.8 * (last - first)]
        clear = [span for span in spans if span[1] <= first or span[0] >= last]
        for start, end in rng.sample(hit, min(2, len(hit))):
            yield row(start, end, 1, example.weight, False)
        for start, end in rng.sample(clear, min(2, len(clear))):
            yield row(start, end, 0, example.weight, False)
    else:
        for start, end in rng.sample(spans, min(2, len(spans))):
            yield row(start, end, 1, example.weight * 0.2, False)
