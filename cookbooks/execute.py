"""Make the notebook beside a script: ``python cookbooks/execute.py 02_trace_llama_index``, or all with no name.

The script is the source; the notebook shows what it prints.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
SECONDS = 300
"""Longest time for one cell."""


def scripts() -> list[Path]:
    """Every cookbook."""
    return sorted(path for path in HERE.glob("*.py") if path.name != "execute.py")


def executed(script: Path) -> nbformat.NotebookNode:
    """The notebook of a script with its outputs, run in a fresh folder with W&B silent and offline."""
    notebook = jupytext.read(script)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    with tempfile.TemporaryDirectory() as folder:
        quiet = {
            "WANDB_MODE": "offline",
            "WANDB_SILENT": "true",
            "WANDB_DIR": folder,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_GOVERNANCE_HOME": f"{folder}/governance",
            "PYTHONWARNINGS": "ignore",
            "COLUMNS": "110",
        }
        before = dict(os.environ)
        os.environ.update(quiet)
        try:
            client = NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": folder}})
            client.execute()
        finally:
            os.environ.clear()
            os.environ.update(before)
    for cell in notebook.cells:
        cell.get("metadata", {}).pop("execution", None)
    return notebook


def texts(notebook: nbformat.NotebookNode) -> list[str]:
    """What each cell prints or shows as text, in order."""
    shown = []
    for cell in notebook.cells:
        parts = []
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stdout":
                parts.append(output.text)
            elif output.output_type in {"execute_result", "display_data"}:
                parts.append(output.data.get("text/plain", ""))
        shown.append("".join(parts))
    return shown


def main() -> None:
    """Execute and write."""
    names = set(sys.argv[1:])
    for script in scripts():
        if not names or script.stem in names:
            nbformat.write(executed(script), script.with_suffix(".ipynb"))


if __name__ == "__main__":
    main()
