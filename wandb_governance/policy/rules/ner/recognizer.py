"""Names and places in a text: which parts are worth the model, what it says, and how pieces become whole names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from wandb_governance.errors import DetectorError, MissingExtraError
from wandb_governance.policy.rules.ner.gate import Passage, passages
from wandb_governance.policy.rules.ner.lexicon import DATA, is_given_name, is_never_a_person, plain_words
from wandb_governance.policy.rules.ner.model import LABELS, NameModel, Prediction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from wandb_governance.policy.rules.pii.variants import Mapped

WEIGHTS = DATA / "names.int8.onnx"
_LOGIC_VERSION = "1"
_ENTITIES = {"PER": "PERSON", "LOC": "LOCATION"}
_THRESHOLD = {"PER": 0.5, "LOC": 0.5}
_LOWER_CASE, _CAPITALISED, _COMMON_NAME, _BESIDE_A_NAME = 0.7, 0.4, 0.2, 0.25
"""Bars for a person: a word in lower case, a capitalised one, one that is a common given name too, a neighbour."""
# What may stand between two words of one name, and between surname and given name in an index or a mailbox.
_JOINS = re.compile(r"[ \u00a0]|[-'’.·]|\. ?| ?- ?")
_JOINS_PLACE = re.compile(r"[ \u00a0\n]{1,3}|[-'’./]|\. |, ?|,? ?\n ?")
_COMMA = ", "
_FIELD_OPENS = re.compile(r"(?:\A|[\n:=\"'|;\t(>]) ?\Z")
_SURNAME_BEFORE = re.compile(r"(?:\A|[\n:=\"'|;\t(>]) ?([^\W\d_][^\W\d_'’-]+), \Z")
_SALUTATIONS = frozenset(
    ("hi", "hello", "hey", "dear", "thanks", "cheers", "regards", "sincerely", "yours", "best", "love", "yes", "no",
     "hallo", "hola", "ciao", "bonjour")
)  # fmt: skip
_FIELD_ENDS = re.compile(r" ?(?:\Z|[\n\"'|;\t)<#.]| \()")
# What was named after a person and is none: "Newton's method", "Madison Avenue", "Fourier transform".
_NAMESAKE = re.compile(
    r"(?:['’]s?)?[ -](?:methods?|laws?|theorems?|rules?|algorithms?|inequalit(?:y|ies)|equations?|formula|principle|"
    r"constant|conjecture|paradox|tests?|distribution|transforms?|process|chains?|series|disease|syndrome|effect|numbers?|"
    r"lemma|triangle|razor|machine|scale|curve|filter|integral|matrix|operator|space|prize|award|medal|avenue|street|road|drive|"
    r"boulevard|lane|square|river|lake|falls|mountains?|island|county|airport|university|college|institute|hospital|bank|"
    r"brothers|inc|ltd|llc|corp|gmbh|foundation|stadium|bridge|tower|hotel)\b",
    re.IGNORECASE,
)
_TITLES = frozenset(
    ("mr", "mrs", "ms", "miss", "mx", "dr", "prof", "professor", "sir", "madam", "herr", "frau", "monsieur", "madame",
     "mme", "señor", "señora", "sr", "sra", "don", "doña", "dhr", "mevrouw", "signor", "signora", "sig", "dott")
)  # fmt: skip


class Name(NamedTuple):
    """A name or place; code points of the source."""

    start: int
    end: int
    entity: str
    score: float


class _Word(NamedTuple):
    start: int
    end: int
    label: str
    begins: bool
    score: float


@dataclass(frozen=True)
class NameRecognizer:
    """Finds names and places. Safe from any thread."""

    model: NameModel

    @cached_property
    def version(self) -> str:
        """Digest of the model and of the rules around it."""
        return f"ner-{_LOGIC_VERSION}-{self.model.digest[:12]}"

    def find(self, text: Mapped, taken: Sequence[tuple[int, int]]) -> list[Name]:
        """Names and places, ordered by start.

        Args:
            text: A reading of the source.
            taken: Spans of the source that patterns hold already: the model sees ``#`` in their place.

        Raises:
            DetectorError: The model failed.
        """
        chosen = passages(text, taken)
        try:
            predictions = self.model.predict([passage.text for passage in chosen])
        except (RuntimeError, ValueError) as error:
            raise DetectorError(f"the name model failed: {type(error).__name__}", rule="pii.person") from error
        found = [
            name
            for passage, prediction in zip(chosen, predictions, strict=True)
            for name in _names(passage, prediction)
        ]
        return [Name(*text.source(name.start, name.end), name.entity, name.score) for name in sorted(found)]


def _names(passage: Passage, prediction: Prediction) -> Iterator[Name]:
    groups = list(_grouped(passage.text, _words(passage.text, prediction)))
    for group in _turned(passage.text, groups):
        start, end = _trimmed(passage.text, _with_surname(passage.text, group), group[-1].end)
        if end - start < 2 and passage.text[start:end].isascii():
            continue
        if end > start and not is_never_a_person(passage.text[start:end]) and not _NAMESAKE.match(passage.text, end):
            score = sum(word.score for word in group) / len(group)
            yield Name(passage.source(start), passage.source_end(end), _ENTITIES[group[0].label], _calibrated(score))


def _with_surname(text: str, group: Sequence[_Word]) -> int:
    """Where a name starts: at the unknown word of ``Unknown, Given`` where that is all its line or field holds."""
    start, end = group[0].start, group[-1].end
    if group[0].label != "PER" or " " in text[start:end] or not _FIELD_ENDS.match(text, end):
        return start
    before = _SURNAME_BEFORE.search(text, max(0, start - 40), start)
    if before is None or before.group(1).lower() in _SALUTATIONS or before.group(1).lower() in plain_words():
        return start
    return before.start(1)


def _is_turned(text: str, one: Sequence[_Word], other: Sequence[_Word]) -> bool:
    if not one[0].label == other[0].label == "PER" or text[one[-1].end : other[0].start] != _COMMA:
        return False
    if any(" " in text[group[0].start : group[-1].end] for group in (one, other)):
        return False
    in_field = _FIELD_OPENS.search(text, max(0, one[0].start - 12), one[0].start) is not None
    return not other[0].begins or (in_field and _FIELD_ENDS.match(text, other[-1].end) is not None)


def _calibrated(score: float) -> float:
    """The lowest bar is 0.5 for the rule, so that its threshold means the same for every entity."""
    return min(1.0, 0.5 + score / 2)


def _turned(text: str, groups: Sequence[list[_Word]]) -> Iterator[list[_Word]]:
    """Groups with ``Surname, Given`` made one: two single names that the model or their place holds together."""
    at = 0
    while at < len(groups):
        one, other = groups[at], groups[at + 1] if at + 1 < len(groups) else None
        if other is not None and _is_turned(text, one, other):
            yield [*one, *other]
            at += 2
        else:
            yield one
            at += 1


def _words(text: str, prediction: Prediction) -> Iterator[_Word]:
    """Words that reach their bar, and capitalised neighbours of theirs that nearly do."""
    scored = [_scored(text, span, row) for span, row in zip(prediction.words, prediction.probabilities, strict=True)]
    certain = [word is not None and word.score >= _bar(text, word) for word in scored]
    for index, word in enumerate(scored):
        if word is None:
            continue
        if certain[index] or (
            word.label == "PER" and word.score >= _BESIDE_A_NAME and _beside(text, scored, certain, index)
        ):
            yield word


def _scored(text: str, span: tuple[int, int], probabilities: NDArray[np.float32]) -> _Word | None:
    start, end = span
    if not any(map(str.isalnum, text[start:end])):
        return None
    person, place = float(probabilities[1] + probabilities[2]), float(probabilities[3] + probabilities[4])
    label = "PER" if person >= place else "LOC"
    begins = bool(probabilities[LABELS.index(f"B-{label}")] >= probabilities[LABELS.index(f"I-{label}")])
    return _Word(start, end, label, begins, max(person, place))


def _bar(text: str, word: _Word) -> float:
    shown = text[word.start : word.end]
    if word.label != "PER":
        return _THRESHOLD[word.label]
    if not shown[:1].isupper():
        return _LOWER_CASE if shown[:1].islower() else _THRESHOLD["PER"]
    return _COMMON_NAME if is_given_name(shown) else _CAPITALISED


def _beside(text: str, scored: Sequence[_Word | None], certain: Sequence[bool], index: int) -> bool:
    word = scored[index]
    if word is None or not text[word.start : word.start + 1].isupper():
        return False
    before, after = scored[index - 1] if index else None, scored[index + 1] if index + 1 < len(scored) else None
    return bool(
        (before and certain[index - 1] and before.label == "PER" and text[before.end : word.start] == " ")
        or (after and certain[index + 1] and after.label == "PER" and text[word.end : after.start] == " ")
    )


def _grouped(text: str, words: Iterator[_Word]) -> Iterator[list[_Word]]:
    group: list[_Word] = []
    for word in words:
        if group and word.label == group[-1].label and _continues(text, group[-1], word):
            group.append(word)
            continue
        if group:
            yield group
        group = [word]
    if group:
        yield group


def _continues(text: str, last: _Word, word: _Word) -> bool:
    between = text[last.end : word.start]
    if not between:
        return True
    joins = _JOINS_PLACE if word.label == "LOC" else _JOINS
    return joins.fullmatch(between) is not None


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Without a title before or a possessive behind."""
    while True:
        first = re.match(r"([^\W\d_]+)\.?[ ]", text[start:end])
        if first is None or first.group(1).lower() not in _TITLES:
            break
        start += first.end()
    for suffix in ("'s", "’s", "'", "’"):
        if text[start:end].endswith(suffix):
            end -= len(suffix)
            break
    return start, end


@lru_cache(maxsize=1)
def installed() -> bool:
    """Whether the extra ``[ner]`` is installed."""
    return WEIGHTS.exists() and all(find_spec(package) is not None for package in ("onnxruntime", "tokenizers"))


@lru_cache(maxsize=1)
def recognizer() -> NameRecognizer:
    """The recogniser, loaded once.

    Raises:
        MissingExtraError: The extra ``[ner]`` is not installed.
    """
    for package in ("onnxruntime", "tokenizers"):
        if find_spec(package) is None:
            raise MissingExtraError(package, extra="ner")
    return NameRecognizer(NameModel(DATA))
