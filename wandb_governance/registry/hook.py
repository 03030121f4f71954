"""Refuses alias moves that no promotion asked for: the embedded server, or a proxy in front of any server, asks it.

It fits ``wandb_governance.server.hook.PromotionHook`` without importing it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from wandb_governance.clock import SystemClock
from wandb_governance.errors import GovernanceError
from wandb_governance.registry.document import load_document
from wandb_governance.registry.holders import current, short_collection
from wandb_governance.registry.ledger import Ledger
from wandb_governance.registry.reconcile import REPAIRED, REPAIRING, skeleton

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wandb_governance.registry.document import GovernanceDocument

_SETTLED = ("committed", "aborted", "drifted", REPAIRED)
_ADVICE = "use `wandb-governance promote` or `rollback`"


class LedgerHook:
    """Lets a governed alias move only while the ledger holds a PREPARED promotion, or a signed repair, of exactly that.

    Args:
        config: ``governance.yaml``; read anew for each decision, as is its ledger.
    """

    def __init__(self, config: Path) -> None:
        self._config = config
        self._lock = threading.Lock()
        load_document(config)

    def check(self, operation: str, input: Mapping[str, Any], actor: object) -> str | None:
        """Why the mutation is refused, or None. A file that can't be read refuses every governed move."""
        with self._lock:
            try:
                return self._check(operation, input)
            except GovernanceError as error:
                return f"governance can't decide, so nothing moves: {error}"

    def _check(self, operation: str, given: Mapping[str, Any]) -> str | None:
        document = load_document(self._config)
        if operation in ("unlinkArtifact", "deleteArtifact"):
            return self._held(document, str(given.get("artifactID", "")))
        for collection, alias in _moves(operation, given):
            reason = self._move(document, operation, collection, alias, str(given.get("artifactID", "")))
            if reason:
                return reason
        return None

    def _move(
        self, document: GovernanceDocument, operation: str, collection: str, alias: str, artifact_id: str
    ) -> str | None:
        thing = document.thing_of(collection)
        if thing is None:
            return None
        governed = {stage.alias for stage in document.stages.values()}
        like = skeleton(alias)
        if alias not in governed:
            return f"the alias {alias!r} reads like the governed {like!r}; choose another" if like in governed else None
        if operation == "deleteAliases":
            return f"{alias!r} of {thing!r} is governed: {_ADVICE} to take it from this version"
        if self._expected(document, collection, alias) == artifact_id:
            return None
        return f"{alias!r} of {thing!r} is governed and no approved promotion moves it here: {_ADVICE}"

    def _expected(self, document: GovernanceDocument, collection: str, alias: str) -> str | None:
        """Artifact id of the move that is under way for the alias."""
        ledger = self._ledger(document)
        if ledger is None:
            return None
        found: str | None = None
        try:
            for entry in ledger.entries(kinds=("prepared", REPAIRING, *_SETTLED)):
                if entry.kind in ("prepared", REPAIRING):
                    same = entry.body["alias"] == alias
                    if same and short_collection(entry.body["collection"]) == short_collection(collection):
                        found, promotion = entry.body["artifact_id"], entry.promotion
                elif found is not None and entry.promotion == promotion:
                    found = None
        finally:
            ledger.close()
        return found

    def _held(self, document: GovernanceDocument, artifact_id: str) -> str | None:
        """Why a version can't be unlinked or deleted: a governed alias is on it."""
        ledger = self._ledger(document)
        if ledger is None:
            return None
        try:
            for thing in document.governed.values():
                for stage in document.stages.values():
                    held = current(ledger, collection=thing.collection, alias=stage.alias)
                    if held is not None and held.artifact_id == artifact_id:
                        return f"{held.source} holds the governed alias {stage.alias!r}: {_ADVICE} first"
        finally:
            ledger.close()
        return None

    def _ledger(self, document: GovernanceDocument) -> Ledger | None:
        path = self._config.resolve().parent / document.ledger
        return Ledger(path, clock=SystemClock()) if path.exists() else None


def _moves(operation: str, given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """``registry/collection`` and alias of everything the mutation would change."""
    if operation == "linkArtifact":
        collection = f"{given.get('projectName')}/{given.get('artifactPortfolioName')}"
        return [(collection, str(item.get("alias"))) for item in given.get("aliases") or ()]
    items = given.get("aliases") or ()
    return [
        (f"{item.get('projectName')}/{item.get('artifactCollectionName')}", str(item.get("alias")))
        for item in items
        if isinstance(item, dict)
    ]
