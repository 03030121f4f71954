"""Text as a reader or a model would see it, with a map back to the text that was sent.

``normalize`` undoes what Unicode allows one to hide; ``decoded_views`` undoes encodings; ``disguised_views`` undoes
spellings that a model still reads. Every view maps each of its code points to the code points it came from.
"""

from wandb_governance.policy.normalize.confusables import fold_confusables
from wandb_governance.policy.normalize.decode import DecodedView, Encoding, decoded_views
from wandb_governance.policy.normalize.disguise import disguised_views
from wandb_governance.policy.normalize.text import Mark, NormalizedText, normalize

__all__ = [
    "DecodedView",
    "Encoding",
    "Mark",
    "NormalizedText",
    "decoded_views",
    "disguised_views",
    "fold_confusables",
    "normalize",
]
