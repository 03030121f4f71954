"""Overlapping findings are settled without losing a character."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from wandb_governance.policy.rules.pii.overlaps import Candidate, settle

SPANS = st.lists(
    st.builds(
        lambda start, length, rank, score, entity: Candidate(start, start + length, rank, score, "r", entity, ""),
        st.integers(0, 40), st.integers(1, 12), st.just(0), st.sampled_from([0.5, 0.8, 1.0]), st.sampled_from("ABC"),
    ),
    max_size=12,
)  # fmt: skip


@given(SPANS)
def test_what_is_left_never_overlaps_and_covers_everything_that_was_found(candidates: list[Candidate]) -> None:
    """Ordered, disjoint, and the union of characters is unchanged."""
    settled = settle(candidates)
    assert all(one.end <= other.start for one, other in itertools.pairwise(settled))
    covered = {i for c in settled for i in range(c.start, c.end)}
    assert covered == {i for c in candidates for i in range(c.start, c.end)}


def test_the_stronger_finding_stays_whole() -> None:
    """A card that contains a shorter, weaker phone keeps its ends."""
    card = Candidate(0, 19, 0, 1.0, "card", "CREDIT_CARD", "")
    phone = Candidate(5, 19, 0, 0.6, "phone", "PHONE_NUMBER", "")
    assert settle([phone, card]) == [card]


def test_a_better_reading_displaces_a_worse_one_of_the_same_entity() -> None:
    """Nothing is left of what the worse reading had besides; another entity keeps its part."""
    better, worse = (
        Candidate(5, 20, 1, 0.9, "r", "EMAIL_ADDRESS", ""),
        Candidate(4, 20, 0, 1.0, "r", "EMAIL_ADDRESS", ""),
    )
    other = Candidate(18, 25, 0, 1.0, "r", "URL", "")
    assert settle([worse, better, other]) == [better, other._replace(start=20)]
