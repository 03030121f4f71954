"""Metrics of one answer against its references and against what was retrieved."""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from wandb_governance.sweep import lexical

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Lower case without punctuation, English articles and repeated white space, as SQuAD compares answers."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 where the answer equals a reference after normalising, else 0.

    Source:
        Rajpurkar et al., SQuAD, 2016.
    """
    return float(any(normalised(answer) == normalised(reference) for reference in references))


def token_f1(answer: str, references: Sequence[str]) -> float:
    """Harmonic mean of precision and recall of words, the best over the references, in [0, 1].

    Source:
        Rajpurkar et al., SQuAD, 2016.
    """
    return max((_f1(normalised(answer).split(), normalised(r).split()) for r in references), default=0.0)


def answer_similarity(
    answer: str, references: Sequence[str], embed: Callable[[Sequence[str]], npt.NDArray[np.float32]]
) -> float:
    """Cosine of answer and closest reference, cut off at 0.

    Args:
        answer: The answer.
        references: At least one.
        embed: Texts to vectors of length 1, shape (n_texts, dimensions).
    """
    vectors = embed([answer, *references]).astype(np.float64)
    return float(np.clip((vectors[1:] * vectors[0]).sum(axis=1).max(), 0.0, 1.0))


def groundedness(answer: str, contexts: Sequence[str]) -> float:
    """Share of the answer's words that are in the retrieved texts; 1 for an answer without words.

    Source:
        K-precision of Adlakha et al., Evaluating Correctness and Faithfulness of Instruction-Following Models for
        Question Answering, 2024.
    """
    words = list(lexical.terms(answer))
    known = {word for text in contexts for word in lexical.terms(text)}
    return sum(word in known for word in words) / len(words) if words else 1.0


def _f1(answer: list[str], reference: list[str]) -> float:
    if not answer or not reference:
        return float(answer == reference)
    shared = sum((Counter(answer) & Counter(reference)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(answer), shared / len(reference)
    return 2 * precision * recall / (precision + recall)
