"""The embedded server refuses alias moves behind the gate's back; promotions, rollbacks and repairs pass."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import wandb

from wandb_governance.registry.holders import current
from wandb_governance.registry.hook import LedgerHook
from wandb_governance.registry.promotion import State
from wandb_governance.registry.reconcile import Reconciler
from wandb_governance.registry.rollback import Rollback, roll_back

from .conftest import COLLECTION, World
from .real_world import build

if TYPE_CHECKING:
    from pathlib import Path

V1, V2 = "acme/bot/adapter:v1", "acme/bot/adapter:v2"


def link(source: str, alias: str, collection: str = COLLECTION) -> dict[str, object]:
    project, _, name = collection.partition("/")
    return {
        "artifactID": f"id-{source}",
        "projectName": project,
        "artifactPortfolioName": name,
        "aliases": [{"alias": alias}],
    }


def test_only_a_prepared_promotion_opens_the_gate(world: World) -> None:
    """Closed before, open for this version and alias while PREPARED, closed again after."""
    hook = LedgerHook(world.file)
    answers = []

    def at(step: str) -> None:
        answers.append((step, hook.check("linkArtifact", link(V1, "staging"), None) is None))
        assert hook.check("linkArtifact", link(V2, "staging"), None) is not None
        assert hook.check("linkArtifact", link(V1, "production"), None) is not None

    world.promoter(on_step=at).promote("support-bot", V1, "staging")
    assert [step for step, opened in answers if opened] == [
        "prepared",
        "recheck",
        "rechecked",
        "link",
        "linked",
        "read_back",
        "commit",
    ]


@pytest.mark.parametrize(
    ("operation", "given", "refused"),
    [
        ("linkArtifact", link(V1, "staging"), True),
        ("linkArtifact", link(V1, "Staging"), True),
        ("linkArtifact", link(V1, "stаging"), True),
        ("linkArtifact", link(V1, "staging-canary"), False),
        ("linkArtifact", link(V1, "staging", "wandb-registry-model/other"), False),
        ("deleteArtifact", {"artifactID": f"id-{V1}"}, False),
    ],
)
def test_what_the_hook_refuses(world: World, operation: str, given: dict[str, object], refused: bool) -> None:
    """Governed aliases and their look-alikes; nothing else."""
    assert (LedgerHook(world.file).check(operation, given, None) is not None) is refused


def test_a_version_that_holds_a_governed_alias_can_not_be_deleted(world: World) -> None:
    """Nor its alias removed."""
    world.promoter().promote("support-bot", V1, "staging")
    hook = LedgerHook(world.file)
    assert "rollback" in str(hook.check("deleteArtifact", {"artifactID": f"id-{V1}"}, None))
    project, _, name = COLLECTION.partition("/")
    aliases = [{"alias": "staging", "projectName": project, "artifactCollectionName": name}]
    assert hook.check("deleteAliases", {"artifactID": f"id-{V1}", "aliases": aliases}, None) is not None


def test_a_broken_governance_file_closes_the_gate(world: World) -> None:
    """Nothing moves while nobody can tell what is governed."""
    hook = LedgerHook(world.file)
    world.file.write_text("version: 1\n")
    assert "can't decide" in str(hook.check("linkArtifact", link(V1, "staging"), None))


def test_on_the_server_the_sdk_is_told_at_once_and_promotions_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real server with ``--governance``: link is refused with our text; promote and rollback work."""
    monkeypatch.delenv("WANDB_MODE", raising=False)
    config, data = tmp_path / "governance.yaml", tmp_path / "data"
    config.write_text("version: 1\ngoverned: {}\n")
    from wandb_governance.registry.keys import SigningKey

    from .conftest import yaml_text

    keys = {name: SigningKey.generate() for name in ("ana", "ben", "cho", "dev", "eve")}
    config.write_text(yaml_text(keys, SigningKey.generate(), SigningKey.generate()))
    command = [sys.executable, "-m", "wandb_governance", "server"]
    started = subprocess.run(
        [*command, "--background", "--json", "--port", "0", "--data-dir", str(data), "--governance", str(config)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=dict(os.environ),
    )
    running = json.loads(started.stdout)
    try:
        for name, value in (("WANDB_BASE_URL", running["url"]), ("WANDB_API_KEY", running["api_key"])):
            monkeypatch.setenv(name, value)
        for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
            monkeypatch.setenv(name, str(tmp_path / name))
        world = build(tmp_path, "hooked")
        first, second = world.train(1), world.train(2)
        with pytest.raises(wandb.errors.CommError, match="no approved promotion moves it here"):
            wandb.Api().artifact(first).link(world.collection, aliases=["staging"])
        assert world.holder("staging") is None
        assert world.promoter().promote("support-bot", first, "staging").state is State.COMMITTED
        assert world.promoter().promote("support-bot", second, "staging").state is State.COMMITTED
        with pytest.raises(wandb.errors.CommError, match="no approved promotion"):
            wandb.Api().artifact(first).link(world.collection, aliases=["staging"])
        roll_back(world.promoter(), Rollback(thing="support-bot", stage="staging", reason="worse in practice"))
        assert world.holder("staging") == first
    finally:
        subprocess.run([*command, "stop", "--data-dir", str(data)], capture_output=True, timeout=60, check=False)


def test_a_repair_passes_the_gate(world: World) -> None:
    """The order is in the ledger before the alias moves."""
    world.train(2)
    world.promoter().promote("support-bot", V1, "staging")
    world.registry.set_alias(COLLECTION, "staging", V2)
    hook = LedgerHook(world.file)
    seen: list[str | None] = []
    world.registry.before_move = lambda: seen.append(hook.check("linkArtifact", link(V1, "staging"), None))
    ledger = world.ledger()
    reconciler = Reconciler(document=world.document, registry=world.registry, ledger=ledger, clock=world.clock)
    item = next(item for item in reconciler.compare() if item.differs)
    reconciler.repair(item, approver=world.people["ben"])
    assert seen == [None]
    assert hook.check("linkArtifact", link(V1, "staging"), None) is not None
    held = current(ledger, collection=COLLECTION, alias="staging")
    assert held is not None
    assert held.source == V1
