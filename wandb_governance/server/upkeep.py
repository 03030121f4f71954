"""What happens without a request: crash detection and the end of artifacts whose time to live is over."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wandb_governance.server.artifacts.change import remove_artifact
from wandb_governance.server.context import Context
from wandb_governance.server.events import Event

if TYPE_CHECKING:
    import threading

    from wandb_governance.server.context import Services

logger = logging.getLogger("wandb_governance.server")

INTERVAL_SECONDS = 5.0


def upkeep(services: Services, stop: threading.Event) -> None:
    """Do the work every few seconds until ``stop`` is set; a fault is logged and the next round tries again."""
    while not stop.wait(INTERVAL_SECONDS):
        try:
            mark_crashed(services)
            end_artifacts(services)
        except Exception:
            logger.exception("upkeep failed")


def _context(services: Services, tx: object) -> Context:
    from wandb_governance.server.store.database import Transaction

    assert isinstance(tx, Transaction)
    user = tx.one("SELECT * FROM user ORDER BY id LIMIT 1")
    assert user is not None
    return Context(services=services, tx=tx, user=user, base_url="")


def mark_crashed(services: Services) -> int:
    """Mark runs without a heartbeat as crashed; how many.

    Time before this process began does not count: while the server was down, no run could reach it.
    """
    limit_ns = int(services.settings.crash_after_seconds * 1_000_000_000)
    now = services.clock.now_ns()
    if now - services.started_ns < limit_ns:
        return 0
    sql = "SELECT * FROM run WHERE state IN ('running', 'preempting') AND started = 1 AND heartbeat_at < ?"
    with services.database.read() as tx:
        if tx.one(sql + " LIMIT 1", now - limit_ns) is None:
            return 0
    with services.database.write() as tx:
        ctx = _context(services, tx)
        runs = tx.all(sql, now - limit_ns)
        for run in runs:
            tx.update("run", run["id"], state="crashed", updated_at=now)
            ctx.emit(
                Event(
                    kind="RUN_STATE", project_id=run["project_id"], run_id=run["id"],
                    facts={"state": "crashed", "before": run["state"]},
                )
            )  # fmt: skip
        return len(runs)


def end_artifacts(services: Services) -> int:
    """Delete versions whose time to live is over; how many. A version that is linked to a portfolio stays."""
    now = services.clock.now_ns()
    sql = (
        "SELECT * FROM artifact WHERE state = 'COMMITTED' AND ttl_seconds > 0 AND "
        "created_at + ttl_seconds * 1000000000 < ? AND NOT EXISTS (SELECT 1 FROM membership m JOIN collection c "
        "ON c.id = m.collection_id WHERE m.artifact_id = artifact.id AND c.kind = 'portfolio')"
    )
    with services.database.read() as tx:
        if tx.one(sql + " LIMIT 1", now) is None:
            return 0
    with services.database.write() as tx:
        ctx = _context(services, tx)
        artifacts = tx.all(sql, now)
        for artifact in artifacts:
            remove_artifact(ctx, artifact)
        return len(artifacts)
