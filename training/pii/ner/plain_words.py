"""Collect the words that never start a name: in lower case they can be left out of the model's work.

Reads the benign prompts of the data folder (CC0, Apache-2.0, MIT) and writes one word a line.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path

from names import name_lists
from templates import NEGATIVES, PROMPTS

SETS = (
    "alpaca_seed_benign",
    "awesome_roleplay_benign",
    "advbench_harmful",
    "notinject_one_two",
    "deepset_train",
    "bastioncorpus",
    "bipia_email_train",
    "surge_toxicity",
)
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
# A plain word right after one of these may be a name after all, so their passage always reaches the model.
HINTS = frozenset(
    [
        "name",
        "names",
        "named",
        "dear",
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "sir",
        "madam",
        "herr",
        "frau",
        "señor",
        "señora",
        "monsieur",
        "madame",
    ]
)


def main(data: str, out: str) -> None:
    """Write the list to ``out`` from the sets under ``data``."""
    lower: Counter[str] = Counter()
    other: Counter[str] = Counter()
    texts = [re.sub(r"\{[A-Z]+\}", " ", line) for line in NEGATIVES + PROMPTS]
    for name in SETS:
        texts += [json.loads(line)["text"] for line in (Path(data) / name / "data.jsonl").open(encoding="utf-8")]
    for text in texts:
        for word in WORD.findall(text):
            (lower if word.islower() else other)[word.lower()] += 1
    names = {
        n.lower()
        for report in (False, True)
        for lists in name_lists(for_report=report).values()
        for n in (*lists.given, *lists.surnames)
    }
    plain = sorted(
        word
        for word, count in lower.items()
        if count >= 2
        and (word not in names or count >= 25)
        and word not in HINTS
        and count >= other[word]
        and word.isascii()
    )
    Path(out).write_text("\n".join(plain) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
