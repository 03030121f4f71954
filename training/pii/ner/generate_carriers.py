"""Write the texts of round 2: four in five from running text, one in five from the templates.

python generate_carriers.py ../../../../shared/data OUT.jsonl 60000 77
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from carriers import Carrier
from generate import Spans, Writer

from wandb_governance.policy.rules.ner.recognizer import recognizer
from wandb_governance.policy.rules.pii.variants import Mapped

SURE = 0.75


def label(text: str) -> Spans:
    """What the model of round 1 is sure of."""
    names = recognizer().find(Mapped(text), ())
    return [(n.start, n.end, "PER" if n.entity == "PERSON" else "LOC") for n in names if n.score >= SURE]


def main(data: str, out: str, count: str, seed: str) -> None:
    writer = Writer(int(seed))
    carrier = Carrier(data, writer, label)
    with Path(out).open("w", encoding="utf-8") as file:
        for index in range(int(count)):
            text, spans = carrier.example() if index % 5 else writer.example()
            file.write(json.dumps({"text": text, "spans": spans}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
