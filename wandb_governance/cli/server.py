"""``wandb-governance server``: the embedded W&B server."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wandb_governance.server.process import RunningServer, find, serve, start_in_background
from wandb_governance.server.process import stop as stop_server
from wandb_governance.server.settings import LOOPBACK, ServerSettings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from wandb_governance.server.hook import PromotionHook

_DATA_DIR = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("wandb-governance-server"),
    show_default=True,
    help="Holds the store, the files, the key and the log.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group(invoke_without_command=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 takes a free one."
)
@_DATA_DIR
@click.option("--background", is_flag=True, help="Start it as a process of its own and return.")
@click.option("--expose", is_flag=True, help="Allow an address that other machines reach.")
@click.option(
    "--crash-after",
    type=click.FloatRange(min=1),
    default=300.0,
    show_default=True,
    help="Seconds without a heartbeat after which a run counts as crashed.",
)
@click.option(
    "--governance",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A governance.yaml: its aliases move by promotions only.",
)
@_JSON
@click.pass_context
def server(ctx: click.Context, /, **options: object) -> None:
    """Serve the W&B protocol from a folder: no account, no network.

    The unmodified wandb SDK and command line work against it once the two variables it prints are set.
    """
    if ctx.invoked_subcommand is not None:
        return
    settings = _settings(options)
    as_json = bool(options["as_json"])
    if options["background"]:
        arguments = _arguments(settings)
        if options["governance"]:
            arguments += ["--governance", str(Path(str(options["governance"])).absolute())]
        _show(start_in_background(settings, arguments), as_json=as_json)
        return
    serve(settings, on_ready=lambda running: _show(running, as_json=as_json), hook=_hook(options["governance"]))


def _hook(governance: object) -> PromotionHook | None:
    if governance is None:
        return None
    from wandb_governance.registry.hook import LedgerHook

    return LedgerHook(Path(str(governance)))


def _settings(options: dict[str, object]) -> ServerSettings:
    host = str(options["host"])
    if host not in LOOPBACK:
        if not options["expose"]:
            raise click.UsageError(
                f"--host {host} lets other machines reach this server: its runs, artifacts and files become readable "
                "and writable for everyone who has a key, over unencrypted HTTP. Add --expose if that is meant."
            )
        click.secho(
            f"warning: {host} is reachable by other machines; all data in {options['data_dir']} is served over "
            "unencrypted HTTP to whoever has a key",
            fg="yellow",
            err=True,
        )
    data_dir = Path(str(options["data_dir"])).absolute()
    return ServerSettings(
        data_dir=data_dir,
        host=host,
        port=int(str(options["port"])),
        crash_after_seconds=float(str(options["crash_after"])),
    )


def _arguments(settings: ServerSettings) -> list[str]:
    arguments = ["--host", settings.host, "--port", str(settings.port), "--data-dir", str(settings.data_dir)]
    arguments += ["--crash-after", str(settings.crash_after_seconds)]
    return arguments if settings.host in LOOPBACK else [*arguments, "--expose"]


def _show(running: RunningServer, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(running)))
        return
    click.echo(f"W&B server at {running.url} (process {running.pid}), data in {running.data_dir}")
    click.echo(f"API key: {running.api_key}")
    click.echo("Point the W&B SDK and command line at it:")
    click.echo(f"  export WANDB_BASE_URL={running.url}")
    click.echo(f"  export WANDB_API_KEY={running.api_key}")


@server.command()
@_DATA_DIR
@_JSON
def status(data_dir: Path, *, as_json: bool) -> None:
    """Tell whether a server runs on a data directory; exit code 1 when none does."""
    running = find(data_dir.absolute())
    if running is None:
        click.echo(json.dumps({"running": False}) if as_json else f"no server runs on {data_dir}")
        sys.exit(1)
    if as_json:
        click.echo(json.dumps({"running": True, **asdict(running)}))
    else:
        _show(running, as_json=False)


@server.command()
@_DATA_DIR
@_JSON
def stop(data_dir: Path, *, as_json: bool) -> None:
    """Stop the server of a data directory; exit code 1 when none runs."""
    stopped = stop_server(data_dir.absolute())
    message = "stopped" if stopped else f"no server runs on {data_dir}"
    click.echo(json.dumps({"stopped": stopped}) if as_json else message)
    if not stopped:
        sys.exit(1)


@server.command()
@_DATA_DIR
@click.argument("archive", type=click.Path(dir_okay=False, path_type=Path))
@_JSON
def backup(data_dir: Path, archive: Path, *, as_json: bool) -> None:
    """Write ARCHIVE (.tar.gz) from a data directory; its server may go on running."""
    from wandb_governance.server.store.backup import backup as write_backup

    with _busy(f"backing up {data_dir}"):
        summary = write_backup(data_dir.absolute(), archive.absolute())
    message = f"wrote {summary.path}: {summary.blobs} files, {summary.size_bytes:,} bytes unpacked"
    click.echo(json.dumps(asdict(summary)) if as_json else message)


@server.command()
@_DATA_DIR
@click.argument("archive", type=click.Path(dir_okay=False, path_type=Path))
@_JSON
def restore(data_dir: Path, archive: Path, *, as_json: bool) -> None:
    """Unpack ARCHIVE into a new data directory; every file is checked against its hash."""
    from wandb_governance.server.store.backup import restore as read_backup

    with _busy(f"restoring {data_dir}"):
        summary = read_backup(archive.absolute(), data_dir.absolute())
    message = f"restored {summary.path}: {summary.blobs} files, {summary.size_bytes:,} bytes"
    click.echo(json.dumps(asdict(summary)) if as_json else message)


def _busy(what: str) -> AbstractContextManager[object]:
    from rich.console import Console

    return Console(stderr=True).status(what)
