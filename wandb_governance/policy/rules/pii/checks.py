"""What makes a run of characters a card, an account, an address: checksums, ranges, neighbours."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from wandb_governance.policy.rules.patterns import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BEFORE = 48
_FIRST_CJK = "\u2e80"
_AFTER = 24
_PLACE_VALUES = re.compile(r"[0-9]+")


@lru_cache(maxsize=256)
def words(*alternatives: str) -> re.Pattern[str]:
    """A pattern of whole words, in any case; each alternative is a small regular expression."""
    return re.compile(r"(?<![^\W_])(?:" + "|".join(alternatives) + r")(?![^\W_])", re.IGNORECASE)


def near(text: str, start: int, end: int, pattern: re.Pattern[str], *, after: int = _AFTER) -> bool:
    """Whether one of the words stands shortly before or after a span, on its line or the one above."""
    return (
        pattern.search(text, max(0, start - _BEFORE), start) is not None
        or pattern.search(text, end, end + after) is not None
    )


def before(text: str, start: int, pattern: re.Pattern[str], *, reach: int = _BEFORE) -> bool:
    """Whether one of the words stands shortly before ``start``."""
    return pattern.search(text, max(0, start - reach), start) is not None


def stands_alone(text: str, start: int, end: int, *, joiners: str = ".-/_") -> bool:
    """Whether a span is not a part of a longer word or number.

    Args:
        text: The text.
        start: First code point of the span.
        end: One past the last.
        joiners: Characters that tie the span to a letter or digit on their other side.
    """
    previous = text[start - 1] if start else ""
    following = text[end] if end < len(text) else ""
    if _in_word(previous) or _in_word(following):
        return False
    if previous and previous in joiners and start > 1 and _in_word(text[start - 2]):
        return False
    return not (following and following in joiners and end + 1 < len(text) and _in_word(text[end + 1]))


def _in_word(character: str) -> bool:
    # Chinese and Japanese write no space between a word and a number.
    return character.isalnum() and character < _FIRST_CJK


def luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit (ISO/IEC 7812-1, annex B)."""
    total = 0
    for index, character in enumerate(reversed(digits)):
        value = int(character)
        if index % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


_CARD_WORDS = words(
    "card",
    "cards",
    "credit",
    "debit",
    "visa",
    "mastercard",
    "amex",
    "maestro",
    "tarjeta",
    "karte",
    "kreditkarte",
    "carte",
    "cart[aã]o",
    "carta",
    "cc",
    "pan",
    "kaart",
    "карта",
    "カード",
)
_CARD_RANGES: tuple[tuple[str, frozenset[int]], ...] = (
    (r"4", frozenset({13, 16, 19})),
    (r"5[1-5]|2(?:2[2-9]|[3-6]|7[01]|720)", frozenset({16})),
    (r"3[47]", frozenset({15})),
    (r"3(?:0[0-5]|[689])", frozenset({14, 16, 19})),
    (r"35", frozenset({16, 17, 18, 19})),
    (r"6(?:011|4[4-9]|5|0|2|3)|8[12]|220[0-4]|9792", frozenset({16, 17, 18, 19})),
)
_CARD_ISSUERS = tuple((re.compile(prefix), lengths) for prefix, lengths in _CARD_RANGES)
_MAESTRO = re.compile(r"5[06-9]|6")
_SAME_DIGIT = re.compile(r"(\d)\1+\Z")
_CARD_DIGITS = range(12, 20)
_FIRST_CARD_DIGITS = frozenset("2345689")


def _card_score(digits: str, *, in_context: bool) -> float | None:
    if _SAME_DIGIT.match(digits) or not luhn(digits):
        return None
    if any(len(digits) in lengths and issuer.match(digits) for issuer, lengths in _CARD_ISSUERS):
        return 1.0 if in_context or len(digits) > 13 else None
    return 0.9 if in_context and (_MAESTRO.match(digits) or len(digits) >= 14) else None


def card_numbers(text: str, start: int, end: int) -> Iterator[Span]:
    """Card numbers inside a run of digit groups; a group is never split."""
    groups = [(start + match.start(), match.group()) for match in _PLACE_VALUES.finditer(text[start:end])]
    in_context: bool | None = None
    at = 0
    while at < len(groups):
        digits = ""
        best: tuple[int, float] | None = None
        for stop in range(at, len(groups)):
            digits += groups[stop][1]
            if len(digits) >= _CARD_DIGITS.stop:
                break
            if len(digits) in _CARD_DIGITS and digits[0] in _FIRST_CARD_DIGITS and luhn(digits):
                first, last = groups[at][0], groups[stop][0] + len(groups[stop][1])
                if in_context is None:
                    in_context = near(text, start, end, _CARD_WORDS)
                score = _card_score(digits, in_context=in_context)
                if score is not None and stands_alone(text, first, last, joiners="._"):
                    best = (stop, score)
        if best is None:
            at += 1
        else:
            last_offset, last_digits = groups[best[0]]
            yield Span(groups[at][0], last_offset + len(last_digits), best[1])
            at = best[0] + 1


_SSN_WORDS = words(
    "ssn",
    "ssns",
    r"social[ -]security(?:[ -](?:number|no\.?|nr|num|#))?",
    "soc sec",
    "ss#",
    "ssid",
    "tin",
    "itin",
    "taxpayer",
)
_NOT_PERSONAL = words(
    "order",
    "orders",
    "ticket",
    "invoice",
    "sku",
    "part",
    "tracking",
    "serial",
    "model",
    "isbn",
    "case",
    "version",
    "build",
    "release",
    "commit",
    "item",
    "product",
    "batch",
    "lot",
    "catalog",
    "error",
    "ref",
    "reference",
    "bestellung",
    "pedido",
    "factura",
    "commande",
    "rechnung",
    "issue",
    "job",
    "run",
    "id",
    "uuid",
    "po",
    "rma",
    "article",
    "asin",
    "upc",
    "ean",
    "port",
    "line",
    "ordine",
)


def ssn(text: str, start: int, end: int) -> Iterator[Span]:
    """US social security numbers by the ranges the SSA has never issued.

    Source:
        SSA, "Social Security Number Randomization" (2011): no area 000, 666 or 900-999, no group 00, no serial 0000.
    """
    value = text[start:end]
    digits = "".join(character for character in value if character.isdigit())
    if digits[:3] in {"000", "666"} or digits[3:5] == "00" or digits[5:] == "0000" or _SAME_DIGIT.match(digits):
        return
    if not stands_alone(text, start, end):
        return
    in_context = near(text, start, end, _SSN_WORDS)
    if digits[0] == "9":
        # An ITIN has the shape of an SSN and is as personal, but is only told by its words.
        if in_context and "50" <= digits[3:5] <= "99":
            yield Span(start, end, 0.85)
    elif in_context:
        yield Span(start, end, 0.95)
    elif value[3] == "-" and value[6] == "-" and not before(text, start, _NOT_PERSONAL, reach=20):
        yield Span(start, end, 0.6)


# Length of an IBAN by country. Source: SWIFT IBAN registry, release 99.
_IBAN_LENGTH = {
    country: int(length)
    for length, countries in {
        "15": "NO", "16": "BE", "18": "DK FI FO GL NL SD FK", "19": "MK SI", "20": "AT BA EE KZ LT LU XK MN",
        "21": "CH HR LI LV", "22": "BG BH CR DE GB GE IE ME RS VA", "23": "AE GI IL IQ OM TL SO",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG", "25": "LY PT ST", "26": "IS TR", "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ CY DO GT HU LB NI PL BY SV", "29": "BR EG PS QA UA", "30": "JO KW MU YE", "31": "MT SC",
        "32": "LC", "33": "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


def iban(text: str, start: int, end: int) -> Iterator[Span]:
    """International bank account numbers: length of the country and mod-97 (ISO 13616)."""
    length = _IBAN_LENGTH.get(text[start : start + 2].upper())
    if length is None or (start and (text[start - 1].isalnum() or text[start - 1] == "_")):
        return
    compact = ""
    for offset in range(start, end):
        character = text[offset]
        if character.isalnum():
            compact += character.upper()
            if len(compact) == length:
                break
    else:
        return
    stop = offset + 1
    if stop < len(text) and text[stop].isalnum():
        return
    rotated = compact[4:] + compact[:4]
    if int("".join(str(int(character, 36)) for character in rotated)) % 97 == 1:
        yield Span(start, stop, 1.0)


_VERSION_WORDS = words(
    "version",
    "versions",
    "ver",
    "v",
    "release",
    "releases",
    "build",
    "firmware",
    "oid",
    "section",
    "chapter",
    "clause",
    "kernel",
    "driver",
    "upgrade(?:d)? (?:to|from)",
    "kapitel",
    "versi[oó]n",
    "assembly",
)


def ipv4(text: str, start: int, end: int) -> Iterator[Span]:
    """IPv4 addresses that are not version numbers or parts of longer dotted numbers."""
    value = text[start:end]
    if not stands_alone(text, start, end, joiners=".-_"):
        return
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        return
    if before(text, start, _VERSION_WORDS, reach=16):
        return
    yield Span(start, end, 0.95)


def ipv6(text: str, start: int, end: int) -> Iterator[Span]:
    """IPv6 addresses; needs a digit and three groups, for ``a::b`` is also how programs write a path."""
    while end > start and text[end - 1] == ":" and text[end - 2 : end] != "::":
        end -= 1
    value = text[start:end]
    previous = text[start - 1] if start else ""
    following = text[end] if end < len(text) else ""
    if previous.isalnum() or following.isalnum() or (previous and previous in ":.") or following == ":":
        return
    if not any(character.isdigit() for character in value):
        return
    if value.count(":") < 3 and not (value == "::1" or (value[:1].isdigit() or value[:4].lower() == "fe80")):
        return
    try:
        ipaddress.IPv6Address(value)
    except ValueError:
        return
    yield Span(start, end, 0.95)


def alone(score: float = 0.85, *, joiners: str = ".-/_") -> Callable[[str, int, int], Iterator[Span]]:
    """A judge that only asks that the hit is no part of a longer word or number."""

    def judge(text: str, start: int, end: int) -> Iterator[Span]:
        if stands_alone(text, start, end, joiners=joiners):
            yield Span(start, end, score)

    return judge
