"""Executes one operation over node types.

A field that no resolver knows answers null and is counted in ``ctx.services.unresolved``: the SDK adds fields between
releases, and a null is what its optional fields expect. The test suite fails on any count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphql.language import ast

from wandb_governance.server.graphql.document import Operation, literal
from wandb_governance.server.graphql.schema import MUTATION, QUERY, Args, Node, Row
from wandb_governance.server.problem import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wandb_governance.server.context import Context

MAX_DEPTH = 40
"""Levels of nesting; the deepest document of the SDK has 12."""

MAX_FIELDS = 500_000
"""Fields resolved for one request; a page of 5,000 artifact files needs 60,000."""


def execute(operation: Operation, ctx: Context) -> Row:
    """The ``data`` of the answer.

    Raises:
        BadRequest: The document is too deep, names a fragment that it lacks, or a mutation does not exist.
        Problem: A resolver refused.
    """
    root = Node(type=MUTATION if operation.mutation else QUERY, row={})
    return _Execution(operation, ctx).select(root, operation.selection, 0)


def root_fields(operation: Operation) -> Iterator[tuple[str, Args]]:
    """Name and arguments of every root field, those inside fragments too."""
    execution = _Execution(operation, None)
    root = Node(type=MUTATION if operation.mutation else QUERY, row={})
    for field in execution.fields_of(root, operation.selection, 0):
        yield field.name.value, execution.arguments(field)


class _Execution:
    def __init__(self, operation: Operation, ctx: Any) -> None:
        self._operation = operation
        self._ctx: Context = ctx
        self._fields = 0

    def select(self, value: Node | Row, selection: ast.SelectionSetNode, depth: int) -> Row:
        if depth > MAX_DEPTH:
            raise BadRequest(f"the document is nested deeper than {MAX_DEPTH} levels")
        answer: Row = {}
        for field in self.fields_of(value, selection, depth):
            key = field.alias.value if field.alias else field.name.value
            resolved = self._resolve(value, field)
            finished = self._finish(resolved, field.selection_set, depth)
            if isinstance(answer.get(key), dict) and isinstance(finished, dict):
                answer[key] = _merge(answer[key], finished)
            else:
                answer[key] = finished
        return answer

    def fields_of(self, value: Node | Row, selection: ast.SelectionSetNode, depth: int) -> Iterator[ast.FieldNode]:
        if depth > MAX_DEPTH:
            raise BadRequest(f"the document is nested deeper than {MAX_DEPTH} levels")
        for part in selection.selections:
            # counted here, so that fragments which only name each other are bounded as well
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise BadRequest(f"the request selects over {MAX_FIELDS} fields; ask for smaller pages")
            if not self._included(part):
                continue
            if isinstance(part, ast.FieldNode):
                yield part
                continue
            condition: ast.NamedTypeNode | None
            fragment: ast.SelectionSetNode
            if isinstance(part, ast.FragmentSpreadNode):
                definition = self._operation.fragments.get(part.name.value)
                if definition is None:
                    raise BadRequest(f"the document has no fragment {part.name.value!r}")
                condition, fragment = definition.type_condition, definition.selection_set
            elif isinstance(part, ast.InlineFragmentNode):
                condition, fragment = part.type_condition, part.selection_set
            else:
                continue
            if condition is None or _applies(value, condition.name.value):
                yield from self.fields_of(value, fragment, depth + 1)

    def _included(self, part: ast.SelectionNode) -> bool:
        for directive in part.directives or ():
            arguments = {a.name.value: literal(a.value, self._operation.variables) for a in directive.arguments or ()}
            if directive.name.value == "include" and not arguments.get("if"):
                return False
            if directive.name.value == "skip" and arguments.get("if"):
                return False
        return True

    def arguments(self, field: ast.FieldNode) -> Row:
        variables = self._operation.variables
        return {
            a.name.value: literal(a.value, variables)
            for a in field.arguments or ()
            if not (isinstance(a.value, ast.VariableNode) and a.value.name.value not in variables)
        }

    def _resolve(self, value: Node | Row, field: ast.FieldNode) -> object:
        name = field.name.value
        args = self.arguments(field)
        if isinstance(value, Node):
            if name == "__typename":
                return value.type.name
            resolver = value.type.resolvers.get(name)
            if value.type is MUTATION and not isinstance(args.get("input", {}), dict):
                raise BadRequest(f"the input of {name!r} must be an object")
            if resolver is not None:
                return resolver(value.row, args, self._ctx)
            if value.type is MUTATION:
                raise BadRequest(f"this server has no mutation {name!r}")
            self._ctx.services.unresolved[f"{value.type.name}.{name}"] += 1
            return None
        if name in value:
            found = value[name]
            return found(args) if callable(found) else found
        self._ctx.services.unresolved[f"{value.get('__typename', self._operation.name)}.{name}"] += 1
        return None

    def _finish(self, value: object, selection: ast.SelectionSetNode | None, depth: int) -> Any:
        if selection is None:
            return None if isinstance(value, Node) else value
        if isinstance(value, Node | dict):
            return self.select(value, selection, depth + 1)
        if isinstance(value, list | tuple):
            return [self._finish(item, selection, depth + 1) for item in value]
        return None


def _applies(value: Node | Row, condition: str) -> bool:
    if isinstance(value, Node):
        return condition in value.type.conditions
    return bool(value.get("__typename", condition) == condition)


def _merge(first: Row, second: Row) -> Row:
    merged = dict(first)
    for key, value in second.items():
        mine = merged.get(key)
        if isinstance(mine, dict) and isinstance(value, dict):
            merged[key] = _merge(mine, value)
        elif isinstance(mine, list) and isinstance(value, list) and len(mine) == len(value):
            both = zip(mine, value, strict=True)
            merged[key] = [_merge(a, b) if isinstance(a, dict) and isinstance(b, dict) else b for a, b in both]
        else:
            merged[key] = value
    return merged
