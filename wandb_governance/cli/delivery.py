"""``wandb-governance status`` and ``wandb-governance recover``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from wandb_governance.settings import Settings

if TYPE_CHECKING:
    from wandb_governance.export.delivery import JournalStatus

_home = click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder of the journals.  [default: .wandb-governance]",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def _settings(home: Path | None) -> Settings:
    return Settings.from_env() if home is None else Settings.from_env(home=home)


def _print(data: Any) -> None:
    click.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2, default=str).decode())


@click.command()
@_home
@_json
def status(home: Path | None, *, as_json: bool) -> None:
    """What is not delivered to W&B yet. Exits with 1 where a dead process left something behind."""
    from wandb_governance.export.delivery import statuses

    settings = _settings(home)
    found = statuses(settings.home)
    left = [item for item in found if item.pending and not item.live]
    if as_json:
        _print(
            {
                "home": str(settings.home),
                "journals": [item.to_json() for item in found],
                "pending": sum(item.pending for item in found),
                "left_behind": len(left),
            }
        )
    else:
        _table(found, settings.home)
        if left:
            click.echo("Deliver them with: wandb-governance recover")
    if left:
        raise SystemExit(1)


def _table(found: list[JournalStatus], home: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    if not found:
        click.echo(f"No journal in {home}.")
        return
    table = Table(title=f"Journals in {home}")
    for name in ("run", "writer", "records", "delivered", "pending", "size", "writer is"):
        table.add_column(name, justify="right" if name in {"records", "delivered", "pending", "size"} else "left")
    for item in found:
        run = "none" if item.run is None else f"{item.run.project}/{item.run.run_id} ({item.run.mode})"
        table.add_row(
            run,
            item.folder.name,
            str(item.records),
            str(item.delivered),
            str(item.pending),
            f"{item.size_bytes / 1024:.0f} kB",
            "alive" if item.live else "gone",
        )
    Console().print(table)


@click.command()
@_home
@click.option("--project", default=None, help="Project for records that no run has claimed.")
@click.option(
    "--prices",
    type=click.Path(path_type=Path, exists=True),
    default=None,
    help="A YAML price table.  [default: the run's own]",
)
@_json
def recover(home: Path | None, project: str | None, prices: Path | None, *, as_json: bool) -> None:
    """Deliver what a crash left behind; every row is in W&B exactly once afterwards."""
    from rich.console import Console

    from wandb_governance.backend.wandb_sdk import reopen
    from wandb_governance.export.delivery import recover as deliver
    from wandb_governance.pipeline import Enricher
    from wandb_governance.pricing.book import PriceBook

    settings = _settings(home)
    results = []
    with Console(stderr=True).status("reading journals") as progress:
        for result in deliver(
            settings.home,
            reopen=reopen,
            enricher=lambda used: Enricher(PriceBook.load(prices or used)),
            settings=settings,
            project=project,
            progress=lambda run_id, records: progress.update(f"run {run_id}: {records} records"),
        ):
            results.append(result)
            if not as_json:
                rows = ", ".join(f"{count} {name}" for name, count in result.rows.items() if count)
                click.echo(f"{result.run.project}/{result.run.run_id}: {rows or 'no rows'}")
    if as_json:
        _print({"runs": [{"run": item.run.to_json(), "rows": item.rows, "totals": item.totals} for item in results]})
    elif not results:
        click.echo("Nothing to recover.")
