"""``audit``: verify, list and prove what the promotion ledger holds; compare it with the registry."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from wandb_governance.cli import events
from wandb_governance.cli.promote import config_option, json_option

ledger_option = click.option(
    "--ledger", type=click.Path(path_type=Path, dir_okay=False), help="A ledger file other than governance.yaml's."
)


@click.group()
def audit() -> None:
    """Verify, list and prove audit records."""


@audit.command()
@click.option("--every-signature", is_flag=True, help="Check each signature, not the last of each key.")
@click.option(
    "--anchor", "anchors", multiple=True, type=click.Path(path_type=Path, exists=True), help="Anchored heads."
)
@ledger_option
@config_option
@json_option
def verify(every_signature: bool, anchors: tuple[Path, ...], ledger: Path | None, config: Path, as_json: bool) -> None:
    """Check hashes, order, signatures and anchors of the promotion ledger. Exit code 1 when something is wrong."""
    from wandb_governance.registry.anchor import read_anchors
    from wandb_governance.registry.verify import verify as verify_ledger

    with _reading(config, ledger) as (document, opened):
        heads = [head for path in anchors for head in read_anchors(path, keys=document.ledger_keys())]
        result = verify_ledger(opened, keys=document.ledger_keys(), anchors=heads, every_signature=every_signature)
    value = {
        "intact": result.intact,
        "entries": result.entries,
        "head": result.head_hash,
        "signatures_checked": result.signatures,
        "anchors_agreed": result.anchors,
        "first_bad_seq": result.first_bad_seq,
        "problem": result.problem,
    }
    if as_json:
        click.echo(json.dumps(value, indent=2))
    elif result.intact:
        click.echo(f"intact: {result.entries} entries, head {result.head_hash[:16]}, {result.anchors} anchors agree")
    else:
        click.secho(f"NOT intact: {result.problem}", fg="red")
    sys.exit(0 if result.intact else 1)


@audit.command()
@click.option("--promotion", help="Entries of one promotion only.")
@click.option("--after", default=0, help="Sequence number to start after.")
@ledger_option
@config_option
@json_option
def log(promotion: str | None, after: int, ledger: Path | None, config: Path, as_json: bool) -> None:
    """List ledger entries: who let what in, when, and why not."""
    from wandb_governance.registry.attest import iso_utc
    from wandb_governance.registry.report import plain

    with _reading(config, ledger) as (_, opened):
        for entry in opened.entries(promotion=promotion, after=after):
            if as_json:
                click.echo(entry.record.decode())
                continue
            body = entry.body
            what = body.get("reason") or body.get("source") or (body.get("candidate") or {}).get("source") or ""
            click.echo(f"{entry.seq:>6} {iso_utc(entry.at_ns)} {entry.kind:18} {entry.promotion[:12]:12} {plain(what)}")


@audit.command()
@click.argument("seq", type=click.IntRange(min=1))
@ledger_option
@config_option
@json_option
def prove(seq: int, ledger: Path | None, config: Path, as_json: bool) -> None:
    """Print what proves that entry SEQ is in the ledger: its bytes, signature and the hashes from it to the head."""
    from wandb_governance.errors import LedgerError
    from wandb_governance.registry.proof import proof

    with _reading(config, ledger) as (_, opened):
        value = proof(opened, seq)
        if value is None:
            raise LedgerError(f"the ledger has no entry {seq}")
    click.echo(json.dumps(value, indent=None if as_json else 2))


@audit.command()
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), help="Append to this file.")
@click.option("--git", "git_folder", type=click.Path(path_type=Path, file_okay=False), help="Tag this git repository.")
@click.option("--wandb", "to_wandb", is_flag=True, help="Log an artifact in the project of governance.yaml.")
@config_option
@json_option
def anchor(to: Path | None, git_folder: Path | None, to_wandb: bool, config: Path, as_json: bool) -> None:
    """Write the head of the ledger down elsewhere, so that cutting its tail shows."""
    from wandb_governance.registry import anchor as anchors
    from wandb_governance.registry.session import open_session

    if not (to or git_folder or to_wandb):
        raise click.UsageError("say where: --to FILE, --git FOLDER or --wandb")
    with open_session(config, write=True) as session:
        assert session.key is not None
        line = anchors.signed_head(session.ledger, key=session.key, clock=session.clock)
        places = []
        if to is not None:
            places.append(anchors.to_file(line, to))
        if git_folder is not None:
            places.append(anchors.to_git(line, git_folder))
        if to_wandb:
            places.append(anchors.to_wandb(line, session.registry, session.document.project))
    click.echo(json.dumps({"places": places}) if as_json else "\n".join(places))


@audit.command()
@click.option(
    "--repair", is_flag=True, help="Give aliases back to the ledger's version; signed with your approver key."
)
@config_option
@json_option
def reconcile(repair: bool, config: Path, as_json: bool) -> None:
    """Compare the registry with the ledger. Exit code 5 when they differ."""
    from wandb_governance.cli.approve import APPROVER_KEY
    from wandb_governance.registry.keys import load_signing_key
    from wandb_governance.registry.reconcile import Agreement
    from wandb_governance.registry.report import plain
    from wandb_governance.registry.session import open_session

    with open_session(config, write=True) as session:
        session.promoter.recover()
        reconciler = session.reconciler
        found = reconciler.compare()
        reconciler.record(found)
        if repair:
            approver = load_signing_key(APPROVER_KEY)
            for item in found:
                if item.agreement in (Agreement.MOVED, Agreement.REMOVED):
                    reconciler.repair(item, approver=approver)
            found = reconciler.compare()
    rows: list[dict[str, Any]] = [
        {
            "thing": item.thing,
            "alias": item.alias,
            "agreement": item.agreement.value,
            "ledger": item.ledger,
            "registry": item.registry,
            "note": item.note,
        }
        for item in found
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        for row in rows:
            places = f"ledger {row['ledger'] or '-'}, registry {row['registry'] or '-'}"
            click.echo(plain(f"{row['agreement']:11} {row['thing']} {row['alias']}: {places} {row['note']}"))
    sys.exit(5 if any(item.differs for item in found) else 0)


@audit.command()
@click.option("--retry", "retry_id", help="Give this dead letter a new life.")
@click.option("--deliver", is_flag=True, help="Deliver what is due now.")
@config_option
@json_option
def outbox(retry_id: str | None, deliver: bool, config: Path, as_json: bool) -> None:
    """List what roll-out targets must still be told. Exit code 1 when there are dead letters."""
    from wandb_governance.registry.outbox import RowState
    from wandb_governance.registry.report import plain
    from wandb_governance.registry.session import open_session

    with open_session(config, write=True) as session:
        if retry_id is not None and not session.outbox.revive(retry_id):
            raise click.UsageError(f"{retry_id} is no dead letter")
        if deliver:
            session.outbox.deliver_due()
        rows = session.outbox.rows()
    if as_json:
        shown = [
            {"id": r.id, "target": r.target, "state": r.state.value, "attempts": r.attempts, "error": r.last_error}
            for r in rows
        ]
        click.echo(json.dumps(shown, indent=2))
    else:
        for row in rows:
            click.echo(plain(f"{row.state.value:10} {row.target:20} {row.attempts:3} {row.id} {row.last_error}"))
    sys.exit(1 if any(row.state is RowState.DEAD for row in rows) else 0)


def _reading(config: Path, ledger: Path | None) -> Any:
    import contextlib

    from wandb_governance.clock import SystemClock
    from wandb_governance.registry.document import load_document
    from wandb_governance.registry.ledger import Ledger

    @contextlib.contextmanager
    def opened() -> Any:
        document = load_document(config)
        path = ledger or config.resolve().parent / document.ledger
        book = Ledger(path, clock=SystemClock())
        try:
            yield document, book
        finally:
            book.close()

    return opened()


# The audit log of calls, which the gateway and audit-logger write, beside the ledger of promotions.
audit.add_command(events.verify, name="verify-calls")
audit.add_command(events.prove, name="prove-call")
