"""A GraphQL request as this server reads it: one operation, its fragments, its variables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from graphql import GraphQLError, OperationType, parse
from graphql.language import ast

from wandb_governance.server.problem import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TOKENS = 20_000
"""Tokens in one document; the largest of the SDK has under 1,000."""

MAX_DOCUMENT_CHARS = 400_000
"""Characters in one document. The SDK sends large values as variables, never inside the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation, ready to execute."""

    name: str
    """Its name in the document, or an empty string."""

    mutation: bool
    """True for a mutation."""

    selection: ast.SelectionSetNode
    """The root fields."""

    fragments: Mapping[str, ast.FragmentDefinitionNode]
    """Named fragments of the document."""

    variables: Mapping[str, Any]
    """Given variables and defaults."""


def read_operation(body: object) -> Operation:
    """The operation that a decoded request body asks for.

    Raises:
        BadRequest: The body is not a GraphQL request, or names an operation that is not in it.
    """
    if not isinstance(body, dict) or not isinstance(body.get("query"), str):
        raise BadRequest('the body must be a JSON object with a "query"')
    variables = body.get("variables")
    if variables is not None and not isinstance(variables, dict):
        raise BadRequest('"variables" must be a JSON object')
    document = _parsed(body["query"])
    operation = _pick(document, body.get("operationName") or None)
    if operation.operation == OperationType.SUBSCRIPTION:
        raise BadRequest("this server has no subscriptions")
    given = dict(variables or {})
    for definition in operation.variable_definitions or ():
        if definition.default_value is not None:
            given.setdefault(definition.variable.name.value, literal(definition.default_value, {}))
    return Operation(
        name=operation.name.value if operation.name else "",
        mutation=operation.operation == OperationType.MUTATION,
        selection=operation.selection_set,
        fragments={d.name.value: d for d in document.definitions if isinstance(d, ast.FragmentDefinitionNode)},
        variables=given,
    )


@lru_cache(maxsize=256)
def _parse_small(text: str) -> ast.DocumentNode:
    return parse(text, no_location=True, max_tokens=MAX_TOKENS)


def _parsed(text: str) -> ast.DocumentNode:
    if len(text) > MAX_DOCUMENT_CHARS:
        raise BadRequest(f"the GraphQL document is longer than {MAX_DOCUMENT_CHARS} characters")
    try:
        return _parse_small(text)
    except GraphQLError as error:
        raise BadRequest(f"the GraphQL document does not parse: {error.message}") from None
    except RecursionError:
        raise BadRequest("the GraphQL document is nested too deeply") from None


def _pick(document: ast.DocumentNode, name: str | None) -> ast.OperationDefinitionNode:
    # wandb.Api() sends operationName "" for "the only one"; read_operation has turned that into None
    operations = [d for d in document.definitions if isinstance(d, ast.OperationDefinitionNode)]
    if name is not None:
        operations = [o for o in operations if o.name is not None and o.name.value == name]
    if len(operations) != 1:
        raise BadRequest(f"the document must hold exactly one operation {name or ''!r}")
    return operations[0]


def literal(node: ast.ValueNode, variables: Mapping[str, Any]) -> Any:
    """The Python value of a literal; enums are their names, a variable that was not given is None."""
    match node:
        case ast.VariableNode():
            return variables.get(node.name.value)
        case ast.IntValueNode():
            return _integer(node.value)
        case ast.FloatValueNode():
            return float(node.value)
        case ast.StringValueNode() | ast.BooleanValueNode() | ast.EnumValueNode():
            return node.value
        case ast.ListValueNode():
            return [literal(item, variables) for item in node.values]
        case ast.ObjectValueNode():
            return {
                field.name.value: literal(field.value, variables)
                for field in node.fields
                if not _absent(field.value, variables)
            }
        case _:
            return None


def _integer(text: str) -> int:
    if len(text) > 20:
        raise BadRequest("an integer in the document has over 20 digits")
    return int(text)


def _absent(node: ast.ValueNode, variables: Mapping[str, Any]) -> bool:
    return isinstance(node, ast.VariableNode) and node.name.value not in variables
