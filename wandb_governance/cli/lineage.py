"""``lineage``: what is behind a prediction or an artifact."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from wandb_governance.cli.promote import config_option, json_option

_ARTIFACT = re.compile(r"[^/\s]+(/[^/\s]+)*:[^/\s]+")


@click.command()
@click.argument("what")
@click.option("--project", help="[entity/]project to search for the prediction; every run of it is looked at.")
@click.option("--run", "run_path", help="entity/project/id of the run that recorded the prediction.")
@click.option(
    "--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with the graph."
)
@click.option("--svg", "svg_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the drawing.")
@click.option(
    "--openlineage", type=click.Path(path_type=Path, dir_okay=False), help="Write OpenLineage events (JSONL)."
)
@config_option
@json_option
def lineage(
    what: str,
    project: str | None,
    run_path: str | None,
    html_file: Path | None,
    svg_file: Path | None,
    openlineage: Path | None,
    config: Path,
    as_json: bool,
) -> None:
    """Trace WHAT: the id of a prediction (span_id or trace_id of llm_calls) or an artifact version (name:v3).

    Shows model, prompt, index, dataset, code, evaluation, promotion and approvals. `gone` is no longer in W&B;
    `unreadable` may be there, but not for this account.
    """
    from wandb_governance.backend.registry import WandbRegistry
    from wandb_governance.clock import SystemClock
    from wandb_governance.registry import lineage_views as views
    from wandb_governance.registry.document import load_document
    from wandb_governance.registry.ledger import Ledger
    from wandb_governance.registry.lineage import Tracer, find_prediction

    clock = SystemClock()
    path = config.resolve().parent / load_document(config).ledger if config.exists() else None
    ledger = Ledger(path, clock=clock) if path is not None and path.exists() else None
    registry = WandbRegistry()
    tracer = Tracer(registry=registry, ledger=ledger)
    if _ARTIFACT.fullmatch(what):
        graph = tracer.artifact(what)
    else:
        if run_path is None and project is None:
            raise click.UsageError("say where the prediction was recorded: --run entity/project/id or --project")
        runs = [run_path] if run_path else [run.path for run in registry.runs(str(project))]
        found, row = find_prediction(registry, what, runs=runs)
        graph = tracer.prediction(what, found, row)
    if html_file is not None:
        html_file.write_text(views.page(graph), encoding="utf-8")
    if svg_file is not None:
        svg_file.write_text(views.svg(graph), encoding="utf-8")
    if openlineage is not None:
        events = views.open_lineage(graph, at_ns=clock.now_ns())
        openlineage.write_text("".join(json.dumps(event) + "\n" for event in events))
    if as_json:
        click.echo(json.dumps(views.as_json(graph), indent=2, default=str))
    else:
        from rich.console import Console

        Console(highlight=False).print(views.tree(graph))
