"""One pattern set over every reading of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wandb_governance.policy.rules.pii.overlaps import Candidate
from wandb_governance.policy.rules.pii.variants import Mapped, blobs, fold, unescape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wandb_governance.policy.rules.patterns import PatternSet

RANK_SOURCE, RANK_UNESCAPED, RANK_BLOB = 0, 1, 2
"""A decoded reading displaces the plain one: in ``\\nmaria@example.com`` of a JSON text the ``n`` is no letter."""
_DECODE_DEPTH = 2


def scan(patterns: PatternSet, folded: Mapped, *, decode: bool, depth: int = 0) -> Iterator[Candidate]:
    """Every hit in a folded text, in its escapes and in its encoded runs, at its place in the source.

    Args:
        patterns: What to look for.
        folded: The text, from ``fold``.
        decode: Look into escapes and encoded runs too.
        depth: How many encodings have been undone already; two are looked through.

    Raises:
        DetectorError: A user's pattern costs more than linear time.
    """
    yield from _matches(patterns, folded, RANK_SOURCE)
    if not decode or depth >= _DECODE_DEPTH:
        return
    unescaped = unescape(folded)
    if unescaped is not None:
        yield from _matches(patterns, unescaped, RANK_UNESCAPED)
    for blob in blobs(folded.text):
        inner = max(scan(patterns, fold(blob.text), decode=True, depth=depth + 1), key=lambda c: c.score, default=None)
        if inner is not None:
            start, end = folded.source(blob.start, blob.end)
            explanation = f"{inner.explanation}, in an encoded run"
            yield inner._replace(start=start, end=end, rank=RANK_BLOB, explanation=explanation)


def _matches(patterns: PatternSet, mapped: Mapped, rank: int) -> Iterator[Candidate]:
    for pattern, span in patterns.find(mapped.text):
        start, end = mapped.source(span.start, span.end)
        yield Candidate(start, end, rank, span.score, pattern.rule, pattern.entity, pattern.explanation)
