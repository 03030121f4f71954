"""The gateway's model-alias file: which exact version a model name means."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wandb_governance.registry.rollout.base import DeliveryError, Event

if TYPE_CHECKING:
    from wandb_governance.registry.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAlias:
    """Points a model name at the version, by replacing the file whole: a reader sees the old or the new one."""

    target: Target
    folder: Path

    def deliver(self, event: Event) -> str:
        """See ``Deliverer.deliver``."""
        assert self.target.file is not None
        assert self.target.model is not None
        path = self.folder / self.target.file
        entry = {
            "model": event.deployed_name,
            "source": event.source,
            "sha256": event.root,
            "promotion": event.promotion,
        }
        try:
            aliases = self._read(path)
            aliases[self.target.model] = entry
            _replace(path, json.dumps({"version": 1, "aliases": aliases}, indent=2, sort_keys=True) + "\n")
        except OSError as error:
            raise DeliveryError(f"can't write {path}: {error.strerror}") from error
        return f"{self.target.model} now means {event.deployed_name}"

    def _read(self, path: Path) -> dict[str, Any]:
        if not path.exists():
            return {}
        try:
            aliases: dict[str, Any] = json.loads(path.read_text())["aliases"]
        except (ValueError, KeyError, TypeError) as error:
            raise DeliveryError(f"{path} is no alias file", final=True) from error
        return aliases


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    Path(name).replace(path)
