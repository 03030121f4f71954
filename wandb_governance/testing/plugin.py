"""Pytest fixtures for users: ``wandb_server``, an embedded W&B server of the test session."""
