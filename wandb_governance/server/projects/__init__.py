"""Projects; a registry is one whose name begins with ``wandb-registry-``."""
