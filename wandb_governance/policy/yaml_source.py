"""YAML that remembers where each key stands, so that an error can name file, line and key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from wandb_governance.errors import PolicyDocumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

KeyPath: TypeAlias = "tuple[str | int, ...]"

_MAX_NODES = 50_000
_MAX_DEPTH = 40
_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a key was written."""

    file: str | None
    line: int
    """1-based."""


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlSource:
    """A YAML document as plain values, and the place of every key."""

    value: Any
    """``dict``, ``list``, ``str``, ``int``, ``float``, ``bool`` or None, nested."""
    places: Mapping[KeyPath, Place]
    file: str | None = None

    def place(self, path: KeyPath) -> Place | None:
        """Place of ``path`` or of its nearest parent that was written."""
        for length in range(len(path), -1, -1):
            found = self.places.get(path[:length])
            if found is not None:
                return found
        return None

    def error(self, path: KeyPath, message: str) -> PolicyDocumentError:
        """An error that points at ``path``."""
        place = self.place(path)
        return PolicyDocumentError(
            message,
            file=place.file if place else self.file,
            line=place.line if place else None,
            key=dotted(path) or None,
        )


def dotted(path: KeyPath) -> str:
    """``("a", 0, "b")`` as ``a[0].b``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def read_yaml(path: str | Path) -> YamlSource:
    """Read one file.

    Raises:
        PolicyDocumentError: The file can't be read, is not YAML, repeats a key, or is too large.
    """
    file = Path(path)
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise PolicyDocumentError(f"can't be read: {error.strerror}", file=file) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PolicyDocumentError("is not UTF-8", file=file, line=line) from error
    return parse_yaml(text, file=str(file))


def parse_yaml(text: str, *, file: str | None = None) -> YamlSource:
    """Parse YAML 1.1 with the safe types only.

    Raises:
        PolicyDocumentError: Not YAML, a repeated key, a key that is no string, or a document that is too large.
    """
    if len(text) > _MAX_BYTES:
        raise PolicyDocumentError(f"is larger than {_MAX_BYTES} characters", file=file)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        builder = _Builder(file)
        value = builder.build(node, ()) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise PolicyDocumentError(
            error.problem or "is not YAML", file=file, line=mark.line + 1 if mark else None
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise PolicyDocumentError(f"is not YAML: {error}", file=file) from error
    return YamlSource(value=value, places=builder.places, file=file)


class _Builder:
    def __init__(self, file: str | None) -> None:
        self._file = file
        self._scalars = yaml.SafeLoader("")
        self._nodes = 0
        self.places: dict[KeyPath, Place] = {}

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES or len(path) > _MAX_DEPTH:
            limits = f"{_MAX_NODES} nodes or {_MAX_DEPTH} levels"
            raise PolicyDocumentError(f"has more than {limits} once its aliases are followed", file=self._file)
        self.places.setdefault(path, Place(file=self._file, line=node.start_mark.line + 1))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*path, index)) for index, child in enumerate(node.value)]
        return self._scalars.construct_object(node)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise PolicyDocumentError("merge keys (<<) are not supported", file=self._file, line=line)
            key = self._scalars.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise PolicyDocumentError(f"the key {key!r} is no text: quote it", file=self._file, line=line)
            if key in result:
                where = dotted((*path, key))
                raise PolicyDocumentError("is given twice", file=self._file, line=line, key=where)
            self.places[(*path, key)] = Place(file=self._file, line=line)
            result[key] = self.build(value_node, (*path, key))
        return result
