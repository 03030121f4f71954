"""Data and rules that several tests of the detectors share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wandb_governance.policy.rules.pii import PiiOptions, PiiRule
from wandb_governance.policy.rules.pii.catalogue import DEFAULT_STRUCTURED

if TYPE_CHECKING:
    from collections.abc import Callable

_SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_rows() -> Callable[[str], list[dict[str, Any]]]:
    """Rows of a set in the shared data folder that lies beside the checkout."""
    if not _SHARED.is_dir():
        pytest.skip("the shared data folder is not beside the checkout")

    def read(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (_SHARED / name / "data.jsonl").read_text(encoding="utf-8").splitlines()]

    return read


@pytest.fixture(scope="session")
def pattern_rule() -> PiiRule:
    """Every structured entity, no model."""
    return PiiRule(PiiOptions(entities=DEFAULT_STRUCTURED))


@pytest.fixture(scope="session")
def full_rule() -> PiiRule:
    """What a document without ``entities`` gets: structured entities and names."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tokenizers")
    return PiiRule()
