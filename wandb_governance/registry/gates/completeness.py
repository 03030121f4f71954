"""Gates over what must be known of a candidate: its lineage and its model card."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from wandb_governance.errors import GateError
from wandb_governance.registry.gates.base import GateSpec

if TYPE_CHECKING:
    from wandb_governance.registry.gate import Evidence, GateResult

_HEADING = re.compile(r"^#{1,6}[ \t]+(?P<title>[^\n#]+?)[ \t]*#*[ \t]*$", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\[more information needed\]|\btodo\b|\btbd\b", re.IGNORECASE)

Link = Literal["producer", "code_commit", "dataset", "evaluation", "finished_run"]


class LineageCompleteGate(GateSpec):
    """One can walk from the candidate to the run, code, data and evaluation behind it."""

    kind: ClassVar[str] = "lineage_complete"
    require: tuple[Link, ...] = Field(
        default=("producer", "finished_run", "code_commit", "dataset", "evaluation"), min_length=1, strict=False
    )

    def evaluate(self, evidence: Evidence) -> GateResult:
        """Name what is missing; what can't be read is undecided, not missing."""
        if evidence.unreadable:
            raise GateError(f"can't be read with this account: {', '.join(evidence.unreadable)}")
        run = evidence.producer
        present = {
            "producer": run is not None,
            "finished_run": run is not None and run.state == "finished",
            "code_commit": run is not None and bool(re.fullmatch(r"[0-9a-f]{7,64}", run.commit)),
            "dataset": bool(evidence.datasets),
            "evaluation": evidence.evaluation is not None,
        }
        missing = [link for link in self.require if not present[link]]
        if missing:
            return self.failed(f"missing: {', '.join(missing)}", missing=missing)
        return self.passed(f"all present: {', '.join(self.require)}")


class ModelCardGate(GateSpec):
    """The model card has every section, with words of its own in each."""

    kind: ClassVar[str] = "model_card_complete"
    sections: tuple[str, ...] = Field(
        default=("Intended use", "Limitations", "Training data", "Evaluation"), min_length=1, strict=False
    )
    min_words: int = Field(default=5, ge=1)

    def evaluate(self, evidence: Evidence) -> GateResult:
        """Look each section up by its heading, whatever its level and case."""
        if not evidence.card.strip():
            return self.failed("there is no model card", missing=list(self.sections))
        found = _sections(evidence.card)
        missing = [title for title in self.sections if title.casefold() not in found]
        thin = [
            title
            for title in self.sections
            if title not in missing
            and (len(found[title.casefold()].split()) < self.min_words or _PLACEHOLDER.search(found[title.casefold()]))
        ]
        if missing or thin:
            parts = [f"missing: {', '.join(missing)}"] if missing else []
            parts += [f"empty or placeholder: {', '.join(thin)}"] if thin else []
            return self.failed("; ".join(parts), missing=missing, thin=thin)
        return self.passed(f"{len(self.sections)} sections are there")


def _sections(card: str) -> dict[str, str]:
    """Text below each heading, by case-folded title; a sub-heading's text belongs to its parents too."""
    marks = [
        (m.start(), m.end(), m["title"].strip().casefold(), len(m[0]) - len(m[0].lstrip("#")))
        for m in _HEADING.finditer(card)
    ]
    found: dict[str, str] = {}
    for index, (_, end, title, level) in enumerate(marks):
        stop = next((start for start, _, _, other in marks[index + 1 :] if other <= level), len(card))
        found.setdefault(title, _HEADING.sub("", card[end:stop]))
    return found
