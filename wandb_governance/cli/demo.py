"""``wandb-governance demo``: the main job on real input, with no account, key or network."""

from __future__ import annotations

import asyncio
import importlib
import os
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click
import orjson

from wandb_governance.demo.story import (
    INDEX_VERSION,
    POLICY,
    PRICES,
    RECORDED,
    ModelAddress,
    Step,
    answers,
    passages,
)
from wandb_governance.errors import MissingExtraError, PolicyViolation
from wandb_governance.settings import Settings

if TYPE_CHECKING:
    from wandb_governance.backend.wandb_sdk import WandbRun
    from wandb_governance.export.reading import Row

_SHOWN = {
    "framework": "framework",
    "status": "status",
    "verdict": "verdict",
    "input_tokens": "in",
    "output_tokens": "out",
    "cost_usd": "USD",
    "duration_s": "seconds",
}
"""Columns of the printed table and their headings."""


@click.command()
@click.option("--live", is_flag=True, help="Ask the real model; needs OPENAI_API_KEY.")
@click.option("--model", default="gpt-4o-mini", show_default=True, help="Model for --live.")
@click.option("--offline", is_flag=True, help="Write an offline run instead of using the embedded server.")
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=Path(".wandb-governance"),
    show_default=True,
    help="Folder for journals and the server's data.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def demo(*, live: bool, model: str, offline: bool, home: Path, as_json: bool) -> None:
    """Run the main job on real input: a LangChain RAG chain and a LlamaIndex query engine over a real document.

    Without --live the model's answers are a recording of SmolLM2-135M, a small open model: look at the tables, not at
    its wit. Retrieval, policies, prices and W&B are real.
    """
    address = _address(model) if live else RECORDED
    settings = Settings.from_env(home=home.absolute())
    from wandb_governance.demo.place import demo_run

    with demo_run(settings.home, offline=offline) as run:
        report = _run(run, settings, address, live=live, quiet=as_json)
        report["wandb"] = {"url": run.url, "folder": run.folder, "run_id": run.descriptor.run_id}
    if as_json:
        click.echo(orjson.dumps(report, option=orjson.OPT_INDENT_2, default=str).decode())
    else:
        _show(report, home, offline=offline, live=live)


def _address(model: str) -> ModelAddress:
    key = os.environ.get("OPENAI_API_KEY")
    if not key:
        raise click.UsageError("--live needs OPENAI_API_KEY; leave --live out to use the recorded answers")
    return ModelAddress(name=model, base_url=os.environ.get("OPENAI_BASE_URL"), api_key=key)


def _run(run: WandbRun, settings: Settings, address: ModelAddress, *, live: bool, quiet: bool) -> dict[str, Any]:
    from wandb_governance.export.reading import read_tables
    from wandb_governance.pipeline import Enricher
    from wandb_governance.pricing.book import PriceBook
    from wandb_governance.runtime import Governance
    from wandb_governance.tracing.context import call_context

    governance = Governance(run=run, policy=POLICY, prices=PRICES, settings=settings, convert=_convert)
    found = passages()
    instrumentation = _adapter("llama_index").instrument(governance=governance)
    steps = [
        *_adapter("langchain.demo").steps(governance, found, address),
        *_adapter("llama_index.demo").steps(instrumentation, found, address),
    ]
    with (
        answers(live=live),
        call_context(versions={"index": INDEX_VERSION}, prompt_name="demo-rag", prompt_version="v1"),
    ):
        said = asyncio.run(_take(steps, quiet=quiet))
    instrumentation.uninstall()
    folders = [governance.session.journal.folder]
    run.finish()
    tables, totals = read_tables(folders, Enricher(PriceBook.load(PRICES)))
    calls = [row for row in tables.get("llm_calls", []) if row["kind"] == "llm"]
    return {
        **totals,
        "calls": len(calls),
        "cost_usd": float(totals["cost_usd"]),
        "tables": {name: len(rows) for name, rows in tables.items()},
        "rows": calls,
        "steps": said,
        "model": address.name,
        "recorded": not live,
    }


def _adapter(name: str) -> Any:
    """An adapter's module; the core imports no framework, so it is found by name."""
    distribution = name.partition(".")[0]
    try:
        return importlib.import_module(f"wandb_governance_{name}")
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"wandb_governance_{distribution}", extra="demo") from error


def _convert(value: object) -> object:
    made = _adapter("langchain.convert").plain(value)
    return _adapter("llama_index.convert").plain(value) if made is value else made


async def _take(steps: list[Step], *, quiet: bool) -> list[dict[str, str]]:
    from rich.console import Console
    from rich.progress import Progress

    said = []
    with Progress(console=Console(stderr=True), disable=quiet, transient=True) as progress:
        task = progress.add_task("starting", total=len(steps))
        for step in steps:
            progress.update(task, description=step.title)
            try:
                answer = await step.run()
            except PolicyViolation as violation:
                answer = str(violation)
            said.append({"step": step.title, "answer": answer.strip()})
            progress.advance(task)
    return said


def _show(report: dict[str, Any], home: Path, *, offline: bool, live: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for step in report["steps"]:
        console.print(f"[bold]{step['step']}[/]: {shorten(step['answer'], 200)}", soft_wrap=True, highlight=False)
    table = Table(title=f"Model calls ({report['model']}{'' if live else ', recorded answers'})")
    for name, heading in _SHOWN.items():
        table.add_column(heading, justify="left" if name in {"framework", "status", "verdict"} else "right")
    for row in report["rows"]:
        table.add_row(*(_cell(row, name) for name in _SHOWN))
    console.print(table)
    console.print(
        f"{report['calls']} calls, {report['spans']} spans, {report['input_tokens']} input and "
        f"{report['output_tokens']} output tokens ({report['estimated_calls']} calls estimated), "
        f"${report['cost_usd']:.8f}, {report['blocked']} blocked, {report['redacted']} redacted"
    )
    rows = ", ".join(f"{name} {count}" for name, count in report["tables"].items())
    console.print(f"Rows in W&B: {rows}")
    if offline:
        console.print(f"The offline run lies in {report['wandb']['folder']}", soft_wrap=True)
    else:
        console.print(f"Run {report['wandb']['run_id']} is on the embedded W&B server. Look at it:", soft_wrap=True)
        console.print(f"  wandb-governance server --data-dir {home / 'server'}", soft_wrap=True)


def _cell(row: Row, name: str) -> str:
    value = row[name]
    if value is None:
        return "-"
    if name == "cost_usd":
        return f"{value:.8f}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
