"""The ``topic`` policy: words, phrases and patterns that must not come up."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from wandb_governance.errors import PolicyDocumentError
from wandb_governance.policy.rules.options import refuse_unknown, string_list_option, user_patterns_option
from wandb_governance.policy.rules.patterns import Pattern, PatternSet, Span
from wandb_governance.policy.rules.pii.overlaps import findings
from wandb_governance.policy.rules.pii.scan import scan
from wandb_governance.policy.rules.pii.variants import fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wandb_governance.policy.rule import RuleContext
    from wandb_governance.policy.verdict import Finding

_ENTITY = "TOPIC"
_FIRST_CJK = "\u2e80"
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicOptions:
    """What must not come up."""

    deny: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Topics with their words and phrases; matched as whole words, in any case, with any white space between words."""
    patterns: tuple[Pattern, ...] = ()
    """Patterns of the user's own."""


@dataclass(frozen=True)
class Topic:
    """Finds denied topics. Immutable; safe from any thread."""

    options: TopicOptions = field(default_factory=TopicOptions)
    name: str = "topic"

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Topic:
        """Build from ``deny`` (phrases, or a mapping of topics to phrases) and ``patterns``.

        Raises:
            PolicyDocumentError: A key is unknown or has a value it can't have, or nothing is denied.
        """
        refuse_unknown(options, {"deny", "patterns"})
        patterns = user_patterns_option(options, "patterns", rule="topic.user", entity=_ENTITY)
        deny = _topics(options)
        if not deny and not patterns:
            raise PolicyDocumentError("needs 'deny' or 'patterns': without them it denies nothing", key="deny")
        return cls(TopicOptions(deny=deny, patterns=patterns))

    @cached_property
    def _patterns(self) -> PatternSet:
        shipped = tuple(
            Pattern(
                rule=f"topic.{topic}",
                entity=_ENTITY,
                regex=_phrases(phrases),
                score=1.0,
                judge=_whole_words,
                explanation=f"on the deny list {topic!r}",
            )
            for topic, phrases in self.options.deny
        )
        return PatternSet(shipped + self.options.patterns)

    @cached_property
    def version(self) -> str:
        """Digest of the lists."""
        parts = [f"{p.rule} {p.regex} {p.score}" for p in self._patterns.patterns]
        return f"topic-1-{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:12]}"

    def find(self, text: str, context: RuleContext | None = None) -> Sequence[Finding]:
        """Denied phrases in ``text``, ordered by start; escapes and encoded runs are looked through.

        Raises:
            DetectorError: A user's pattern costs more than linear time on this text.
        """
        if not text:
            return ()
        return findings(text, scan(self._patterns, fold(text), decode=True), 0.0)


def _topics(options: Mapping[str, object]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    deny = options.get("deny")
    if deny is None:
        return ()
    if not isinstance(deny, dict):
        phrases = string_list_option(options, "deny")
        return (("deny", _checked(phrases or (), "deny")),)
    topics: list[tuple[str, tuple[str, ...]]] = []
    for topic in deny:
        phrases = string_list_option(deny, topic)
        if not isinstance(topic, str) or phrases is None:
            raise PolicyDocumentError("must map a topic to a list of phrases", key=f"deny.{topic}")
        topics.append((topic, _checked(phrases, f"deny.{topic}")))
    return tuple(topics)


def _checked(phrases: tuple[str, ...], key: str) -> tuple[str, ...]:
    for index, phrase in enumerate(phrases):
        if not any(map(str.isalnum, phrase)):
            raise PolicyDocumentError("needs a letter or digit", key=f"{key}[{index}]")
    return phrases


def _phrases(phrases: tuple[str, ...]) -> str:
    # The longest first, so that a phrase is found whole where a shorter one is its beginning.
    ordered = sorted({" ".join(fold(phrase).text.split()) for phrase in phrases}, key=lambda p: (-len(p), p))
    escaped = (r"\s+".join(_PUNCTUATION.sub(r"\\\g<0>", word) for word in p.split()) for p in ordered)
    return "(?i)(?:" + "|".join(escaped) + ")"


def _whole_words(text: str, start: int, end: int) -> Iterator[Span]:
    before, after = text[start - 1 : start], text[end : end + 1]
    if not _joins(before, text[start]) and not _joins(text[end - 1], after):
        yield Span(start, end, 1.0)


def _joins(left: str, right: str) -> bool:
    """Whether two neighbours belong to one word; Chinese and Japanese write no space between words."""
    return left.isalnum() and right.isalnum() and max(left, right) < _FIRST_CJK
