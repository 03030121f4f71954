"""Traces, cost, policy verdicts and governed releases of LLM applications, in Weights & Biases."""

__version__ = "0.1.0"

__all__ = ["__version__"]
