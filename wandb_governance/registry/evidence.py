"""An evidence bundle: what a reviewer needs, verifiable offline with Python's standard library and openssl."""

from __future__ import annotations

import base64
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import RegistryError
from wandb_governance.registry import dsse
from wandb_governance.registry.attest import iso_utc
from wandb_governance.registry.canonical import canonical
from wandb_governance.registry.cards import ml_bom, model_card
from wandb_governance.registry.content import content_of
from wandb_governance.registry.controls import ControlEvidence, Facts, assess
from wandb_governance.registry.evidence_page import page
from wandb_governance.registry.keys import VerifyKey
from wandb_governance.registry.promotion import State, all_promotions
from wandb_governance.registry.report import promotion_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wandb_governance.clock import Clock
    from wandb_governance.registry.document import GovernanceDocument
    from wandb_governance.registry.keys import SigningKey
    from wandb_governance.registry.ledger import Entry, Ledger
    from wandb_governance.registry.promotion import Promotion

_SHOWN = (State.COMMITTED, State.DEPLOYED, State.ROLLED_BACK)


def export(
    framework: str, folder: Path, *, document: GovernanceDocument, ledger: Ledger, key: SigningKey, clock: Clock
) -> tuple[ControlEvidence, ...]:
    """Write a bundle into an empty or new folder.

    Args:
        framework: ``nist-ai-rmf``, ``eu-ai-act`` or ``iso-42001``.
        folder: Where to.
        document: ``governance.yaml``.
        ledger: The promotion ledger.
        key: Signs the list of checksums.
        clock: For the date of the export.

    Raises:
        RegistryError: The folder holds something already, or the framework is unknown.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RegistryError(f"{folder} is not empty; an evidence bundle starts in a folder of its own")
    entries = list(ledger.entries())
    promotions = tuple(all_promotions(ledger).values())
    now_ns = clock.now_ns()
    controls = assess(framework, Facts(document=document, promotions=promotions, entries=entries, now_ns=now_ns))
    for name in ("keys", "statements", "votes", "cards"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _ledger(folder, ledger, entries)
    _keys(folder, document, key)
    _statements(folder, entries, key)
    for promotion in promotions:
        _promotion(folder, document, promotion)
    summary = _summary(framework, document, promotions, controls, now_ns=now_ns, ledger=ledger.id)
    (folder / "evidence.json").write_text(json.dumps(summary, indent=2, sort_keys=True))
    (folder / "index.html").write_text(page(summary), encoding="utf-8")
    verifier = (files("wandb_governance.registry") / "bundle_verify.py").read_text(encoding="utf-8")
    (folder / "verify.py").write_text(verifier)
    _seal(folder, key)
    return controls


def _ledger(folder: Path, ledger: Ledger, entries: Sequence[Entry]) -> None:
    """The exact bytes that were hashed, one entry a line."""
    lines = [
        {
            "record": entry.record.decode(),
            "hash": entry.hash,
            "signature": base64.b64encode(entry.signature).decode(),
            "key": entry.key_id,
        }
        for entry in entries
    ]
    (folder / "ledger.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "ledger-id.txt").write_text(ledger.id + "\n")


def _promotion(folder: Path, document: GovernanceDocument, promotion: Promotion) -> None:
    """Votes, and for a version that was let in its card and ML-BOM."""
    for number, envelope in enumerate(promotion.votes):
        (folder / "votes" / f"{promotion.id}-{number}.dsse.json").write_text(json.dumps(envelope))
    thing = document.governed.get(promotion.thing)
    if promotion.state in _SHOWN and thing is not None:
        bom = canonical(ml_bom(promotion.thing, thing, promotion))
        (folder / "cards" / f"{promotion.id}.md").write_text(model_card(promotion.thing, thing, promotion))
        (folder / "cards" / f"{promotion.id}.cdx.json").write_bytes(bom)


def _statements(folder: Path, entries: Sequence[Entry], key: SigningKey) -> None:
    for entry in entries:
        if "attestation" in entry.body:
            envelope, name = entry.body["attestation"], "gates"
        elif entry.kind == State.COMMITTED and "statement" in entry.body:
            envelope, name = dsse.seal(entry.body["statement"], payload_type=dsse.IN_TOTO, key=key), "decision"
        else:
            continue
        (folder / "statements" / f"{entry.seq:06}-{name}.dsse.json").write_text(json.dumps(envelope))


def _keys(folder: Path, document: GovernanceDocument, key: SigningKey) -> None:
    """Public keys of the ledger's writers, and of the people, so that their votes verify."""
    people = [VerifyKey.parse(text) for person in document.people for text in person.keys]
    for public in {*document.ledger_keys(), key.public, *people}:
        (folder / "keys" / f"{public.key_id}.pem").write_bytes(public.pem())


def _seal(folder: Path, key: SigningKey) -> None:
    content = content_of(folder)
    listing = "".join(f"{file.sha256}  {file.path}\n" for file in content.files)
    (folder / "SHA256SUMS").write_text(listing)
    (folder / "SHA256SUMS.sig").write_bytes(key.sign(listing.encode()))
    (folder / "SHA256SUMS.key").write_text(key.public.key_id + "\n")


def _summary(
    framework: str,
    document: GovernanceDocument,
    promotions: Sequence[Promotion],
    controls: Sequence[ControlEvidence],
    *,
    now_ns: int,
    ledger: str,
) -> dict[str, Any]:
    return {
        "framework": framework,
        "exported": iso_utc(now_ns),
        "ledger": ledger,
        "disclaimer": "This lists evidence. Whether it suffices is for the reviewer to say.",
        "governed": {name: thing.model_dump(mode="json") for name, thing in document.governed.items()},
        "controls": [
            {
                "id": item.id,
                "about": item.about,
                "coverage": item.coverage.value,
                "found": dict(item.found),
                "missing": list(item.missing),
            }
            for item in controls
        ],
        "promotions": [promotion_json(promotion) for promotion in promotions],
    }
