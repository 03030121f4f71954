"""CPU cost of the policy engine: detectors, redaction of streams, audit, cache. One run, one thread, CPU time.

    python benchmarks/policy.py --json

Ordinary prompts come from ../shared/data where it is there, else from a few sentences in this file. Peers that are
installed in the same environment (presidio-analyzer, scrubadub, datafog) are measured on the same texts.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wandb_governance.policy.audit import AuditLog
from wandb_governance.policy.document import parse_document
from wandb_governance.policy.engine import PolicyEngine
from wandb_governance.policy.rule import RuleContext
from wandb_governance.policy.stream import StreamRedactor
from wandb_governance.policy.verdict import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "alpaca_seed_benign" / "data.jsonl"
SENTENCES = (
    "Please summarise the attached report in five sentences for a reader who has no background in statistics.",
    "What would you change in the second paragraph so that the argument is easier to follow?",
    "Write a function that returns the longest common prefix of a list of words, and explain its cost.",
)
DENSE = (
    "Ann Example, ann@example.com, +1 415 555 2671, card 4111 1111 1111 1111, "
    "192.168.114.203, IBAN DE89370400440532013000. "
)
KINDS = {
    "pii_patterns": "pii-detector: {entities: [EMAIL, PHONE, CREDIT_CARD, SSN, IBAN, IP, MAC_ADDRESS, CRYPTO]}",
    "pii_with_names": "pii-detector: {entities: [EMAIL, PHONE, CREDIT_CARD, SSN, IBAN, IP, PERSON, LOCATION]}",
    "secrets": "secrets: {}",
    "prompt_injection": "prompt-injection: {}",
    "toxicity": "toxicity: {}",
}


def prompts() -> list[str]:
    if DATA.exists():
        return [json.loads(line)["text"] for line in DATA.read_text("utf-8").splitlines()]
    return [f"{sentence} {number}" for number in range(60) for sentence in SENTENCES]


def cpu(work: Callable[[], Any], *, at_least_s: float = 0.4) -> float:
    """CPU seconds of one call, over as many calls as fill ``at_least_s``."""
    work()
    count, began = 0, time.process_time()
    while time.process_time() - began < at_least_s:
        work()
        count += 1
    return (time.process_time() - began) / count


def engine_of(kind: str) -> PolicyEngine | None:
    name = KINDS[kind].split(":")[0]
    text = f"pack: {{name: b}}\npolicies:\n  chain: [{name}]\n  policy:\n    {KINDS[kind]}\n"
    try:
        return PolicyEngine.from_document(*parse_document(text))
    except Exception as error:
        print(f"{kind}: not measured, {error}")
        return None


def per_kb(find: Callable[[str], Any], texts: Sequence[str]) -> float:
    """CPU ms for 1,000 bytes."""
    size = sum(len(text.encode()) for text in texts)
    return cpu(lambda: [find(text) for text in texts]) * 1e3 / (size / 1e3)


def peers() -> dict[str, Callable[[str], Any]]:
    found: dict[str, Callable[[str], Any]] = {}
    if importlib.util.find_spec("scrubadub"):
        import scrubadub

        found["scrubadub"] = scrubadub.Scrubber().clean
    if importlib.util.find_spec("datafog"):
        from datafog import DataFog

        fog = DataFog()
        found["datafog"] = fog.scan_text
    if importlib.util.find_spec("presidio_analyzer"):
        from presidio_analyzer import AnalyzerEngine

        analyzer = AnalyzerEngine()
        found["presidio"] = lambda text: analyzer.analyze(text, language="en")
    return found


def stream_us() -> float:
    engine = engine_of("pii_patterns")
    assert engine is not None
    words = [word + " " for word in (" ".join(SENTENCES) * 4).split(" ")]

    def work() -> None:
        redactor = StreamRedactor(engine, RuleContext(scope=Scope.OUTPUT))
        for word in words:
            redactor.feed(word)
        redactor.finish()

    return cpu(work) * 1e6 / len(words)


def audit_us() -> dict[str, float]:
    facts = {
        "request": "a" * 32,
        "model": "gpt-4o",
        "actions": {"pii-detector": "redact"},
        "usage": {"prompt_tokens": 10},
    }
    payload = {"input": ["x" * 700], "reasons": ["mailbox and domain"]}
    with tempfile.TemporaryDirectory() as folder:
        log = AuditLog(Path(folder), fsync=False)
        append = cpu(lambda: [log.append("call", facts, payload) for _ in range(200)]) / 200
        log.close()
        with (Path(folder) / "raw").open("ab", buffering=0) as one:
            write = cpu(lambda: [(one.write(b"x" * 450), one.write(b"x" * 1200)) for _ in range(200)]) / 200
    return {"append_us": append * 1e6, "write_us": write * 1e6, "beyond_write_us": (append - write) * 1e6}


def prefilter(patterns: Any, texts: Sequence[str]) -> float:
    """MB/s of the gate that ordinary prompts pass: one automaton over all patterns."""
    data = [text.encode() for text in texts if not patterns.occurring(text.encode())]
    return sum(map(len, data)) / 1e6 / cpu(lambda: [patterns.occurring(piece) for piece in data])


def run() -> dict[str, Any]:
    texts, dense = prompts(), [DENSE * 8] * 20
    report: dict[str, Any] = {"load": os.getloadavg(), "prompts": len(texts), "ms_per_kb": {}, "ms_per_kb_dense": {}}
    context = RuleContext(scope=Scope.INPUT)
    for kind in KINDS:
        engine = engine_of(kind)
        if engine is None:
            continue
        find = engine.links[0].rule.find
        report["ms_per_kb"][kind] = per_kb(lambda text, find=find: find(text, context), texts)
        report["ms_per_kb_dense"][kind] = per_kb(lambda text, find=find: find(text, context), dense)
        if kind == "pii_patterns":
            report["prefilter_mb_per_s"] = prefilter(engine.links[0].rule._patterns, texts)
    for name, find in peers().items():
        report["ms_per_kb"][name] = per_kb(find, texts)
    engine = engine_of("pii_patterns")
    assert engine is not None
    engine.evaluate(texts[0], context)
    report["kept_verdict_us"] = cpu(lambda: engine.evaluate(texts[0], context)) * 1e6
    report["stream_us_per_word"] = stream_us()
    report["audit"] = audit_us()
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    report = run()
    if options.as_json:
        print(json.dumps(report))
        return
    for key, value in report.items():
        for name, number in value.items() if isinstance(value, dict) else [("", value)]:
            print(f"{key:20} {name:20} {number if not isinstance(number, float) else round(number, 3)}")


if __name__ == "__main__":
    main()
