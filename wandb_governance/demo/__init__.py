"""The main job on real input: what ``wandb-governance demo`` runs, without key or network."""
