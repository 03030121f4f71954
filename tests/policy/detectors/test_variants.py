"""Readings of a text map back to it."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_governance.policy.rules.pii.variants import Mapped, blobs, fold, unescape

TRICKY = st.text(
    alphabet=st.sampled_from([*list("ab1@.%&#;\\u0040x()[]dot "), "\u200b", "–", "１", "ﬁ", "é", "😀", "\xad"]),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(TRICKY | st.text(max_size=60))
def test_every_character_of_a_reading_stands_for_characters_of_the_source(text: str) -> None:
    """Offsets are in range, never run backwards and are never empty."""
    readings = [fold(text)]
    unescaped = unescape(readings[0])
    if unescaped is not None:
        readings.append(unescaped)
    for reading in readings:
        spans = [reading.source(i, i + 1) for i in range(len(reading.text))]
        assert all(0 <= start < end <= len(text) for start, end in spans)
        assert spans == sorted(spans)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("maria%40example.com", "maria@example.com"),
        ("maria&#64;example.com", "maria@example.com"),
        ("maria&commat;example.com", "maria@example.com"),
        ("maria\\u0040example.com", "maria@example.com"),
        ("maria\\x40example.com", "maria@example.com"),
        ("maria (at) example [dot] com", "maria@example.com"),
        ('a\\nb \\"c\\"', 'a b "c"'),
        ("%C3%A9t%C3%A9 %FF", "été \xff"),
        ("lone \\ud800 half", "lone ? half"),
    ],
)
def test_an_escape_is_undone(text: str, expected: str) -> None:
    """Each escape yields what its format means by it."""
    reading = unescape(Mapped(text))
    assert reading is not None
    assert reading.text == expected


def test_invisible_and_wide_characters_are_made_plain() -> None:
    """Zero width goes, full width becomes plain, dashes become hyphens."""
    assert fold("ma\u200bria\uff20example\uff0ecom 536\u201322\u20118145\ufeff").text == "maria@example.com 536-22-8145"


def test_readable_runs_are_decoded_where_they_stand() -> None:
    """Base64, its URL alphabet and hexadecimal; a hash is none."""
    secret = "maria.gonzalez@example.com?>"
    plain = base64.b64encode(secret.encode()).decode()
    for_urls = base64.urlsafe_b64encode(secret.encode()).decode()
    text = f"a {plain} b {for_urls} c {secret.encode().hex()} d da39a3ee5e6b4b0d3255bfef95601890afd80709"
    found = list(blobs(text))
    assert [blob.text for blob in found] == [secret, secret, secret]
    assert all(text[blob.start - 1] == " " == text[blob.end] for blob in found)
