"""Prompt injection: rules and a small calibrated model over n-grams, meanings and shapes of phrases."""

from wandb_governance.policy.rules.injection.rule import PromptInjection

__all__ = ["PromptInjection"]
