"""Prompt-injection detectors on texts that our model has not been trained on.

Run from the repository root:

    python benchmarks/policy_injection.py --json

Sets: our own 60 texts (``tests/policy/injection/data``, CC0), the hard cases of ``../shared/data`` where the
folder is there, and ``--rows FILE`` with more labelled lines (``text``, ``label``, ``source``, ``scope``). Peers are
measured where they are installed: ``pip install "stackone-defender[onnx]"``. Every system sees the same texts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wandb_governance.policy.evaluate_injection import evaluate_injection
from wandb_governance.policy.rules.injection import PromptInjection
from wandb_governance.policy.verdict import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
OWN = ROOT / "tests" / "policy" / "injection" / "data" / "own.jsonl"
HARD = ROOT.parent / "shared" / "data" / "hard_cases" / "prompt_injection.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another detector behind the same face."""

    name: str
    threshold: float
    judge: Callable[[str], float]

    def score(self, text: str, scope: Scope = Scope.INPUT) -> float:
        """Its score of a text, in [0, 1]."""
        return self.judge(text)


def stackone() -> Peer:
    """StackOne Defender: rules and a MiniLM classifier, at its own default verdict."""
    from stackone_defender import create_prompt_defense

    defense = create_prompt_defense(block_high_risk=True, enable_tier1=True, enable_tier2=True)

    def judge(text: str) -> float:
        result = defense.defend_tool_result(text, "tool")
        score = float(result.tier2_score or 0.0)
        return 0.5 + score / 2 if not result.allowed else score / 2

    return Peer(name=f"stackone-defender {version('stackone-defender')}", threshold=0.5, judge=judge)


PEERS: dict[str, Callable[[], Peer]] = {"stackone_defender": stackone}


def rows(extra: Path | None) -> Iterator[dict[str, Any]]:
    """Labelled texts of all sets."""
    for name, path in (("own", OWN), ("hard cases", HARD), ("given", extra)):
        if path is None or not path.exists():
            continue
        for line in path.read_text("utf-8").split("\n"):
            if line.strip():
                row = json.loads(line)
                yield {**row, "source": row.get("source", name) if path == extra else name}


def measure(name: str, rule: PromptInjection | Peer, texts: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of one system; the first text is scored once before the clock starts."""
    rule.score("warm up")
    report = evaluate_injection(texts, rule).to_json()
    hard = [row for row in texts if row["source"] == "hard cases"]
    right = sum((rule.score(row["text"], _scope(row)) >= rule.threshold) == bool(row["label"]) for row in hard)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"system": name, "hard_cases": f"{right}/{len(hard)}", "max_rss_mb": round(rss), **report}


def _scope(row: dict[str, Any]) -> Scope:
    return Scope.TOOL_RESULT if row.get("scope") == "tool" else Scope(row.get("scope") or "input")


def main() -> None:
    """Measure what is installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, help="JSON lines with more labelled texts.")
    parser.add_argument("--json", action="store_true", dest="as_json")
    arguments = parser.parse_args()
    texts = list(rows(arguments.rows))
    results = [measure("wandb-governance", PromptInjection.from_options({}), texts)]
    for module, build in PEERS.items():
        if find_spec(module) is None:
            print(f"{module}: not installed, left out", file=sys.stderr)
            continue
        peer = build()
        results.append(measure(peer.name, peer, texts))
    if arguments.as_json:
        print(json.dumps({"python": sys.version.split()[0], "load": os.getloadavg(), "systems": results}, indent=1))
        return
    for result in results:
        print(
            f"{result['system']:28} AUROC {result['macro_auroc']:.3f}  TPR@1%FPR {result['macro_tpr_at_1_fpr']:.3f}  "
            f"default TPR {result['tpr']:.3f} FPR {result['fpr']:.3f}  hard cases {result['hard_cases']}  "
            f"CPU {result['cpu_ms_per_kb_p50']:.1f} ms/kB"
        )


if __name__ == "__main__":
    main()
