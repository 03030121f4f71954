"""Pages: ``{totalCount, pageInfo{endCursor hasNextPage}, edges[{node cursor}]}``."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from wandb_governance.server.problem import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wandb_governance.server.graphql.schema import Args, Row

MAX_PAGE = 10_000
"""Nodes in one page; the SDK's largest page is 5,000 artifact files."""

_PREFIX = "o:"


def page_bounds(args: Args, *, default: int = 50) -> tuple[int, int]:
    """Offset and size of the page that ``first`` and ``after`` ask for."""
    first = args.get("first")
    if first is None:
        first = default
    if not isinstance(first, int) or isinstance(first, bool) or first < 0:
        raise BadRequest('"first" must be an integer of at least 0')
    return offset_of(args.get("after")), min(first, MAX_PAGE)


def offset_of(cursor: Any) -> int:
    """How many nodes precede the page after ``cursor``."""
    if not cursor:
        return 0
    try:
        text = base64.b64decode(str(cursor), validate=True).decode("ascii")
        offset = int(text.removeprefix(_PREFIX))
    except (ValueError, binascii.Error):
        raise BadRequest(f"{str(cursor)[:40]!r} is not a cursor of this server") from None
    if not text.startswith(_PREFIX) or not 0 <= offset < 2**62:
        raise BadRequest(f"{str(cursor)[:40]!r} is not a cursor of this server")
    return offset


def cursor_of(offset: int) -> str:
    """The cursor behind which the node at ``offset`` (0-based) comes next."""
    return base64.b64encode(f"{_PREFIX}{offset}".encode()).decode()


def page(nodes: Sequence[object], offset: int, total: int, *, extra: Callable[[Any], Row] | None = None) -> Row:
    """A connection whose ``nodes`` start at ``offset`` of ``total``.

    Args:
        nodes: The nodes of this page.
        offset: 0-based position of the first.
        total: Nodes on all pages.
        extra: Further fields of a node's edge.
    """
    end = offset + len(nodes)
    edges = [
        {"node": node, "cursor": cursor_of(offset + i + 1), **(extra(node) if extra else {})}
        for i, node in enumerate(nodes)
    ]
    return {
        "totalCount": total,
        "pageInfo": {
            "__typename": "PageInfo",
            "endCursor": cursor_of(end) if nodes else None,
            "hasNextPage": end < total,
            "hasPreviousPage": offset > 0,
            "startCursor": cursor_of(offset) if nodes else None,
        },
        "edges": edges,
    }


def connection(nodes: Sequence[object], args: Args | None = None, *, default: int = 50) -> Row:
    """A connection over ``nodes``, cut to the page that ``args`` asks for; all of them without ``args``."""
    if args is None:
        return page(nodes, 0, len(nodes))
    offset, size = page_bounds(args, default=default)
    return page(nodes[offset : offset + size], offset, len(nodes))
