"""Score a rule that says yes or no to a text."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from wandb_governance.policy.rule import RuleContext
from wandb_governance.policy.verdict import Scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_governance.policy.rule import Rule


def evaluate_labels(rows: Sequence[Mapping[str, Any]], rule: Rule) -> dict[str, Any]:
    """Precision, recall, F1, false-positive rate, confusion and CPU time at the rule's own threshold.

    Args:
        rows: Mappings with ``text``, ``label`` (1 for what must be found) and, where it is no input, ``scope``.
        rule: What is measured.
    """
    counts = {"true_positive": 0, "false_positive": 0, "true_negative": 0, "false_negative": 0}
    cpu_ns: list[int] = []
    size = 0
    rule.find(str(rows[0]["text"]), RuleContext(scope=Scope.INPUT))
    for row in rows:
        named = row.get("scope") or "input"
        context = RuleContext(scope=Scope("tool_result" if named == "tool" else named))
        began = time.thread_time_ns()
        said = any(finding.score >= finding.threshold for finding in rule.find(row["text"], context))
        cpu_ns.append(time.thread_time_ns() - began)
        size += len(row["text"].encode("utf-8", "replace"))
        truth = bool(int(row["label"]))
        counts[("true" if said == truth else "false") + ("_positive" if said else "_negative")] += 1
    found, wanted = (
        counts["true_positive"] + counts["false_positive"],
        counts["true_positive"] + counts["false_negative"],
    )
    benign = counts["false_positive"] + counts["true_negative"]
    precision = counts["true_positive"] / found if found else 0.0
    recall = counts["true_positive"] / wanted if wanted else 0.0
    ordered = sorted(cpu_ns)
    return {
        "rule": rule.name,
        "rule_version": rule.version,
        "texts": len(rows),
        **counts,
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        "false_positive_rate": counts["false_positive"] / benign if benign else 0.0,
        "cpu_ms_per_kb": sum(cpu_ns) / 1e6 / (size / 1000) if size else 0.0,
        "cpu_ms_p50": ordered[len(ordered) // 2] / 1e6,
        "cpu_ms_p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] / 1e6,
    }
