"""``promote``, ``rollback`` and ``watch``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_governance.registry.outcome import Exit

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default="governance.yaml",
    show_default=True,
    help="The governance file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")

_STEPS = {
    "gated": "gates passed",
    "prepare": "writing PREPARED to the ledger",
    "recheck": "reading everything again",
    "link": "moving the alias",
    "linked": "reading back",
    "commit": "writing COMMITTED to the ledger",
}


@click.command()
@click.argument("thing")
@click.argument("version")
@click.option("--to", "stage", required=True, help="Stage of governance.yaml.")
@click.option("--check", is_flag=True, help="Run the gates only; change nothing.")
@click.option("--evaluation", help="Evaluation artifact; default: the newest one of this version.")
@click.option("--reason", default="", help="Why; stands in the ledger.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write JUnit XML.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write a Markdown report.")
@config_option
@json_option
def promote(
    thing: str,
    version: str,
    stage: str,
    check: bool,
    evaluation: str | None,
    reason: str,
    junit: Path | None,
    markdown: Path | None,
    config: Path,
    as_json: bool,
) -> None:
    """Let VERSION of THING into a stage: gates, approvals, then the alias.

    Run it again to go on with a promotion that waits for approval.

    Exit codes: 0 let in (or all gates pass with --check), 1 a gate failed, 2 wrong usage, 3 waiting for approval,
    4 could not decide, 5 the registry does not hold what the ledger says.
    """
    from wandb_governance.errors import ConfigError, GovernanceError

    try:
        code, value, gates = _promoted(thing, version, stage, check, evaluation, reason, config, quiet=as_json)
    except ConfigError:
        raise
    except GovernanceError as error:
        code, value, gates = _refused(error)
    _write_reports(f"{thing} {version} to {stage}", value, gates, junit=junit, markdown=markdown)
    if as_json:
        click.echo(json.dumps(value, indent=2, sort_keys=True))
    else:
        _show(value, gates)
    sys.exit(int(code))


def _promoted(
    thing: str,
    version: str,
    stage: str,
    check: bool,
    evaluation: str | None,
    reason: str,
    config: Path,
    *,
    quiet: bool,
) -> tuple[Exit, dict[str, Any], Sequence[Mapping[str, Any]]]:
    from wandb_governance.registry.outcome import exit_code
    from wandb_governance.registry.report import promotion_json, report_json
    from wandb_governance.registry.session import open_session

    with open_session(config, write=True, on_step=_progress(quiet)) as session:
        if check:
            report = session.promoter.check(thing, version, stage, evaluation=evaluation)
            value = report_json(report)
            return report.exit_code, value, value["gates"]
        promotion = session.promoter.promote(thing, version, stage, evaluation=evaluation, reason=reason)
        if promotion.state.value in ("committed", "deployed"):
            session.outbox.deliver_due()
            promotion = session.promoter.advance(promotion.id)
        value = promotion_json(promotion) | {"exit_code": int(exit_code(promotion))}
        if promotion.state.value == "awaiting_approval":
            value["missing"] = session.promoter.tally(promotion).missing
        return exit_code(promotion), value, value["gates"]


def _refused(error: Exception) -> tuple[Exit, dict[str, Any], Sequence[Mapping[str, Any]]]:
    """A refusal as a report, so that CI always finds one."""
    from wandb_governance.errors import BackendError, PromotionError
    from wandb_governance.registry.commit import ConflictError
    from wandb_governance.registry.outcome import Exit

    code = Exit.UNDECIDED
    if isinstance(error, ConflictError):
        code = Exit.DRIFT
    elif isinstance(error, PromotionError) and not isinstance(error.__cause__, BackendError):
        code = Exit.FAILED
    status = "fail" if code is Exit.FAILED else "undecided"
    gate = {"gate": "promotion", "status": status, "reason": str(error), "facts": {}}
    return code, {"error": str(error), "exit_code": int(code), "gates": [gate]}, [gate]


@click.command()
@click.argument("thing")
@click.option("--stage", required=True, help="Stage whose alias goes back.")
@click.option("--to", help="Version to go back to; default: the last good one.")
@click.option("--reason", required=True, help="Why; stands in the ledger.")
@click.option("--break-glass", is_flag=True, help="Go on although a check fails; two people must sign within the hour.")
@config_option
@json_option
def rollback(
    thing: str, stage: str, to: str | None, reason: str, break_glass: bool, config: Path, as_json: bool
) -> None:
    """Give a stage's alias of THING back to the last good version."""
    from wandb_governance.registry.outcome import exit_code
    from wandb_governance.registry.report import promotion_json
    from wandb_governance.registry.rollback import Rollback, roll_back
    from wandb_governance.registry.session import open_session

    wanted = Rollback(thing=thing, stage=stage, to=to, reason=reason, break_glass=break_glass)
    with open_session(config, write=True, on_step=_progress(as_json)) as session:
        promotion = roll_back(session.promoter, wanted)
        if promotion.state.value == "committed":
            session.outbox.deliver_due()
            promotion = session.promoter.advance(promotion.id)
    value = promotion_json(promotion)
    if as_json:
        click.echo(json.dumps(value, indent=2, sort_keys=True))
    else:
        _show(value, ())
    sys.exit(int(exit_code(promotion)))


@click.command()
@click.argument("thing")
@click.option("--project", required=True, help="[entity/]project whose runs are watched.")
@click.option("--to", "stage", default="staging", show_default=True, help="Stage of governance.yaml.")
@click.option("--tag", default="candidate-for-staging", show_default=True, help="Tag of a run that asks for promotion.")
@click.option("--every", "every_s", type=click.FloatRange(min=1), default=30.0, show_default=True, help="Seconds.")
@click.option("--listen", help="HOST:PORT for webhooks; a delivery starts a poll at once.")
@click.option("--once", is_flag=True, help="Poll once and end; exit code 5 on drift.")
@config_option
@json_option
def watch(
    thing: str,
    project: str,
    stage: str,
    tag: str,
    every_s: float,
    listen: str | None,
    once: bool,
    config: Path,
    as_json: bool,
) -> None:
    """Drive promotions of THING: new candidates, votes in ticket systems, deliveries, drift.

    Secrets of incoming webhooks stand in WANDB_GOVERNANCE_HOOK_SECRETS_<SCHEME> (WANDB, JIRA, GITHUB, STANDARD); two
    during a rotation, with a comma between them.
    """
    import contextlib
    import threading

    from wandb_governance.registry.incidents import IncidentBook, alias_findings
    from wandb_governance.registry.session import open_session
    from wandb_governance.registry.watch import Watch, poll

    wanted = Watch(thing=thing, stage=stage, project=project, tag=tag)
    wake, book = threading.Event(), IncidentBook()
    with contextlib.ExitStack() as stack:
        if listen is not None:
            host, port = stack.enter_context(_door(listen, config, wake))
            click.echo(f"listening on http://{host}:{port}/hooks/<scheme>", err=True)
        while True:
            wake.clear()
            with open_session(config, write=True) as session:
                seen = poll(session, wanted)
            news = book.look(alias_findings(seen.compared))
            if as_json:
                click.echo(json.dumps(seen.as_json(), sort_keys=True))
            else:
                for line in seen.lines(news):
                    click.echo(line)
            if once:
                sys.exit(5 if seen.drift else 0)
            wake.wait(every_s)


def _door(listen: str, config: Path, wake: Any) -> Any:
    from wandb_governance.clock import SystemClock
    from wandb_governance.registry.document import load_document
    from wandb_governance.registry.receiver import listening
    from wandb_governance.registry.webhooks import Inbox, secrets_from

    host, _, port = listen.rpartition(":")
    if not port.isdigit():
        raise click.UsageError("--listen takes HOST:PORT")
    path = config.resolve().parent / load_document(config).ledger
    secrets = secrets_from(os.environ)
    return listening(
        host or "127.0.0.1",
        int(port),
        inbox=lambda: Inbox(path.with_name("inbox.db"), clock=SystemClock(), secrets=secrets),
        wake=wake,
    )


def _progress(quiet: bool) -> Any:
    def say(step: str) -> None:
        if not quiet and step in _STEPS:
            click.secho(f"  {_STEPS[step]}", dim=True, err=True)

    return say


def _write_reports(
    title: str,
    value: Mapping[str, Any],
    gates: Sequence[Mapping[str, Any]],
    *,
    junit: Path | None,
    markdown: Path | None,
) -> None:
    from wandb_governance.registry import report

    facts = {name: value.get(name) for name in ("state", "status", "id", "source", "root", "missing", "drift", "error")}
    text = report.markdown(report.plain(title), gates, facts=facts)
    if junit is not None:
        junit.write_bytes(report.junit(f"wandb-governance {title}", gates))
    if markdown is not None:
        markdown.write_text(text)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("a", encoding="utf-8") as stream:
            stream.write(text)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        click.echo(report.github_annotations(gates), nl=False, err=True)


def _show(value: Mapping[str, Any], gates: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from wandb_governance.registry.report import plain

    colours = {"pass": "green", "fail": "red", "undecided": "yellow"}
    console = Console(highlight=False)
    if gates:
        table = Table("gate", "result", "reason", box=None, pad_edge=False)
        for gate in gates:
            result = Text(gate["status"], style=colours[gate["status"]])
            table.add_row(Text(plain(gate["gate"])), result, Text(plain(gate["reason"])))
        console.print(table)
    for name in ("state", "id", "source", "alias", "missing", "drift", "note", "error"):
        if value.get(name):
            console.print(Text(f"{name:8} {plain(value[name])}"))
    for ticket in value.get("tickets", ()):
        console.print(Text(f"ticket   {plain(ticket['system'])} {plain(ticket['url'])}"))
