"""wandb-governance for openai: every call of a client as trace, token usage, cost and policy verdict in W&B tables.

from openai import OpenAI
from wandb_governance_openai import govern

client = govern(OpenAI(), policy="policy-config.yaml")
"""

from wandb_governance_openai.call import OpenAIPolicyViolation
from wandb_governance_openai.client import govern, governance_of

__all__ = ["OpenAIPolicyViolation", "govern", "governance_of"]
