"""Which version should hold an alias, by the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wandb_governance.registry.ledger import Ledger

MOVES = ("committed", "repaired")
"""Kinds of entries after which the registry's alias points somewhere else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A version that was given an alias by a promotion."""

    promotion: str
    artifact_id: str
    source: str
    root: str
    seq: int
    """Ledger sequence number of the move: the alias's generation."""
    at_ns: int


def history(ledger: Ledger, *, collection: str, alias: str) -> Iterator[Holder]:
    """Every governed move of the alias, oldest first."""
    short = short_collection(collection)
    for entry in ledger.entries(kinds=MOVES):
        body = entry.body
        if body["alias"] == alias and short_collection(body["collection"]) == short:
            yield Holder(
                promotion=entry.promotion,
                artifact_id=body["artifact_id"],
                source=body["source"],
                root=body["root"],
                seq=entry.seq,
                at_ns=entry.at_ns,
            )


def current(ledger: Ledger, *, collection: str, alias: str) -> Holder | None:
    """The version the ledger says holds the alias; None when no promotion ever moved it."""
    held = None
    for holder in history(ledger, collection=collection, alias=alias):
        held = holder
    return held


def short_collection(collection: str) -> str:
    """A collection without its organisation, which the short form leaves out."""
    return "/".join(collection.split("/")[-2:])
