"""The lexicon that is shipped with the package."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import as_file, files

import numpy as np

from wandb_governance.policy.rules.injection.features import Lexicon


@lru_cache(maxsize=1)
def load_lexicon() -> Lexicon:
    """Words with their concepts and clusters; read once."""
    with (
        as_file(files("wandb_governance.policy") / "data" / "injection" / "lexicon.npz") as path,
        np.load(path) as stored,
    ):
        return Lexicon(
            words=stored["words"],
            concept=stored["concept"].astype(np.int64),
            cluster=stored["cluster"].astype(np.int64),
        )
