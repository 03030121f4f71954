"""The ``toxicity`` policy: a linear model on words and their spelling, sentence by sentence.

It was trained on 500 public comments, so it knows insults and slurs in English and little else; ``data/toxicity`` tells
what it reaches on the comments it has not seen.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from math import exp, sqrt
from pathlib import Path
from typing import TYPE_CHECKING

from wandb_governance.policy.rules.options import number_option, refuse_unknown
from wandb_governance.policy.verdict import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wandb_governance.policy.rule import RuleContext

WEIGHTS = Path(__file__).parents[1] / "data" / "toxicity" / "weights.npz"
DEFAULT_THRESHOLD = 0.8
_BITS = 14
_WORD = re.compile(r"[^\W_]+(?:['*@$!#][^\W_]+)*\**")
_BREAK = re.compile(r"\n+|(?<=[.!?])\s+")
_LONG_RUN = re.compile(r"(.)\1{2,}")
_LEET = str.maketrans("013457@$!", "oieastasi")
_SPELLING = (3, 4, 5)
_MAX_WORD = 40
_PASSAGE, _LONGEST = 160, 400
_LIKELY = 0.5


def features(text: str) -> set[int]:
    """Hashed words, pairs of words and pieces of their spelling, each in [0, 2**14)."""
    words = [
        _LONG_RUN.sub(r"\1\1", word[:_MAX_WORD]) for word in _WORD.findall(unicodedata.normalize("NFKC", text).lower())
    ]
    names = {f"w {word}" for word in words}
    names.update(f"b {one} {two}" for one, two in itertools.pairwise(words))
    for word in set(words):
        spelled = f"<{word.translate(_LEET)}>"
        names.update(f"c{spelled[i : i + n]}" for n in _SPELLING for i in range(len(spelled) - n + 1))
    return {zlib.crc32(name.encode()) >> (32 - _BITS) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToxicityOptions:
    """What counts as toxic."""

    threshold: float = DEFAULT_THRESHOLD
    """Probability from which a sentence counts, in [0, 1]."""


@dataclass(frozen=True)
class Toxicity:
    """Finds toxic sentences. Safe from any thread; loads its weights on first use."""

    options: ToxicityOptions = field(default_factory=ToxicityOptions)
    name: str = "toxicity"

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Toxicity:
        """Build from the key ``threshold``.

        Raises:
            PolicyDocumentError: A key is unknown or has a value it can't have.
        """
        refuse_unknown(options, {"threshold"})
        return cls(ToxicityOptions(threshold=number_option(options, "threshold", default=DEFAULT_THRESHOLD)))

    @cached_property
    def _weights(self) -> tuple[list[float], float]:
        import numpy as np

        with np.load(WEIGHTS, allow_pickle=False) as data:
            return (data["weights"].astype(np.float64) * float(data["scale"])).tolist(), float(data["bias"])

    @cached_property
    def version(self) -> str:
        """Digest of the weights and the threshold."""
        digest = hashlib.sha256(WEIGHTS.read_bytes() + repr(self.options.threshold).encode())
        return f"toxicity-1-{digest.hexdigest()[:12]}"

    def probability(self, text: str) -> float:
        """Probability that one sentence or comment is toxic, in [0, 1]."""
        found = features(text)
        if not found:
            return 0.0
        weights, bias = self._weights
        return 1 / (1 + exp(-(sum(weights[index] for index in found) / sqrt(len(found)) + bias)))

    def find(self, text: str, context: RuleContext | None = None) -> Sequence[Finding]:
        """The toxic sentences of each passage that is toxic as a whole, ordered by start."""
        return tuple(finding for passage in _passages(text) for finding in self._in_passage(text, passage))

    def _in_passage(self, text: str, sentences: Sequence[tuple[int, int]]) -> Iterator[Finding]:
        score = self.probability(text[sentences[0][0] : sentences[-1][1]])
        if score < self.options.threshold:
            return
        by_sentence = [self.probability(text[start:end]) for start, end in sentences]
        bar = min(_LIKELY, max(by_sentence))
        for (start, end), probability in zip(sentences, by_sentence, strict=True):
            if probability >= bar:
                yield Finding(
                    rule="toxicity.linear",
                    entity="TOXICITY",
                    start=start,
                    end=end,
                    score=round(score, 4),
                    threshold=self.options.threshold,
                    explanation="words and spelling as in toxic comments",
                )


def _passages(text: str) -> Iterator[list[tuple[int, int]]]:
    """Sentences in passages about as long as the comments that the model has learned from."""
    passage: list[tuple[int, int]] = []
    for start, end in _sentences(text):
        passage.append((start, end))
        if end - passage[0][0] >= _PASSAGE:
            yield passage
            passage = []
    if passage:
        yield passage


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    at = 0
    for match in [*_BREAK.finditer(text), None]:
        stop = match.start() if match else len(text)
        while at < stop:
            cut = min(stop, at + _LONGEST)
            if text[at:cut].strip():
                yield at, cut
            at = cut
        at = match.end() if match else stop
