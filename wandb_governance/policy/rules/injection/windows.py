"""Overlapping windows of words, so that an instruction buried in a long text stands out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wandb_governance.policy.rules.injection.features import IntArray

WINDOW = 48
STRIDE = 24
"""Words; a text of at most ``WINDOW + STRIDE`` words is one piece."""


def windows(words: IntArray, length: int) -> list[tuple[int, int]]:
    """Windows of a text.

    Args:
        words: Start and end of each word, shape (n, 2).
        length: Code points of the text.

    Returns:
        Start and end code points; empty where the text is too short to be cut. Together they cover the whole text.
    """
    count = len(words)
    if count <= WINDOW + STRIDE:
        return []
    firsts = list(range(0, count - STRIDE, STRIDE))
    spans = [(int(words[at, 0]), int(words[min(at + WINDOW, count) - 1, 1])) for at in firsts]
    spans[0] = (0, spans[0][1])
    spans[-1] = (spans[-1][0], length)
    return spans
