"""Telephone numbers: a shape, then libphonenumber's numbering plans, then the words around."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from wandb_governance.policy.rules.patterns import Span
from wandb_governance.policy.rules.pii.checks import before, stands_alone, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DEFAULT_REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "PT", "BR", "MX", "IN", "AU", "SE", "CH", "PL", "JP")

_PHONE_WORDS = words(
    r"phone|phones|telephone|tel|tél|téléphone|telefon|telefono|teléfono|telefone|telefoon|fon|cell|cellphone|"
    r"cellular|cel|celular|mobile|mob|mobil|móvil|movil|handy|portable|fax|call|calls|called|calling|ring|dial|text|"
    r"texted|sms|whatsapp|signal|telegram|hotline|contact|callback|call[ -]back|caller|joignable|erreichbar|"
    r"erreichen|reachable|nås|contatt\w*|contest\w*|rejoindre|bereikbaar|reach|reached|numéro|rufnummer|anrufen|"
    r"answering|landline|(?:desk|office|home|work)(?= ?[:=(])|extension|ext|voicemail|appeler|llamar|llame|llámame|"
    r"ligar|chiamare|cellulare|bel|nummer|ring me|ph|dial-in|phone_number|phonenumber|тел|телефон|電話|电话|手机|전화|"
    r"messages to|handynummer|komórka|numer|puhelin|telf|tlf|gsm"
)
_FOLLOWING = re.compile(r"[ ,(/\\:;-]{1,3}(?:office|fax|mobile|cell|home|work|phone|desk|tel)\b", re.IGNORECASE)
_NOT_A_PHONE = words(
    r"order|orders|ticket|invoice|sku|part|tracking|serial|model|isbn|issn|case|version|build|release|commit|item|"
    r"product|batch|lot|catalog|error|reference|bestellung|pedido|factura|commande|rechnung|issue|uuid|po|rma|"
    r"article|account|iban|card|id|zip|ssn|postcode|port|doi|timestamp|epoch|hash|size|bytes|page|pages|pp|vol|"
    r"chapter|section|price|total|amount|usd|eur|gbp|passport|licen[cs]e|tax|vat|routing|range|score|population|"
    r"between|figures?|rows?|lines?|latitude|longitude|coordinates?|arxiv|reg(?:istration)?|member|policy|claim|"
    r"flight|booking|asin|ean|upc|sort code|seed"
)
_DATE = re.compile(
    r"(?:19|20)\d\d[-/. ](?:0?[1-9]|1[0-2])[-/. ](?:[0-3]?\d)(?!\d)"
    r"|(?:[0-3]?\d)[-/. ](?:[0-3]?\d)[-/. ](?:19|20)\d\d(?!\d)"
)
_PERIOD = re.compile(r"(?:1[89]|20)\d\d ?- ?(?:1[89]|20)\d\d\Z")
_GROUPS = re.compile(r"\d+")
_EXTENSION = re.compile(r" ?(?:x|ext\.?|extension|#) ?\d{1,6}\Z", re.IGNORECASE)
# How numbers are written where the punctuation alone tells a phone: 3-3-4 as in North America, a trunk 0 in brackets.
_SHAPED = re.compile(
    r"(?:\+?1[-. ]|001[-. ])?(?:\(\d{3}\) ?|\d{3}[-.])\d{3}[-. ]\d{4}\Z"
    r"|\(0\d{1,5}\)[ -]?\d{2,5}[ -]?\d{2,5}\Z"
)
_VALID, _VALID_IN_REGION = 1.0, 0.7
_MIN_DIGITS, _MAX_DIGITS = 7, 17

REGEX = r"(?:\+|\(\+?|\b|00)\d(?:[ .\-/\x{00a0}]{0,2}[()]?[ ]?\d){5,16}(?: ?(?:x|X|ext\.?|Ext\.?|#) ?\d{1,6})?"


@lru_cache(maxsize=1)
def _library() -> Any:
    import phonenumbers

    return phonenumbers


@lru_cache(maxsize=8192)
def _plan_score(number: str, regions: Sequence[str]) -> float:
    """How well a number fits numbering plans: 1 valid with country code, .7 valid in a region, .4 possible, 0 not."""
    library = _library()
    international = number.startswith("+")
    best = 0.0
    for region in (None,) if international else regions:
        try:
            parsed = library.parse(number, region)
        except library.NumberParseException:
            continue
        if library.is_valid_number(parsed):
            return 1.0 if international else 0.7
        if library.is_possible_number(parsed):
            best = 0.4
    return best


def judge_for(regions: Sequence[str] = DEFAULT_REGIONS) -> Callable[[str, int, int], Iterator[Span]]:
    """A judge of telephone numbers as they are dialled in ``regions`` (ISO 3166 codes) and from abroad."""
    known = tuple(regions)

    def judge(text: str, start: int, end: int) -> Iterator[Span]:
        value = text[start:end]
        if value.startswith("(") and ")" not in value:
            start, value = start + 1, value[1:]
        extension = _EXTENSION.search(value)
        number = value[: extension.start()] if extension else value
        digits = sum(map(len, _GROUPS.findall(number)))
        if not _MIN_DIGITS - (number.count(" ") == 2) <= digits <= _MAX_DIGITS or number.count("(") != number.count(
            ")"
        ):
            return
        if not stands_alone(text, start, end, joiners="._:") or _neighbour_spoils(text, start, end):
            return
        score = _score(text, start, end, number, known)
        if score > 0:
            yield Span(start, end, score)

    return judge


def _neighbour_spoils(text: str, start: int, end: int) -> bool:
    previous = text[start - 1] if start else ""
    following = text[end : end + 2]
    if previous in {"$", "€", "£", "¥", "#", "=", "@", "/", "\\", "%"} and previous != "":
        return previous not in {"=", "/"} or not before(text, start, _PHONE_WORDS, reach=20)
    if previous == "-" and start > 1 and text[start - 2].isalnum():
        return not before(text, start, _PHONE_WORDS, reach=24)
    return following[:1] in {"%", "€", "@"} or (following[:1] == "-" and following[1:].isdigit())


def _named(text: str, start: int, end: int) -> tuple[bool, bool]:
    """Whether the nearest telling word before a number speaks of a phone, or of something else."""
    phone_at = _last(_PHONE_WORDS, text, start, 64)
    other_at = _last(_NOT_A_PHONE, text, start, 32)
    if _FOLLOWING.match(text, end) is not None:
        return True, False
    return phone_at >= 0 and phone_at >= other_at, other_at > phone_at


def _last(pattern: re.Pattern[str], text: str, start: int, reach: int) -> int:
    return max((match.start() for match in pattern.finditer(text, max(0, start - reach), start)), default=-1)


def _score(text: str, start: int, end: int, number: str, regions: tuple[str, ...]) -> float:
    wanted, unwanted = _named(text, start, end)
    abroad = number.startswith(("+", "(+"))
    if _DATE.match(number) or _PERIOD.match(number) or (unwanted and not abroad):
        return 0.0
    if wanted:
        return 0.9
    if abroad or (number.startswith("00") and " " in number):
        plan = _plan_score("+" + number.lstrip("(+0"), regions)
        return 0.95 if plan == _VALID else (0.7 if plan else 0.4 if abroad else 0.0)
    if _SHAPED.match(number):
        return 0.65
    if not number.startswith(("0", "(")) or _plan_score(number, regions) < _VALID_IN_REGION:
        return 0.0
    return 0.6 if len(_GROUPS.findall(number)) > 1 else 0.5
