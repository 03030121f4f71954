"""A promotion from request to alias."""

from __future__ import annotations

from wandb_governance.registry.outcome import Exit, exit_code
from wandb_governance.registry.promotion import State
from wandb_governance.registry.verify import verify

from .conftest import COLLECTION, World


def test_a_clean_version_reaches_staging_and_after_two_approvals_production(world: World) -> None:
    """The whole way, with its ledger verified at the end."""
    promoter = world.promoter()
    staged = promoter.promote("support-bot", "acme/bot/adapter:v1", "staging")
    assert staged.state is State.COMMITTED, staged.note
    assert world.registry.holder(COLLECTION, "staging") == "acme/bot/adapter:v1"

    waiting = promoter.promote("support-bot", "acme/bot/adapter:v1", "production")
    assert waiting.state is State.AWAITING_APPROVAL
    assert exit_code(waiting) is Exit.AWAITING_APPROVAL
    assert world.registry.holder(COLLECTION, "production") is None

    promoter.ballot.cast(waiting, world.vote(waiting, "ben"))
    assert promoter.advance(waiting.id).state is State.AWAITING_APPROVAL
    promoter.ballot.cast(waiting, world.vote(waiting, "dev"))
    assert promoter.advance(waiting.id).state is State.COMMITTED
    assert world.registry.holder(COLLECTION, "production") == "acme/bot/adapter:v1"

    result = verify(promoter.ledger, keys=[world.writer.public], every_signature=True)
    assert result.intact, result.problem


def test_a_worse_version_stays_out(world: World) -> None:
    """The paired test sees the loss, and the exit code says so."""
    promoter = world.promoter()
    promoter.promote("support-bot", "acme/bot/adapter:v1", "staging")
    world.train(2, wrong=11)
    failed = promoter.promote("support-bot", "acme/bot/adapter:v2", "staging")
    assert failed.state is State.FAILED
    assert "no_regression" in failed.note
    assert exit_code(failed) is Exit.FAILED
    assert world.registry.holder(COLLECTION, "staging") == "acme/bot/adapter:v1"
