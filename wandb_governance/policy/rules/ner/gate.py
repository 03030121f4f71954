"""Which passages of a text are worth the model, and what the model is shown of them."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from wandb_governance.policy.rules.ner.lexicon import plain_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wandb_governance.policy.rules.pii.variants import Mapped

_PASSAGE = 280
"""Longest passage in code points, so that the model sees a whole sentence and its neighbours, rarely more."""
_MASK = "#"
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_FIRST_PERSON = frozenset({"I", "I'm", "I've", "I'd", "I'll", "I’m", "I’ve", "I’d", "I’ll", "i"})
_BREAK = re.compile(r"\n+|(?<=[.!?;])[ \t]+|(?<=[。！？])")
_NO_NAME = re.compile(r"https?://[^\s<>\"']+|[A-Za-z0-9+/=_-]{24,}")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a reading with values that patterns hold already shown as ``#``."""

    text: str
    pieces: tuple[tuple[int, int, int], ...]
    """(offset in ``text``, offset in the reading, length in the reading) of each run, in order."""

    def source(self, offset: int) -> int:
        """Where ``text[offset]`` starts in the reading."""
        at, begin, length = self.pieces[bisect_right(self.pieces, offset, key=lambda piece: piece[0]) - 1]
        return begin + min(offset - at, length)

    def source_end(self, offset: int) -> int:
        """Where ``text[offset - 1]`` ends in the reading."""
        at, begin, length = self.pieces[bisect_right(self.pieces, offset - 1, key=lambda piece: piece[0]) - 1]
        return begin + min(offset - at, length)


class _Run(NamedTuple):
    start: int
    end: int
    shown: str


def passages(text: Mapped, taken: Sequence[tuple[int, int]]) -> list[Passage]:
    """The passages of a reading that may hold a name.

    Args:
        text: A reading of the source.
        taken: Source spans that patterns hold already.
    """
    plain = plain_words()
    masked = _masked(text, taken)
    chosen: list[Passage] = []
    group: list[tuple[int, int]] = []
    for start, end in _segments(text.text):
        if _all_plain(text.text, start, end, plain):
            continue
        if group and end - group[0][0] > _PASSAGE:
            chosen.append(_passage(text.text, group, masked))
            group = []
        group.append((start, end))
    if group:
        chosen.append(_passage(text.text, group, masked))
    return chosen


def _segments(text: str) -> Iterator[tuple[int, int]]:
    at = 0
    for match in _BREAK.finditer(text):
        yield from _cut(text, at, match.end())
        at = match.end()
    yield from _cut(text, at, len(text))


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A segment in parts of at most a passage, cut at spaces where there are any."""
    while end - start > _PASSAGE:
        space = text.rfind(" ", start + _PASSAGE // 2, start + _PASSAGE)
        stop = space + 1 if space >= 0 else start + _PASSAGE
        yield start, stop
        start = stop
    if end > start:
        yield start, end


def _all_plain(text: str, start: int, end: int, plain: frozenset[str]) -> bool:
    first = True
    for match in _WORD.finditer(text, start, end):
        word = match.group()
        if word not in _FIRST_PERSON and not ((word.islower() or first) and word.lower() in plain):
            return False
        first = False
    return True


def _masked(text: Mapped, taken: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    spans = [m.span() for m in _NO_NAME.finditer(text.text) if any(map(str.isdigit, m.group()))]
    for start, end in taken:
        if text.starts is None or text.ends is None:
            spans.append((start, end))
        else:
            spans.append((bisect_right(text.ends, start), bisect_left(text.starts, end)))
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif end > start:
            merged.append((start, end))
    return merged


def _passage(text: str, group: Sequence[tuple[int, int]], masked: Sequence[tuple[int, int]]) -> Passage:
    shown: list[str] = []
    pieces: list[tuple[int, int, int]] = []
    length = 0
    for start, end in group:
        for run in _runs(text, start, end, masked):
            pieces.append((length, run.start, run.end - run.start))
            shown.append(run.shown)
            length += len(run.shown)
    return Passage("".join(shown), tuple(pieces))


def _runs(text: str, start: int, end: int, masked: Sequence[tuple[int, int]]) -> Iterator[_Run]:
    at = start
    first = bisect_right(masked, start, key=lambda span: span[1])
    for begin, stop in masked[first:]:
        if begin >= end:
            break
        if begin > at:
            yield _Run(at, begin, text[at:begin])
        yield _Run(max(begin, start), min(stop, end), _MASK)
        at = min(stop, end)
    if at < end:
        yield _Run(at, end, text[at:end])
