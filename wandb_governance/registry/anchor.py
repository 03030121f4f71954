"""Heads of the ledger, written down where its keeper can't quietly change them."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wandb_governance.backend.registry import Publication
from wandb_governance.errors import LedgerError
from wandb_governance.registry import dsse
from wandb_governance.registry.verify import Anchor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.backend.registry import Registry
    from wandb_governance.clock import Clock
    from wandb_governance.registry.keys import SigningKey, VerifyKey
    from wandb_governance.registry.ledger import Ledger

ANCHOR_TYPE = "application/vnd.wandb-governance.anchor+json"
_TAG = "wandb-governance/anchor"
_GIT_TIMEOUT_S = 60


def signed_head(ledger: Ledger, *, key: SigningKey, clock: Clock) -> str:
    """The head as one signed line of JSON.

    Raises:
        LedgerError: The ledger is empty.
    """
    head = ledger.head()
    if head is None:
        raise LedgerError("the ledger is empty: there is no head to anchor")
    value = {"ledger": ledger.id, "seq": head.seq, "hash": head.hash, "at_ns": clock.now_ns()}
    return json.dumps(dsse.seal(value, payload_type=ANCHOR_TYPE, key=key), sort_keys=True)


def to_file(line: str, path: Path) -> str:
    """Append to a file; where it went."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    return str(path)


def to_git(line: str, folder: Path) -> str:
    """Make an annotated tag that carries the line; push it to where others see it.

    Raises:
        LedgerError: git refused, or there is no repository.
    """
    name = f"{_TAG}/{_head(line)['seq']}"
    done = subprocess.run(
        ["git", "-C", str(folder), "tag", "--annotate", "--message", line, name],
        capture_output=True,
        text=True,
        timeout=_GIT_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise LedgerError(f"git could not tag {name}: {done.stderr.strip()[:300]}")
    return f"git tag {name} (push it: git push origin {name})"


def to_wandb(line: str, registry: Registry, project: str) -> str:
    """Log an artifact version; its name."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "anchor.jsonl").write_text(line + "\n")
        version = registry.publish(
            Publication(
                project=project,
                name="ledger-anchor",
                type="governance-anchor",
                folder=folder,
                metadata={key: value for key, value in _head(line).items() if key != "at_ns"},
            )
        )
    return version.source


def read_anchors(path: Path, *, keys: Sequence[VerifyKey]) -> list[Anchor]:
    """Heads of a file; a line that no trusted key signed is refused.

    Raises:
        LedgerError: The file can't be read.
        ApprovalError: A line is not signed by a trusted key.
    """
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        envelopes = [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise LedgerError(f"{path} holds no anchors: {error}") from error
    return [_anchor(dsse.unseal(envelope, payload_type=ANCHOR_TYPE, keys=keys)[0]) for envelope in envelopes]


def read_git_anchors(folder: Path, *, keys: Sequence[VerifyKey]) -> list[Anchor]:
    """Heads in the annotated tags of a repository."""
    done = subprocess.run(
        ["git", "-C", str(folder), "for-each-ref", "--format=%(contents:subject)", f"refs/tags/{_TAG}"],
        capture_output=True,
        text=True,
        timeout=_GIT_TIMEOUT_S,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
    return [_anchor(dsse.unseal(line, payload_type=ANCHOR_TYPE, keys=keys)[0]) for line in lines]


def _anchor(value: dict[str, Any]) -> Anchor:
    return Anchor(ledger_id=value["ledger"], seq=value["seq"], hash=value["hash"])


def _head(line: str) -> dict[str, Any]:
    import base64

    value: dict[str, Any] = json.loads(base64.b64decode(json.loads(line)["payload"]))
    return value
