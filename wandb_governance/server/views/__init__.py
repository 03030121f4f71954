"""Reports and workspaces: their text is stored as ``wandb-workspaces`` writes it, not drawn."""
