"""ARCHITECTURE.md tells the truth: its table is the enforced one, and each of its stops exists."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_the_table_of_packages_is_the_enforced_one() -> None:
    """The rows and their order are those of the import contract."""
    section = PAGE.split("## Packages")[1].split("##")[0]
    rows = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in section.splitlines() if line.startswith("| `")]
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = config["tool"]["importlinter"]["contracts"][0]
    layers = [re.findall(r"\w+", layer) for layer in contract["layers"]]
    assert rows == layers[1:]


def test_every_package_has_a_row() -> None:
    """A new package can't be forgotten."""
    section = PAGE.split("## Packages")[1].split("##")[0]
    for path in (ROOT / "wandb_governance").iterdir():
        name = path.stem
        if name.startswith("__") or path.suffix not in {"", ".py"}:
            continue
        assert f"`{name}`" in section, name


def test_each_stop_of_a_call_exists() -> None:
    """``file: symbol`` names a class, function or constant of that file."""
    stops = re.findall(r"`([\w/.]+\.py): (\w+)`", PAGE)
    assert len(stops) >= 10
    for file, symbol in stops:
        names: set[str] = set()
        for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                names.add(node.name)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names.update(target.id for target in targets if isinstance(target, ast.Name))
        assert symbol in names, f"{file}: {symbol}"
