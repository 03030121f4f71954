"""Install on LlamaIndex's dispatcher, and take off again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

from llama_index_instrumentation import get_dispatcher

from wandb_governance.runtime import Governance
from wandb_governance_llama_index import convert
from wandb_governance_llama_index.enforce import Enforcer, GovernedLLM, GovernedNodes, govern_llm, governed_tool
from wandb_governance_llama_index.handler import GovernanceEventHandler, GovernanceSpanHandler
from wandb_governance_llama_index.tracker import Tracker

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from llama_index.core.llms.llm import LLM
    from llama_index.core.tools import FunctionTool

    from wandb_governance.policy.engine import PolicyEngine
    from wandb_governance.settings import Settings

_lock = threading.Lock()
_installed: Instrumentation | None = None


class Instrumentation:
    """What ``instrument`` installed. A context manager: leaving it flushes and uninstalls."""

    def __init__(self, governance: Governance) -> None:
        self.governance = governance
        self.tracker = Tracker(governance)
        self._spans = GovernanceSpanHandler(self.tracker)
        self._events = GovernanceEventHandler(self.tracker)
        governance.on_sweep(self._sweep)

    def _sweep(self, *, final: bool) -> None:
        self.tracker.sweep(older_than_s=0.0 if final else self.governance.settings.abandon_after_s)

    def install(self) -> None:
        """Listen at the root dispatcher."""
        root = get_dispatcher()
        root.add_span_handler(self._spans)
        root.add_event_handler(self._events)

    def uninstall(self) -> None:
        """Listen no more; a second call does nothing. Spans that are still open are recorded as abandoned."""
        global _installed
        root = get_dispatcher()
        root.span_handlers = [handler for handler in root.span_handlers if handler is not self._spans]
        root.event_handlers = [handler for handler in root.event_handlers if handler is not self._events]
        self.tracker.sweep()
        with _lock:
            if _installed is self:
                _installed = None

    def flush(self, timeout_s: float | None = None) -> bool:
        """Bring everything recorded so far to W&B; spans that nothing can end any more are recorded as abandoned."""
        self._sweep(final=False)
        return self.governance.flush(timeout_s)

    def govern(self, llm: LLM) -> GovernedLLM:
        """``llm`` under policy: blocked and redacted where the policies say so, streams included."""
        return govern_llm(llm, Enforcer(self))

    def govern_tool(self, tool: FunctionTool) -> FunctionTool:
        """``tool`` with its arguments and result under policy."""
        return governed_tool(tool, Enforcer(self))

    def node_postprocessor(self) -> GovernedNodes:
        """Put it last among a query engine's ``node_postprocessors``: retrieved text goes through the policies."""
        return GovernedNodes(Enforcer(self))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.uninstall()
        self.governance.flush()


def instrument(
    run: Any = None,
    policy: str | Path | PolicyEngine | None = None,
    *,
    prices: str | Path | None = None,
    settings: Settings | None = None,
    governance: Governance | None = None,
) -> Instrumentation:
    """Record every LlamaIndex call of this process from now on. Calling it again replaces what was installed.

    A dispatcher's handlers can't block or change a call. For that, wrap the model with ``Instrumentation.govern``.

    Args:
        run: What ``wandb.init()`` returned; without it the run that is active when a call ends.
        policy: A policy file or engine.
        prices: A YAML price table over the public prices.
        settings: Read from the environment where not given.
        governance: What another adapter uses already, in place of the arguments before.

    Raises:
        PolicyDocumentError: The policy file is wrong.
        PriceTableError: The price table is wrong.
    """
    global _installed
    made = governance or Governance(run=run, policy=policy, prices=prices, settings=settings, convert=convert.plain)
    installation = Instrumentation(made)
    with _lock:
        before, _installed = _installed, installation
    if before is not None:
        before.uninstall()
    installation.install()
    return installation
