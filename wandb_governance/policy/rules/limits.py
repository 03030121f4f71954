"""``cost-tracker`` (older name ``cost-limit``): budgets by run, team, project, model and period."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from wandb_governance.errors import DetectorError
from wandb_governance.policy.budget import Budget, BudgetStore, Dimension, Period, default_path
from wandb_governance.policy.rules.strict_options import RuleOptions, read_options
from wandb_governance.policy.verdict import Action, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_governance.policy.rule import RuleContext

HARD, SOFT = "BUDGET", "SOFT_BUDGET"
_Usd = Annotated[Decimal, Field(ge=0, strict=False)]


class BudgetOptions(RuleOptions):
    """One budget of the document."""

    limit_usd: _Usd
    period: Period = "month"
    by: tuple[Dimension, ...] = ()
    hard: bool = True
    only: dict[Dimension, str] = Field(default_factory=dict)
    """Dimension to glob: ``{model: gpt-4*}``."""


class CostOptions(RuleOptions):
    """Options: either ``budgets``, or one budget written flat."""

    budgets: tuple[BudgetOptions, ...] = ()
    limit_usd: _Usd | None = None
    soft_limit_usd: _Usd | None = None
    period: Period = "month"
    by: tuple[Dimension, ...] = ()
    path: str | None = None
    """SQLite file of the accounts; by default ``budget.sqlite`` in the data folder."""

    @model_validator(mode="after")
    def _something(self) -> CostOptions:
        flat = self.limit_usd is not None or self.soft_limit_usd is not None
        if flat == bool(self.budgets):
            raise ValueError("give either budgets, or limit_usd and soft_limit_usd")
        return self

    def all(self) -> tuple[Budget, ...]:
        """Every budget."""
        if self.budgets:
            return tuple(
                Budget(limit_usd=b.limit_usd, period=b.period, by=b.by, hard=b.hard, only=tuple(b.only.items()))
                for b in self.budgets
            )
        flat = ((self.limit_usd, True), (self.soft_limit_usd, False))
        return tuple(
            Budget(limit_usd=limit, period=self.period, by=self.by, hard=hard)
            for limit, hard in flat
            if limit is not None
        )


class CostTracker:
    """Stops calls whose budget is used up."""

    name = "cost-tracker"
    version = "1"

    def __init__(self, budgets: Sequence[Budget], store: BudgetStore) -> None:
        self.budgets = tuple(budgets)
        self.store = store

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> CostTracker:
        """Read the rule's options and open its accounts.

        Raises:
            PolicyDocumentError: An option is unknown or wrong.
        """
        read = read_options(CostOptions, options)
        return cls(read.all(), open_store(read.path or str(default_path())))

    def find(self, text: str, context: RuleContext) -> Sequence[Finding]:
        """One finding for each budget that is used up.

        Raises:
            DetectorError: The accounts can't be read.
        """
        try:
            standings = self.store.standing(self.budgets, context)
        except sqlite3.Error as error:
            raise DetectorError(f"the budget file can't be read: {error}", rule=self.name) from error
        found = []
        for standing in standings:
            spent = max(standing.spent_usd + standing.held_usd, context.spent_usd or Decimal(0))
            if spent >= standing.budget.limit_usd:
                entity = HARD if standing.budget.hard else SOFT
                explanation = f"the {standing.budget} is used up: {spent.normalize():f} USD"
                found.append(
                    Finding(rule="cost.budget", entity=entity, start=0, end=0, score=1.0, explanation=explanation)
                )
        return found

    def action_of(self, findings: Sequence[Finding], asked: Action) -> Action:
        """A soft budget alone only flags."""
        return Action.FLAG if all(f.entity == SOFT for f in findings) else asked


@lru_cache(maxsize=16)
def open_store(path: str) -> BudgetStore:
    """The accounts in a file, opened once in a process."""
    return BudgetStore(path)
