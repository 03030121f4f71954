"""Draws texts from template files: slots in braces, alternatives in double brackets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_CHOICE = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
_SLOT = re.compile(r"\{(\w+)\}")
_CLOSE = re.compile(r"\}\}(?!\})")
_MAX_DEPTH = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """Families of templates over shared slots."""

    slots: Mapping[str, Sequence[str]]
    families: Mapping[str, Sequence[str]]

    @classmethod
    def load(cls, path: Path) -> Grammar:
        """Read a YAML file with ``slots``, ``extra_slots`` and ``families``."""
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        slots = {**document["slots"], **document.get("extra_slots", {})}
        return cls(
            slots={name: [str(item) for item in items] for name, items in slots.items()}, families=document["families"]
        )

    def draw(self, family: str, rng: random.Random) -> str:
        """One text of the family."""
        return self.fill(rng.choice(self.families[family]), rng)

    def fill(self, template: str, rng: random.Random) -> str:
        """Template with each slot and each alternative drawn; ``{{`` and ``}}`` are literal braces."""
        text = _CLOSE.sub("\x02", template.replace("{{", "\x01"))
        for _ in range(_MAX_DEPTH):
            drawn = _CHOICE.sub(lambda match: rng.choice(match.group(1).split("|")), text)
            drawn = _SLOT.sub(lambda match: rng.choice(self.slots[match.group(1)]), drawn)
            if drawn == text:
                break
            text = drawn
        text = re.sub(r" +([.,;:?!])", r"\1", text)
        return re.sub(r"(?<=\S)  +", " ", text).replace("\x01", "{").replace("\x02", "}").strip()
