"""Every pattern of personal data: what it looks like, what must hold besides, and which entity it is."""

from __future__ import annotations

import importlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from wandb_governance.policy.rules.patterns import Pattern, Span
from wandb_governance.policy.rules.pii import checks, national, phone
from wandb_governance.policy.rules.pii.checks import alone, before, stands_alone, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CONTEXT_ENTITIES = ("DATE_OF_BIRTH", "PASSPORT", "DRIVER_LICENSE", "BANK_ACCOUNT")
STRUCTURED_ENTITIES = (
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "US_SSN",
    "IBAN_CODE",
    "IP_ADDRESS",
    "MAC_ADDRESS",
    "CRYPTO",
    "URL",
    *CONTEXT_ENTITIES,
    *national.ENTITIES,
)
NER_ENTITIES = ("PERSON", "LOCATION")
ENTITIES = (*STRUCTURED_ENTITIES, *NER_ENTITIES)
# A URL is seldom personal, so it is found only where it is asked for.
DEFAULT_STRUCTURED = tuple(entity for entity in STRUCTURED_ENTITIES if entity != "URL")

_EMAIL = r"[\pL\pN!#$%&'*+/=?^_{|}~.-]*[\pL\pN_+-]@(?:[\pL\pN](?:[\pL\pN-]*[\pL\pN])?\.)+(?:xn--[a-z0-9-]+|[\pL]{2,24})"
_EMAIL_SPELLED = (
    r"(?i)\b[a-z0-9][a-z0-9._+-]* at [a-z0-9-]+(?: dot [a-z0-9-]+)* dot "
    r"(?:com|org|net|edu|gov|io|co|uk|de|fr|es|it|nl|eu|ai|dev|info|biz)\b"
)
_EMAIL_OPENING = "'*/=?^{|}~.#$&!%"
_MAX_LOCAL_PART = 64

_MONTH = (
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec|january|february|march|april|june|july|august|september|october|"
    r"november|december|januar|februar|märz|mai|juni|juli|oktober|dezember|janvier|février|mars|avril|juin|juillet|août|"
    r"septembre|octobre|novembre|décembre|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|"
    r"diciembre|gennaio|febbraio|aprile|maggio|giugno|luglio|settembre|ottobre|dicembre|janeiro|fevereiro|março|maio|junho|"
    r"julho|setembro|outubro|dezembro)"
)
_DATE = (
    r"(?i)(?:\b\d{4}[-/.]\d{1,2}[-/.]\d{1,2}\b|\b\d{1,2}[-/. ]{1,2}\d{1,2}[-/. ]{1,2}(?:19|20)?\d{2}\b|"
    r"\b\d{1,2}(?:st|nd|rd|th|\.|er)?(?: de| of)? " + _MONTH + r"\.?(?: de|,)? (?:19|20)\d{2}\b|"
    r"\b" + _MONTH + r"\.? \d{1,2}(?:st|nd|rd|th)?,? (?:19|20)\d{2}\b)"
)
_BIRTH_WORDS = words(
    "born", "birth", "birthday", "birthdate", "dob", r"d\.o\.b\.?", "geboren", "geburtsdatum", "geburtstag", r"geb\.?",
    "nacimiento", "nacid[oa]", "naissance", "née?", "nascita", "nat[oa]", "nascimento", "nascid[oa]", "date_of_birth",
    "dateofbirth", "birth_date", "bday", "b-day", "geboortedatum", "urodzon[ya]", "födelsedatum", "生年月日", "出生",
)  # fmt: skip

_CONTEXT_PATTERNS: tuple[tuple[str, str, float], ...] = (
    (
        "PASSPORT",
        r"(?i)\b(?:passports?|reisepass|passeport|pasaporte|passaporto|passaporte|paspoort|paszport)[^\d\n]{0,24}?\b([A-Z]{0,3}\d{6,9}[A-Z]?)\b",
        0.9,
    ),
    (
        "DRIVER_LICENSE",
        (r"(?i)\b(?:driv(?:er|ing)(?:'?s|’s)?[ -]?licen[cs]e|driver_licen[cs]e|licen[cs]e (?:number|no|#)|"
        r"dl(?: number| no\.?|#)|führerschein\w*|permis de conduire|carnet de conducir|permiso de conducir|"
        r"patente di guida|carteira de motorista|cnh)"
        r"[^\d\n]{0,24}?\b([A-Z]{0,5}[0-9][0-9A-Z-]{3,18}[0-9A-Z])\b"),
        0.85,
    ),
    (
        "BANK_ACCOUNT",
        (r"(?i)\b(?:bank )?(?:account|acct|a/c|kontonummer|konto|cuenta|compte|conto)"
        r"(?: ?(?:number|num|no\.?|nr\.?|#))?"
        r"(?: is| to|:| =|=|#)? ?(\d[\d -]{6,15}\d)\b"),
        0.7,
    ),
    (
        "BANK_ACCOUNT",
        (r"(?i)\b(?:routing|aba|sort[ -]code|blz|bsb)(?: ?(?:number|num|no\.?|code|#))?(?: is|:| =|=)? ?"
        r"(\d{2,3}[ -]?\d{2,3}[ -]?\d{2,3})\b"),
        0.7,
    ),
)  # fmt: skip


def _email(text: str, start: int, end: int) -> Iterator[Span]:
    while start < end and text[start] in _EMAIL_OPENING:
        start += 1
    local = text.index("@", start, end) - start
    if local > _MAX_LOCAL_PART:
        # Longer than RFC 5321 allows, so no mailbox by the letter; withheld all the same, for servers do accept it.
        yield Span(start, end, 0.7)
    elif local > 0 and text[start : start + local].find("//") == -1:
        yield Span(start, end, 1.0)
    elif local > 0:
        # scheme://user@host: the mailbox starts behind the last slash.
        yield Span(text.rindex("/", start, start + local) + 1, end, 0.9)


def _date_of_birth(text: str, start: int, end: int) -> Iterator[Span]:
    if before(text, start, _BIRTH_WORDS, reach=36) and stands_alone(text, start, end):
        yield Span(start, end, 0.85)


def _bitcoin(text: str, start: int, end: int) -> Iterator[Span]:
    if stands_alone(text, start, end) and importlib.import_module("stdnum.bitcoin").is_valid(text[start:end]):
        yield Span(start, end, 1.0)


_HOST = re.compile(r"[^/?#]+")


def _url(text: str, start: int, end: int) -> Iterator[Span]:
    while end > start and text[end - 1] in ".,;:!?)]}'\"":
        end -= 1
    if end - start > 4:
        yield Span(start, end, 0.9)


def _with_digits(count: int, score: float) -> Callable[[str, int, int], Iterator[Span]]:
    def judge(text: str, start: int, end: int) -> Iterator[Span]:
        if sum(character.isdigit() for character in text[start:end]) >= count:
            yield Span(start, end, score)

    return judge


def _structured(regions: Sequence[str]) -> tuple[Pattern, ...]:
    return (
        Pattern(rule="pii.email", entity="EMAIL_ADDRESS", regex=_EMAIL, judge=_email, explanation="mailbox and domain"),
        Pattern(
            rule="pii.email_spelled",
            entity="EMAIL_ADDRESS",
            regex=_EMAIL_SPELLED,
            score=0.75,
            explanation="mailbox spelled with 'at' and 'dot'",
        ),
        Pattern(
            rule="pii.phone",
            entity="PHONE_NUMBER",
            regex=phone.REGEX,
            judge=phone.judge_for(regions),
            explanation="numbering plan, shape and words near it",
        ),
        Pattern(
            rule="pii.credit_card",
            entity="CREDIT_CARD",
            regex=r"\d(?:[ -]{0,2}\d){11,}",
            judge=checks.card_numbers,
            explanation="issuer range and Luhn check digit",
        ),
        Pattern(
            rule="pii.us_ssn",
            entity="US_SSN",
            regex=r"\b\d{3}(?:-\d{2}-|[ .]\d{2}[ .]|\d{2})\d{4}\b",
            judge=checks.ssn,
            explanation="issued range and words near it",
        ),
        Pattern(
            rule="pii.iban",
            entity="IBAN_CODE",
            regex=r"(?i)\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}",
            judge=checks.iban,
            explanation="length of the country and mod-97",
        ),
        Pattern(
            rule="pii.ipv4",
            entity="IP_ADDRESS",
            regex=r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b",
            judge=checks.ipv4,
            explanation="four octets, no version number",
        ),
        Pattern(
            rule="pii.ipv6",
            entity="IP_ADDRESS",
            regex=r"(?:[0-9A-Fa-f]{1,4}:|::)[0-9A-Fa-f:]*:[0-9A-Fa-f:]*(?:\.\d{1,3}\.\d{1,3}\.\d{1,3})?",
            judge=checks.ipv6,
            explanation="eight groups or a double colon",
        ),
        Pattern(
            rule="pii.mac",
            entity="MAC_ADDRESS",
            regex=r"(?i)\b(?:[0-9A-F]{2}:){5}[0-9A-F]{2}\b|\b(?:[0-9A-F]{2}-){5}[0-9A-F]{2}\b",
            judge=alone(0.85, joiners=":-"),
            explanation="six hexadecimal octets",
        ),
        Pattern(
            rule="pii.bitcoin",
            entity="CRYPTO",
            regex=r"\b(?:[13][1-9A-HJ-NP-Za-km-z]{25,34}|bc1[02-9ac-hj-np-z]{11,71})\b",
            judge=_bitcoin,
            explanation="Base58Check or Bech32 checksum",
        ),
        Pattern(
            rule="pii.ethereum",
            entity="CRYPTO",
            regex=r"\b0x[0-9a-fA-F]{40}\b",
            judge=alone(0.8),
            explanation="20-byte account",
        ),
        Pattern(
            rule="pii.url",
            entity="URL",
            regex=r"(?i)\b(?:https?://|ftp://|www\.)[^\s<>\"']+",
            judge=_url,
            explanation="scheme or www prefix",
        ),
        Pattern(
            rule="pii.date_of_birth",
            entity="DATE_OF_BIRTH",
            regex=_DATE,
            judge=_date_of_birth,
            explanation="date after a word of birth",
        ),
        *(
            Pattern(
                rule=f"pii.{entity.lower()}",
                entity=entity,
                regex=regex,
                group=1,
                judge=_with_digits(5, score),
                explanation="number after words that name it",
            )
            for entity, regex, score in _CONTEXT_PATTERNS
        ),
    )


@lru_cache(maxsize=8)
def catalogue(regions: tuple[str, ...] = phone.DEFAULT_REGIONS) -> tuple[Pattern, ...]:
    """All shipped patterns of personal data.

    Args:
        regions: ISO 3166 codes of the countries whose national telephone format counts.
    """
    return (*_structured(regions), *national.patterns())
