"""A grid sweep ends when its last run does, even when no agent asks again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wandb_governance.server.sweeps.search import grid_size, read_config

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.events import Event


def end_with_last_run(event: Event, ctx: Context) -> None:
    """Mark a sweep as finished when every point of its grid has run; a subscriber of events."""
    if event.kind != "RUN_STATE" or event.facts["state"] in {"pending", "running", "preempting", "preempted"}:
        return
    sweep = ctx.tx.one(
        "SELECT sweep.* FROM run JOIN sweep ON sweep.id = sweep_id WHERE run.id = ? AND sweep.state = 'RUNNING'",
        event.run_id,
    )
    if sweep is None:
        return
    config = read_config(sweep["config"])
    cap = config.get("run_cap")
    bounds = [n for n in (cap, grid_size(config)) if isinstance(n, int) and not isinstance(n, bool)]
    total = ctx.tx.scalar("SELECT count(*) FROM run WHERE sweep_id = ?", sweep["id"])
    live = ctx.tx.scalar(
        "SELECT count(*) FROM run WHERE sweep_id = ? AND state IN ('pending', 'running', 'preempting', 'preempted')",
        sweep["id"],
    )
    if bounds and total >= min(bounds) and not live:
        ctx.tx.update("sweep", sweep["id"], state="FINISHED", updated_at=ctx.now_ns)
