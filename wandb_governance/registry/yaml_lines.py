"""YAML whose values know their line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from wandb_governance.errors import GovernanceFileError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_Path = tuple[str | int, ...]
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedDocument:
    """A parsed document and the line of each of its keys."""

    file: str
    value: Any
    lines: dict[_Path, int] = field(repr=False)
    """1-based line of each key or list item, by path."""

    def line_of(self, path: Sequence[str | int]) -> int:
        """Line of the path, or of its nearest parent that stands in the file."""
        wanted = tuple(path)
        while wanted and wanted not in self.lines:
            wanted = wanted[:-1]
        return self.lines.get(wanted, 1)


def load_marked(path: Path) -> MarkedDocument:
    """Read a YAML file.

    Raises:
        GovernanceFileError: It can't be read, is larger than 1 MiB, is not YAML, repeats a key or uses an alias.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GovernanceFileError(f"can't be read: {error}", file=path) from error
    if len(text) > _MAX_BYTES:
        raise GovernanceFileError("is larger than 1 MiB", file=path)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise GovernanceFileError(f"is not YAML: {error.problem}", file=path, line=line) from error
    if node is None:
        raise GovernanceFileError("is empty", file=path, line=1)
    reader = _Reader(file=str(path), text=text)
    return MarkedDocument(file=str(path), value=reader.read(node, ()), lines=reader.lines)


class _Reader:
    def __init__(self, *, file: str, text: str) -> None:
        self._file = file
        self._loader = yaml.SafeLoader(text)
        self._seen: set[int] = set()
        self.lines: dict[_Path, int] = {}

    def read(self, node: yaml.Node, path: _Path) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._loader.construct_object(node)
        if id(node) in self._seen:
            raise self._error("uses a YAML alias; write the value out", node, path)
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        assert isinstance(node, yaml.SequenceNode)
        return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, path: _Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error("a key must be plain text", key_node, path)
            if key in result:
                raise self._error("stands twice", key_node, (*path, key))
            self.lines[*path, key] = key_node.start_mark.line + 1
            result[key] = self.read(value_node, (*path, key))
        return result

    def _error(self, message: str, node: yaml.Node, path: _Path) -> GovernanceFileError:
        where = ".".join(str(part) for part in path) or None
        return GovernanceFileError(message, file=self._file, line=node.start_mark.line + 1, key=where)
