"""wandb-governance for LangChain and LangGraph."""

from wandb_governance_langchain.handler import GovernanceCallbackHandler

__all__ = ["GovernanceCallbackHandler"]
