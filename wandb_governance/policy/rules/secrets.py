"""The ``secrets`` policy: keys, tokens, passwords and private keys."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from wandb_governance.errors import PolicyDocumentError
from wandb_governance.policy.rules.options import (
    number_option,
    refuse_unknown,
    string_list_option,
    user_patterns_option,
)
from wandb_governance.policy.rules.patterns import Pattern, PatternSet
from wandb_governance.policy.rules.pii.overlaps import findings
from wandb_governance.policy.rules.pii.scan import scan
from wandb_governance.policy.rules.pii.variants import fold
from wandb_governance.policy.rules.secrets_catalogue import ENTITIES, catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_governance.policy.rule import RuleContext
    from wandb_governance.policy.verdict import Finding

DEFAULT_THRESHOLD = 0.5
_LOGIC_VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsOptions:
    """What ``secrets`` looks for."""

    entities: tuple[str, ...] | None = None
    """Kinds of credential to find; None means all."""
    threshold: float = DEFAULT_THRESHOLD
    """Lowest score that counts, in [0, 1]."""
    detect_patterns: tuple[Pattern, ...] = ()
    """Patterns of the user's own."""


@dataclass(frozen=True)
class SecretsRule:
    """Finds credentials. Immutable; safe from any thread."""

    options: SecretsOptions = field(default_factory=SecretsOptions)
    name: str = "secrets"

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> SecretsRule:
        """Build from the keys ``entities``, ``threshold`` (or ``min_score``) and ``detect_patterns``.

        Raises:
            PolicyDocumentError: A key is unknown or has a value it can't have.
        """
        refuse_unknown(options, {"entities", "threshold", "min_score", "detect_patterns"})
        entities = string_list_option(options, "entities")
        for entity in entities or ():
            if entity.upper() not in ENTITIES:
                raise PolicyDocumentError(f"unknown secret {entity!r}; known are {', '.join(ENTITIES)}", key="entities")
        threshold_key = "threshold" if "threshold" in options else "min_score"
        return cls(
            SecretsOptions(
                entities=tuple(entity.upper() for entity in entities) if entities else None,
                threshold=number_option(options, threshold_key, default=DEFAULT_THRESHOLD),
                detect_patterns=user_patterns_option(options, "detect_patterns", rule="secrets.user", entity="SECRET"),
            )
        )

    @cached_property
    def _patterns(self) -> PatternSet:
        wanted = self.options.entities
        shipped = tuple(p for p in catalogue() if wanted is None or p.entity in wanted)
        return PatternSet(shipped + self.options.detect_patterns)

    @cached_property
    def version(self) -> str:
        """Digest of patterns and options."""
        parts = [f"{p.rule} {p.entity} {p.regex} {p.group} {p.score}" for p in self._patterns.patterns]
        parts += [repr(self.options.threshold), _LOGIC_VERSION]
        return f"secrets-{_LOGIC_VERSION}-{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:12]}"

    def find(self, text: str, context: RuleContext | None = None) -> Sequence[Finding]:
        """Findings in ``text``, ordered by start and without overlap; offsets are code points of ``text``.

        Raises:
            DetectorError: A user's pattern costs more than linear time on this text.
        """
        if not text:
            return ()
        return findings(text, scan(self._patterns, fold(text), decode=True), self.options.threshold)
