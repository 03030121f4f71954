"""What a person sees of a running sweep and of its result."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from wandb_governance.sweep.report import COLUMNS, candidate_row

if TYPE_CHECKING:
    from wandb_governance.sweep.records import TrialRecord
    from wandb_governance.sweep.select import Selection

_SHOWN = 10


class TrialView:
    """A bar and the best trials so far, on standard error.

    Args:
        metric: Name of what is maximised.
    """

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self._records: list[TrialRecord] = []
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
        )
        self._task = self._progress.add_task("trials", total=None)
        self._live = Live(console=console, refresh_per_second=4, transient=not console.is_terminal)

    def __enter__(self) -> Self:
        self._live.start()
        self._live.update(self._progress)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, record: TrialRecord, done: int, planned: int) -> None:
        """Show one more trial."""
        self._records.append(record)
        self._progress.update(self._task, completed=done, total=planned)
        self._live.update(Group(self._table(), self._progress))

    def _table(self) -> Table:
        table = Table(title=f"best so far by {self._metric}", title_justify="left")
        for column in ("configuration", self._metric, "context tokens", "latency ms"):
            table.add_column(column, overflow="fold")
        good = sorted((r for r in self._records if not r.error), key=lambda r: -r.metrics["score"])
        for record in good[:_SHOWN]:
            metrics = record.metrics
            latency_ms = f"{1000 * metrics['latency_s']:.2f}"
            score, tokens = f"{metrics['score']:.4f}", f"{metrics['context_tokens']:.0f}"
            table.add_row(record.configuration.label, score, tokens, latency_ms)
        for record in self._records:
            if record.error:
                table.add_row(record.configuration.label, "[red]failed[/red]", record.error, "")
        return table


def print_selection(selection: Selection, index: str) -> None:
    """Print a selection as a table with one sentence under it."""
    console = Console()
    table = Table(title=f"{selection.metric} over {selection.questions} questions", title_justify="left")
    for column in COLUMNS:
        name = selection.metric if column == "metric" else column
        table.add_column(name, no_wrap=column == "configuration", overflow="fold")
    for candidate in selection.candidates[:_SHOWN]:
        table.add_row(*candidate_row(candidate, chosen=candidate is selection.choice))
    if selection.choice not in selection.candidates[:_SHOWN]:
        table.add_row(*candidate_row(selection.choice, chosen=True))
    console.print(table)
    console.print(selection.sentence)
    confirmation = selection.confirmation
    if confirmation:
        better = ", ".join(confirmation.beaten_by)
        verdict = "confirmed" if confirmation.confirmed else f"NOT confirmed: {better} is better"
        console.print(
            f"Held-out questions ({confirmation.questions}): {confirmation.mean:.4f} "
            f"[{confirmation.low:.3f}-{confirmation.high:.3f}], {verdict}; optimism {confirmation.optimism:+.4f}."
        )
    for why, count in Counter(why for _, why in selection.excluded).items():
        console.print(f"Left out: {count} because {why}.")
    shares = ", ".join(f"{name} {share:.0%}" for name, share in list(selection.importance.items())[:5])
    console.print(f"Explains the spread: {shares or 'nothing'}.")
    console.print(f"Index: {index}")
