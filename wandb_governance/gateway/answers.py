"""Which status and code an error has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from wandb_governance.gateway.wire import WireError
from wandb_governance.policy.verdict import Scope

if TYPE_CHECKING:
    from wandb_governance.gateway.upstream import Answer
    from wandb_governance.policy.verdict import Decision

ANSWERS = {
    "rbac": (403, "access_denied"),
    "rate-limit": (429, "rate_limit_exceeded"),
    "cost-tracker": (429, "insufficient_quota"),
    "cost-limit": (429, "insufficient_quota"),
}


"""Status and code of a call that a policy of this kind stops."""


def decision_scope(decision: Decision) -> Scope:
    """Scope of a decision."""
    return decision.verdicts[0].scope if decision.verdicts else Scope.OUTPUT


def provider_error(status: int, raw: bytes, answer: Answer) -> WireError:
    """An upstream's error as ours, without what else it sent."""
    try:
        error = orjson.loads(raw)["error"]
        message = str(error.get("message", "")) if isinstance(error, dict) else str(error)
        kind = str(error.get("type") or "upstream_error") if isinstance(error, dict) else "upstream_error"
        code = error.get("code") if isinstance(error, dict) else None
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        message, kind, code = f"{answer.upstream.target.id} answered {status}", "upstream_error", None
    headers = tuple(
        (name.encode(), value.encode("latin-1", "replace"))
        for name, value in answer.response.headers.items()
        if name.lower() in {"retry-after", "retry-after-ms"}
    )
    return WireError(status, message, kind=kind, code=None if code is None else str(code), headers=headers)
