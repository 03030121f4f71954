"""What every gate of ``governance.yaml`` shares."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from wandb_governance.registry.gate import Evidence, GateResult, Status

_DURATION = re.compile(r"(?P<count>[1-9][0-9]*)(?P<unit>[smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
NS_PER_S = 1_000_000_000


def _duration_ns(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError("write a duration with its unit, such as 90s, 30m, 72h or 14d")  # noqa: TRY004 pydantic wants ValueError
    match = _DURATION.fullmatch(str(value))
    if match is None:
        raise ValueError("is no duration; write 90s, 30m, 72h or 14d")
    return int(match["count"]) * _SECONDS[match["unit"]] * NS_PER_S


DurationNs = Annotated[int, BeforeValidator(_duration_ns)]
"""Nanoseconds; written ``90s``, ``30m``, ``72h`` or ``14d``."""


class Section(BaseModel):
    """A part of ``governance.yaml``: unknown keys are errors, nothing is converted silently, nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class GateSpec(Section):
    """A gate as the user wrote it. Subclasses decide."""

    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """Name in reports."""
        return self.kind

    def evaluate(self, evidence: Evidence) -> GateResult:
        """Decide; see ``Gate.evaluate``."""
        raise NotImplementedError

    def passed(self, reason: str, **facts: object) -> GateResult:
        """A result that lets the candidate in."""
        return GateResult(gate=self.name, status=Status.PASS, reason=reason, facts=facts)

    def failed(self, reason: str, **facts: object) -> GateResult:
        """A result that keeps the candidate out."""
        return GateResult(gate=self.name, status=Status.FAIL, reason=reason, facts=facts)
