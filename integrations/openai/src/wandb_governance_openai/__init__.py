"""wandb-governance for openai."""
