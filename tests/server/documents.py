"""The GraphQL documents of the installed SDK: its generated Python modules and the strings of its Go binary."""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import lru_cache
from pathlib import Path

from graphql import GraphQLError, parse
from graphql.language.ast import FragmentDefinitionNode, FragmentSpreadNode, OperationDefinitionNode
from graphql.language.visitor import Visitor, visit

_START = re.compile(r"^(?:query|mutation|fragment) (\w+)", re.MULTILINE)


@lru_cache(maxsize=1)
def sdk_documents() -> dict[str, list[str]]:
    """Documents by operation name, fragments included; an operation may have one of each client."""
    spec = importlib.util.find_spec("wandb")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    found: dict[str, list[str]] = {}
    workspaces = root.parent / "wandb_workspaces"
    paths = [*root.rglob("_generated/operations.py"), *(root / "apis" / "public").glob("*.py")]
    for path in sorted([*paths, root / "sdk" / "verify" / "verify.py", *workspaces.rglob("*.py")]):
        for text in _python_strings(path):
            _add(found, text)
    for text in _binary_documents(root / "bin" / "wandb-core"):
        _add(found, text)
    return found


def _python_strings(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [text for text in strings if re.search(r"\b(query|mutation) \w+", text) and "{" in text]


def _binary_documents(path: Path) -> list[str]:
    data = path.read_bytes()
    pieces: dict[str, str] = {}
    for match in re.finditer(rb"(?:query|mutation|fragment) \w+ (?:\(\$|\{|on \w+ \{)", data):
        text = _balanced(data[match.start() : match.start() + 20_000])
        name = _START.match(text)
        if name:
            pieces.setdefault(text.split(" ", 1)[0] + " " + name[1], text)
    fragments = {key.split(" ")[1]: text for key, text in pieces.items() if key.startswith("fragment ")}
    return [_with_fragments(text, fragments) for key, text in pieces.items() if not key.startswith("fragment ")]


def _balanced(data: bytes) -> str:
    depth = 0
    for position, byte in enumerate(data):
        if byte == ord("{"):
            depth += 1
        elif byte == ord("}"):
            depth -= 1
            if depth == 0:
                return data[: position + 1].decode("utf-8", "replace")
    return ""


def _with_fragments(text: str, fragments: dict[str, str]) -> str:
    used: dict[str, str] = {}
    queue = re.findall(r"\.\.\. ?(\w+)", text)
    while queue:
        name = queue.pop()
        if name in fragments and name not in used:
            used[name] = fragments[name]
            queue += re.findall(r"\.\.\. ?(\w+)", fragments[name])
    return "\n".join([text, *used.values()])


def _add(found: dict[str, list[str]], text: str) -> None:
    text = text.replace("_PROJECT_QUERY_", "project { id name entity { id name } }")
    try:
        document = parse(text)
    except GraphQLError:
        return
    names = [d.name.value for d in document.definitions if isinstance(d, OperationDefinitionNode) and d.name]
    defined = {d.name.value for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    if len(names) == 1 and _spreads(text) <= defined and text not in found.get(names[0], []):
        found.setdefault(names[0], []).append(text)


def _spreads(text: str) -> set[str]:
    names: set[str] = set()

    class Collect(Visitor):
        def enter_fragment_spread(self, node: FragmentSpreadNode, *_: object) -> None:
            names.add(node.name.value)

    visit(parse(text), Collect())
    return names
