"""A whole sweep in this process: every configuration once, resumable, a failed trial stops nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

from wandb_governance.errors import GovernanceError
from wandb_governance.sweep.holdout import shuffled, split_questions
from wandb_governance.sweep.records import TrialRecord, record_of
from wandb_governance.sweep.trial import NoObserver, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wandb_governance.sweep.build import Executor
    from wandb_governance.sweep.cache import Store
    from wandb_governance.sweep.config import RagSweep
    from wandb_governance.sweep.questions import Question
    from wandb_governance.sweep.records import ResultsFile
    from wandb_governance.sweep.screening import Screening
    from wandb_governance.sweep.space import Configuration
    from wandb_governance.sweep.trial import Observer


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a sweep ended."""

    records: tuple[TrialRecord, ...]
    """Of every configuration that was tried, now or before."""
    planned: int
    """Configurations that the search asked for."""
    stopped_by: str | None = None
    """Which budget ended it, or None where it ran to its end."""
    screening: Screening | None = None
    """What was screened out before, where the file asks for it."""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs configurations one after the other, those that share an index next to each other."""

    sweep: RagSweep
    store: Store
    results: ResultsFile
    observer: Observer = field(default_factory=NoObserver)
    executor: Executor | None = None
    on_record: Callable[[TrialRecord, int, int], None] = lambda *_: None
    """Called after each trial with its record, how many are done and how many there are."""

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """Questions that the search may see, in asking order."""
        spec = self.sweep.spec
        seen, _ = split_questions(self.sweep.questions, holdout=spec.questions.holdout, seed=spec.search.seed)
        return tuple(shuffled(seen, seed=spec.search.seed))

    def run(self, configurations: Sequence[Configuration] | None = None) -> Outcome:
        """Try every configuration that has no record yet, until the end or the budget."""
        wanted = list(configurations if configurations is not None else self.planned())
        wanted.sort(key=lambda c: c.index_key)
        done = {record.configuration.key: record for record in self._known()}
        begun, spent = time.monotonic(), Decimal(0)
        stopped = None
        for configuration in wanted:
            if configuration.key in done:
                continue
            stopped = self._over_budget(time.monotonic() - begun, spent)
            if stopped:
                break
            record, cost = self._try(configuration)
            spent += cost
            self.results.append(record)
            done[configuration.key] = record
            self.on_record(record, len(done), len(wanted))
        records = tuple(done[c.key] for c in wanted if c.key in done)
        return Outcome(records=records, planned=len(wanted), stopped_by=stopped)

    def planned(self) -> list[Configuration]:
        """The configurations that the file asks for; ``bayes`` has no order of its own here and is drawn at random."""
        search = self.sweep.spec.search
        if search.method == "grid":
            return self.sweep.space.grid()[: search.runs]
        return self.sweep.space.sample(search.runs or 1, seed=search.seed)

    def _known(self) -> list[TrialRecord]:
        """Records of this very corpus, questions and metric; failed trials are tried again."""
        identity = (self.sweep.corpus.digest, self.sweep.questions.digest, self.sweep.spec.metric.name)
        return [r for r in self.results.read() if (r.corpus, r.questions, r.metric) == identity and r.error is None]

    def _over_budget(self, elapsed_s: float, spent: Decimal) -> str | None:
        budget = self.sweep.spec.budget
        if budget.minutes is not None and elapsed_s >= 60 * budget.minutes:
            return f"{budget.minutes:g} minutes"
        if budget.usd is not None and spent >= Decimal(str(budget.usd)):
            return f"{budget.usd:g} USD"
        return None

    def _try(self, configuration: Configuration) -> tuple[TrialRecord, Decimal]:
        run = f"local-{configuration.key}"
        corpus, questions = self.sweep.corpus.digest, self.sweep.questions.digest
        trial = Trial(
            sweep=self.sweep,
            configuration=configuration,
            store=self.store,
            draw=run,
            observer=self.observer,
            executor=self.executor,
        )
        try:
            result = trial.ask(self.questions)
            return record_of(result, run=run, corpus=corpus, questions=questions), result.spent_usd
        except GovernanceError as error:
            failed = TrialRecord(
                run=run,
                configuration=configuration,
                metric=self.sweep.spec.metric.name,
                corpus=corpus,
                questions=questions,
                error=str(error),
            )
            return failed, Decimal(0)
