"""Spellings that a language model reads and a pattern does not: spaced, reversed, leet and scrambled words."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from wandb_governance.policy.normalize.decode import DecodedView, Encoding
from wandb_governance.policy.normalize.text import NormalizedText

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# What instructions to a model are about. Only these words are restored, so that ordinary text is left alone.
_LEXICON = frozenset(
    re.findall(
        r"\w+",
        """
        ignore ignoring disregard forget bypass override overwrite violate discard previous prior above
        earlier preceding instruction instructions directive directives guideline guidelines rules rule
        prompt prompts system message messages context restrictions restriction filter filters safety policy
        policies reveal print repeat output display show tell leak expose share secret password passphrase
        confidential hidden initial developer assistant jailbreak unrestricted pretend respond answer
        instead everything anything nothing please your what with the and all you now from access granted
        credentials admin administrator mode enabled disable delete send email forward translate following
        commands command execute unfiltered without limits configuration verbatim conversation
        """,
    )
)
_COMMON = frozenset({"the", "and", "all", "you", "your", "what", "with", "now", "from", "please"})
_SPACED = re.compile(r"(?<![^\W_])[^\W_](?:[ .\-_*|/]{1,3}[^\W_]){5,}(?![^\W_])")
_GAP = re.compile(r"[ .\-_*|/]+")
_WORD = re.compile(r"[^\W\d_]{4,}")
_TOKEN = re.compile(r"\w+")
_LEET_WORD = re.compile(r"(?<![\w@$!|])(?=[A-Za-z0-9@$!|]*[A-Za-z])(?=[A-Za-z]*[0-9@$!|])[A-Za-z0-9@$!|]{3,24}")
_LEET = (str.maketrans("013457@$!|28", "oieastasilzb"), str.maketrans("013457@$!|28", "oleastasllzb"))
_REVERSED = frozenset(word[::-1] for word in _LEXICON if len(word) > 2)


def disguised_views(text: str) -> tuple[DecodedView, ...]:
    """Readings of the text with spaced-out, reversed, leet and letter-scrambled words restored.

    Args:
        text: A normalised text.

    Returns:
        At most one view for each spelling; none for ordinary text. The time is linear in the length of the text.
    """
    views = (_spaced(text), _reversed(text), _substituted(text, Encoding.LEET), _substituted(text, Encoding.SCRAMBLED))
    return tuple(view for view in views if view is not None)


def _spaced(text: str) -> DecodedView | None:
    spans = [match.span() for match in _SPACED.finditer(text)]
    if not spans:
        return None
    kept: list[tuple[int, str]] = []
    at = 0
    for start, end in spans:
        kept.extend((index, text[index]) for index in range(at, start))
        cursor = start
        for gap in _GAP.finditer(text, start, end):
            kept.extend((index, text[index]) for index in range(cursor, gap.start()))
            if gap.end() - gap.start() > 1:
                kept.append((gap.start(), " "))
            cursor = gap.end()
        kept.extend((index, text[index]) for index in range(cursor, end))
        at = end
    kept.extend((index, text[index]) for index in range(at, len(text)))
    view = NormalizedText(
        text="".join(char for _, char in kept),
        starts=[index for index, _ in kept],
        ends=[index + 1 for index, _ in kept],
    )
    return DecodedView(encoding=Encoding.SPACED, view=view, start=spans[0][0], end=spans[-1][1])


def _reversed(text: str) -> DecodedView | None:
    if len(_REVERSED.intersection(_TOKEN.findall(text.lower()))) < 2:
        return None
    size = len(text)
    view = NormalizedText(text=text[::-1], starts=range(size - 1, -1, -1), ends=range(size, 0, -1))
    return DecodedView(encoding=Encoding.REVERSED, view=view, start=0, end=size)


def _substituted(text: str, encoding: Encoding) -> DecodedView | None:
    """The text with disguised words of the lexicon written out; None with fewer than two such words."""
    found = list(_leet_words(text) if encoding is Encoding.LEET else _scrambled_words(text))
    if len(found) < 2 or not any(word not in _COMMON for _, word in found):
        return None
    out = list(text)
    for start, word in found:
        out[start : start + len(word)] = word
    view = NormalizedText(text="".join(out), starts=range(len(text)), ends=range(1, len(text) + 1))
    last_start, last_word = found[-1]
    return DecodedView(encoding=encoding, view=view, start=found[0][0], end=last_start + len(last_word))


def _leet_words(text: str) -> Iterator[tuple[int, str]]:
    for match in _LEET_WORD.finditer(text):
        token = match.group().lower()
        plain = next((word for table in _LEET if (word := token.translate(table)) in _LEXICON), None)
        if plain is not None:
            yield match.start(), plain


def _scrambled_words(text: str) -> Iterator[tuple[int, str]]:
    signatures = _signatures()
    for match in _WORD.finditer(text):
        token = match.group().lower()
        if token in _LEXICON:
            continue
        word = signatures.get(_signature(token))
        if word is not None:
            yield match.start(), word


def _signature(word: str) -> str:
    """What stays the same when a word's inner letters change places."""
    return word[0] + "".join(sorted(word[1:-1])) + word[-1]


@lru_cache(maxsize=1)
def _signatures() -> Mapping[str, str]:
    """Words of the lexicon by signature; words short enough to meet ordinary words by chance are left out."""
    return {_signature(word): word for word in sorted(_LEXICON) if len(word) >= 5}
