"""Hard cases 5, 6, 7, 8, 9, 10, 11, 22: who may approve, what an approval is bound to, and for how long."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_governance.backend.registry import RunFacts
from wandb_governance.errors import ApprovalError, PromotionError
from wandb_governance.registry.approval import Choice
from wandb_governance.registry.ballot import ROLLBACK_PROPOSED
from wandb_governance.registry.content import content_of
from wandb_governance.registry.promotion import Promotion, State, load

from .conftest import CARD, COLLECTION, GOLDEN, HOUR_NS, World

if TYPE_CHECKING:
    from pathlib import Path

V1 = "acme/bot/adapter:v1"


def waiting(world: World, **changes: Any) -> tuple[Any, Promotion]:
    """A promotion of version 1 into production that waits for two approvals."""
    promoter = world.promoter(**changes)
    promoter.promote("support-bot", V1, "staging")
    return promoter, promoter.promote("support-bot", V1, "production")


def vote(world: World, promoter: Any, promotion: Promotion, *people: str) -> Promotion:
    for person in people:
        promoter.ballot.cast(promotion, world.vote(promotion, person))
    return promoter.advance(promotion.id)


AUTHORS = {
    "run owner": {"user": "ben"},
    "committer": {"email": "ben@acme.test"},
    "committer by another spelling": {"email": "Ben@Acme.Test"},
    "author in the metadata": {"author": "ben@acme.test"},
    "machine that ben answers for": {"user": "ci-bot"},
}


@pytest.mark.parametrize("how", AUTHORS)
def test_05_whoever_made_a_version_can_not_approve_it(world: World, how: str) -> None:
    """Ben made it, whatever account he used; his approval does not count."""
    who = dict(AUTHORS[how])
    metadata = {"author": who.pop("author")} if "author" in who else {}
    facts = RunFacts(path="acme/bot/train1", state="finished", commit="a" * 40, **{"user": "ana", **who})
    world.registry.record_run(facts, used=[GOLDEN])
    world.registry.edit(V1, metadata=metadata)
    promoter, promotion = waiting(world)
    assert vote(world, promoter, promotion, "ben", "dev").state is State.AWAITING_APPROVAL
    reasons = {item.vote.person: item.reason for item in promoter.tally(load(promoter.ledger, promotion.id)).ignored}
    assert "separation of duties" in reasons["ben"]
    assert vote(world, promoter, promotion, "cho").state is State.COMMITTED


def test_05_the_requester_can_not_approve(world: World) -> None:
    """Dev asks for the promotion, so dev's approval does not count."""
    world.registry.user = "dev"
    promoter, promotion = waiting(world)
    assert vote(world, promoter, promotion, "ben", "dev").state is State.AWAITING_APPROVAL


def test_05_an_unknown_identity_is_not_an_approver(world: World) -> None:
    """Eve has a key, but stands in no list."""
    promoter, promotion = waiting(world)
    with pytest.raises(ApprovalError):
        promoter.ballot.cast(promotion, world.vote(promotion, "eve"))


def test_05_a_vote_in_someone_elses_name_is_refused(world: World) -> None:
    """Ben signs a vote that says it is dev's."""
    promoter, promotion = waiting(world)
    from wandb_governance.registry.approval import Vote
    from wandb_governance.registry.ballot import binding_of

    now = world.clock.now_ns()
    forged = Vote(
        promotion=promotion.id,
        choice=Choice.APPROVE,
        person="dev",
        binding=binding_of(promotion),
        issued_at_ns=now,
        expires_at_ns=now + HOUR_NS,
    ).sealed(world.people["ben"])
    with pytest.raises(ApprovalError):
        promoter.ballot.cast(promotion, forged)


def test_05_an_author_nobody_knows_keeps_everyone_from_approving(world: World) -> None:
    """Anyone could be behind the account, so it must be listed first."""
    world.registry.record_run(
        RunFacts(path="acme/bot/train1", state="finished", user="ana2", commit="a" * 40), used=[GOLDEN]
    )
    promoter, promotion = waiting(world)
    assert vote(world, promoter, promotion, "ben", "dev").state is State.AWAITING_APPROVAL
    assert "wandb:ana2" in promoter.tally(load(promoter.ledger, promotion.id)).missing


def test_06_one_person_with_two_roles_counts_once(world: World) -> None:
    """Cho leads and complies, but is one person of the two that are asked for."""
    promoter, promotion = waiting(world)
    assert vote(world, promoter, promotion, "cho", "cho").state is State.AWAITING_APPROVAL
    assert "1 more of 2" in promoter.tally(load(promoter.ledger, promotion.id)).missing
    assert vote(world, promoter, promotion, "ben").state is State.COMMITTED


@given(order=st.permutations(["ben", "cho", "dev"]))
@settings(max_examples=6, deadline=None)
def test_06_the_order_of_votes_does_not_matter(order: list[str]) -> None:
    """People are seated by a matching, so cho's two roles never block someone else's place."""
    from wandb_governance.registry.approval import _seat

    class Roles:
        def roles(self, person: str) -> set[str]:
            return {"ben": {"ml-lead"}, "cho": {"ml-lead", "compliance"}, "dev": {"compliance"}}[person]

    assert len(_seat(order[:2], ["ml-lead", "compliance"], Roles())) == 2  # type: ignore[arg-type]


def test_07_an_approval_does_not_survive_a_change_of_content(world: World) -> None:
    """The same version name, other bytes behind a reference: the promotion ends, and must be asked for again."""
    promoter, promotion = waiting(world)
    promoter.ballot.cast(promotion, world.vote(promotion, "ben"))
    world.registry.log(V1, {"weights.json": "other bytes", "README.md": CARD}, run="acme/bot/train1")
    promoter.ballot.cast(promotion, world.vote(promotion, "dev"))
    ended = promoter.advance(promotion.id)
    assert ended.state is State.ABORTED
    assert "the content changed" in ended.note
    assert world.registry.holder(COLLECTION, "production") is None


# The first published MD5 collision (Wang and Yu, 2004): two blocks of 128 bytes, six bits apart.
def _collision() -> tuple[bytes, bytes]:
    first = (
        "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f8955ad340609f4b30283e488832571415a085125e8f7cdc99fd91dbdf280373c5b"
        "d8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70"
    )
    second = (
        "d131dd02c5e6eec4693d9a0698aff95c2fcab50712467eab4004583eb8fb7f8955ad340609f4b30283e4888325f1415a085125e8f7cdc99fd91dbd7280373c5b"
        "d8823e3156348f5bae6dacd436c919c6dd53e23487da03fd02396306d248cda0e99f33420f577ee8ce54b67080280d1ec69821bcb6a8839396f965ab6ff72a70"
    )
    return bytes.fromhex(first), bytes.fromhex(second)


def test_08_equal_md5_with_other_content_is_another_content(tmp_path: Path) -> None:
    """Two files that share their MD5, as W&B's digest sees them, have different roots."""
    first, second = _collision()
    assert first != second
    assert hashlib.md5(first).digest() == hashlib.md5(second).digest()
    roots = []
    for name, data in (("a", first), ("b", second)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.bin").write_bytes(data)
        roots.append(content_of(tmp_path / name).root)
    assert roots[0] != roots[1]


def test_08_the_root_is_what_coreutils_print(tmp_path: Path) -> None:
    """Anyone can recompute the root without this package."""
    import subprocess

    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x y.txt").write_text("2")
    (tmp_path / "a.txt").write_text("1")
    line = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum"
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == content_of(tmp_path).root


@pytest.mark.parametrize(
    "change",
    [{"metadata": {"licence": "other"}}, {"description": "now says something else"}],
    ids=["metadata", "description"],
)
def test_09_a_changed_description_voids_approvals(world: World, change: dict[str, Any]) -> None:
    """What approvers read is bound as well as the bytes."""
    promoter, promotion = waiting(world)
    promoter.ballot.cast(promotion, world.vote(promotion, "ben"))
    world.registry.edit(V1, **change)
    promoter.ballot.cast(promotion, world.vote(promotion, "dev"))
    ended = promoter.advance(promotion.id)
    assert (ended.state, "metadata or model card" in ended.note) == (State.ABORTED, True)


def test_09_a_changed_model_card_voids_approvals(world: World) -> None:
    """The card is a file beside governance.yaml; editing it while people decide ends the promotion."""
    (world.folder / "card.md").write_text(CARD)
    world.write_yaml(world.yaml.replace("    owner: ana\n", "    owner: ana\n    card: card.md\n"))
    promoter, promotion = waiting(world)
    (world.folder / "card.md").write_text(CARD + "\nAlso gives medical advice.\n")
    assert vote(world, promoter, promotion, "ben", "dev").state is State.ABORTED


def test_09_keys_that_governance_writes_do_not_void_approvals(world: World) -> None:
    """Results attached to the candidate are ours."""
    promoter, promotion = waiting(world)
    world.registry.edit(V1, metadata={"wandb-governance/evaluation": "acme/bot/adapter-evaluation:v0"})
    assert vote(world, promoter, promotion, "ben", "dev").state is State.COMMITTED


def test_10_an_approval_taken_back_between_check_and_commit_refuses(world: World) -> None:
    """The last look before the move sees the revocation."""
    cast: list[Any] = []

    def meanwhile(step: str) -> None:
        if step == "recheck" and cast:
            ballot, promotion = cast[0]
            ballot.ledger.append(
                "vote", promotion=promotion.id, body={"envelope": world.vote(promotion, "dev", Choice.REVOKE)}
            )

    promoter, promotion = waiting(world, on_step=meanwhile)
    cast.append((promoter.ballot, promotion))
    with pytest.raises(PromotionError, match="no longer stands"):
        vote(world, promoter, promotion, "ben", "dev")
    assert load(promoter.ledger, promotion.id).state is State.ABORTED
    assert world.registry.holder(COLLECTION, "production") is None


def test_10_an_approver_who_left_the_role_no_longer_counts(world: World) -> None:
    """Dev approved, then lost the role: another one must be found."""
    promoter, promotion = waiting(world)
    promoter.ballot.cast(promotion, world.vote(promotion, "dev"))
    world.write_yaml(world.yaml.replace("  - id: dev\n    roles: [compliance]", "  - id: dev\n    roles: [engineer]"))
    later = world.promoter()
    assert vote(world, later, promotion, "ben").state is State.AWAITING_APPROVAL
    assert "compliance" in later.tally(load(later.ledger, promotion.id)).missing


def test_10_an_approval_taken_back_after_the_commit_proposes_a_rollback(world: World) -> None:
    """Nothing moves by itself; the ledger asks people to decide."""
    promoter, promotion = waiting(world)
    live = vote(world, promoter, promotion, "ben", "dev")
    promoter.ballot.cast(live, world.vote(live, "dev", Choice.REVOKE, comment="found a leak"))
    proposals = list(promoter.ledger.entries(kinds=(ROLLBACK_PROPOSED,)))
    assert "found a leak" in proposals[0].body["reason"]
    assert world.registry.holder(COLLECTION, "production") == V1


def test_11_a_promotion_nobody_approves_expires(world: World) -> None:
    """72 hours are allowed."""
    promoter, promotion = waiting(world)
    world.clock.pass_hours(73)
    assert promoter.advance(promotion.id).state is State.EXPIRED


@pytest.mark.parametrize(
    ("hours", "counts"), [(47.0, True), (47.9, False), (49.0, False)], ids=["well before", "within the skew", "after"]
)
def test_11_an_approval_near_its_end_no_longer_counts(world: World, hours: float, counts: bool) -> None:
    """A vote lasts 48 hours; ten minutes before that, clocks may already disagree."""
    promoter, promotion = waiting(world)
    promoter.ballot.cast(promotion, world.vote(promotion, "ben"))
    world.clock.pass_hours(hours)
    promoter.ballot.cast(promotion, world.vote(promotion, "dev"))
    world.evaluate(V1)
    state = promoter.advance(promotion.id).state
    assert state is (State.COMMITTED if counts else State.AWAITING_APPROVAL)


def test_11_an_approval_from_the_future_does_not_count(world: World) -> None:
    """A clock that runs ahead by more than the skew can't stretch an approval."""
    promoter, promotion = waiting(world)
    ahead = world.clock.now_ns() + HOUR_NS
    promoter.ballot.cast(promotion, world.vote(promotion, "ben", issued_at_ns=ahead, expires_at_ns=ahead + HOUR_NS))
    assert vote(world, promoter, promotion, "dev").state is State.AWAITING_APPROVAL


def test_11_servicenow_times_are_utc_whatever_this_machines_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """ServiceNow writes no zone; a machine in New York at the change to winter time reads the same instant."""
    from wandb_governance.registry.tickets.base import Ticket
    from wandb_governance.registry.tickets.servicenow import _decision

    row = {"sys_id": "1", "state": "approved", "approver.user_name": "ben", "sys_updated_on": "2026-11-01 05:30:00"}
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        decision = _decision(Ticket(system="servicenow", reference="x", url=""), row)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert decision.at_ns == 1_793_511_000 * 1_000_000_000


def test_22_a_policy_changed_while_a_request_waits_voids_it(world: World) -> None:
    """Approvers agreed to other rules; the gates must run again under the new ones."""
    promoter, promotion = waiting(world)
    promoter.ballot.cast(promotion, world.vote(promotion, "ben"))
    world.write_yaml(world.yaml.replace("at_least: 0.8}\n    approvals", "at_least: 0.7}\n    approvals"))
    later = replace(promoter, document=world.document)
    assert vote(world, later, promotion, "dev").state is State.ABORTED
    assert "the policy changed" in load(later.ledger, promotion.id).note


def test_a_rejection_ends_a_promotion(world: World) -> None:
    """One no from a known person is enough."""
    promoter, promotion = waiting(world)
    promoter.ballot.cast(promotion, world.vote(promotion, "ben"))
    promoter.ballot.cast(promotion, world.vote(promotion, "cho", Choice.REJECT))
    assert promoter.advance(promotion.id).state is State.REJECTED


def test_a_tampered_vote_is_refused(world: World) -> None:
    """Changing one letter of a signed vote breaks it."""
    import base64

    promoter, promotion = waiting(world)
    envelope = world.vote(promotion, "ben")
    value = json.loads(base64.b64decode(envelope["payload"]))
    value["comment"] = "changed"
    envelope["payload"] = base64.b64encode(json.dumps(value).encode()).decode()
    with pytest.raises(ApprovalError):
        promoter.ballot.cast(promotion, envelope)
