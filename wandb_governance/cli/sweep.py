"""``wandb-governance sweep``: define, run and choose a RAG configuration."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wandb_governance.errors import SweepConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wandb_governance.sweep.cache import Store
    from wandb_governance.sweep.config import RagSweep

_FILE = click.argument("file", type=click.Path(path_type=Path), default=Path("rag.yaml"))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_CACHE = click.option("--cache", type=click.Path(path_type=Path), help="Folder of shared work; on a local disk.")
_NO_CACHE = click.option("--no-cache", is_flag=True, help="Keep no work: the same numbers, slower.")
_EXECUTOR = click.option("--executor", type=click.Choice(["local", "ray"]), default="local", show_default=True)
_ADDRESS = click.option("--address", help="Ray cluster to join; a local one is started without it.")


@click.group()
def sweep() -> None:
    """RAG sweeps: which configuration wins, and where is its index?"""


@sweep.command()
@click.option("--example", "file", type=click.Path(path_type=Path), default=Path("rag.yaml"), show_default=True)
@click.option("--force", is_flag=True, help="Write over files that are there.")
@_JSON
def init(file: Path, *, force: bool, as_json: bool) -> None:
    """Write an example sweep file with a small public corpus and its questions."""
    source = resources.files("wandb_governance.sweep") / "example"
    targets = [file, file.parent / "questions.jsonl", file.parent / "corpus"]
    taken = [target for target in targets if target.exists()]
    if taken and not force:
        raise SweepConfigError(f"{taken[0].name} is there already; use --force to write over it", file=taken[0])
    file.parent.mkdir(parents=True, exist_ok=True)
    with resources.as_file(source) as folder:
        shutil.copyfile(folder / "rag.yaml", file)
        shutil.copyfile(folder / "questions.jsonl", targets[1])
        shutil.copytree(folder / "corpus", targets[2], dirs_exist_ok=True)
    _say({"files": [str(target) for target in targets]}, f"Wrote {', '.join(map(str, targets))}.", as_json=as_json)


@sweep.command()
@_FILE
@_JSON
def check(file: Path, *, as_json: bool) -> None:
    """Check a sweep file and its data, and say how many trials it means."""
    from wandb_governance.sweep.overview import overview

    found = overview(_load(file))
    _say(found, "\n".join(f"{key:24} {value}" for key, value in found.items()), as_json=as_json)


@sweep.command()
@_FILE
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write; standard output without it.")
@_JSON
def config(file: Path, output: Path | None, *, as_json: bool) -> None:
    """Turn a sweep file into a W&B sweep configuration for ``wandb sweep``."""
    from wandb_governance.sweep.compile import config_text, sweep_config
    from wandb_governance.sweep.scheduler import SOURCE_NAME, source_text

    loaded = _load(file)
    compiled = sweep_config(loaded)
    text = json.dumps(compiled) if as_json else config_text(compiled)
    if output is None:
        click.echo(text)
        return
    output.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")
    if compiled.get("scheduler", {}).get("engine") == "optuna":
        (output.parent / SOURCE_NAME).write_text(source_text(loaded), encoding="utf-8")
    click.echo(f"Wrote {output}. Next: wandb sweep {output}", err=True)


@sweep.command()
@_FILE
@click.option("--results", type=click.Path(path_type=Path), help="Folder of results; <name>-results without it.")
@_CACHE
@_NO_CACHE
@_EXECUTOR
@_ADDRESS
@_JSON
def run(
    file: Path,
    results: Path | None,
    cache: Path | None,
    executor: str,
    address: str | None,
    *,
    no_cache: bool,
    as_json: bool,
) -> None:
    """Run the whole sweep on this machine; started again it goes on where it was."""
    from wandb_governance.cli.sweep_view import TrialView
    from wandb_governance.sweep.records import ResultsFile
    from wandb_governance.sweep.runner import Runner
    from wandb_governance.sweep.screening import screened

    loaded = _load(file)
    folder = results or file.parent / f"{loaded.spec.name}-results"
    with _store(cache, no_cache=no_cache) as store, TrialView(loaded.spec.metric.name) as view:
        runner = Runner(
            sweep=loaded,
            store=store,
            results=ResultsFile(folder),
            executor=_executor(executor, address),
            on_record=view.update,
        )
        outcome = screened(runner) if loaded.spec.screening else runner.run()
        counts = dict(store.counts)
    failed = [record for record in outcome.records if record.error]
    errors = sorted({record.error for record in failed if record.error})
    found = {
        "results": str(folder),
        "planned": outcome.planned,
        "trials": len(outcome.records),
        "failed": len(failed),
        "errors": errors,
        "stopped_by": outcome.stopped_by,
        "work": counts,
    }
    stopped = f" Stopped by the budget of {outcome.stopped_by}." if outcome.stopped_by else ""
    done = f"{len(outcome.records)} of {outcome.planned} trials, {len(failed)} failed.{stopped}"
    reasons = "".join(f"\nfailed: {reason}" for reason in errors)
    _say(found, f"{done}{reasons}\nNext: wandb-governance sweep select {folder} --file {file}", as_json=as_json)
    sys.exit(1 if failed and len(failed) == len(outcome.records) else 0)


@sweep.command()
@_FILE
@_CACHE
@_NO_CACHE
@_EXECUTOR
@_ADDRESS
def trial(file: Path, cache: Path | None, executor: str, address: str | None, *, no_cache: bool) -> None:
    """Run one trial: the program that ``wandb agent`` starts."""
    from wandb_governance.cli.sweep_trial import one_trial

    loaded = _load(file)
    with _store(cache, no_cache=no_cache) as store:
        one_trial(loaded, store, executor=_executor(executor, address))


@sweep.command()
@click.argument("sweep_id")
@_FILE
@click.option("--count", type=int, help="Trials to run at most.")
@click.option(
    "--dead-after",
    type=click.FloatRange(min=1),
    default=90.0,
    show_default=True,
    help="Seconds without a heartbeat after which a run of another agent is done again.",
)
@_CACHE
@_NO_CACHE
def agent(
    sweep_id: str, file: Path, count: int | None, dead_after: float, cache: Path | None, *, no_cache: bool
) -> None:
    """Run trials of a W&B sweep in one process: no start-up and no slow polling between short trials.

    At the end of a grid it also runs what agents that died have left.
    """
    from wandb_governance.backend.sweeps import run_agent
    from wandb_governance.cli.sweep_trial import complete_grid, one_trial

    loaded = _load(file)
    with _store(cache, no_cache=no_cache) as store:
        run_agent(sweep_id, lambda: one_trial(loaded, store), project=loaded.spec.project, count=count)
        if count is None and loaded.spec.search.method == "grid":
            complete_grid(sweep_id, loaded, store, silent_s=dead_after)


@sweep.command()
@click.argument("where")
@click.option("--file", type=click.Path(path_type=Path), default=Path("rag.yaml"), show_default=True)
@click.option("--pictures", type=click.Path(path_type=Path), help="Folder for charts as HTML, PNG and SVG.")
@click.option("--artifact/--no-artifact", default=True, help="Publish the index of the choice in W&B.")
@click.option("--holdout/--no-holdout", default=True, help="Confirm on questions that the search did not see.")
@click.option("--report", is_flag=True, help="Write a W&B report of the sweep.")
@_CACHE
@_NO_CACHE
@_JSON
def select(
    where: str,
    file: Path,
    pictures: Path | None,
    cache: Path | None,
    *,
    artifact: bool,
    holdout: bool,
    report: bool,
    no_cache: bool,
    as_json: bool,
) -> None:
    """Choose the winner of WHERE: a W&B sweep id, or the results folder of ``sweep run``."""
    from wandb_governance.cli.sweep_view import print_selection
    from wandb_governance.sweep.choice import choose_from, publish, read_trials
    from wandb_governance.sweep.report import selection_json

    loaded = _load(file)
    with _store(cache, no_cache=no_cache) as store:
        trials = read_trials(where, loaded)
        selection = choose_from(trials, loaded, store, holdout=holdout)
        published = publish(selection, trials, loaded, store, in_wandb=artifact)
    found = selection_json(selection, index_artifact=published.artifact, digest=published.digest)
    found |= {"index_folder": str(published.folder), "index_key": selection.choice.record.index_key}
    if pictures:
        from wandb_governance.sweep.pictures import draw

        found["pictures"] = [str(path) for path in draw(selection, pictures)]
    if report:
        from wandb_governance.backend.sweep_report import save_report
        from wandb_governance.sweep.report import report_facts

        found["report"] = save_report(trials.sweep_path, **report_facts(selection, published.artifact))
    if as_json:
        click.echo(json.dumps(found))
    else:
        print_selection(selection, published.artifact or str(published.folder))


@sweep.group()
def work() -> None:
    """Share work between machines through a W&B artifact."""


@work.command()
@_FILE
@_CACHE
@_JSON
def push(file: Path, cache: Path | None, *, as_json: bool) -> None:
    """Log the store of shared work as an artifact."""
    from wandb_governance.sweep.sharing import push_work

    loaded = _load(file)
    name = push_work(_cache_folder(cache), loaded)
    _say({"artifact": name}, f"Logged {name}.", as_json=as_json)


@work.command()
@_FILE
@_CACHE
@_JSON
def pull(file: Path, cache: Path | None, *, as_json: bool) -> None:
    """Add the work of other machines to this machine's store; every entry is checked."""
    from wandb_governance.sweep.sharing import pull_work

    loaded = _load(file)
    added = pull_work(_cache_folder(cache), loaded)
    _say(added, f"Added {added['entries']} entries and {added['indexes']} indexes.", as_json=as_json)


def _load(file: Path) -> RagSweep:
    from wandb_governance.sweep.config import load_sweep

    return load_sweep(file)


def _cache_folder(cache: Path | None) -> Path:
    from wandb_governance.sweep.embedder import default_cache_folder

    return cache or default_cache_folder() / "sweep"


@contextmanager
def _store(cache: Path | None, *, no_cache: bool) -> Iterator[Store]:
    from wandb_governance.sweep.cache import DiskStore, MemoryStore

    if no_cache:
        yield MemoryStore()
        return
    store = DiskStore(_cache_folder(cache))
    try:
        yield store
    finally:
        store.close()


def _executor(name: str, address: str | None) -> Any:
    if name == "local":
        return None
    from wandb_governance.sweep.ray_executor import RayExecutor

    return RayExecutor(address=address)


def _say(found: Any, text: str, *, as_json: bool) -> None:
    click.echo(json.dumps(found) if as_json else text)
