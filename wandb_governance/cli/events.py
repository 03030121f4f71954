"""``events``: what the gateway decided, and whether its audit log is what it was."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="The audit log; by default that of the data folder.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def events() -> None:
    """List and verify what the gateway decided."""


def _audit_folder(folder: Path | None) -> Path:
    from wandb_governance.errors import AuditError
    from wandb_governance.settings import Settings

    found = folder or Settings.from_env().home / "audit"
    if not (found / "signing.pub").is_file():
        raise AuditError(f"{found} holds no audit log; name its folder with --folder")
    return found


@events.command("list")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="The last so many.")
@click.option("--blocked", is_flag=True, help="Only calls that a policy stopped.")
@click.option("--kind", default="call", show_default=True, help="Kind of record; 'all' for every kind.")
@_folder
@_json
def list_events(limit: int, blocked: bool, kind: str, folder: Path | None, as_json: bool) -> None:
    """List the last events, newest last."""
    from wandb_governance.policy.audit import read_records

    records = [
        record
        for record in read_records(_audit_folder(folder))
        if (kind == "all" or record["kind"] == kind) and (not blocked or record["facts"].get("blocked_by"))
    ]
    records.sort(key=lambda record: record["ts"])
    for record in records[-limit:]:
        if as_json:
            click.echo(json.dumps(record))
        else:
            click.echo(_line(record))


def _line(record: dict[str, Any]) -> str:
    facts = record["facts"]
    when = datetime.fromtimestamp(record["ts"] / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
    if record["kind"] != "call":
        return f"{when} {record['event']} {record['kind']}"
    outcome = facts["outcome"] if not facts.get("blocked_by") else f"blocked by {facts['blocked_by']}"
    found = " ".join(f"{entity}:{count}" for entity, count in facts.get("found", {}).items())
    duration = facts["duration_ns"] / 1e6
    who = facts.get("key") or "-"
    what = f"{facts['endpoint']:10} {facts.get('model') or '-':16} {who:10} {facts['status']} {outcome}"
    return f"{when} {record['event']} {what} {duration:.1f} ms {found}".rstrip()


@events.command()
@click.option(
    "--against-wandb", metavar="ENTITY/PROJECT/RUN", help="Compare with the checkpoints in this run's summary."
)
@click.option(
    "--anchor", "anchors", multiple=True, type=click.Path(path_type=Path, exists=True), help="A kept checkpoint."
)
@_folder
@_json
def verify(against_wandb: str | None, anchors: tuple[Path, ...], folder: Path | None, as_json: bool) -> None:
    """Check the audit log of calls: hashes, signatures, payloads and anchors. Exit code 1 where something is wrong."""
    from wandb_governance.policy.audit import verify as verify_log

    notes = [path.read_text("utf-8") for path in anchors]
    if against_wandb is not None:
        notes += _notes_in_wandb(against_wandb)
    report = verify_log(_audit_folder(folder), anchors=notes)
    if as_json:
        facts = {name: getattr(report, name) for name in report.__slots__}
        click.echo(json.dumps({"ok": report.ok, **facts}))
    elif report.ok:
        click.echo(
            f"ok: {report.records} records, {report.checkpoints} checkpoints, {report.anchors} anchors agree, "
            f"{report.destroyed} payloads destroyed by retention, {report.unsigned} records not signed yet"
        )
    for problem in () if as_json else report.problems:
        click.secho(problem, fg="red", err=True)
    sys.exit(0 if report.ok else 1)


def _notes_in_wandb(run_path: str) -> list[str]:
    from wandb_governance.backend.wandb_sdk import summary_of
    from wandb_governance.errors import AuditError

    notes = [
        str(value)
        for key, value in summary_of(run_path).items()
        if key.startswith("audit/") and key.endswith("/checkpoint")
    ]
    if not notes:
        raise AuditError(f"the run {run_path} holds no checkpoint of an audit log")
    return notes


@events.command()
@click.argument("event")
@_folder
def prove(event: str, folder: Path | None) -> None:
    """Print a proof that EVENT is in the log; anyone can check it without the log."""
    from wandb_governance.policy.audit import prove as make_proof

    click.echo(json.dumps(make_proof(_audit_folder(folder), event), indent=2))


@events.command("check-proof")
@click.argument("proof", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--public-key", help="The key to trust, base64; by default the one in the proof.")
@_json
def check_proof(proof: Path, public_key: str | None, as_json: bool) -> None:
    """Check a proof. Exit code 1 where it does not hold."""
    import base64

    from wandb_governance.policy.audit import check_proof as holds_proof

    key = base64.b64decode(public_key) if public_key else None
    holds = holds_proof(json.loads(proof.read_text("utf-8")), public=key)
    click.echo(json.dumps({"ok": holds}) if as_json else ("the proof holds" if holds else "the proof does NOT hold"))
    sys.exit(0 if holds else 1)
