"""in-toto statements about gates and decisions.

Source:
    in-toto attestation framework v1; predicates test-result v0.1 and SLSA verification_summary v1.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from wandb_governance.registry.gate import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STATEMENT = "https://in-toto.io/Statement/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
VERIFICATION = "https://slsa.dev/verification_summary/v1"
VERIFIER = "urn:wandb-governance:promotion:v1"


def test_result(
    candidate: Mapping[str, Any], *, stage: str, rule: str, results: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the gates of a stage said of a candidate."""
    passed = [item["gate"] for item in results if item["status"] == Status.PASS]
    failed = [item["gate"] for item in results if item["status"] != Status.PASS]
    return {
        "_type": STATEMENT,
        "subject": [_subject(candidate)],
        "predicateType": TEST_RESULT,
        "predicate": {
            "result": "FAILED" if failed or not passed else "PASSED",
            "configuration": [{"name": f"governance.yaml#stages.{stage}", "digest": {"sha256": rule}}],
            "passedTests": passed,
            "warnedTests": [],
            "failedTests": failed,
        },
    }


def verification_summary(
    candidate: Mapping[str, Any], *, stage: str, rule: str, promotion: str, at_ns: int, ledger: str
) -> dict[str, Any]:
    """That a candidate was let into a stage."""
    return {
        "_type": STATEMENT,
        "subject": [_subject(candidate)],
        "predicateType": VERIFICATION,
        "predicate": {
            "verifier": {"id": VERIFIER},
            "timeVerified": iso_utc(at_ns),
            "resourceUri": f"wandb-artifact://{candidate['source']}",
            "policy": {"uri": f"governance.yaml#stages.{stage}", "digest": {"sha256": rule}},
            "inputAttestations": [{"uri": f"urn:wandb-governance:ledger:{ledger}#{promotion}", "digest": {}}],
            "verificationResult": "PASSED",
            "verifiedLevels": [f"WANDB_GOVERNANCE_STAGE_{stage.upper().replace('-', '_')}"],
        },
    }


def iso_utc(at_ns: int) -> str:
    """``2026-11-22T03:04:05Z``."""
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _subject(candidate: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": candidate["source"], "digest": {"sha256": candidate["root"]}}
