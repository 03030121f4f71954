"""Does the registry hold what the ledger says? Finds aliases that moved behind the gate's back."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from wandb_governance.errors import ApprovalError, BackendError
from wandb_governance.registry import dsse
from wandb_governance.registry.commit import commit_lock
from wandb_governance.registry.holders import current
from wandb_governance.registry.identity import Directory
from wandb_governance.registry.promotion import State, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wandb_governance.backend.registry import Registry
    from wandb_governance.clock import Clock
    from wandb_governance.registry.document import GovernanceDocument
    from wandb_governance.registry.holders import Holder
    from wandb_governance.registry.keys import SigningKey
    from wandb_governance.registry.ledger import Ledger

REPAIRED = "repaired"
"""Kind of the entry after which the registry holds again what the ledger said."""
REPAIRING = "repairing"
"""Kind of the entry that orders a repair, before the alias moves."""
REPAIR_TYPE = "application/vnd.wandb-governance.repair+json"


class Agreement(StrEnum):
    """How registry and ledger compare for one alias."""

    SAME = "same"
    MOVED = "moved"
    REMOVED = "removed"
    UNGOVERNED = "ungoverned"
    """A version holds the alias that no promotion put there."""
    LOOKALIKE = "lookalike"
    """An alias that reads like a governed one but is another."""
    UNREADABLE = "unreadable"
    """W&B did not answer: neither same nor different."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One alias of one governed thing."""

    thing: str
    stage: str
    collection: str
    alias: str
    agreement: Agreement
    ledger: str
    """Source by the ledger; empty for none."""
    registry: str
    """Source by the registry; empty for none."""
    promotion: str = ""
    """Promotion that put the ledger's version there."""
    note: str = ""

    @property
    def differs(self) -> bool:
        """Whether someone must look."""
        return self.agreement is not Agreement.SAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """Compares, records and repairs."""

    document: GovernanceDocument
    registry: Registry
    ledger: Ledger
    clock: Clock

    def compare(self) -> tuple[Comparison, ...]:
        """Every governed alias, by fresh reads."""
        return tuple(item for thing in self.document.governed for item in self._thing(thing))

    def record(self, found: tuple[Comparison, ...]) -> None:
        """Write drift that the ledger does not know yet."""
        for item in found:
            if item.agreement not in (Agreement.MOVED, Agreement.REMOVED) or not item.promotion:
                continue
            if load(self.ledger, item.promotion).state in (State.COMMITTED, State.DEPLOYED):
                body = {"expected": item.ledger, "found": item.registry, "alias": item.alias, "reason": _sentence(item)}
                self.ledger.append(State.DRIFTED, promotion=item.promotion, body=body)

    def repair(self, item: Comparison, *, approver: SigningKey) -> None:
        """Give the alias back to the version the ledger names. A person signs for it.

        Raises:
            ApprovalError: The key is nobody's in ``governance.yaml``.
            BackendError: W&B refused.
        """
        directory = Directory(self.document)
        person = directory.owner_of(approver.public)
        if person is None:
            raise ApprovalError("the key that signs this repair belongs to nobody in people")
        held = current(self.ledger, collection=item.collection, alias=item.alias)
        if held is None:
            raise ApprovalError(f"the ledger knows no version for {item.alias!r}: promote one instead")
        version = self.registry.resolve(held.source)
        if version is None:
            raise BackendError(f"{held.source!r} is gone: roll back or promote another version")
        order = {"alias": item.alias, "collection": item.collection, "person": person, "source": held.source}
        envelope = dsse.seal({**order, "at_ns": self.clock.now_ns()}, payload_type=REPAIR_TYPE, key=approver)
        with commit_lock(self.ledger.path):
            move = {"collection": item.collection, "alias": item.alias, "artifact_id": held.artifact_id}
            self.ledger.append(REPAIRING, promotion=held.promotion, body={**move, "envelope": envelope})
            self.registry.move_alias(version, item.collection, item.alias)
            self._record_repair(item, held)

    def _record_repair(self, item: Comparison, held: Holder) -> None:
        body = {
            "collection": item.collection,
            "alias": item.alias,
            "artifact_id": held.artifact_id,
            "source": held.source,
            "root": held.root,
            "found": item.registry,
        }
        self.ledger.append(REPAIRED, promotion=held.promotion, body=body)
        if load(self.ledger, held.promotion).state is State.DRIFTED:
            self.ledger.append(State.COMMITTED, promotion=held.promotion, body={**body, "recovered": True})

    def _thing(self, thing: str) -> Iterator[Comparison]:
        governed = self.document.governed[thing]
        for stage in governed.stages or tuple(self.document.stages):
            yield self._alias(thing, stage)
        try:
            versions = self.registry.versions(governed.collection)
        except BackendError:
            return
        aliases = {self.document.stages[stage].alias: stage for stage in governed.stages or self.document.stages}
        for version in versions:
            for held in version.aliases:
                like = aliases.get(skeleton(held))
                if like is not None and held != self.document.stages[like].alias:
                    yield Comparison(
                        thing=thing,
                        stage=like,
                        collection=governed.collection,
                        alias=held,
                        agreement=Agreement.LOOKALIKE,
                        ledger="",
                        registry=version.source,
                        note=f"reads like {self.document.stages[like].alias!r}",
                    )

    def _alias(self, thing: str, stage: str) -> Comparison:
        collection, alias = self.document.governed[thing].collection, self.document.stages[stage].alias
        held = current(self.ledger, collection=collection, alias=alias)
        try:
            version = self.registry.resolve(f"{collection}:{alias}")
        except BackendError as error:
            agreement, found, note = Agreement.UNREADABLE, "", str(error)
        else:
            found, note = (version.source if version else ""), ""
            agreement = _agreement(held, version.artifact_id if version else None)
        return Comparison(
            thing=thing,
            stage=stage,
            collection=collection,
            alias=alias,
            agreement=agreement,
            ledger=held.source if held else "",
            registry=found,
            promotion=held.promotion if held else "",
            note=note,
        )


def skeleton(alias: str) -> str:
    """An alias without case, width, accents, spaces and invisible characters: what a hurried reader sees."""
    decomposed = unicodedata.normalize("NFKD", alias).casefold()
    visible = (char for char in decomposed if unicodedata.category(char)[0] in "LNP")
    return "".join(_LOOKS_LIKE.get(char, char) for char in visible)


_LOOKS_LIKE = dict(zip("аеорсухіјѕԁοανı", "aeopcyxijsdoavi", strict=True)) | {"0": "o", "1": "l"}


def _agreement(held: Holder | None, found: str | None) -> Agreement:
    if held is None:
        return Agreement.SAME if found is None else Agreement.UNGOVERNED
    if found is None:
        return Agreement.REMOVED
    return Agreement.SAME if held.artifact_id == found else Agreement.MOVED


def _sentence(item: Comparison) -> str:
    return f"{item.alias!r} of {item.collection!r} is at {item.registry or 'nothing'}, the ledger says {item.ledger}"
