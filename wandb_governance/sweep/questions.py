"""Questions with known answers, and what is wrong with their gold offsets."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from wandb_governance.errors import SweepConfigError
from wandb_governance.sweep.corpus import read_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wandb_governance.sweep.corpus import Corpus

Repair = Literal["repair", "refuse", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gold:
    """One excerpt that answers a question."""

    doc: str
    """Id of the document."""
    start: int
    """First code point."""
    end: int
    """One past the last code point."""
    content: str | None = None
    """The excerpt as the annotator copied it, where the file has it; offsets are checked against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of the evaluation set."""

    id: str
    text: str
    gold: tuple[Gold, ...] = ()
    """Excerpts that hold the answer; empty for a question that the corpus does not answer."""
    answers: tuple[str, ...] = ()
    """Accepted answers, for generation metrics."""
    documents: tuple[tuple[str, float], ...] = ()
    """Relevant documents with their grade (qrels), where there are no excerpts."""

    @property
    def answerable(self) -> bool:
        """Whether the corpus is known to hold the answer."""
        return bool(self.gold or self.documents)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldReport:
    """What the check of gold offsets found."""

    checked: int = 0
    exact: int = 0
    repaired: int = 0
    """Excerpts found elsewhere, nearest to the place that was given."""
    dropped: int = 0
    """Excerpts that are not in their document."""
    unanswerable: int = 0
    """Questions without gold; counted apart, never scored as a miss."""
    problems: tuple[str, ...] = ()
    """One line for each repaired or dropped excerpt."""


@dataclass(frozen=True, kw_only=True)
class QuestionSet:
    """Questions in order, with one digest."""

    questions: tuple[Question, ...]
    report: GoldReport = GoldReport()

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over ids, texts, gold and answers."""
        rows = [
            [q.id, q.text, [[g.doc, g.start, g.end] for g in q.gold], list(q.answers), [list(d) for d in q.documents]]
            for q in self.questions
        ]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()

    def subset(self, ids: Iterable[str]) -> QuestionSet:
        """The questions with these ids, in the order of this set."""
        wanted = set(ids)
        return replace(self, questions=tuple(q for q in self.questions if q.id in wanted))


def load_questions(path: str | Path, corpus: Corpus, *, gold_offsets: Repair = "repair") -> QuestionSet:
    """Read questions and check every gold excerpt against the corpus.

    ``.jsonl``: one object a line with ``question`` and any of ``id``, ``gold`` (list of ``doc``, ``start``, ``end``,
    ``text``), ``answers``, ``documents`` (ids, or id to grade). ``.csv``: ``question``, ``references`` (JSON list of
    ``content``, ``start_index``, ``end_index``) and ``corpus_id``, as in Chroma's chunking evaluation.
    ``.json``: SQuAD 2.

    Args:
        path: The file.
        corpus: The documents that gold points into.
        gold_offsets: What to do with an excerpt that is not at its place: look for it, refuse the file, or drop it.

    Raises:
        SweepConfigError: The file is wrong, or ``gold_offsets`` is ``refuse`` and an offset is off.
    """
    file = Path(path)
    if not file.is_file():
        raise SweepConfigError(f"no such file: {str(file)!r}", key="questions.path")
    readers = {".jsonl": _jsonl, ".csv": _csv, ".json": _squad}
    if file.suffix not in readers:
        raise SweepConfigError(f"wanted one of {', '.join(readers)}", file=file, key="questions.path")
    questions = tuple(readers[file.suffix](file))
    if not questions:
        raise SweepConfigError("no questions", file=file, key="questions.path")
    repeated = [id_ for id_, count in Counter(q.id for q in questions).items() if count > 1]
    if repeated:
        raise SweepConfigError(f"question id {repeated[0]!r} comes twice", file=file, key="questions.path")
    return check_gold(QuestionSet(questions=questions), corpus, gold_offsets=gold_offsets, file=file)


def check_gold(
    questions: QuestionSet, corpus: Corpus, *, gold_offsets: Repair = "repair", file: Path | None = None
) -> QuestionSet:
    """The same questions with every excerpt at its true place, and a report.

    Raises:
        SweepConfigError: ``gold_offsets`` is ``refuse`` and an excerpt is not at its place.
    """
    checked, counts, problems = [], Counter[str](), []
    for question in questions.questions:
        kept = []
        for gold in question.gold:
            placed = _place(gold, corpus.texts.get(gold.doc))
            counts["checked"] += 1
            if placed == gold:
                counts["exact"] += 1
                kept.append(gold)
                continue
            where = f"question {question.id!r}: excerpt at {gold.doc}[{gold.start}:{gold.end}]"
            if placed is None or gold_offsets == "drop":
                counts["dropped"] += 1
                problems.append(f"{where} is not in the document; dropped")
            else:
                counts["repaired"] += 1
                problems.append(f"{where} is really at [{placed.start}:{placed.end}]")
                kept.append(placed)
            if gold_offsets == "refuse":
                raise SweepConfigError(
                    f"{problems[-1]}; mend the file or set gold_offsets: repair",
                    file=file,
                    key="questions.gold_offsets",
                )
        checked.append(replace(question, gold=tuple(kept)))
    dropped_all = {q.id for q, before in zip(checked, questions.questions, strict=True) if before.gold and not q.gold}
    kept_questions = tuple(q for q in checked if q.id not in dropped_all)
    report = GoldReport(**counts, unanswerable=sum(not q.answerable for q in kept_questions), problems=tuple(problems))
    return QuestionSet(questions=kept_questions, report=report)


def _place(gold: Gold, text: str | None) -> Gold | None:
    """Where the excerpt really is: as given, at the nearest exact copy, or at a copy with other white space."""
    if text is None:
        return None
    if gold.content is None:
        return gold if 0 <= gold.start < gold.end <= len(text) else None
    if text[gold.start : gold.end] == gold.content:
        return gold
    for pattern in (re.escape(gold.content), r"\s+".join(map(re.escape, gold.content.split()))):
        places = [m.span() for m in re.finditer(pattern, text)] if gold.content.strip() else []
        if places:
            start, end = min(places, key=lambda place: abs(place[0] - gold.start))
            return replace(gold, start=start, end=end)
    return None


def _jsonl(file: Path) -> Iterator[Question]:
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            documents = row.get("documents", [])
            grades = documents.items() if isinstance(documents, dict) else ((id_, 1.0) for id_ in documents)
            yield Question(
                id=str(row.get("id", number)),
                text=str(row["question"]),
                gold=tuple(
                    Gold(doc=str(g["doc"]), start=int(g["start"]), end=int(g["end"]), content=g.get("text"))
                    for g in row.get("gold", [])
                ),
                answers=tuple(map(str, row.get("answers", []))),
                documents=tuple((str(id_), float(grade)) for id_, grade in grades),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SweepConfigError(f"wanted an object with 'question': {error!r}", file=file, line=number) from error


def _csv(file: Path) -> Iterator[Question]:
    reader = csv.DictReader(io.StringIO(read_text(file), newline=""))
    for number, row in enumerate(reader, start=1):
        try:
            references: list[Mapping[str, Any]] = json.loads(row["references"])
            gold = tuple(
                Gold(doc=row["corpus_id"], start=int(r["start_index"]), end=int(r["end_index"]), content=r["content"])
                for r in references
            )
            yield Question(id=str(number), text=row["question"], gold=gold)
        except (ValueError, KeyError, TypeError) as error:
            raise SweepConfigError(f"row {number}: {error!r}", file=file, line=reader.line_num) from error


def _squad(file: Path) -> Iterator[Question]:
    """SQuAD 2: paragraphs are documents named ``title/index``."""
    try:
        for article in json.loads(read_text(file))["data"]:
            for index, paragraph in enumerate(article["paragraphs"]):
                for row in paragraph["qas"]:
                    answers = row["answers"]
                    gold = {(a["answer_start"], a["text"]) for a in answers}
                    yield Question(
                        id=row["id"],
                        text=row["question"],
                        gold=tuple(
                            Gold(doc=f"{article['title']}/{index}", start=at, end=at + len(text), content=text)
                            for at, text in sorted(gold)
                        ),
                        answers=tuple(sorted({a["text"] for a in answers})),
                    )
    except (ValueError, KeyError, TypeError) as error:
        raise SweepConfigError(f"not a SQuAD 2 file: {error!r}", file=file) from error
