"""A run's journal and export: every row once, whatever W&B does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from wandb_governance.export.delivery import recover, statuses
from wandb_governance.export.session import Session
from wandb_governance.journal.journal import verify
from wandb_governance.pipeline import Enricher
from wandb_governance.pricing.book import PriceBook
from wandb_governance.settings import Settings
from wandb_governance.testing.doubles import MemoryRun
from wandb_governance.tracing.span import (
    Content,
    LlmCall,
    Retrieval,
    RetrievedDocument,
    Span,
    SpanKind,
    SpanStatus,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def make_span(number: int, *, kind: SpanKind = SpanKind.LLM, parent: str | None = None, trace: str = "t") -> Span:
    return Span(
        span_id=f"s{number}",
        trace_id=trace,
        parent_id=parent,
        kind=kind,
        name="step",
        status=SpanStatus.OK,
        start_ns=1_760_000_000_000_000_000 + number,
        duration_ns=5_000_000,
        input=Content(text="hello", length=5),
        llm=LlmCall(provider="openai", request_model="gpt-4o", usage={"prompt_tokens": 100, "completion_tokens": 10})
        if kind is SpanKind.LLM
        else None,
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, export_interval_s=0.02, live_interval_s=0.01, fsync="never")


@pytest.fixture
def enricher() -> Enricher:
    return Enricher(PriceBook())


@pytest.fixture
def run() -> MemoryRun:
    return MemoryRun()


@pytest.fixture
def session(run: MemoryRun, settings: Settings, enricher: Enricher) -> Iterator[Session]:
    made = Session(run, settings=settings, enricher=enricher)
    yield made
    made.worker.stop()
    made.journal.close()


def _ids(run: MemoryRun, name: str) -> list[object]:
    prefix = name.partition("_")[0]
    return [row["span_id"] for key, rows in run.tables.items() if key.startswith(prefix) for row in rows]


def _wait(condition: object, seconds: float = 5.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_finishing_the_run_first_still_delivers_everything(
    session: Session, run: MemoryRun, settings: Settings
) -> None:
    """``wandb.finish()`` before our flush: every row, the totals and the delivery mark are there."""
    for number in range(25):
        session.write_span(make_span(number))
    run.finish()
    assert sorted(_ids(run, "llm_calls")) == sorted(f"s{n}" for n in range(25))
    assert run.summary["governance/calls"] == 25
    assert run.summary["governance/input_tokens"] == 2_500
    assert run.summary["governance/cost_usd"] == pytest.approx(25 * (100 * 2.5 + 10 * 10) / 1e6)
    (status,) = statuses(settings.home)
    assert (status.records, status.pending, status.live) == (25, 0, False)


def test_24_ten_thousand_rows_while_wandb_is_away(session: Session, run: MemoryRun) -> None:
    """W&B fails all the time, then comes back: nothing lost, nothing twice, callers never waited for it."""
    run.failing = True
    waits = []
    for number in range(10_000):
        started = time.perf_counter()
        session.write_span(make_span(number))
        waits.append(time.perf_counter() - started)
    assert not session.flush(timeout_s=0.2)
    run.failing = False
    assert session.flush(timeout_s=60)
    ids = _ids(run, "llm_calls")
    assert len(ids) == len(set(ids)) == 10_000
    assert sorted(waits)[9_900] < 0.001


def test_a_full_shard_is_logged_once_and_the_next_begins(run: MemoryRun, tmp_path: Path, enricher: Enricher) -> None:
    """Tables are cut where W&B stops showing rows; each shard is its own table, none overlaps."""
    settings = Settings(home=tmp_path, export_interval_s=0.02, table_shard_rows=10, fsync="never")
    session = Session(run, settings=settings, enricher=enricher)
    for number in range(25):
        session.write_span(make_span(number))
    run.finish()
    assert [len(run.tables[key]) for key in ("llm_calls", "llm_calls_2", "llm_calls_3")] == [10, 10, 5]
    assert run.versions["llm_calls"] == 1
    assert len({row["span_id"] for key in run.tables if key.startswith("llm_calls") for row in run.tables[key]}) == 25


def test_live_tables_and_charts_grow_while_the_run_goes_on(session: Session, run: MemoryRun) -> None:
    """Rows and scalars are there before anybody flushes; live rows are not repeated."""
    for number in range(3):
        session.write_span(make_span(number))
        _wait(lambda n=number: len(run.live.get("live/llm_calls", [])) > n)
    assert [row["span_id"] for row in run.live["live/llm_calls"]] == ["s0", "s1", "s2"]
    assert [point["governance/calls"] for point in run.scalars] == [1, 2, 3]


def test_flushing_twice_replaces_the_table(session: Session, run: MemoryRun) -> None:
    """A second flush logs the table whole again, and none where nothing came in between."""
    session.write_span(make_span(1))
    assert session.flush(5)
    session.write_span(make_span(2))
    assert session.flush(5)
    assert session.flush(5)
    assert len(run.tables["llm_calls"]) == 2
    assert run.versions["llm_calls"] == 2


def test_without_a_run_records_wait_and_the_next_run_gets_them(settings: Settings, enricher: Enricher) -> None:
    """No run is active: nothing is lost; the first run that begins takes the journal over."""
    session = Session(None, settings=settings, enricher=enricher)
    session.write_span(make_span(1))
    assert not session.flush(0.1)
    assert statuses(settings.home)[0].run is None
    run = MemoryRun("later")
    session.claim(run)
    session.write_span(make_span(2))
    assert session.flush(5)
    run.finish()
    assert _ids(run, "llm_calls") == ["s1", "s2"]
    assert statuses(settings.home)[0].run.run_id == "later"  # type: ignore[union-attr]


def test_spans_after_the_run_finished_are_kept_and_recovered_once(
    session: Session, run: MemoryRun, settings: Settings, enricher: Enricher
) -> None:
    """A handler that outlives its run: the late rows are pending, and recovery brings all rows exactly once."""
    session.write_span(make_span(1))
    run.finish()
    session.write_span(make_span(2))
    session.journal.close()
    assert statuses(settings.home)[0].pending == 1
    again = MemoryRun(run.descriptor.run_id)
    (result,) = recover(settings.home, reopen=lambda _: again, enricher=lambda _: enricher, settings=settings)
    assert _ids(again, "llm_calls") == ["s1", "s2"]
    assert result.rows["llm_calls"] == 2
    assert list(recover(settings.home, reopen=lambda _: again, enricher=lambda _: enricher, settings=settings)) == []


def test_a_resumed_run_keeps_the_rows_of_its_earlier_process(settings: Settings) -> None:
    """The second process of a run logs the first one's rows too, for its table replaces theirs."""
    first_run = MemoryRun("same")
    first = Session(first_run, settings=settings, enricher=Enricher(PriceBook()))
    first.write_span(make_span(1))
    first_run.finish()
    second_run = MemoryRun("same")
    second = Session(second_run, settings=settings, enricher=Enricher(PriceBook()))
    second.write_span(make_span(2))
    second_run.finish()
    assert sorted(_ids(second_run, "llm_calls")) == ["s1", "s2"]


def test_processes_that_share_a_run_log_under_their_own_names(settings: Settings) -> None:
    """Shared mode: the primary has the plain table names, each worker its label behind them."""
    runs = [
        MemoryRun("shared", mode="shared", label="rank-0"),
        MemoryRun("shared", mode="shared", label="rank-1", shared_worker=True),
    ]
    sessions = [Session(run, settings=settings, enricher=Enricher(PriceBook())) for run in runs]
    for number, session in enumerate(sessions):
        session.write_span(make_span(number))
    for run in runs:
        run.finish()
    assert [row["span_id"] for row in runs[0].tables["llm_calls"]] == ["s0"]
    assert [row["span_id"] for row in runs[1].tables["llm_calls.rank-1"]] == ["s1"]
    assert "llm_calls" not in runs[1].tables


def test_a_call_names_the_documents_retrieved_before_it(session: Session, run: MemoryRun) -> None:
    """``llm_calls`` joins the retrieval of its own trace and of no other; a reranker's choice replaces it."""

    def retrieval(number: int, ids: str, kind: SpanKind, trace: str) -> Span:
        from dataclasses import replace

        hits = tuple(RetrievedDocument(id=name, rank=rank) for rank, name in enumerate(ids))
        return replace(
            make_span(number, kind=kind, trace=trace, parent="root"),
            retrieval=Retrieval(documents=hits, index_version="docs:v3"),
        )

    session.write_span(retrieval(1, "abc", SpanKind.RETRIEVER, "t1"))
    session.write_span(retrieval(2, "ca", SpanKind.RERANKER, "t1"))
    session.write_span(make_span(3, trace="t1"))
    session.write_span(make_span(4, trace="t2"))
    run.finish()
    joined, alone = run.tables["llm_calls"]
    assert (joined["document_ids"], joined["index_version"]) == ('["c","a"]', "docs:v3")
    assert alone["document_ids"] is None
    assert [row["document_ids"] for row in run.tables["retrievals"]] == ['["a","b","c"]', '["c","a"]']


def test_a_tampered_journal_is_not_delivered(settings: Settings) -> None:
    """Recovery refuses a journal that was edited, and says where."""
    from wandb_governance.errors import JournalCorruptError
    from wandb_governance.journal.journal import segments

    run = MemoryRun()
    session = Session(run, settings=settings, enricher=Enricher(PriceBook()))
    for number in range(3):
        session.write_span(make_span(number))
    session.worker.stop()
    session.journal.close()
    (path,) = segments(session.journal.folder)
    path.write_bytes(path.read_bytes().replace(b'"s1"', b'"s9"'))
    with pytest.raises(JournalCorruptError):
        verify(session.journal.folder)
    with pytest.raises(JournalCorruptError):
        list(recover(settings.home, reopen=lambda _: run, enricher=lambda _: Enricher(PriceBook()), settings=settings))
    assert "llm_calls" not in run.tables
