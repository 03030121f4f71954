"""What a callback can do about a verdict, and what it can only write down."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from wandb_governance.errors import ConfigError, PolicyViolation
from wandb_governance.policy.verdict import Scope
from wandb_governance.tracing.content import ContentEncoder
from wandb_governance.tracing.guard import logger
from wandb_governance_langchain import convert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.runtime import Governance
    from wandb_governance.tracing.recorder import OpenSpan

judged_elsewhere: ContextVar[bool] = ContextVar("wandb_governance_langchain_judged_elsewhere", default=False)
"""Whether the middleware judges the tool call that begins here."""

_REMEDY = "use govern(model, handler) or GovernanceMiddleware, which can"


class Judge:
    """Asks the policies about a text, as far as a callback can act on the answer.

    Args:
        governance: The policies.
        strict: Refuse what a callback can't do, instead of writing it down as not enforced.

    Raises:
        ConfigError: ``strict``, and a policy redacts.
    """

    def __init__(self, governance: Governance, *, strict: bool) -> None:
        self._governance = governance
        self._strict = strict
        self._warned: set[str] = set()
        self._raw = ContentEncoder(limit_chars=1 << 30, convert=convert.plain)
        engine = governance.engine
        self.active = engine is not None
        if strict and engine is not None:
            redacted = [str(scope) for scope in Scope if engine.redacts_on(scope)]
            if redacted:
                raise ConfigError(
                    f"the policy redacts on {', '.join(redacted)}, and a callback can't change a call: {_REMEDY}",
                    key="policies",
                )

    def data(self, value: object) -> object:
        """``value`` as plain data, whole and as it is: policies must see what the tool sees."""
        return self._raw.plain(value)

    def streaming_begins(self, span: OpenSpan) -> None:
        """The first chunk of an answer is on its way.

        Raises:
            PolicyViolation: ``strict``, and a policy blocks on output: no text has left yet.
        """
        engine = self._governance.engine
        if self._strict and engine is not None and engine.blocks_on(Scope.OUTPUT):
            raise PolicyViolation(
                policy="engine", scope=Scope.OUTPUT, reasons=(f"a callback can't hold back streamed text: {_REMEDY}",)
            )

    def __call__(
        self,
        span: OpenSpan,
        texts: Sequence[str],
        scope: Scope,
        *,
        tool: str | None = None,
        stoppable: bool = True,
    ) -> PolicyViolation | None:
        """The violation to raise, if any; verdicts are written down."""
        judgement = self._governance.judge(span, texts, scope, enforced=False, stoppable=stoppable, tool=tool)
        if judgement is None:
            return None
        if judgement.redacted:
            self._warn(f"{scope}: a policy redacts, and a callback can't change a call; {_REMEDY}")
        if judgement.violation is not None and not stoppable:
            self._warn(f"{scope}: a policy blocks, and streamed text can't be taken back by a callback; {_REMEDY}")
            return None
        return judgement.violation

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            logger.warning("%s. Such verdicts are recorded with enforced=False.", message)
