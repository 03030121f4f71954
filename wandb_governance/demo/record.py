"""Record the model's answers anew: serve the model at the address in ``story.RECORDED``, then run this module."""

from __future__ import annotations

import asyncio
import importlib
import tempfile
from pathlib import Path

import yaml

from wandb_governance.demo.story import ANSWERS, POLICY, RECORDED, passages, recorded_answers
from wandb_governance.runtime import Governance
from wandb_governance.settings import Settings


def _policy(home: Path) -> Path:
    """The demo's policy without its detector of injections: it may learn to let more through than when this ran."""
    document = yaml.safe_load(POLICY.read_text(encoding="utf-8"))
    document["policies"]["chain"].remove("prompt-injection")
    del document["policies"]["policy"]["prompt-injection"]
    path = home / "policy.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


async def _record(home: Path) -> None:
    governance = Governance(policy=_policy(home), settings=Settings(home=home))
    instrumentation = importlib.import_module("wandb_governance_llama_index").instrument(governance=governance)
    found = passages()
    steps = [
        *importlib.import_module("wandb_governance_langchain.demo").steps(governance, found, RECORDED),
        *importlib.import_module("wandb_governance_llama_index.demo").steps(instrumentation, found, RECORDED),
    ]
    with recorded_answers(record=True):
        for step in steps:
            await step.run()


def main() -> None:
    """Write ``answers.yaml``."""
    ANSWERS.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as home:
        asyncio.run(_record(Path(home)))


if __name__ == "__main__":
    main()
