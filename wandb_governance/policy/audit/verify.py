"""Does the log still say what it said? And a proof that one record is in it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.errors import AuditError
from wandb_governance.policy.audit.checkpoint import Checkpoint, read_note, verify_signature
from wandb_governance.policy.audit.log import logs, segments
from wandb_governance.policy.audit.merkle import Frontier, inclusion_proof, leaf_hash, verify_inclusion
from wandb_governance.policy.audit.payload import PayloadStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@dataclass(slots=True, kw_only=True)
class Report:
    """What a verification found."""

    records: int = 0
    checkpoints: int = 0
    payloads: int = 0
    destroyed: int = 0
    """Records whose payload retention has destroyed."""
    anchors: int = 0
    """Checkpoints from W&B that fit."""
    unsigned: int = 0
    """Records after the last checkpoint: written, but not signed yet."""
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def verify(folder: Path, *, anchors: Iterable[str] = (), public: bytes | None = None) -> Report:
    """Check every log under ``folder``.

    Args:
        folder: Folder of the logs.
        anchors: Signed notes that were kept elsewhere, such as in W&B. A log that was truncated or rewritten can't fit
            to them, even where its keeper has the signing key.
        public: The signer's public key (32 bytes); by default the one beside the logs.
    """
    report = Report()
    key = public
    if key is None:
        try:
            key = (folder / "signing.pub").read_bytes()
        except OSError:
            report.problems.append(f"{folder / 'signing.pub'} is missing")
            return report
    wanted: dict[str, list[Checkpoint]] = {}
    for note in anchors:
        try:
            anchor = read_note(note, key)
        except AuditError as error:
            report.problems.append(f"anchor: {error}")
            continue
        wanted.setdefault(anchor.origin.rsplit("/", 1)[-1], []).append(anchor)
    found = {log.name for log in logs(folder)}
    report.problems.extend(f"{name}: W&B knows this log, but it is gone" for name in sorted(wanted.keys() - found))
    for log in logs(folder):
        _verify_log(log, key, wanted.get(log.name, []), report)
    return report


def _verify_log(log: Path, public: bytes, anchors: list[Checkpoint], report: Report) -> None:
    def problem(text: str) -> None:
        report.problems.append(f"{log.name}: {text}")

    own: list[Checkpoint] = []
    for note in read_notes(log):
        try:
            own.append(read_note(note, public))
        except AuditError as error:
            problem(str(error))
    roots: dict[int, bytes] = {}
    sizes = {checkpoint.size for checkpoint in (*own, *anchors)}
    records = _read_tree(log, sizes, roots, problem)
    for checkpoint in own:
        _fit(checkpoint, roots, len(records), "checkpoint", problem)
    for earlier, later in pairwise(own):
        if later.size < earlier.size:
            problem(f"the checkpoint at size {later.size} comes after one at size {earlier.size}")
    for anchor in anchors:
        if _fit(anchor, roots, len(records), "W&B's checkpoint", problem):
            report.anchors += 1
    _verify_payloads(log, records, public, report, problem)
    last = max((checkpoint.size for checkpoint in own), default=0)
    report.records += len(records)
    report.checkpoints += len(own)
    report.unsigned += max(len(records) - last, 0)


def _read_tree(log: Path, sizes: set[int], roots: dict[int, bytes], problem: Any) -> list[dict[str, Any]]:
    tree = Frontier()
    records: list[dict[str, Any]] = []
    if 0 in sizes:
        roots[0] = tree.root()
    for path in segments(log):
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            problem(f"{path.name} ends inside a record")
        for line in data.splitlines():
            try:
                record = orjson.loads(line)
                number = record["seq"]
            except (orjson.JSONDecodeError, KeyError, TypeError):
                problem(f"{path.name}: record {tree.size} is not readable")
                record, number = {}, tree.size
            if number != tree.size:
                problem(f"{path.name}: record {number} stands where record {tree.size} belongs")
            records.append(record)
            tree.append(leaf_hash(line))
            if tree.size in sizes:
                roots[tree.size] = tree.root()
    return records


def _fit(checkpoint: Checkpoint, roots: dict[int, bytes], size: int, what: str, problem: Any) -> bool:
    if checkpoint.size > size:
        problem(f"{what} was made at {checkpoint.size} records, but only {size} are left: the log was truncated")
        return False
    if roots.get(checkpoint.size) != checkpoint.root:
        problem(f"{what} at size {checkpoint.size} has another root: a record before it was changed")
        return False
    return True


def _verify_payloads(log: Path, records: list[dict[str, Any]], public: bytes, report: Report, problem: Any) -> None:
    buried = {
        record["facts"]["day"]
        for record in records
        if record.get("kind") == "tombstone" and _signed_tombstone(record["facts"], public)
    }
    kept: dict[int, str] = {}
    store = PayloadStore(log / "payload")
    for day in store.days():
        try:
            kept |= {seq: commitment for seq, commitment, _ in store.read(day)}
        except AuditError as error:
            problem(str(error))
    for record in records:
        commitment = record.get("payload")
        if commitment is None:
            continue
        report.payloads += 1
        if record["seq"] in kept:
            if kept[record["seq"]] != commitment:
                problem(f"the payload of record {record['seq']} is not the one that was recorded")
        elif record.get("day") in buried:
            report.destroyed += 1
        else:
            problem(f"the payload of record {record['seq']} is gone, and no tombstone says why")


def _signed_tombstone(facts: Mapping[str, Any], public: bytes) -> bool:
    said = {key: value for key, value in facts.items() if key != "signature"}
    message = b"tombstone\n" + orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    return verify_signature(public, bytes.fromhex(str(facts.get("signature", ""))), message)


def read_notes(log: Path) -> list[str]:
    """Signed notes of one log, oldest first."""
    try:
        text = (log / "checkpoints").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [note + "\n" for note in _notes(text)]


def _notes(text: str) -> list[str]:
    notes: list[str] = []
    lines: list[str] = []
    for line in text.splitlines():
        if not lines and not line:
            continue
        lines.append(line)
        if line.startswith("\u2014 "):
            notes.append("\n".join(lines))
            lines = []
    return [*notes, "\n".join(lines)] if lines else notes


def prove(folder: Path, event: str) -> dict[str, Any]:
    """A proof that a record is in its log, to be checked without the log.

    Args:
        folder: Folder of the logs.
        event: Id of the record.

    Returns:
        ``leaf`` (the record's line), ``index``, ``size``, ``path`` (hexadecimal), ``checkpoint`` (the signed note) and
        ``public_key``.

    Raises:
        AuditError: There is no such record, or no checkpoint covers it yet.
    """
    wanted = f'"event":"{event}"'.encode()
    public = (folder / "signing.pub").read_bytes()
    for log in logs(folder):
        lines = [line for path in segments(log) for line in path.read_bytes().splitlines()]
        index = next((at for at, line in enumerate(lines) if wanted in line), None)
        if index is None:
            continue
        for note in reversed(read_notes(log)):
            checkpoint = read_note(note, public)
            if checkpoint.size > index:
                leaves = [leaf_hash(line) for line in lines[: checkpoint.size]]
                return {
                    "leaf": lines[index].decode(),
                    "index": index,
                    "size": checkpoint.size,
                    "path": [node.hex() for node in inclusion_proof(leaves, index)],
                    "checkpoint": note,
                    "public_key": base64.b64encode(public).decode(),
                }
        raise AuditError(f"no checkpoint covers record {event!r} yet")
    raise AuditError(f"there is no record {event!r} in {folder}")


def check_proof(proof: Mapping[str, Any], *, public: bytes | None = None) -> bool:
    """Whether a proof of ``prove`` holds.

    Args:
        proof: The proof.
        public: The key to trust; by default the one in the proof, which then only shows that the proof is whole.

    Raises:
        AuditError: The checkpoint in it is not signed by that key.
    """
    key = public if public is not None else base64.b64decode(proof["public_key"])
    checkpoint = read_note(proof["checkpoint"], key)
    return checkpoint.size == proof["size"] and verify_inclusion(
        leaf_hash(str(proof["leaf"]).encode()),
        index=int(proof["index"]),
        size=checkpoint.size,
        proof=[bytes.fromhex(node) for node in proof["path"]],
        root=checkpoint.root,
    )
