"""The policy ``prompt-injection``."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from wandb_governance.errors import DetectorError, PolicyDocumentError
from wandb_governance.policy.rules.options import number_option, refuse_unknown, user_patterns_option
from wandb_governance.policy.verdict import Finding, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_governance.policy.rule import RuleContext
    from wandb_governance.policy.rules.injection.scorer import Contribution, Piece, Scorer
    from wandb_governance.policy.rules.injection.weights import Models
    from wandb_governance.policy.rules.patterns import Pattern, PatternSet

ENTITY = "PROMPT_INJECTION"
DEFAULT_THRESHOLD = 0.8
_DOCUMENT_SCOPES = frozenset({Scope.TOOL_RESULT, Scope.RETRIEVAL})
_ENCODING_KEYS = {"decode_base64": "decode", "normalize_unicode": "unicode", "detect_homoglyphs": "homoglyphs"}
_NAMED_SHAPES = 3


@dataclass(frozen=True)
class PromptInjection:
    """Finds text that tries to take over a model: overrides, extraction, jailbreaks, instructions in documents.

    The score is a calibrated probability, for a stream in which one text of four is an attack. Nothing is loaded before
    the first text; then the weights (about 1 MB in memory) are read once.
    """

    threshold: float = DEFAULT_THRESHOLD
    """Probability from which a text is a finding, in [0, 1]."""
    patterns: tuple[Pattern, ...] = ()
    """The user's own patterns; a hit is a finding whatever the model says."""
    readings: Mapping[str, bool] = field(default_factory=dict, hash=False)
    """Which readings are switched off: ``decode``, ``unicode``, ``homoglyphs``."""

    name: ClassVar[str] = "prompt-injection"

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> PromptInjection:
        """Build from the keys of a policy document.

        Args:
            options: ``threshold`` (or ``embedding_threshold``), ``detection.attack_patterns``, and
                ``encoding.{decode_base64,normalize_unicode,detect_homoglyphs}``.

        Raises:
            PolicyDocumentError: A key is unknown or has a wrong value.
        """
        refuse_unknown(options, {"threshold", "embedding_threshold", "detection", "encoding"})
        if "threshold" in options and "embedding_threshold" in options:
            raise PolicyDocumentError("is another name of 'threshold'; give one of them", key="embedding_threshold")
        key = "embedding_threshold" if "embedding_threshold" in options else "threshold"
        detection = _section(options, "detection", {"attack_patterns"})
        encoding = _section(options, "encoding", set(_ENCODING_KEYS))
        for name, value in encoding.items():
            if not isinstance(value, bool):
                raise PolicyDocumentError("must be true or false", key=f"encoding.{name}")
        try:
            patterns = user_patterns_option(detection, "attack_patterns", rule=cls.name, entity=ENTITY)
        except PolicyDocumentError as error:
            raise PolicyDocumentError(error.message, key=f"detection.{error.key}") from error
        return cls(
            threshold=number_option(options, key, default=DEFAULT_THRESHOLD),
            patterns=patterns,
            readings={_ENCODING_KEYS[name]: bool(value) for name, value in encoding.items()},
        )

    @property
    def version(self) -> str:
        """Version of the code and of the weights."""
        return f"1+{self._models.version}"

    @cached_property
    def _models(self) -> Models:
        from wandb_governance.policy.rules.injection.weights import load_models

        try:
            return load_models()
        except (OSError, ValueError, KeyError) as error:
            raise DetectorError(f"the weights could not be read: {error}", rule=self.name) from error

    @cached_property
    def _scorers(self) -> tuple[Scorer, Scorer]:
        """For prompts, and for documents."""
        from wandb_governance.policy.rules.injection.lexicon import load_lexicon
        from wandb_governance.policy.rules.injection.scorer import Scorer

        lexicon = load_lexicon()
        prompt = Scorer(weights=self._models.prompt, lexicon=lexicon, **self.readings)
        return prompt, Scorer(weights=self._models.document, lexicon=lexicon, **self.readings)

    def _scorer(self, scope: Scope) -> Scorer:
        return self._scorers[scope in _DOCUMENT_SCOPES]

    @cached_property
    def _own_patterns(self) -> PatternSet:
        from wandb_governance.policy.rules.patterns import PatternSet

        return PatternSet(self.patterns)

    def score(self, text: str, scope: Scope = Scope.INPUT) -> float:
        """Probability that the text is an attack, in (0, 1); 0 for a text without characters to see."""
        if not text.strip():
            return 0.0
        scorer = self._scorer(scope)
        return scorer.weights.calibration.probability(max(piece.logit for piece in scorer.pieces(text)))

    def find(self, text: str, context: RuleContext) -> Sequence[Finding]:
        """Findings in ``text``; neighbouring windows over the threshold are one finding.

        With a threshold of 0 there is always one finding, and its score is the score of the text.
        """
        found = [*self._scored(text, context.scope)] if text.strip() else []
        if self.patterns:
            found.extend(
                Finding(
                    rule=hit.pattern.rule,
                    entity=hit.pattern.entity,
                    start=hit.span.start,
                    end=hit.span.end,
                    score=hit.span.score,
                    threshold=self.threshold,
                    explanation="a pattern of the policy document",
                )
                for hit in self._own_patterns.find(text)
            )
        return tuple(sorted(found, key=lambda finding: (finding.start, finding.end)))

    def explain(self, text: str, scope: Scope = Scope.INPUT, *, limit: int = 12) -> Sequence[Contribution]:
        """What speaks most for and against an attack, largest first; words are given by their place."""
        return self._scorer(scope).contributions(text, limit=limit) if text.strip() else ()

    def _scored(self, text: str, scope: Scope) -> list[Finding]:
        scorer = self._scorer(scope)
        scored = [(scorer.weights.calibration.probability(piece.logit), piece) for piece in scorer.pieces(text)]
        over = sorted(
            (item for item in scored if item[0] >= self.threshold), key=lambda item: (item[1].start, item[1].end)
        )
        findings: list[Finding] = []
        group: list[tuple[float, Piece]] = []
        end = -1
        for item in over:
            if group and item[1].start > end:
                findings.append(self._finding(group))
                group = []
            group.append(item)
            end = max(end, item[1].end)
        if group:
            findings.append(self._finding(group))
        return findings

    def _finding(self, group: Sequence[tuple[float, Piece]]) -> Finding:
        score, best = max(group, key=lambda item: item[0])
        kind = best.shapes[0] if best.shapes else "classifier"
        return Finding(
            rule=f"{self.name}.{kind}",
            entity=ENTITY,
            start=best.start,
            end=best.end,
            score=score,
            threshold=self.threshold,
            explanation=_explanation(best),
        )


def _section(options: Mapping[str, Any], key: str, known: set[str]) -> Mapping[str, Any]:
    section = options.get(key, {})
    if not isinstance(section, dict):
        raise PolicyDocumentError(f"must be a mapping with {', '.join(sorted(known))}", key=key)
    for name in section:
        if name not in known:
            raise PolicyDocumentError(f"unknown key; known are {', '.join(sorted(known))}", key=f"{key}.{name}")
    return section


def _explanation(piece: Piece) -> str:
    from wandb_governance.policy.rules.injection.patterns import shapes, signatures

    known = {shape.id: shape.meaning for shape in (*shapes(), *signatures())}
    meanings = [known[name] for name in piece.shapes[:_NAMED_SHAPES]]
    why = "; ".join(meanings) if meanings else "wording like that of known attacks"
    return f"{why} (read after undoing {piece.encoding})" if piece.encoding else why
