"""README, the column list and the command line agree with the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from wandb_governance.cli.main import app
from wandb_governance.export.schema_docs import render

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_list_of_columns_is_current() -> None:
    """``docs/tables.md`` is what the schema says."""
    assert (ROOT / "docs" / "tables.md").read_text(encoding="utf-8") == render()


def test_every_command_is_in_the_readme() -> None:
    """No command is hidden."""
    section = README.split("## Commands")[1].split("##")[0]
    for name in app.list_commands(None):  # type: ignore[arg-type]
        assert re.search(rf"\b{name}\b", section), name


@pytest.mark.parametrize("name", app.list_commands(None))  # type: ignore[arg-type]
def test_every_command_tells_how_it_is_used(name: str) -> None:
    """``--help`` works for every command that is listed."""
    done = subprocess.run(
        [sys.executable, "-m", "wandb_governance", name, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_links_of_the_readme_lead_somewhere() -> None:
    """Every relative link is a file or folder."""
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_files_of_the_setup_exist() -> None:
    """The two commands of the set-up name real files."""
    assert "pip install -r requirements/dev.txt" in README
    assert (ROOT / "requirements" / "dev.txt").exists()
    assert "tox run" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
