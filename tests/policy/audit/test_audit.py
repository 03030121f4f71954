"""The log shows every edit, deletion, reordering and truncation; proofs outlive the payload."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_governance.errors import AuditError
from wandb_governance.policy.audit import AuditLog, check_proof, merkle, prove, read_records, verify
from wandb_governance.policy.audit.log import logs, segments
from wandb_governance.policy.audit.verify import read_notes

if TYPE_CHECKING:
    from pathlib import Path

DAY_NS = 86_400 * 10**9


class SteppedClock:
    def __init__(self) -> None:
        self.ns = 1_760_000_000 * 10**9

    def now_ns(self) -> int:
        self.ns += 1
        return self.ns

    def monotonic_ns(self) -> int:
        return self.ns


def fill(folder: Path, count: int = 25, clock: SteppedClock | None = None) -> tuple[list[str], str]:
    log = AuditLog(folder, clock=clock or SteppedClock(), checkpoint_every=10)
    events = [log.append("call", {"n": n}, {"text": f"payload {n}"}) for n in range(count)]
    note = log.checkpoint()
    log.close()
    return events, note


def the_segment(folder: Path) -> Path:
    return segments(logs(folder)[0])[0]


def test_a_log_that_nobody_touched_verifies(tmp_path: Path) -> None:
    """Records, checkpoints and payloads fit together, and to the anchor."""
    _, note = fill(tmp_path)
    report = verify(tmp_path, anchors=[note])
    assert report.problems == []
    assert (report.records, report.payloads, report.anchors, report.unsigned) == (25, 25, 1, 0)
    assert [record["payload"]["text"] for record in read_records(tmp_path)] == [f"payload {n}" for n in range(25)]


def _edit(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3].replace(b'"n":3', b'"n":4'), *lines[4:]]


TAMPERING = {
    "an edit": _edit,
    "a deletion": lambda lines: [*lines[:3], *lines[4:]],
    "a deletion at the start": lambda lines: lines[1:],
    "a reordering": lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
    "an insertion": lambda lines: [*lines[:3], lines[3], *lines[3:]],
    "a truncation": lambda lines: lines[:12],
    "a truncation to nothing": lambda lines: [],
    "a record that is no JSON": lambda lines: [*lines[:3], b"garbage", *lines[4:]],
}


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_is_found(how: str, tmp_path: Path) -> None:
    """By the log's own checkpoints."""
    fill(tmp_path)
    path = the_segment(tmp_path)
    lines = TAMPERING[how](path.read_bytes().splitlines())
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    assert not verify(tmp_path).ok


def test_a_truncation_of_records_and_checkpoints_is_found_by_the_anchor(tmp_path: Path) -> None:
    """Who cuts both off leaves a log that fits together; W&B knows more."""
    fill(tmp_path)
    log = logs(tmp_path)[0]
    path = the_segment(tmp_path)
    notes = read_notes(log)
    anchor = notes[-1]
    path.write_bytes(b"".join(line + b"\n" for line in path.read_bytes().splitlines()[:10]))
    (log / "checkpoints").write_text(notes[0] + "\n")
    for payload in (log / "payload").glob("*.payload"):
        payload.write_bytes(b"".join(line + b"\n" for line in payload.read_bytes().splitlines()[:10]))
    assert verify(tmp_path).ok
    report = verify(tmp_path, anchors=[anchor])
    assert "truncated" in report.problems[0]


def test_a_log_rewritten_with_the_stolen_key_is_found_by_the_anchor(tmp_path: Path) -> None:
    """The keeper of the key can sign another history, but not the one in W&B."""
    _, anchor = fill(tmp_path / "a")
    (tmp_path / "b").mkdir()
    shutil.copy(tmp_path / "a" / "signing.key", tmp_path / "b" / "signing.key")
    log = AuditLog(tmp_path / "b", clock=SteppedClock())
    for n in range(30):
        log.append("call", {"n": n, "forged": True})
    log.close()
    assert verify(tmp_path / "b").ok
    report = verify(tmp_path / "b", anchors=[anchor])
    assert "another root" in report.problems[0]


def test_a_log_that_was_removed_is_found_by_the_anchor(tmp_path: Path) -> None:
    """Nothing left is a truncation too."""
    _, anchor = fill(tmp_path)
    shutil.rmtree(logs(tmp_path)[0])
    assert "gone" in verify(tmp_path, anchors=[anchor]).problems[0]


def test_an_anchor_of_another_key_is_refused(tmp_path: Path) -> None:
    """A forged note does not vouch."""
    fill(tmp_path / "a")
    _, foreign = fill(tmp_path / "b")
    assert not verify(tmp_path / "a", anchors=[foreign]).ok


def test_a_changed_payload_is_found(tmp_path: Path) -> None:
    """Ciphertext is authenticated and bound to its record."""
    fill(tmp_path)
    path = next((logs(tmp_path)[0] / "payload").glob("*.payload"))
    lines = path.read_bytes().splitlines()
    first, second = lines[0].split(b" ")[1], lines[1].split(b" ")[1]
    path.write_bytes(b"\n".join([b"0 " + second, b"1 " + first, *lines[2:]]) + b"\n")
    assert not verify(tmp_path).ok


def test_a_payload_that_vanished_is_found(tmp_path: Path) -> None:
    """Only a tombstone excuses a missing payload."""
    fill(tmp_path)
    next((logs(tmp_path)[0] / "payload").glob("*.key")).unlink()
    assert "no tombstone" in verify(tmp_path).problems[0]


def test_retention_destroys_payload_and_key_and_proofs_still_verify(tmp_path: Path) -> None:
    """The leaf stays, the text is gone, and the log says who ordered it."""
    clock = SteppedClock()
    events, note = fill(tmp_path, clock=clock)
    before = prove(tmp_path, events[7])
    clock.ns += 40 * DAY_NS
    log = AuditLog(tmp_path, clock=clock)
    log.append("call", {"n": 99}, {"text": "fresh"})
    assert log.enforce_retention(365) == []
    assert log.enforce_retention(30, legal_hold_days=60) == []
    assert len(log.enforce_retention(30)) == 1
    log.close()
    report = verify(tmp_path, anchors=[note])
    assert report.problems == []
    assert report.destroyed == 25
    assert b"payload 7" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert [r["payload"] for r in read_records(tmp_path) if r["kind"] == "call"][-1] == {"text": "fresh"}
    assert check_proof(before)
    assert check_proof(prove(tmp_path, events[7]))


def test_a_proof_does_not_hold_for_another_record(tmp_path: Path) -> None:
    """Any change of leaf, index or path breaks it."""
    events, _ = fill(tmp_path)
    proof = prove(tmp_path, events[7])
    assert check_proof(proof)
    assert not check_proof({**proof, "leaf": proof["leaf"].replace('"n":7', '"n":8')})
    assert not check_proof({**proof, "index": 8})
    assert not check_proof({**proof, "path": proof["path"][:-1]})
    with pytest.raises(AuditError):
        check_proof(proof, public=bytes(32))


def test_a_crash_inside_a_line_is_repaired_and_told(tmp_path: Path) -> None:
    """The torn tail goes; what was whole stays and verifies."""
    fill(tmp_path)
    path = the_segment(tmp_path)
    path.write_bytes(path.read_bytes() + b'{"half')
    log = AuditLog(tmp_path)
    log.append("call", {"n": 1})
    log.close()
    assert verify(tmp_path).ok
    assert [record["kind"] for record in read_records(tmp_path)][-2:] == ["repaired", "call"]


def test_two_writers_have_two_logs(tmp_path: Path) -> None:
    """No process waits for another, and a freed log is taken up again."""
    one, two = AuditLog(tmp_path), AuditLog(tmp_path)
    assert one.folder != two.folder
    one.append("call", {})
    one.close()
    again = AuditLog(tmp_path)
    assert again.folder == one.folder
    assert again.size == 1
    again.close()
    two.close()
    assert verify(tmp_path).ok


def test_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    """A record is never lost in silence."""
    log = AuditLog(tmp_path)
    log.close()
    with pytest.raises(AuditError):
        log.append("call", {})


def test_facts_and_payload_stay_apart(tmp_path: Path) -> None:
    """Nothing of the payload stands in the segment in clear."""
    fill(tmp_path)
    data = the_segment(tmp_path).read_bytes()
    assert b"payload 1" not in data
    assert json.loads(data.splitlines()[1])["facts"] == {"n": 1}


def test_the_tree_is_that_of_rfc_6962() -> None:
    """Roots of the reference test vectors (certificate-transparency, merkletree tests)."""
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    roots = {
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    leaves = [merkle.leaf_hash(bytes.fromhex(item)) for item in inputs]
    for size, root in roots.items():
        assert merkle.root_of(leaves[:size]).hex() == root


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.data())
def test_proofs_hold_and_only_for_what_they_prove(size: int, data: st.DataObject) -> None:
    """Inclusion and consistency for every size."""
    leaves = [merkle.leaf_hash(bytes([n])) for n in range(size)]
    root = merkle.root_of(leaves)
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(leaves, index)
    assert merkle.verify_inclusion(leaves[index], index=index, size=size, proof=proof, root=root)
    other = data.draw(st.integers(0, size - 1).filter(lambda n: n != index)) if size > 1 else None
    if other is not None:
        assert not merkle.verify_inclusion(leaves[other], index=index, size=size, proof=proof, root=root)
    old = data.draw(st.integers(1, size))
    old_root = merkle.root_of(leaves[:old])
    path = merkle.consistency_proof(leaves, old)
    assert merkle.verify_consistency(old_size=old, old_root=old_root, new_size=size, new_root=root, proof=path)
    assert not merkle.verify_consistency(old_size=old, old_root=bytes(32), new_size=size, new_root=root, proof=path)
