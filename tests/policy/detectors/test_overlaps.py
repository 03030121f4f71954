"""Overlapping findings are settled without losing a character."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wandb_governance.policy.rules.pii.overlaps import Candidate, settle

SPANS = st.lists(
    st.builds(
        lambda start, length, rank, score, entity: Candidate(start, start + length, rank, score, "r", entity, ""),
        st.integers(0, 40), st.integers(1, 12), st.integers(0, 2), st.sampled_from([0.5, 0.8, 1.0]), st.sampled_from("ABC"),
    ),
    max_size=12,
)  # fmt: skip


@given(SPANS)
def test_what_is_left_never_overlaps_and_covers_everything_that_was_found(candidates: list[Candidate]) -> None:
    """Ordered, disjoint, and the union of characters is unchanged."""
    settled = settle(candidates)
    assert all(one.end <= other.start for one, other in zip(settled, settled[1:], strict=False))
    covered = {i for c in settled for i in range(c.start, c.end)}
    assert covered == {i for c in candidates for i in range(c.start, c.end)}


def test_the_stronger_finding_stays_whole() -> None:
    """A card that contains a shorter, weaker phone keeps its ends."""
    card = Candidate(0, 19, 0, 1.0, "card", "CREDIT_CARD", "")
    phone = Candidate(5, 19, 0, 0.6, "phone", "PHONE_NUMBER", "")
    assert settle([phone, card]) == [card]
