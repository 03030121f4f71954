"""One process of a test: drives a promotion, and dies or waits at a step.

``driver.py '{"config": ..., "registry": "folder:PATH" or "wandb", "do": [[...], ...], "die_at": step, "wait_at": step,
"flag": file}'``; prints one JSON line per promotion.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from wandb_governance.errors import GovernanceError
from wandb_governance.registry.session import open_session


def main() -> None:
    wanted = json.loads(sys.argv[1])

    def on_step(step: str) -> None:
        if step == wanted.get("die_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        if step == wanted.get("wait_at"):
            flag = Path(wanted["flag"])
            flag.with_suffix(".reached").touch()
            while not flag.exists():
                time.sleep(0.01)

    registry = None
    kind, _, place = wanted["registry"].partition(":")
    if kind == "folder":
        sys.path.insert(0, str(Path(__file__).parent))
        from doubles import FolderRegistry

        registry = FolderRegistry(Path(place))
    if "start" in wanted:
        while time.time() < wanted["start"]:
            time.sleep(0.001)
    with open_session(Path(wanted["config"]), write=True, registry=registry, on_step=on_step) as session:
        for name, *arguments in wanted["do"]:
            try:
                if name == "recover":
                    result = [p.state.value for p in session.promoter.recover()]
                else:
                    result = session.promoter.promote(*arguments).state.value
            except GovernanceError as error:
                result = f"{type(error).__name__}: {error}"
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
