"""What a call may cost: estimated, and reserved on every budget before it goes out."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import PricingError
from wandb_governance.gateway.wire import NO_RETRY, WireError
from wandb_governance.policy.budget import Budget, BudgetExceededError

if TYPE_CHECKING:
    from wandb_governance.gateway.deployment import Deployment
    from wandb_governance.gateway.records import CallJournal, CallRecord
    from wandb_governance.policy.rule import RuleContext

_GUESSED_OUTPUT_TOKENS = 1024
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_CHARS_PER_TOKEN = 4


def estimate_usd(body: dict[str, Any], size: int, record: CallRecord, journal: CallJournal) -> Decimal:
    """About what a call will cost, from its length and the longest answer it allows; 0 where no price is known.

    Args:
        body: The request.
        size: Length of the request in characters.
        record: Whose model and provider are priced.
        journal: Knows the prices.
    """
    most = next((body[name] for name in _LIMITS if name in body), None)
    usage = {
        "prompt_tokens": size // _CHARS_PER_TOKEN + 1,
        "completion_tokens": most if isinstance(most, int) else _GUESSED_OUTPUT_TOKENS,
    }
    try:
        return journal.cost_of(record, usage) or Decimal(0)
    except PricingError:
        return Decimal(0)


def reserve(deployment: Deployment, record: CallRecord, context: RuleContext, amount_usd: Decimal) -> str:
    """Promise ``amount_usd`` on every budget that counts the call.

    Returns:
        Id of the promise.

    Raises:
        WireError: A hard budget is used up or would be exceeded.
    """
    assert deployment.store is not None
    budgets = list(deployment.budgets)
    if record.key is not None and record.key.budget_usd is not None:
        budgets.append(Budget(limit_usd=record.key.budget_usd, period=record.key.budget_period, by=("key",)))
    hold = uuid.uuid4().hex
    try:
        deployment.store.reserve(hold, budgets, context, amount_usd)
    except BudgetExceededError as error:
        record.blocked_by, record.outcome, record.reasons = "cost-tracker", "blocked", (str(error),)
        raise WireError(
            429, str(error), kind="policy_violation", code="insufficient_quota", headers=NO_RETRY
        ) from error
    return hold
