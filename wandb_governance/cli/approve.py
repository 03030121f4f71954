"""``approve``: say yes, no or take it back; make a key."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wandb_governance.cli.promote import config_option, json_option

if TYPE_CHECKING:
    from collections.abc import Mapping

APPROVER_KEY = "WANDB_GOVERNANCE_APPROVER_KEY"


@click.command()
@click.argument("promotion", required=False)
@click.option("--reject", "choice", flag_value="reject", help="Say no.")
@click.option("--revoke", "choice", flag_value="revoke", help="Take your vote back.")
@click.option("--comment", default="", help="Why; stands in the ledger.")
@click.option("--expires-after", default="48h", show_default=True, help="How long your vote stands, such as 12h or 3d.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the signed vote; don't hand it in.")
@click.option("--vote", "vote_file", type=click.Path(path_type=Path, exists=True), help="Hand in a signed vote.")
@click.option(
    "--new-key", type=click.Path(path_type=Path, dir_okay=False), help="Make a key file of mode 0600 and end."
)
@config_option
@json_option
def approve(
    promotion: str | None,
    choice: str | None,
    comment: str,
    expires_after: str,
    out: Path | None,
    vote_file: Path | None,
    new_key: Path | None,
    config: Path,
    as_json: bool,
) -> None:
    """Vote on PROMOTION with your own key (WANDB_GOVERNANCE_APPROVER_KEY, ..._FILE or ..._KEYRING).

    The vote is bound to the content, the model card and the policy version as they are now. With the ledger's key
    (WANDB_GOVERNANCE_SIGNING_KEY) it is handed in at once; without, write it with --out and let the ledger's owner run
    `approve --vote FILE`. When the last vote is in, the promotion goes on.

    Exit codes: 0 the promotion is through, 1 it ended otherwise, 3 it still waits.
    """
    if new_key is not None:
        _make_key(new_key)
        return
    if vote_file is None and promotion is None:
        raise click.UsageError("name a promotion, or hand in a vote with --vote")
    if out is not None:
        assert promotion is not None
        envelope = _signed(promotion, choice or "approve", comment, expires_after, config)
        out.write_text(json.dumps(envelope) + "\n")
        click.echo(f"wrote {out}; hand it in with: wandb-governance approve --vote {out}", err=True)
        return
    envelope = (
        json.loads(vote_file.read_text())
        if vote_file
        else _signed(str(promotion), choice or "approve", comment, expires_after, config)
    )
    code, value = _cast(envelope, config)
    click.echo(json.dumps(value, indent=2, sort_keys=True) if as_json else _sentence(value))
    sys.exit(code)


def _make_key(path: Path) -> None:
    from wandb_governance.registry.keys import SigningKey

    key = SigningKey.generate()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise click.UsageError(f"can't make {path}: {error.strerror}") from error
    with os.fdopen(handle, "wb") as stream:
        stream.write(key.pem())
    click.echo(key.public.text)


def _signed(promotion_id: str, choice: str, comment: str, expires_after: str, config: Path) -> dict[str, Any]:
    from pydantic import TypeAdapter, ValidationError

    from wandb_governance.errors import ApprovalError
    from wandb_governance.registry.approval import Choice, Vote
    from wandb_governance.registry.ballot import binding_of
    from wandb_governance.registry.gates.base import DurationNs
    from wandb_governance.registry.identity import Directory
    from wandb_governance.registry.keys import load_signing_key
    from wandb_governance.registry.promotion import load
    from wandb_governance.registry.session import open_session

    try:
        lasts_ns: int = TypeAdapter(DurationNs).validate_python(expires_after)
    except ValidationError as error:
        raise click.UsageError("--expires-after takes a duration such as 12h or 3d") from error
    key = load_signing_key(APPROVER_KEY)
    with open_session(config, write=False) as session:
        person = Directory(session.document).owner_of(key.public)
        if person is None:
            raise ApprovalError(f"the key {key.public.text} belongs to nobody in people of {config}")
        promotion = load(session.ledger, promotion_id)
        now_ns = session.clock.now_ns()
        vote = Vote(
            promotion=promotion_id,
            choice=Choice(choice),
            person=person,
            binding=binding_of(promotion),
            issued_at_ns=now_ns,
            expires_at_ns=now_ns + lasts_ns,
            comment=comment,
        )
        return vote.sealed(key)


def _cast(envelope: Mapping[str, Any], config: Path) -> tuple[int, dict[str, Any]]:
    from wandb_governance.registry.approval import open_vote
    from wandb_governance.registry.identity import Directory
    from wandb_governance.registry.outcome import exit_code
    from wandb_governance.registry.promotion import load
    from wandb_governance.registry.report import promotion_json
    from wandb_governance.registry.rollback import finish
    from wandb_governance.registry.session import open_session

    with open_session(config, write=True) as session:
        vote = open_vote(envelope, directory=Directory(session.document), ledger_keys=())
        promotion = load(session.ledger, vote.promotion)
        session.promoter.ballot.cast(promotion, envelope)
        promotion = (
            finish(session.promoter, promotion.id) if promotion.rollback else session.promoter.advance(promotion.id)
        )
        value: dict[str, Any] = {"vote": vote.choice.value, "person": vote.person, **promotion_json(promotion)}
        if promotion.state.value == "awaiting_approval":
            value["missing"] = session.promoter.tally(promotion).missing
        if promotion.state.value == "committed":
            session.outbox.deliver_due()
        return int(exit_code(promotion)), value


def _sentence(value: Mapping[str, Any]) -> str:
    from wandb_governance.registry.report import plain

    tail = value.get("missing") or value.get("note") or ""
    return f"{value['person']}: {value['vote']}; promotion {value['id']} is {value['state']}" + (
        f" ({plain(tail)})" if tail else ""
    )
