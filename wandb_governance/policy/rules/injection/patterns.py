"""Shapes of instructions to a model, each with the words that explain it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_HITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One kind of phrase."""

    id: str
    """Part of a rule id, such as ``override``."""
    meaning: str
    """What it is, for a reader of a verdict."""
    pattern: re.Pattern[str]
    """Matches lower-cased text in linear time: all gaps are bounded."""


@lru_cache(maxsize=1)
def shapes() -> tuple[Shape, ...]:
    """The shapes of ``data/injection/shapes.toml``, in the order of their feature columns."""
    return _read("shape")


@lru_cache(maxsize=1)
def signatures() -> tuple[Shape, ...]:
    """Phrases that hardly ever stand in ordinary text unless they are spoken about; they are no features."""
    return _read("signature")


def _read(table: str) -> tuple[Shape, ...]:
    source = files("wandb_governance.policy") / "data" / "injection" / "shapes.toml"
    document = tomllib.loads(source.read_text(encoding="utf-8"))
    found = []
    for entry in document[table]:
        pattern = entry["pattern"]
        for name, fragment in document["fragments"].items():
            pattern = pattern.replace(f"<{name}>", fragment)
        found.append(Shape(id=entry["id"], meaning=entry["meaning"], pattern=re.compile(pattern)))
    return tuple(found)


def find_shapes(lowered: str, known: tuple[Shape, ...]) -> Iterator[tuple[int, int, int]]:
    """Column, start and end of each of the known shapes in a lower-cased text; at most 32 of each."""
    for column, shape in enumerate(known):
        for count, match in enumerate(shape.pattern.finditer(lowered)):
            if count >= _MOST_HITS:
                break
            yield column, match.start(), match.end()
