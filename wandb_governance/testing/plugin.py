"""pytest plugin: the embedded W&B server as a fixture.

``wandb_server`` starts one real server process for the session, with a temporary data directory, when a test first asks
for it. It sets nothing: pass ``wandb_server.env`` to a process, or ask for ``wandb_env``, which sets the variables for
the length of one test.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wandb_governance.server.process import RunningServer


@pytest.fixture(scope="session")
def wandb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A running W&B server: ``url``, ``api_key``, ``pid``, ``data_dir`` and ``env``."""
    from wandb_governance.server.process import start_in_background, stop
    from wandb_governance.server.settings import ServerSettings

    data_dir = Path(tmp_path_factory.mktemp("wandb-server"))
    settings = ServerSettings(data_dir=data_dir, port=0)
    running = start_in_background(settings, ["--port", "0", "--data-dir", str(data_dir)])
    yield running
    stop(data_dir)


@pytest.fixture
def wandb_env(wandb_server: RunningServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """``WANDB_BASE_URL``, ``WANDB_API_KEY`` and folders of this test's own, set while the test runs."""
    env = {
        **wandb_server.env,
        "WANDB_DIR": str(tmp_path),
        "WANDB_CACHE_DIR": str(tmp_path / "wandb-cache"),
        "WANDB_DATA_DIR": str(tmp_path / "wandb-data"),
        "WANDB_CONFIG_DIR": str(tmp_path / "wandb-config"),
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    for name in ("WANDB_MODE", "WANDB_ENTITY", "WANDB_PROJECT", "WANDB_RUN_ID", "WANDB_SWEEP_ID"):
        monkeypatch.delenv(name, raising=False)
    return env
