"""Names and places in a text: which parts are worth the model, what it says, and how pieces become whole names."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, Protocol

from wandb_governance.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.policy.rules.pii.variants import Mapped


class Name(NamedTuple):
    """A name or place in a folded text."""

    start: int
    end: int
    entity: str
    score: float


class NameRecognizer(Protocol):
    """What finds names and places."""

    @property
    def version(self) -> str:
        """Digest of the model and of the rules around it."""
        ...

    def find(self, text: Mapped, taken: Sequence[tuple[int, int]]) -> Sequence[Name]:
        """Names in ``text``; ``taken`` are source spans that patterns already hold."""
        ...


@lru_cache(maxsize=1)
def installed() -> bool:
    """Whether the extra ``[ner]`` is installed."""
    return False


@lru_cache(maxsize=1)
def recognizer() -> NameRecognizer:
    """The recogniser, loaded once.

    Raises:
        MissingExtraError: The extra ``[ner]`` is not installed.
    """
    for package in ("onnxruntime", "tokenizers"):
        if find_spec(package) is None:
            raise MissingExtraError(package, extra="ner")
    raise MissingExtraError("the name model", extra="ner")
