"""wandb-governance for LlamaIndex."""

from wandb_governance_llama_index.instrumentation import Instrumentation, instrument

__all__ = ["Instrumentation", "instrument"]
