"""Scores a text: the whole, its windows, and every reading of it that an encoding hides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wandb_governance.policy.normalize import decoded_views, disguised_views, fold_confusables, normalize
from wandb_governance.policy.rules.injection.features import HashedText, hash_text
from wandb_governance.policy.rules.injection.patterns import shapes, signatures
from wandb_governance.policy.rules.injection.signals import (
    context_signals,
    shape_hits,
    shape_signals,
    signal_names,
    style_signals,
)
from wandb_governance.policy.rules.injection.windows import windows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from wandb_governance.policy.normalize import Encoding, NormalizedText
    from wandb_governance.policy.rules.injection.features import Lexicon
    from wandb_governance.policy.rules.injection.weights import FloatArray, Weights

CHUNK = 3000
"""Code points that are scored as one text; longer texts are cut, which also bounds the memory."""
_OVERLAP = 400
_WINDOW_MARGIN = 2.0
"""How far a window without a signature must be above what the whole text would need."""
_SIGNATURE = 3.5
"""What a signature adds to the log-odds; no benign text of the training sets has one that acts."""
_HIDDEN = 1.5
"""What it adds more where somebody went to the trouble of hiding it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One stretch of one reading of the text, with its log-odds."""

    start: int
    """First code point in the text that was given."""
    end: int
    """One past the last."""
    logit: float
    shapes: tuple[str, ...]
    """Ids of its signatures, then of its shapes that speak for an attack, the heaviest first."""
    encoding: str | None = None
    """The encoding that was undone to read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """How much one thing adds to the log-odds of the best piece."""

    name: str
    """A shape, a signal, or ``words`` for what the n-grams of a word add."""
    value: float
    start: int | None = None
    """Place in the text that was given, for words."""
    end: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Region:
    """A part of one chunk and what was computed for it."""

    start: int
    end: int
    logit: float
    signals: FloatArray
    signatures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    view: NormalizedText
    text: str
    offset: int
    hashed: HashedText
    hits: npt.NDArray[np.int64]
    signed: npt.NDArray[np.int64]
    """Signatures, as the hits."""
    context: FloatArray
    hidden: bool
    """Whether an encoding, a disguise or an odd character had to be undone to read it."""
    encoding: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """A linear model, applied to texts of any length in linear time."""

    weights: Weights
    lexicon: Lexicon
    decode: bool = True
    """Whether encodings and disguised spellings are undone."""
    unicode: bool = True
    """Whether invisible characters and styled letters are undone."""
    homoglyphs: bool = True
    """Whether look-alike letters are folded."""

    def pieces(self, text: str) -> list[Piece]:
        """Pieces with the log-odds that the text is an attack because of them; at least one.

        Where a chunk is cut into windows, the log-odds of a window is the mean of its own and its chunk's, or its own
        less a margin, whichever is more: an instruction buried in a long text counts, a stray phrase does not. A
        signature needs no margin.
        """
        found: list[Piece] = []
        for chunk in self._chunks(text):
            whole, *parts = self._regions(chunk)
            if not parts:
                found.append(_piece(chunk, whole, whole.logit, self.weights.signals))
            for part in parts:
                alone = part.logit - (0.0 if part.signatures else _WINDOW_MARGIN)
                logit = max((part.logit + whole.logit) / 2, alone)
                found.append(_piece(chunk, part, logit, self.weights.signals))
        return found

    def contributions(self, text: str, *, limit: int = 12) -> list[Contribution]:
        """What speaks most for and against an attack in the best piece, largest first.

        Args:
            text: Text as given.
            limit: At most so many contributions.
        """
        best = max(
            ((chunk, region) for chunk in self._chunks(text) for region in self._regions(chunk)),
            key=lambda pair: pair[1].logit,
        )
        chunk, region = best
        named = zip(signal_names(), (region.signals * self.weights.signals).tolist(), strict=True)
        found = [Contribution(name=name, value=value) for name, value in named if value]
        if region.signatures:
            extra = _SIGNATURE + _HIDDEN * chunk.hidden
            found.append(Contribution(name=f"signature_{region.signatures[0]}", value=extra))
        inside = (chunk.hashed.start >= region.start) & (chunk.hashed.start < region.end)
        root = np.sqrt(max(1, int(inside.sum())))
        values = np.bincount(
            chunk.hashed.start[inside], self.weights.grams[chunk.hashed.index[inside]], minlength=len(chunk.text) + 1
        )
        for start, end in chunk.hashed.words.tolist():
            if region.start <= start < region.end:
                first, last = chunk.view.source_span(chunk.offset + start, chunk.offset + end)
                total = float(values[start:end].sum() / root)
                found.append(Contribution(name="words", value=total, start=first, end=last))
        return sorted(found, key=lambda item: -abs(item.value))[:limit]

    def _chunks(self, text: str) -> Iterator[_Chunk]:
        view = normalize(text) if self.unicode else _as_is(text)
        view = fold_confusables(view) if self.homoglyphs else view
        readings = (*decoded_views(view.text), *disguised_views(view.text)) if self.decode else ()
        context = context_signals(view.marks, [reading.encoding for reading in readings])
        yield from self._cut(view, context, None)
        plain = context_signals((), ())
        for reading in readings:
            yield from self._cut(reading.view.over(view), plain, reading.encoding)

    def _cut(self, view: NormalizedText, context: FloatArray, encoding: Encoding | None) -> Iterator[_Chunk]:
        size = len(view.text)
        at = 0
        while True:
            text = view.text[at : at + CHUNK]
            yield _Chunk(
                view=view,
                text=text,
                offset=at,
                hashed=hash_text(text, self.lexicon),
                hits=shape_hits(text, shapes()),
                signed=shape_hits(text, signatures()),
                context=context,
                hidden=encoding is not None or bool(view.marks),
                encoding=encoding.value if encoding else None,
            )
            if at + CHUNK >= size:
                return
            at += CHUNK - _OVERLAP

    def _regions(self, chunk: _Chunk) -> list[_Region]:
        """The chunk itself, then its windows."""
        size = len(chunk.text)
        values = self.weights.grams[chunk.hashed.index]
        sums = np.concatenate([[0.0], np.cumsum(np.bincount(chunk.hashed.start, values, minlength=size + 1))])
        counts = np.concatenate([[0], np.cumsum(np.bincount(chunk.hashed.start, minlength=size + 1))])
        spans = [(0, size + 1), *windows(chunk.hashed.words, size)]
        regions = []
        for start, end in spans:
            signals = np.concatenate(
                [shape_signals(chunk.hits, start, end), style_signals(chunk.text[start:end]), chunk.context]
            )
            grams = (sums[end] - sums[start]) / np.sqrt(max(1, counts[end] - counts[start]))
            acting = (chunk.signed[:, 1] < end) & (chunk.signed[:, 2] > start) & (chunk.signed[:, 3] == 0)
            named = tuple(signatures()[column].id for column in np.unique(chunk.signed[acting, 0]).tolist())
            extra = (_SIGNATURE + _HIDDEN * chunk.hidden) if named else 0.0
            logit = float(grams + signals @ self.weights.signals + self.weights.bias) + extra
            regions.append(_Region(start=start, end=min(end, size), logit=logit, signals=signals, signatures=named))
        return regions


def _as_is(text: str) -> NormalizedText:
    from wandb_governance.policy.normalize import NormalizedText

    return NormalizedText.identity(text)


def _piece(chunk: _Chunk, region: _Region, logit: float, weights: FloatArray) -> Piece:
    if region.end > region.start:
        start, end = chunk.view.source_span(chunk.offset + region.start, chunk.offset + region.end)
    else:
        start, end = 0, 0
    known = shapes()
    acting = np.flatnonzero(region.signals[: len(known)] * (weights[: len(known)] > 0))
    heaviest = acting[np.argsort(-weights[acting], kind="stable")]
    named = tuple(known[column].id for column in heaviest.tolist())
    return Piece(start=start, end=end, logit=logit, shapes=(*region.signatures, *named), encoding=chunk.encoding)
