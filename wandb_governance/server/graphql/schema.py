"""Node types: which fields an object of the API has and who resolves each.

A module of an area declares its fields at import time::

    RUN = NodeType("Run")
    RUN.columns(displayName="display_name")

    @RUN.field("historyKeys")
    def history_keys(run, args, ctx): ...

Any other module may add fields to a type it imports. ``QUERY`` and ``MUTATION`` are the two roots.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb_governance.server.context import Context

Row = dict[str, Any]
"""One row of the store."""

Args = Mapping[str, Any]
"""Arguments of one field, variables already put in."""

Resolver = Callable[[Any, Args, "Context"], object]


class NodeType:
    """One object type of the API.

    Args:
        name: What ``__typename`` answers.
        interfaces: Type conditions besides ``name`` under which a fragment applies.
    """

    def __init__(self, name: str, *, interfaces: tuple[str, ...] = ()) -> None:
        self.name = name
        self.conditions = frozenset({name, *interfaces})
        self.resolvers: dict[str, Resolver] = {}

    def field(self, *names: str) -> Callable[[Resolver], Resolver]:
        """Register the decorated function as the resolver of ``names``."""

        def register(resolver: Resolver) -> Resolver:
            for name in names:
                if name in self.resolvers:
                    raise ValueError(f"{self.name}.{name} has a resolver already")
                self.resolvers[name] = resolver
            return resolver

        return register

    def columns(self, **mapping: str) -> None:
        """Register fields that are a column of the row: ``field="column"``."""
        for name, column in mapping.items():
            self.field(name)(partial(_column, column))

    def constants(self, **values: object) -> None:
        """Register fields that are the same for every object on this server, null included on purpose."""
        for name, value in values.items():
            self.field(name)(partial(_constant, value))

    def share(self, *others: NodeType) -> None:
        """Give every resolver of this type to ``others`` as well, where they have none of their own."""
        for other in others:
            for name, resolver in self.resolvers.items():
                other.resolvers.setdefault(name, resolver)

    def __call__(self, row: Row | None) -> Node | None:
        """The node of ``row``; None stays None."""
        return None if row is None else Node(type=self, row=row)


def _column(column: str, row: Row, _args: Args, _ctx: Context) -> object:
    return row[column]


def _constant(value: object, _row: Row, _args: Args, _ctx: Context) -> object:
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An object of the API: a row and its type."""

    type: NodeType
    """Resolves the fields."""

    row: Row
    """What the resolvers read."""


OWN_TRANSACTION: set[str] = set()
"""Mutations whose resolver opens its own transactions (``ctx.tx`` is None there), because it thinks for long between
reading and writing and must not keep other writers waiting."""

QUERY = NodeType("Query")
MUTATION = NodeType("Mutation")
