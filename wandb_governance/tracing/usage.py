"""Token counts of one model call, in one shape for every provider."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum


class UsageSource(StrEnum):
    """Where a token count comes from."""

    PROVIDER = "provider"
    """The provider reported it."""
    TOKENIZER = "tokenizer"
    """Counted here with the model's own tokenizer."""
    HEURISTIC = "heuristic"
    """Estimated from the length of the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Token counts. Totals are inclusive: cached, reasoning and audio tokens are inside input or output.

    Every count is None where the provider did not say, and >= 0 where it did.
    """

    input_tokens: int | None = None
    """All input tokens, cached ones included."""
    output_tokens: int | None = None
    """All output tokens, reasoning included."""
    cache_read_tokens: int | None = None
    """Input tokens that were read from the provider's cache."""
    cache_write_tokens: int | None = None
    """Input tokens that were written to the provider's cache, of any lifetime."""
    cache_write_1h_tokens: int | None = None
    """The part of ``cache_write_tokens`` with a lifetime of one hour."""
    reasoning_tokens: int | None = None
    """Output tokens that the model spent on thinking."""
    audio_input_tokens: int | None = None
    """Input tokens that are audio."""
    audio_output_tokens: int | None = None
    """Output tokens that are audio."""
    image_input_tokens: int | None = None
    """Input tokens that are images."""
    image_output_tokens: int | None = None
    """Output tokens that are images."""
    source: UsageSource = UsageSource.PROVIDER
    """Where the totals come from."""
    inconsistent: bool = False
    """The provider's own numbers contradicted each other and were clamped."""

    @property
    def total_tokens(self) -> int | None:
        """Input and output together; None unless both are known."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens

    def __add__(self, other: TokenUsage) -> TokenUsage:
        """Counts of two calls together.

        Raises:
            ValueError: One is from the provider and the other is an estimate: such a sum has no meaning.
        """
        if self.source is not other.source:
            raise ValueError(f"can't add {self.source} and {other.source} token counts")
        counts = {name: _add(getattr(self, name), getattr(other, name)) for name in COUNT_FIELDS}
        return TokenUsage(**counts, source=self.source, inconsistent=self.inconsistent or other.inconsistent)


COUNT_FIELDS = tuple(field.name for field in fields(TokenUsage) if field.name.endswith("_tokens"))
"""Names of the fields of ``TokenUsage`` that are counts."""


def _add(left: int | None, right: int | None) -> int | None:
    if left is None:
        return right
    return left if right is None else left + right
