"""wandb-governance for LangChain and LangGraph."""

from typing import TYPE_CHECKING, Any

from wandb_governance_langchain.handler import GovernanceCallbackHandler

if TYPE_CHECKING:
    from wandb_governance_langchain.enforce import GovernedChatModel, govern
    from wandb_governance_langchain.middleware import GovernanceMiddleware

__all__ = ["GovernanceCallbackHandler", "GovernanceMiddleware", "GovernedChatModel", "govern"]

_PLACES = {"GovernedChatModel": "enforce", "govern": "enforce", "GovernanceMiddleware": "middleware"}


def __getattr__(name: str) -> Any:
    """Public names whose modules need more than langchain-core, or take time to import."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
