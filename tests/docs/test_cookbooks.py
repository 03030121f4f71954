"""Every cookbook: its notebook is its script, executed; executed again it shows the same."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).parents[2]


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("execute", ROOT / "cookbooks" / "execute.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


execute = _load()
LONGEST_CELL = {"promote_with_gates": 33, "run_the_gateway": 26, "trace_a_prediction": 26}
"""Lines of the longest cell of those that write a file for the reader to see; only ever to shrink."""
NAMES = [path.stem for path in execute.scripts()]


@pytest.mark.parametrize("name", NAMES)
def test_notebook_and_script_are_a_pair(name: str) -> None:
    """Same cells, in the same order, 8 to 15 with code, short ones."""
    script = jupytext.read(ROOT / "cookbooks" / f"{name}.py")
    notebook = nbformat.read(ROOT / "cookbooks" / f"{name}.ipynb", as_version=4)
    assert [cell.source for cell in script.cells] == [cell.source for cell in notebook.cells]
    code = [cell.source for cell in script.cells if cell.cell_type == "code"]
    assert 8 <= len(code) <= 15
    assert all(len(source.splitlines()) <= LONGEST_CELL.get(name, 20) for source in code)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_executed_again_it_shows_the_same(name: str) -> None:
    """The outputs in the repository are those of the code in the repository."""
    shown = execute.texts(nbformat.read(ROOT / "cookbooks" / f"{name}.ipynb", as_version=4))
    assert execute.texts(execute.executed(ROOT / "cookbooks" / f"{name}.py")) == shown
