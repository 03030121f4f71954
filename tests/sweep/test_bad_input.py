"""Bad input: each case is a clear error or a defined result."""

import json
from pathlib import Path
from typing import Any

import pytest

from wandb_governance.errors import SweepConfigError, SweepError
from wandb_governance.sweep.cache import MemoryStore
from wandb_governance.sweep.config import RagSweep, load_sweep
from wandb_governance.sweep.corpus import load_corpus
from wandb_governance.sweep.questions import load_questions
from wandb_governance.sweep.records import ResultsFile
from wandb_governance.sweep.runner import Runner
from wandb_governance.sweep.trial import Trial

RAG = """name: bad
corpus: {path: corpus}
questions: {path: questions.jsonl, holdout: 0}
space:
  chunk_size: 20
  top_k: 3
  embedding: static
  retriever: [dense, bm25, hybrid]
metric: {name: recall}
"""


def make(folder: Path, documents: dict[str, str | bytes], questions: list[dict[str, Any]], rag: str = RAG) -> RagSweep:
    (folder / "corpus").mkdir(exist_ok=True)
    for name, text in documents.items():
        data = text.encode() if isinstance(text, str) else text
        (folder / "corpus" / f"{name}.md").write_bytes(data)
    (folder / "questions.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions))
    (folder / "rag.yaml").write_text(rag)
    return load_sweep(folder / "rag.yaml")


def run(sweep: RagSweep, folder: Path) -> Any:
    return Runner(sweep=sweep, store=MemoryStore(), results=ResultsFile(folder / "results")).run()


def test_empty_documents_give_no_chunk_and_are_named(tmp_path: Path) -> None:
    """The rest of the corpus is indexed."""
    sweep = make(tmp_path, {"empty": "", "blank": " \n\t", "real": "One fox runs."}, [fox("real")])
    assert sweep.corpus.empty_ids == ("blank", "empty")
    assert all(record.error is None for record in run(sweep, tmp_path).records)


def fox(doc: str, start: int = 0, end: int = 7) -> dict[str, Any]:
    return {"id": f"{doc}-{start}-{end}", "question": "which fox?", "gold": [{"doc": doc, "start": start, "end": end}]}


def test_a_corpus_of_empty_documents_is_a_failed_trial(tmp_path: Path) -> None:
    """The reason is in the record, and the sweep goes on."""
    sweep = make(tmp_path, {"empty": " "}, [{"question": "anything?"}])
    records = run(sweep, tmp_path).records
    assert all(record.error and "no chunk" in record.error for record in records)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 200_000,
        "word " * 40_000,
        "שלום עולם. " * 500,
        "漢字とかな。" * 500,
        "e\u0301🇫🇷👩\u200d👩\u200d👧 " * 500,
        "a\r\nb\r\n" * 500,
        "\u202eright to left\u202c " * 200,
    ],
)
def test_hard_texts_are_cut_embedded_and_found(text: str, tmp_path: Path) -> None:
    """One giant line, right-to-left, CJK, emoji, CRLF: spans are exact and scores are numbers."""
    sweep = make(tmp_path, {"hard": text, "real": "One fox runs."}, [fox("real"), fox("hard", 5, 25)])
    for record in run(sweep, tmp_path).records:
        assert record.error is None
        assert set(record.scores) == {"real-0-7", "hard-5-25"}
    index = Trial(sweep=sweep, configuration=sweep.space.grid()[0], store=MemoryStore()).index
    assert all(sweep.corpus.texts[c.doc][c.start : c.end] == c.text for c in index.chunks)


def test_text_of_another_encoding_is_named_with_its_byte(tmp_path: Path) -> None:
    """Nothing is guessed; with the encoding given it is read."""
    with pytest.raises(SweepConfigError, match=r"not utf-8 at byte 3.*cp1252") as raised:
        _ = make(tmp_path, {"latin": "caf\xe9".encode("cp1252")}, []).corpus
    assert raised.value.key == "corpus.encoding"
    assert load_corpus(tmp_path / "corpus", encoding="cp1252").documents[0].text == "café"


def test_a_byte_order_mark_does_not_shift_offsets(tmp_path: Path) -> None:
    """It is no part of the text."""
    sweep = make(tmp_path, {"bom": b"\xef\xbb\xbfOne fox runs."}, [fox("bom")])
    assert sweep.corpus.texts["bom"] == "One fox runs."


def test_duplicate_documents_and_chunks_keep_their_places(tmp_path: Path) -> None:
    """Both copies are indexed, each with its own spans; the earlier one comes first."""
    text = "The fox is red. " * 10
    sweep = make(tmp_path, {"a": text, "b": text}, [fox("b", 4, 7)])
    assert sweep.corpus.duplicate_ids == ("b",)
    trial = Trial(sweep=sweep, configuration=sweep.space.grid()[0], store=MemoryStore())
    assert len({chunk.id for chunk in trial.index.chunks}) == trial.index.rows
    assert trial.ask(sweep.questions.questions).results[0].chunks[0].startswith("a#")


def test_gold_offsets_that_are_off_are_repaired_refused_or_dropped(tmp_path: Path) -> None:
    """Off by a space, at another copy, with other white space, or nowhere: counted and reported."""
    text = "One fox.  Two\ndogs. One fox."
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "d.md").write_text(text)
    corpus = load_corpus(tmp_path / "corpus")
    gold = [
        {"doc": "d", "start": 1, "end": 8, "text": "One fox."},
        {"doc": "d", "start": 19, "end": 27, "text": "One fox."},
        {"doc": "d", "start": 9, "end": 18, "text": "Two dogs."},
        {"doc": "d", "start": 0, "end": 4, "text": "cats"},
        {"doc": "other", "start": 0, "end": 4, "text": "cats"},
    ]
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps({"question": "?", "gold": gold}))
    found = load_questions(file, corpus)
    assert [(g.start, g.end) for g in found.questions[0].gold] == [(0, 8), (20, 28), (10, 19)]
    assert (found.report.checked, found.report.repaired, found.report.dropped) == (5, 3, 2)
    assert len(found.report.problems) == 5
    assert load_questions(file, corpus, gold_offsets="drop").questions == ()
    with pytest.raises(SweepConfigError, match=r"is really at \[0:8\]"):
        load_questions(file, corpus, gold_offsets="refuse")


def test_unanswerable_questions_are_counted_apart(tmp_path: Path) -> None:
    """They have no recall, so they lower none."""
    questions = [fox("real"), {"id": "none", "question": "who sings?"}]
    sweep = make(tmp_path, {"real": "One fox runs."}, questions)
    assert sweep.questions.report.unanswerable == 1
    record = run(sweep, tmp_path).records[0]
    assert set(record.scores) == {"real-0-7"}
    assert record.metrics["score"] == 1.0


def test_top_k_above_the_number_of_chunks_gives_them_all_and_warns(tmp_path: Path) -> None:
    """A defined result, not an error."""
    sweep = make(tmp_path, {"real": "One fox runs."}, [fox("real")], RAG.replace("top_k: 3", "top_k: 50"))
    for record in run(sweep, tmp_path).records:
        assert record.error is None
        assert any("top_k 50 is more than the 1 chunks" in warning for warning in record.warnings)


def test_a_score_that_is_not_a_number_fails_the_trial_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No mean is taken over a NaN: the trial fails, names metric and question, and the sweep goes on."""
    import wandb_governance.sweep.trial as module

    sweep = make(tmp_path, {"real": "One fox runs."}, [fox("real")])
    monkeypatch.setattr(module, "span_scores", lambda *_: {"recall": float("nan")})
    outcome = run(sweep, tmp_path)
    assert len(outcome.records) == outcome.planned == 3
    assert all(r.error and "recall of question 'real-0-7' is nan" in r.error for r in outcome.records)


def test_a_budget_reached_in_mid_sweep_ends_it_with_what_it_has(tmp_path: Path) -> None:
    """It stops between trials, says which budget, and goes on from there when it is started again."""
    rag = RAG.replace("chunk_size: 20", "chunk_size: [5, 10, 20]")
    sweep = make(tmp_path, {"real": "One fox runs. " * 30}, [fox("real")], rag + "budget: {minutes: 0.0000001}\n")
    outcome = run(sweep, tmp_path)
    assert outcome.stopped_by == "1e-07 minutes"
    assert len(outcome.records) < outcome.planned == 9
    whole = make(tmp_path, {}, [fox("real")], rag)
    assert len(run(whole, tmp_path).records) == 9


def test_long_chunks_for_the_model_are_a_warning_with_their_count(tmp_path: Path) -> None:
    """MiniLM reads 256 word pieces; a chunk of 400 tokens loses its end."""
    rag = RAG.replace("chunk_size: 20", "chunk_size: 400").replace("embedding: static", "embedding: minilm")
    sweep = make(tmp_path, {"long": "fox " * 1000}, [fox("long", 0, 3)], rag.replace("[dense, bm25, hybrid]", "dense"))
    (record,) = run(sweep, tmp_path).records
    assert any("chunks are longer than the 256 tokens" in warning for warning in record.warnings)


@pytest.mark.parametrize("line", ["not json", '{"gold": []}', '{"question": "a", "gold": [1]}'])
def test_a_wrong_question_line_is_named(line: str, tmp_path: Path) -> None:
    """File and line."""
    sweep = make(tmp_path, {"real": "One fox runs."}, [fox("real")])
    (tmp_path / "questions.jsonl").write_text(json.dumps(fox("real")) + "\n" + line + "\n")
    with pytest.raises(SweepConfigError) as raised:
        _ = sweep.questions
    assert raised.value.line == 2


def test_the_metric_needs_gold_for_it(tmp_path: Path) -> None:
    """A sweep whose questions have no judged documents can't maximise nDCG."""
    sweep = make(tmp_path, {"real": "One fox runs."}, [fox("real")], RAG.replace("recall", "ndcg"))
    assert all(r.error and "no question has a score for 'ndcg'" in r.error for r in run(sweep, tmp_path).records)


def test_a_results_folder_of_other_data_is_not_mixed_in(tmp_path: Path) -> None:
    """After one byte of the corpus changed, every trial is run again."""
    sweep = make(tmp_path, {"real": "One fox runs."}, [fox("real")])
    run(sweep, tmp_path)
    changed = make(tmp_path, {"real": "One fox ran."}, [fox("real")])
    seen: list[int] = []
    runner = Runner(
        sweep=changed,
        store=MemoryStore(),
        results=ResultsFile(tmp_path / "results"),
        on_record=lambda _record, done, _planned: seen.append(done),
    )
    assert len(runner.run().records) == len(seen) == 3


def test_no_trials_at_all_is_an_error(tmp_path: Path) -> None:
    """Nothing to choose from."""
    from wandb_governance.sweep.choice import read_trials

    sweep = make(tmp_path, {"real": "One fox runs."}, [fox("real")])
    (tmp_path / "nothing").mkdir()
    with pytest.raises(SweepError, match="no trials"):
        read_trials(str(tmp_path / "nothing"), sweep)
