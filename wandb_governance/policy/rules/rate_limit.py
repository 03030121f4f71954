"""``rate-limit``: requests per minute by user, team, key or model."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from wandb_governance.errors import DetectorError
from wandb_governance.policy.budget import BudgetStore, Dimension, default_path, dimension_of
from wandb_governance.policy.rules.limits import open_store
from wandb_governance.policy.rules.strict_options import RuleOptions, read_options
from wandb_governance.policy.verdict import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_governance.policy.rule import RuleContext

_MINUTE_NS = 60 * 10**9


class RateOptions(RuleOptions):
    """Options of ``rate-limit``."""

    requests_per_minute: Annotated[float, Field(gt=0)]
    burst: Annotated[int, Field(ge=1)] | None = None
    """Requests at once; by default as many as a minute has."""
    by: tuple[Dimension, ...] = ("key", "user")
    path: str | None = None
    """SQLite file that all processes share; by default ``budget.sqlite`` in the data folder."""


class RateLimit:
    """Refuses what comes too fast."""

    name = "rate-limit"
    version = "1"

    def __init__(self, options: RateOptions, store: BudgetStore) -> None:
        self._options = options
        self._store = store
        self._interval_ns = int(_MINUTE_NS / options.requests_per_minute)
        self._burst = options.burst or max(1, int(options.requests_per_minute))

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> RateLimit:
        """Read the rule's options.

        Raises:
            PolicyDocumentError: An option is unknown or wrong.
        """
        read = read_options(RateOptions, options)
        return cls(read, open_store(read.path or str(default_path())))

    def find(self, text: str, context: RuleContext) -> Sequence[Finding]:
        """Counts one request; a finding where it comes too early.

        Raises:
            DetectorError: The counters can't be read.
        """
        who = "|".join(f"{name}={dimension_of(context, name) or ''}" for name in self._options.by)
        account = f"rate|{self._options.requests_per_minute}|{who}"
        try:
            wait_ns = self._store.admit(account, interval_ns=self._interval_ns, burst=self._burst)
        except sqlite3.Error as error:
            raise DetectorError(f"the counters can't be read: {error}", rule=self.name) from error
        if not wait_ns:
            return ()
        explanation = (
            f"more than {self._options.requests_per_minute:g} requests a minute; try again in {wait_ns / 1e9:.1f} s"
        )
        return (Finding(rule="rate.requests", entity="RATE_LIMIT", start=0, end=0, score=1.0, explanation=explanation),)
