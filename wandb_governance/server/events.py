"""What happened on the server that an automation may be waiting for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened, named as the automation API names it.

    ``kind`` is one of CREATE_ARTIFACT, LINK_MODEL, UNLINK_ARTIFACT, ADD_ARTIFACT_ALIAS, ADD_ARTIFACT_TAG,
    REMOVE_ARTIFACT_TAG, ADD_COLLECTION_TAG, REMOVE_COLLECTION_TAG, RUN_HISTORY (rows arrived; a subscriber evaluates
    RUN_METRIC, RUN_METRIC_CHANGE and RUN_METRIC_ZSCORE on them) and RUN_STATE.
    """

    kind: str
    project_id: int
    """The project it happened in; for a link, that of the portfolio."""

    collection_id: int | None = None
    artifact_id: int | None = None
    run_id: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """More: ``alias``, ``tag``, ``state``, ``rows`` (a list of decoded history rows), ``version_index``."""
