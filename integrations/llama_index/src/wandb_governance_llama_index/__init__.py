"""wandb-governance for LlamaIndex."""
