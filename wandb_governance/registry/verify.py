"""Does a ledger still say what was written into it?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from wandb_governance.registry.ledger import genesis

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wandb_governance.registry.keys import VerifyKey
    from wandb_governance.registry.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A head of the ledger that was written down elsewhere."""

    ledger_id: str
    seq: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What ``verify`` found."""

    entries: int
    head_hash: str
    """Empty for an empty ledger."""
    signatures: int
    """How many signatures were checked."""
    first_bad_seq: int | None = None
    problem: str = ""
    anchors: int = 0
    """How many anchors agreed."""

    @property
    def intact(self) -> bool:
        """Whether nothing was found."""
        return not self.problem


def verify(
    ledger: Ledger,
    *,
    keys: Sequence[VerifyKey],
    anchors: Iterable[Anchor] = (),
    every_signature: bool = False,
) -> Verification:
    """Check every hash, the order, the signatures and the anchors.

    A signature over an entry covers all entries before it. So the last signature of each key is enough to show that the
    holder of that key saw this very chain up to there; ``every_signature`` checks them all (80 microseconds each).

    Args:
        ledger: What to check.
        keys: Public keys that may sign entries.
        anchors: Heads written down elsewhere.
        every_signature: Check all signatures instead of the last of each key.
    """
    known = {key.key_id: key for key in keys}
    wanted = {anchor.seq: anchor for anchor in anchors}
    walk = _Walk(previous=genesis(ledger.id), keys=known, every_signature=every_signature)
    query = "SELECT seq, record, hash, signature FROM entries ORDER BY seq"
    agreed = 0
    for seq, record, digest, signature in ledger.rows(query):
        problem = walk.step(seq, record.encode(), digest, signature)
        if not problem and seq in wanted:
            problem = _against(wanted.pop(seq), ledger_id=ledger.id, digest=digest)
            agreed += not problem
        if problem:
            return walk.result(bad=walk.count + 1, problem=problem, anchors=agreed)
        walk.count += 1
    problem = walk.last_signatures()
    if problem:
        return walk.result(bad=walk.count, problem=problem, anchors=agreed)
    if wanted:
        missing = min(wanted)
        return walk.result(
            bad=walk.count + 1,
            problem=f"entry {missing} was anchored but the ledger ends at {walk.count}: its tail was cut "
            "or an old copy was put back",
            anchors=agreed,
        )
    return walk.result(bad=None, problem="", anchors=agreed)


class _Walk:
    """The state of one pass over the chain."""

    def __init__(self, *, previous: str, keys: Mapping[str, VerifyKey], every_signature: bool) -> None:
        self.previous = previous
        self.count = 0
        self._keys = keys
        self._every = every_signature
        self._last: dict[str, tuple[int, str, bytes]] = {}
        self._signatures = 0
        self._head = ""

    def step(self, seq: int, record: bytes, digest: str, signature: bytes) -> str:
        """Check one row; the problem, or nothing."""
        if seq != self.count + 1:
            return f"entry {self.count + 1} is missing (the next one is {seq})"
        if hashlib.sha256(record).hexdigest() != digest:
            return f"entry {seq} was edited: its hash does not fit its text"
        try:
            value = orjson.loads(record)
            own_seq, previous, key_id = value["seq"], value["previous"], value["key"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return f"entry {seq} is not a ledger record"
        if own_seq != seq:
            return f"entry {seq} was moved: it says that it is {own_seq}"
        if previous != self.previous:
            return f"entry {seq} does not follow entry {seq - 1}: the chain was cut, forked or reordered"
        if key_id not in self._keys:
            return f"entry {seq} is signed with the unknown key {key_id}; add it to trust.ledger in governance.yaml"
        self.previous = self._head = digest
        self._last[key_id] = (seq, digest, signature)
        return self._check(key_id, seq, digest, signature) if self._every else ""

    def last_signatures(self) -> str:
        """Check the last signature of each key; the problem, or nothing."""
        if self._every:
            return ""
        for key_id, (seq, digest, signature) in self._last.items():
            problem = self._check(key_id, seq, digest, signature)
            if problem:
                return problem
        return ""

    def _check(self, key_id: str, seq: int, digest: str, signature: bytes) -> str:
        self._signatures += 1
        fits = self._keys[key_id].accepts(signature, bytes.fromhex(digest))
        return "" if fits else f"entry {seq} is not signed by key {key_id}"

    def result(self, *, bad: int | None, problem: str, anchors: int) -> Verification:
        return Verification(
            entries=self.count,
            head_hash=self._head,
            signatures=self._signatures,
            first_bad_seq=bad,
            problem=problem,
            anchors=anchors,
        )


def _against(anchor: Anchor, *, ledger_id: str, digest: str) -> str:
    if anchor.ledger_id != ledger_id:
        return f"the anchor belongs to ledger {anchor.ledger_id}, not to this one ({ledger_id})"
    if anchor.hash != digest:
        return f"entry {anchor.seq} is not the one that was anchored: the chain was rewritten"
    return ""
