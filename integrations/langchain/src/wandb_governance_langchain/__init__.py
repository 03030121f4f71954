"""wandb-governance for LangChain."""
