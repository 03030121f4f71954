"""Hard cases 18, 19, 20: tampered ledgers, disks that fail, rollbacks."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_governance.errors import ApprovalError, LedgerError, PromotionError
from wandb_governance.registry import anchor
from wandb_governance.registry.commit import ConflictError
from wandb_governance.registry.keys import SigningKey
from wandb_governance.registry.ledger import Ledger
from wandb_governance.registry.promotion import State, all_promotions, load
from wandb_governance.registry.proof import holds, proof
from wandb_governance.registry.rollback import REVIEW_DUE, Rollback, finish, roll_back
from wandb_governance.registry.verify import Anchor, verify

from .conftest import COLLECTION, SteppedClock, World

if TYPE_CHECKING:
    from pathlib import Path

V1, V2, V3 = (f"acme/bot/adapter:v{number}" for number in (1, 2, 3))
KEY = SigningKey.generate()


def book(folder: Path, entries: int = 12) -> Path:
    """A ledger file with some entries."""
    path = folder / "ledger.db"
    ledger = Ledger(path, clock=SteppedClock(), key=KEY)
    for number in range(entries):
        ledger.append("note", body={"number": number})
    ledger.close()
    return path


def check(path: Path, **options: Any) -> Any:
    ledger = Ledger(path, clock=SteppedClock())
    try:
        return verify(ledger, keys=[KEY.public], **options)
    finally:
        ledger.close()


def meddle(path: Path, *statements: str) -> None:
    """Change the file as someone with write access would: triggers dropped first."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DROP TRIGGER entries_no_update")
    connection.execute("DROP TRIGGER entries_no_delete")
    for statement in statements:
        connection.execute(statement)
    connection.close()


TAMPERED = {
    "edited": ("UPDATE entries SET record = replace(record, '\"number\":4', '\"number\":9') WHERE seq = 5", 5),
    "deleted": ("DELETE FROM entries WHERE seq = 5", 5),
    "reordered": (
        (
            "UPDATE entries SET seq = CASE seq WHEN 5 THEN 106 WHEN 6 THEN 105 ELSE seq END WHERE seq IN (5, 6);"
            "UPDATE entries SET seq = seq - 100 WHERE seq > 100"
        ),
        5,
    ),
    "hash replaced": ("UPDATE entries SET hash = (SELECT hash FROM entries WHERE seq = 4) WHERE seq = 5", 5),
    "first cut off": ("DELETE FROM entries WHERE seq = 1", 1),
    "head's signature replaced": (
        "UPDATE entries SET signature = (SELECT signature FROM entries WHERE seq = 5) WHERE seq = 12",
        12,
    ),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_18_verify_names_the_first_bad_entry(tmp_path: Path, how: str) -> None:
    """Each way of meddling is found at its place."""
    path = book(tmp_path)
    script, bad = TAMPERED[how]
    meddle(path, *script.split(";"))
    result = check(path)
    assert (result.intact, result.first_bad_seq) == (False, bad), result.problem


@given(where=st.integers(1, 6), byte=st.integers(0, 400), value=st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_18_any_changed_byte_of_a_record_is_found(
    tmp_path_factory: pytest.TempPathFactory, where: int, byte: int, value: int
) -> None:
    """A flipped byte anywhere in any record breaks the chain."""
    path = book(tmp_path_factory.mktemp("book"), entries=6)
    connection = sqlite3.connect(path, isolation_level=None)
    record = bytearray(connection.execute("SELECT record FROM entries WHERE seq = ?", (where,)).fetchone()[0].encode())
    byte %= len(record)
    changed = (record[byte] ^ value) & 0x7F
    if changed == record[byte]:
        return
    record[byte] = changed
    connection.execute("DROP TRIGGER entries_no_update")
    try:
        connection.execute("UPDATE entries SET record = ? WHERE seq = ?", (record.decode(), where))
    except sqlite3.OperationalError:
        return  # SQLite's own index refuses text that is not JSON
    finally:
        connection.close()
    result = check(path)
    assert (result.intact, result.first_bad_seq) == (False, where)


def test_18_the_file_refuses_plain_updates_and_deletes(tmp_path: Path) -> None:
    """A slip of hand does not rewrite history."""
    connection = sqlite3.connect(book(tmp_path))
    for statement in ("UPDATE entries SET hash = ''", "DELETE FROM entries"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)


def test_18_a_cut_tail_shows_only_against_an_anchor(tmp_path: Path) -> None:
    """The shorter chain is intact by itself."""
    path = book(tmp_path)
    ledger = Ledger(path, clock=SteppedClock(), key=KEY)
    line = anchor.signed_head(ledger, key=KEY, clock=SteppedClock())
    ledger.close()
    anchor.to_file(line, tmp_path / "anchors.jsonl")
    meddle(path, "DELETE FROM entries WHERE seq > 8")
    assert check(path).intact
    heads = anchor.read_anchors(tmp_path / "anchors.jsonl", keys=[KEY.public])
    result = check(path, anchors=heads)
    assert (result.intact, "tail was cut" in result.problem) == (False, True)


def test_18_an_old_copy_that_was_written_on_shows_against_an_anchor(tmp_path: Path) -> None:
    """A fork: the same numbers, other entries."""
    path = book(tmp_path, entries=6)
    old = path.read_bytes()
    ledger = Ledger(path, clock=SteppedClock(), key=KEY)
    for number in range(3):
        ledger.append("note", body={"true": number})
    head = ledger.head()
    assert head is not None
    heads = [Anchor(ledger_id=ledger.id, seq=head.seq, hash=head.hash)]
    ledger.close()
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    path.write_bytes(old)
    forked = Ledger(path, clock=SteppedClock(), key=KEY)
    for number in range(3):
        forked.append("note", body={"false": number})
    forked.close()
    assert check(path).intact
    assert "rewritten" in check(path, anchors=heads).problem


def test_18_a_git_tag_and_a_wandb_artifact_anchor_the_head(world: World, tmp_path: Path) -> None:
    """Both carry the same signed line."""
    world.promoter().promote("support-bot", V1, "staging")
    ledger = world.ledger()
    line = anchor.signed_head(ledger, key=world.writer, clock=world.clock)
    repository = tmp_path / "repository"
    for command in (
        ["init", "-q", str(repository)],
        ["-C", str(repository), "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *command], check=True)
    subprocess.run(["git", "-C", str(repository), "config", "user.name", "t"], check=True)
    subprocess.run(["git", "-C", str(repository), "config", "user.email", "t@t"], check=True)
    anchor.to_git(line, repository)
    heads = anchor.read_git_anchors(repository, keys=[world.writer.public])
    assert verify(ledger, keys=[world.writer.public], anchors=heads).anchors == 1
    name = anchor.to_wandb(line, world.registry, "acme/governance")
    version = world.registry.resolve(name)
    assert version is not None
    world.registry.download(version, tmp_path / "anchor")
    assert anchor.read_anchors(tmp_path / "anchor" / "anchor.jsonl", keys=[world.writer.public]) == heads


def test_18_a_forged_anchor_is_refused(tmp_path: Path) -> None:
    """Someone else's key can't anchor."""
    path = book(tmp_path)
    ledger = Ledger(path, clock=SteppedClock(), key=KEY)
    anchor.to_file(anchor.signed_head(ledger, key=SigningKey.generate(), clock=SteppedClock()), tmp_path / "a")
    with pytest.raises(ApprovalError):
        anchor.read_anchors(tmp_path / "a", keys=[KEY.public])


def test_18_nobody_writes_on_top_of_a_forged_head(tmp_path: Path) -> None:
    """That is why the last signature of each key is enough for ``verify``."""
    path = book(tmp_path)
    forger = Ledger(path, clock=SteppedClock(), key=SigningKey.generate(), trusted=[KEY.public])
    forger.append("note", body={"forged": True})
    forger.close()
    honest = Ledger(path, clock=SteppedClock(), key=KEY)
    with pytest.raises(LedgerError, match="not signed by a trusted key"):
        honest.append("note", body={})
    assert check(path).first_bad_seq == 13


def test_18_a_proof_leads_from_an_entry_to_the_head(tmp_path: Path) -> None:
    """And breaks when any link is changed."""
    ledger = Ledger(book(tmp_path), clock=SteppedClock())
    value = proof(ledger, 4)
    assert value is not None
    assert holds(value)
    value["links"][2] = value["links"][2].replace('"number":6', '"number":7')
    assert not holds(value)


def full(ledger: Ledger) -> None:
    pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        while True:
            ledger.append("filler", body={"x": "x" * 100})

    with pytest.raises(LedgerError, match="full"):
        fill()


def read_only(ledger: Ledger) -> None:
    ledger._connection.execute("PRAGMA query_only = ON")


@pytest.mark.parametrize("fault", [full, read_only], ids=["disk full", "read-only"])
def test_19_a_ledger_that_can_not_be_written_stops_the_promotion_before_the_alias_moves(
    world: World, fault: Any
) -> None:
    """SQLite itself reports SQLITE_FULL or SQLITE_READONLY."""
    ledger = world.ledger()

    def at(step: str) -> None:
        if step == "prepare":
            fault(ledger)

    with pytest.raises(LedgerError):
        world.promoter(ledger=ledger, on_step=at).promote("support-bot", V1, "staging")
    assert world.registry.holder(COLLECTION, "staging") is None


def test_19_a_locked_ledger_refuses_before_the_alias_moves(world: World) -> None:
    """Another process holds the file for longer than we wait."""
    world.ledger().close()
    other = sqlite3.connect(world.folder / "ledger.db", isolation_level=None)
    impatient = Ledger(world.folder / "ledger.db", clock=world.clock, key=world.writer, busy_timeout_s=0.1)
    promoter = world.promoter(ledger=impatient)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="locked"):
        promoter.promote("support-bot", V1, "staging")
    assert world.registry.holder(COLLECTION, "staging") is None


def staged(world: World, *numbers: int) -> None:
    for number in numbers:
        if number > 1:
            world.train(number)
        assert (
            world.promoter().promote("support-bot", f"acme/bot/adapter:v{number}", "staging").state is State.COMMITTED
        )


def back(**options: Any) -> Rollback:
    return Rollback(**{"thing": "support-bot", "stage": "staging", "reason": "wrong answers", **options})


def test_20_a_rollback_goes_to_the_last_good_version_and_marks_the_bad_one(world: World) -> None:
    """And a rollback after it goes further back, never to what was rolled back."""
    staged(world, 1, 2, 3)
    assert roll_back(world.promoter(), back()).state is State.COMMITTED
    assert world.registry.holder(COLLECTION, "staging") == V2
    states = {p.candidate["source"]: p.state for p in all_promotions(world.ledger()).values() if not p.rollback}
    assert states[V3] is State.ROLLED_BACK
    roll_back(world.promoter(), back())
    assert world.registry.holder(COLLECTION, "staging") == V1
    with pytest.raises(PromotionError, match="nothing to go back to"):
        roll_back(world.promoter(), back())


def test_20_a_deleted_target_can_not_be_gone_back_to(world: World) -> None:
    """The refusal comes before anything moves."""
    staged(world, 1, 2)
    world.registry.delete(V1)
    with pytest.raises(PromotionError, match="no version"):
        roll_back(world.promoter(), back())
    assert world.registry.holder(COLLECTION, "staging") == V2


def test_20_a_target_whose_content_changed_is_not_the_one_that_was_let_in(world: World) -> None:
    """Its name is the same, its root is not."""
    staged(world, 1, 2)
    world.registry.log(V1, {"weights.json": "other"}, run="acme/bot/train1")
    with pytest.raises(PromotionError, match="root differs"):
        roll_back(world.promoter(), back(break_glass=True))


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("old", "too old"),
        ({"withdrawn": "CVE-2026-1"}, "CVE-2026-1"),
        ({"shutdown_date": "2025-01-01"}, "shut it down"),
    ],
    ids=["approval expired", "known vulnerability", "model shut down"],
)
def test_20_a_doubtful_target_needs_two_people_who_break_the_glass(world: World, how: Any, why: str) -> None:
    """One signature is not enough; afterwards a review is due."""
    staged(world, 1, 2)
    if how == "old":
        world.clock.pass_hours(24 * 91)
    else:
        world.registry.edit(V1, metadata=how)
    with pytest.raises(PromotionError, match=why):
        roll_back(world.promoter(), back())
    promoter = world.promoter()
    waiting = roll_back(promoter, back(break_glass=True))
    assert waiting.state is State.AWAITING_APPROVAL
    promoter.ballot.cast(waiting, world.vote(waiting, "ben"))
    assert finish(promoter, waiting.id).state is State.AWAITING_APPROVAL
    promoter.ballot.cast(waiting, world.vote(waiting, "ana"))
    assert finish(promoter, waiting.id).state is State.COMMITTED
    assert world.registry.holder(COLLECTION, "staging") == V1
    assert [entry.promotion for entry in promoter.ledger.entries(kinds=(REVIEW_DUE,))] == [waiting.id]


def test_20_two_rollbacks_that_race_go_back_once(world: World) -> None:
    """The second one sees that the alias moved since it was asked for."""
    staged(world, 1, 2, 3)
    first = world.promoter()
    second = world.promoter()
    request_one = roll_back(first, back(break_glass=True))
    request_two = roll_back(second, back(break_glass=True))
    for request in (request_one, request_two):
        for person in ("ana", "ben"):
            first.ballot.cast(request, world.vote(request, person))
    assert finish(first, request_one.id).state is State.COMMITTED
    with pytest.raises(ConflictError):
        finish(second, request_two.id)
    assert load(first.ledger, request_two.id).state is State.ABORTED
    assert world.registry.holder(COLLECTION, "staging") == V2


@pytest.mark.timeout(120)
def test_a_hundred_thousand_entries_verify_below_five_seconds(tmp_path: Path) -> None:
    """Chain, order and last signatures of a real file; the best of two tries on a shared machine."""
    path = tmp_path / "ledger.db"
    ledger = Ledger(path, clock=SteppedClock(), key=KEY)
    import hashlib

    from wandb_governance.registry.canonical import canonical
    from wandb_governance.registry.ledger import genesis

    previous = genesis(ledger.id)
    body = {
        "reason": "a gate",
        "results": [{"gate": "metric:correctness", "status": "pass", "reason": "0.93 of 0.8"}] * 3,
    }
    with ledger.transaction() as connection:
        for seq in range(1, 100_001):
            record = canonical(
                {
                    "seq": seq,
                    "kind": "gated",
                    "promotion": f"p{seq}",
                    "at_ns": seq,
                    "body": body,
                    "previous": previous,
                    "key": KEY.public.key_id,
                }
            )
            previous = hashlib.sha256(record).hexdigest()
            signature = KEY.sign(bytes.fromhex(previous)) if seq == 100_000 else b""
            connection.execute(
                "INSERT INTO entries (seq, record, hash, signature) VALUES (?, ?, ?, ?)",
                (seq, record.decode(), previous, signature),
            )
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        result = verify(ledger, keys=[KEY.public])
        seconds.append(time.perf_counter() - started)
        assert (result.intact, result.entries) == (True, 100_000), result.problem
    print(f"verify of 100,000 entries: {min(seconds):.2f} s")
    assert min(seconds) < 5
