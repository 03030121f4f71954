"""Personal data: patterns with checksums and context, readings of escaped text, names by a model."""

from wandb_governance.policy.rules.pii.rule import PiiOptions, PiiRule

__all__ = ["PiiOptions", "PiiRule"]
