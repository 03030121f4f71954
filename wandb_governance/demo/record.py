"""Record the model's answers anew: serve the model at the address in ``story.RECORDED``, then run this module."""

from __future__ import annotations

import asyncio
import importlib
import tempfile
from pathlib import Path

from wandb_governance.demo.story import ANSWERS, POLICY, RECORDED, passages, recorded_answers
from wandb_governance.errors import PolicyViolation
from wandb_governance.runtime import Governance
from wandb_governance.settings import Settings


async def _record(home: Path) -> None:
    governance = Governance(policy=POLICY, settings=Settings(home=home))
    instrumentation = importlib.import_module("wandb_governance_llama_index").instrument(governance=governance)
    found = passages()
    steps = [
        *importlib.import_module("wandb_governance_langchain.demo").steps(governance, found, RECORDED),
        *importlib.import_module("wandb_governance_llama_index.demo").steps(instrumentation, found, RECORDED),
    ]
    with recorded_answers(record=True):
        for step in steps:
            try:
                await step.run()
            except PolicyViolation:
                continue


def main() -> None:
    """Write ``answers.yaml``."""
    ANSWERS.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as home:
        asyncio.run(_record(Path(home)))


if __name__ == "__main__":
    main()
