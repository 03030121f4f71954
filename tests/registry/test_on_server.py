"""Against the embedded W&B server, through the unmodified SDK and real processes."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import wandb

from wandb_governance.registry.holders import current
from wandb_governance.registry.promotion import State, all_promotions
from wandb_governance.registry.verify import verify

from .processes import finish, seed, start
from .real_world import RealWorld, build

if TYPE_CHECKING:
    from pathlib import Path

_numbers = itertools.count()


@pytest.fixture
def real(wandb_env: dict[str, str], tmp_path: Path) -> RealWorld:
    """A company with one evaluated version on the server."""
    world = build(tmp_path, f"bot{next(_numbers)}")
    world.train(1)
    return world


def consistent(world: RealWorld) -> None:
    """Ledger intact; registry and ledger agree."""
    ledger = world.ledger()
    assert verify(ledger, keys=[world.writer.public], every_signature=True).intact
    held = current(ledger, collection=world.collection, alias="staging")
    assert world.holder("staging") == (held.source if held else None)


def cli(world: RealWorld, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it."""
    keys = {"WANDB_GOVERNANCE_SIGNING_KEY": seed(world)}  # type: ignore[arg-type]
    return subprocess.run(
        [sys.executable, "-m", "wandb_governance", *arguments, "--config", str(world.file)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **keys, **environ},
        check=False,
    )


def person_key(world: RealWorld, person: str) -> str:
    import base64

    return base64.b64encode(world.people[person].private.private_bytes_raw()).decode()


def test_the_command_line_takes_a_version_to_production(real: RealWorld, tmp_path: Path) -> None:
    """Check, promote, wait (3), two approvals, committed (0); reports and ledger say so."""
    source = f"local/{real.project}/adapter:v0"
    junit, page = tmp_path / "gates.xml", tmp_path / "gates.md"
    checked = cli(real, "promote", "support-bot", source, "--to", "staging", "--check", "--junit", str(junit), "--json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert json.loads(checked.stdout)["status"] == "pass"
    assert 'failures="0"' in junit.read_text()
    assert real.holder("staging") is None

    assert cli(real, "promote", "support-bot", source, "--to", "staging").returncode == 0
    waiting = cli(real, "promote", "support-bot", source, "--to", "production", "--markdown", str(page), "--json")
    assert waiting.returncode == 3, waiting.stderr
    assert "2 more of 2 approvals" in page.read_text()
    promotion = json.loads(waiting.stdout)["id"]

    first = cli(real, "approve", promotion, WANDB_GOVERNANCE_APPROVER_KEY=person_key(real, "ben"))
    assert first.returncode == 3, first.stderr
    second = cli(real, "approve", promotion, "--json", WANDB_GOVERNANCE_APPROVER_KEY=person_key(real, "dev"))
    assert second.returncode == 0, second.stdout + second.stderr
    assert real.holder("production") == source
    verified = cli(real, "audit", "verify", "--json")
    assert json.loads(verified.stdout)["intact"] is True
    assert cli(real, "audit", "reconcile").returncode == 0
    everything = checked.stdout + waiting.stderr + second.stdout + cli(real, "audit", "log", "--json").stdout
    assert person_key(real, "ben") not in everything


@pytest.mark.soak
def test_exit_codes_tell_failed_undecided_usage_and_drift_apart(real: RealWorld) -> None:
    """1, 4, 2 and 5."""
    good = f"local/{real.project}/adapter:v0"
    assert cli(real, "promote", "support-bot", good, "--to", "staging").returncode == 0
    worse = real.train(2, wrong=15)
    failed = cli(real, "promote", "support-bot", worse, "--to", "staging", "--check")
    assert failed.returncode == 1, failed.stdout + failed.stderr
    bare = real.log("adapter", "model", {"weights.json": "{}"})
    undecided = cli(real, "promote", "support-bot", bare, "--to", "production", "--check", "--json")
    assert undecided.returncode == 1, undecided.stdout
    assert cli(real, "promote", "support-bot", good, "--to", "nowhere").returncode == 2
    wandb.Api().artifact(worse).link(real.collection, aliases=["staging"])
    drifted = cli(real, "promote", "support-bot", good, "--to", "staging", "--check")
    assert drifted.returncode == 5, drifted.stdout + drifted.stderr
    assert cli(real, "audit", "reconcile").returncode == 5
    repaired = cli(real, "audit", "reconcile", "--repair", WANDB_GOVERNANCE_APPROVER_KEY=person_key(real, "ben"))
    assert (repaired.returncode, real.holder("staging")) == (0, good), repaired.stderr
    better = real.train(3)
    assert cli(real, "promote", "support-bot", better, "--to", "staging").returncode == 0
    back = cli(real, "rollback", "support-bot", "--stage", "staging", "--reason", "worse in practice", "--json")
    assert (back.returncode, real.holder("staging")) == (0, good), back.stderr
    tagged = real.train(4, tags=("candidate-for-staging",))
    once = cli(real, "watch", "support-bot", "--project", f"local/{real.project}", "--once", "--json")
    assert once.returncode == 0, once.stdout + once.stderr
    assert real.holder("staging") == tagged


def test_01_two_processes_racing_on_the_server_have_one_winner(real: RealWorld) -> None:
    """Both pass their gates, both go for the alias."""
    second = real.train(2)
    flag = real.folder / "go"
    racers = [
        start(
            real, [["promote", "support-bot", source, "staging"]], registry="wandb", wait_at="gated", flag=f"{flag}{i}"
        )  # type: ignore[arg-type]
        for i, source in enumerate((f"local/{real.project}/adapter:v0", second))
    ]
    deadline = time.time() + 60
    while len(list(real.folder.glob("go*.reached"))) < 2 and time.time() < deadline:
        time.sleep(0.05)
    for i in range(2):
        (real.folder / f"go{i}").touch()
    answers: list[Any] = [finish(racer)[0] for racer in racers]
    assert sorted(answer == "committed" for answer in answers) == [False, True], answers
    consistent(real)


STEPS = ("prepare", "prepared", "rechecked", "linked", "read_back", "committed")


@pytest.mark.parametrize("step", [pytest.param(s, marks=() if s == "linked" else pytest.mark.soak) for s in STEPS])
def test_17_a_process_killed_while_it_promotes_on_the_server_is_mended(real: RealWorld, step: str) -> None:
    """``kill -9`` at a step; the next process settles it."""
    source = f"local/{real.project}/adapter:v0"
    killed = start(real, [["promote", "support-bot", source, "staging"]], registry="wandb", die_at=step)  # type: ignore[arg-type]
    finish(killed)
    assert killed.returncode == -9
    finish(start(real, [["recover"]], registry="wandb"))  # type: ignore[arg-type]
    moved = real.holder("staging") == source
    assert moved is (step in ("linked", "read_back", "committed"))
    states = {promotion.state for promotion in all_promotions(real.ledger()).values()}
    assert states == {State.COMMITTED if moved else State.APPROVED if step == "prepare" else State.ABORTED}
    consistent(real)


def test_02_an_alias_moved_by_the_sdk_during_a_promotion_refuses(real: RealWorld) -> None:
    """Someone links another version between gate and commit."""
    other = real.train(2)

    def meanwhile(step: str) -> None:
        if step == "prepared":
            wandb.Api().artifact(other).link(real.collection, aliases=["staging"])

    from wandb_governance.registry.commit import ConflictError

    with pytest.raises(ConflictError, match="moved outside the gate"):
        real.promoter(on_step=meanwhile).promote("support-bot", f"local/{real.project}/adapter:v0", "staging")
    assert real.holder("staging") == other


def test_09_moving_an_alias_writes_no_metadata(real: RealWorld) -> None:
    """Another process's metadata, written while ours held an older copy, survives the promotion."""
    source = f"local/{real.project}/adapter:v0"

    def meanwhile(step: str) -> None:
        if step == "link":
            artifact = wandb.Api().artifact(source)
            artifact.metadata["wandb-governance/note"] = "written meanwhile"
            artifact.save()

    real.promoter(on_step=meanwhile).promote("support-bot", source, "staging")
    assert wandb.Api().artifact(source).metadata["wandb-governance/note"] == "written meanwhile"
    assert real.holder("staging") == source
