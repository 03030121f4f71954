"""Can the evaluation itself be believed? A stage whose gates read results has this gate, written or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from wandb_governance.registry.gates.base import NS_PER_S, DurationNs, GateSpec

if TYPE_CHECKING:
    from wandb_governance.registry.gate import Evidence, GateResult

_DAY_NS = 86_400 * NS_PER_S
_SKEW_NS = 600 * NS_PER_S


class EvaluationGate(GateSpec):
    """The evaluation is of this very content, on the right dataset, finished, unedited and fresh."""

    kind: ClassVar[str] = "evaluation"
    max_age: DurationNs = 14 * _DAY_NS
    dataset_root: str | None = None
    """SHA-256 root of the golden dataset."""
    signed: bool = True
    """Whether a key of ``trust.evaluators`` must have signed the results."""

    def evaluate(self, evidence: Evidence) -> GateResult:
        """Check each of them; the first that does not hold is the reason."""
        problem = self._problem(evidence)
        if problem:
            return self.failed(problem)
        assert evidence.evaluation is not None
        age_s = (evidence.now_ns - evidence.evaluation.finished_at_ns) / NS_PER_S
        reason = f"{evidence.evaluation.artifact} is of this content and {max(age_s, 0) / 3600:.1f} h old"
        return self.passed(reason, run=evidence.evaluation.run, dataset=evidence.evaluation.dataset)

    def _problem(self, evidence: Evidence) -> str:
        evaluation = evidence.evaluation
        if evaluation is None:
            return "there is no evaluation of this version; run `wandb_governance.registry.suite.evaluate`"
        age_ns = evidence.now_ns - evaluation.finished_at_ns
        checks = (
            (bool(evaluation.problem), evaluation.problem),
            (
                evaluation.subject_root != evidence.candidate.root,
                f"it is of other content ({evaluation.subject_root[:12]}, not {evidence.candidate.root[:12]})",
            ),
            (evaluation.run_state != "finished", f"its run is {evaluation.run_state!r}, not finished"),
            (not evaluation.examples, "it holds no example"),
            (
                self.dataset_root is not None and evaluation.dataset_root != self.dataset_root,
                f"it was made on dataset {evaluation.dataset} ({evaluation.dataset_root[:12]}), not the golden one",
            ),
            (self.signed and not evaluation.signed_by, "no trusted evaluator signed it (trust.evaluators)"),
            (age_ns > self.max_age, f"it is {age_ns / _DAY_NS:.1f} days old; {self.max_age / _DAY_NS:g} are allowed"),
            (age_ns < -_SKEW_NS, "it claims to end in the future; check the clocks"),
        )
        return next((text for bad, text in checks if bad), "")
