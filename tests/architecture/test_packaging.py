"""What is shipped, what importing costs, and that nothing private is committed."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

import wandb_governance

ROOT = Path(__file__).parents[2]
MEMBERS = ("langchain", "llama_index", "openai")


def _project(path: Path) -> dict[str, object]:
    return tomllib.loads(path.read_text(encoding="utf-8"))["project"]  # type: ignore[no-any-return]


def test_the_distributions_move_together() -> None:
    """One version in the four projects and in the package; adapters pin the core exactly."""
    version = _project(ROOT / "pyproject.toml")["version"]
    assert wandb_governance.__version__ == version
    for member in MEMBERS:
        project = _project(ROOT / "integrations" / member / "pyproject.toml")
        assert project["version"] == version
        assert f"wandb-governance=={version}" in project["dependencies"]  # type: ignore[operator]


def test_tools_are_configured_once() -> None:
    """A member's project file holds no tool configuration but its build's."""
    for member in MEMBERS:
        data = tomllib.loads((ROOT / "integrations" / member / "pyproject.toml").read_text(encoding="utf-8"))
        assert set(data["tool"]) <= {"hatch"}


def test_importing_is_quick_and_light() -> None:
    """``import wandb_governance`` loads no W&B and no framework; three tries, the best counts."""
    code = (
        "import sys, time; t = time.perf_counter(); import wandb_governance; print(time.perf_counter() - t);"
        "heavy = {'wandb', 'langchain', 'langchain_core', 'llama_index', 'openai', 'tiktoken', 'numpy', 'pydantic'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    best = min(
        float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
        for _ in range(3)
    )
    assert best < 0.3


def test_the_command_line_starts_quickly_and_imports_lazily() -> None:
    """``--help`` loads no command's module."""
    code = (
        "import sys; from wandb_governance.cli.main import app\n"
        "try: app.main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'wandb', 'numpy', 'starlette'} & set(sys.modules)"
    )
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert time.perf_counter() - started < 10


def _tracked() -> list[Path]:
    try:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listed.splitlines()]


_PRIVATE = re.compile(
    rb"/work/(?:main|build|shared)|/root/\.pyenv|pypi\.(?:org|python)|files\.pythonhosted|registry\.npmjs|deb\.debian\.org"
)


def test_no_file_names_a_machine_path_or_a_package_index() -> None:
    """The repository speaks of the project alone."""
    here = Path(__file__)
    for path in _tracked():
        if path == here or not path.is_file() or path.suffix in {".npz", ".png", ".onnx"}:
            continue
        found = _PRIVATE.search(path.read_bytes())
        assert found is None, f"{path.relative_to(ROOT)}: {found.group()!r}"


def test_no_lock_file_is_tracked() -> None:
    """``uv.lock`` names hosts."""
    assert not [path for path in _tracked() if path.name in {"uv.lock", "poetry.lock", "pylock.toml"}]
