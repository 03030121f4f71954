"""Patterns of the beginnings of matches."""

from __future__ import annotations

import pytest
import re2

from wandb_governance.policy.prefix_pattern import prefix_pattern
from wandb_governance.policy.rules.pii.catalogue import catalogue
from wandb_governance.policy.rules.secrets_catalogue import catalogue as secrets

CASES = [
    (r"(?i)\bab{2,3}(c|de)+x?\b", "ABBBCDEX"),
    (r"\d(?:[ -]{0,2}\d){11,}", "4111 1111-1111 1111"),
    (r"a(?:b|c(?P<n>d|[^]x\]]+))*?\x{e9}\pL{2}", "abcdcQéÄß"),
    (r"^foo.*bar$", "fooxxbar"),
    (r"(?i:ab)c|[[:alpha:]]\.z", "ABc"),
]


@pytest.mark.parametrize(("pattern", "text"), CASES)
def test_every_prefix_of_a_match_is_matched(pattern: str, text: str) -> None:
    """From nothing to the whole."""
    assert re2.fullmatch(pattern, text)
    prefixes = re2.compile(rf"(?:{prefix_pattern(pattern)})\z")
    for length in range(len(text) + 1):
        assert prefixes.search(text[:length]).start() == 0


def test_what_is_no_prefix_is_not_matched() -> None:
    """A stream must not wait for what can't come."""
    prefixes = re2.compile(rf"(?:{prefix_pattern('abc')})" + r"\z")
    assert prefixes.search("abcd").span() == (4, 4)
    assert prefixes.search("xab").span() == (1, 3)


def test_every_shipped_pattern_can_be_read() -> None:
    """No rule of the package makes a stream wait for its end."""
    for pattern in [*catalogue(), *secrets()]:
        re2.compile(rf"(?:{prefix_pattern(pattern.regex)})\z")


@pytest.mark.parametrize("pattern", [r"(a", r"a)b", r"\Qa.b\E"])
def test_what_can_not_be_read_is_an_error(pattern: str) -> None:
    """Never a wrong answer."""
    with pytest.raises(ValueError, match=r".+"):
        prefix_pattern(pattern)
