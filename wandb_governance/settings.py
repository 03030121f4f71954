"""Every setting, once: unit, default, and the environment variable that sets it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from wandb_governance.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

ENV_PREFIX = "WANDB_GOVERNANCE_"
"""``WANDB_GOVERNANCE_`` and the upper-case name of a field is the variable that sets it."""

FsyncPolicy = Literal["always", "interval", "never"]
Scalars = Literal["per_call", "with_run_step", "off"]
DefaultRedaction = Literal["default", "off"]


def _default_home() -> Path:
    return Path(".wandb-governance")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one process. Read from the environment by ``Settings.from_env``."""

    home: Path = field(default_factory=_default_home)
    """Folder of journals, keys and budgets."""
    content_limit_chars: int = 32_768
    """Longest input or output that is kept, in code points; what is longer is cut, with its length and SHA-256."""
    fsync: FsyncPolicy = "interval"
    """When the journal is forced to the disk; ``interval`` is each look of the export thread.

    A killed process loses nothing under any of them; a power cut may."""
    segment_bytes: int = 64 * 1024 * 1024
    """Size from which a journal goes on in a new segment file."""
    export_interval_s: float = 2.0
    """Seconds between two looks of the export worker at the journal."""
    live_interval_s: float = 15.0
    """Seconds before the first increment of a live table; each later one waits 15 % longer."""
    table_shard_rows: int = 10_000
    """Rows of one consolidated table; W&B shows no more of a table in a run."""
    scalars: Scalars = "per_call"
    """``per_call`` logs each model call as a step; ``with_run_step`` rides on the run's own steps; or ``off``."""
    redaction: DefaultRedaction = "default"
    """``default`` hides secrets and pattern PII in everything written, whatever the policy; ``off`` does not."""
    flush_timeout_s: float = 60.0
    """Seconds that closing waits for W&B before it leaves the rest to ``wandb-governance recover``."""
    abandon_after_s: float = 3600.0
    """Seconds after which a span that never ended is recorded as ``abandoned``."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value <= 0:
                raise SettingsError(f"must be above 0, not {value!r}", key=item.name)
        if self.table_shard_rows > _MAX_SHARD_ROWS:
            raise SettingsError(f"W&B keeps at most {_MAX_SHARD_ROWS} rows of a table", key="table_shard_rows")
        object.__setattr__(self, "home", Path(self.home).absolute())
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise SettingsError(f"must be one of {', '.join(allowed)}, not {getattr(self, name)!r}", key=name)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Settings from the environment; a keyword wins over its variable.

        Raises:
            SettingsError: A value has the wrong type or range; names the variable.
        """
        source = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for item in fields(cls):
            raw = source.get(ENV_PREFIX + item.name.upper())
            if raw is not None and item.name not in overrides:
                values[item.name] = _parse(item.name, raw)
        return cls(**values, **overrides)


_MAX_SHARD_ROWS = 200_000

_CHOICES: dict[str, tuple[str, ...]] = {
    "fsync": get_args(FsyncPolicy),
    "scalars": get_args(Scalars),
    "redaction": get_args(DefaultRedaction),
}

_PARSERS: dict[str, type] = {"home": Path, "content_limit_chars": int, "segment_bytes": int, "table_shard_rows": int}


def _parse(name: str, raw: str) -> Any:
    if name in _CHOICES:
        return raw
    kind = _PARSERS.get(name, float)
    try:
        return kind(raw)
    except ValueError:
        raise SettingsError(f"{raw!r} is not a {kind.__name__}", key=ENV_PREFIX + name.upper()) from None
