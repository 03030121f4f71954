"""Shared pieces of the pricing tests."""

from __future__ import annotations

import pytest

from wandb_governance.pricing.book import PriceBook


@pytest.fixture(scope="session")
def book() -> PriceBook:
    """A book over the public catalogue alone."""
    return PriceBook()
