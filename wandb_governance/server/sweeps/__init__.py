"""Sweeps: W&B's own ``sweeps`` package searches, this server hands each point to one agent only."""
