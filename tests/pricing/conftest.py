"""Shared pieces of the pricing tests."""

from __future__ import annotations

import pytest
from hypothesis import settings as hypothesis_settings

from wandb_governance.pricing.book import PriceBook

# A busy machine is no fault of the code under test.
hypothesis_settings.register_profile("steady", deadline=None)
hypothesis_settings.load_profile("steady")


@pytest.fixture(scope="session")
def book() -> PriceBook:
    """A book over the public catalogue alone."""
    return PriceBook()
