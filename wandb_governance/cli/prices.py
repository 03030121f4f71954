"""``wandb-governance prices``: look a price up, check a price table."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wandb_governance.clock import SystemClock
from wandb_governance.errors import PriceTableError, PricingError
from wandb_governance.pricing.book import PriceBook
from wandb_governance.pricing.sources import load_price_table

if TYPE_CHECKING:
    from wandb_governance.pricing.row import PriceRow
    from wandb_governance.pricing.table import PriceTable


@click.group()
def prices() -> None:
    """Look a price up; check a price table."""


@prices.command()
@click.argument("model")
@click.option(
    "--provider", help="Who serves the model, such as openai, azure, aws; derived from the name if not given."
)
@click.option("--at", "day", type=click.DateTime(["%Y-%m-%d"]), help="Day (UTC) of the call; today if not given.")
@click.option("--tier", default="standard", show_default=True, help="Service tier: standard, batch, flex, priority.")
@click.option("--table", type=click.Path(path_type=Path), help="Your own price table, which comes first.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(
    model: str, *, provider: str | None, day: datetime | None, tier: str, table: Path | None, as_json: bool
) -> None:
    """Show what MODEL costs per million tokens. Exits with 1 where no price is known."""
    at_ns = SystemClock.now_ns() if day is None else _noon_ns(day.date())
    try:
        row = PriceBook.load(table).find(provider=provider, request_model=model, at_ns=at_ns, service_tier=tier)
    except PricingError as error:
        if as_json:
            click.echo(json.dumps({"model": model, "price": None, "reason": str(error)}))
        else:
            click.echo(f"No price: {error}.", err=True)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps({"model": model, "price": row.to_json(), "reason": None}))
    else:
        _print_row(row)


@prices.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(file: Path, *, as_json: bool) -> None:
    """Check the price table FILE. Exits with 2 where it is wrong, with 1 where an alias leads to no price."""
    try:
        table = load_price_table(file)
    except PriceTableError as error:
        if not as_json:
            raise
        fault = {"file": error.file, "line": error.line, "key": error.key, "message": error.message}
        click.echo(json.dumps({"ok": False, "error": fault}))
        sys.exit(2)
    unpriced = _unpriced_aliases(table)
    if as_json:
        summary = {"prices": len(table.entries), "aliases": len(table.aliases), "unpriced_aliases": unpriced}
        click.echo(json.dumps({"ok": not unpriced, "file": str(file), **summary}))
    else:
        click.echo(f"{file}: {len(table.entries)} prices, {len(table.aliases)} aliases.")
        for alias, reason in unpriced.items():
            click.secho(f"alias {alias!r} leads to no price: {reason}", fg="yellow", err=True)
    if unpriced:
        sys.exit(1)


def _noon_ns(day: date) -> int:
    return int(datetime.combine(day, time(12), tzinfo=UTC).timestamp()) * 10**9


def _unpriced_aliases(table: PriceTable) -> dict[str, str]:
    """Aliases whose model has no price today, with the reason."""
    book = PriceBook(table)
    found: dict[str, str] = {}
    for alias in table.aliases:
        try:
            book.find(provider=None, request_model=alias, at_ns=SystemClock.now_ns())
        except PricingError as error:
            found[alias] = str(error)
    return found


def _print_row(row: PriceRow) -> None:
    from rich.console import Console
    from rich.table import Table

    since = f", since {row.valid_from}" if row.valid_from else ""
    tier = "" if row.service_tier == "standard" else f", {row.service_tier}"
    table = Table(title=f"{row.model} ({row.provider or 'any provider'}{tier}{since})", title_justify="left")
    table.add_column("unit")
    table.add_column(f"{row.currency} per million tokens", justify="right")
    for unit, rate in row.rates.items():
        table.add_row(unit.value.replace("_", " "), f"{rate.per_mtok:f}")
        for step in rate.steps:
            table.add_row(f"  input above {step.above_input_tokens:,} tokens", f"{step.per_mtok:f}")
    if row.per_request:
        table.add_row("request (each)", f"{row.per_request:f}")
    console = Console()
    console.print(table)
    console.print(f"Source: {row.source} {row.source_version}", highlight=False)
