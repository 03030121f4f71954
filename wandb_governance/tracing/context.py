"""Who and what a call belongs to, carried by a context variable through threads and tasks."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """Facts about the caller that a framework does not know."""

    user: str | None = None
    """Id of the end user as the application knows it; written only as a pseudonym."""
    session: str | None = None
    """Id of the conversation; written only as a pseudonym."""
    tags: tuple[str, ...] = ()
    prompt_name: str | None = None
    prompt_version: str | None = None
    """Resolved version of the prompt template; never an alias alone."""
    team: str | None = None
    roles: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    """Resolved versions of what the call uses, such as ``{"index": "docs:v3", "code": "<commit>"}``."""


_EMPTY = CallContext()
_current: ContextVar[CallContext] = ContextVar("wandb_governance_call_context", default=_EMPTY)


def current_context() -> CallContext:
    """The context of the running code."""
    return _current.get()


@contextlib.contextmanager
def call_context(**facts: Any) -> Iterator[CallContext]:
    """Add facts for the calls inside the ``with`` block; they reach threads and tasks that copy the context.

    Args:
        **facts: Fields of ``CallContext``. Tags and versions add to what is there; the others replace it.
    """
    outer = _current.get()
    if "tags" in facts:
        facts["tags"] = (*outer.tags, *facts["tags"])
    if "versions" in facts:
        facts["versions"] = {**outer.versions, **facts["versions"]}
    made = replace(outer, **facts)
    token = _current.set(made)
    try:
        yield made
    finally:
        _current.reset(token)
