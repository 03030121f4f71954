"""National identity and tax numbers: shape, check digits by python-stdnum, and words near where the shape is common."""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from wandb_governance.policy.rules.patterns import Pattern, Span
from wandb_governance.policy.rules.pii.checks import near, stands_alone, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class _Scheme(NamedTuple):
    entity: str
    regex: str
    module: str
    """Module of python-stdnum whose ``is_valid`` decides; empty where the check is our own."""
    needed: str
    """Words of which one must stand near; empty where shape and checksum are enough."""
    helpful: str
    """Words that raise the score where none is needed."""


_TABLE: tuple[tuple[str, str, str, str, str], ...] = (
    ("ES_NIF", r"\b\d{8}[ -]?[A-HJ-NP-TV-Za-hj-np-tv-z]\b", "es.dni", "", "dni|nif"),
    ("ES_NIE", r"\b[XYZxyz][ -]?\d{7}[ -]?[A-Za-z]\b", "es.nie", "", "nie"),
    ("IT_FISCAL_CODE",
     r"(?i)\b[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]\b", "it.codicefiscale", "", ""),
    ("DE_TAX_ID", r"\b\d{2}[ ]?\d{3}[ ]?\d{3}[ ]?\d{3}\b", "de.idnr",
     r"steuer\w*|idnr|steuer-?id\w*|identifikationsnummer|tin|tax", ""),
    ("FR_NIR",
     r"\b[1-478][ ]?\d{2}[ ]?(?:0[1-9]|[1-9]\d)[ ]?(?:\d{2}|2[ABab])[ ]?\d{3}[ ]?\d{3}[ ]?\d{2}\b", "fr.nir", "", ""),
    ("UK_NHS", r"\b\d{3}[ -]?\d{3}[ -]?\d{4}\b", "gb.nhs",
     "nhs|national health(?: service)?|patient(?: id| number| no)?|health number", ""),
    ("UK_NINO", r"(?i)\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ -]?\d{2}[ -]?\d{2}[ -]?\d{2}[ -]?[A-D]\b", "", "", ""),
    ("BR_CPF", r"\b\d{3}\.\d{3}\.\d{3}-?\d{2}\b", "br.cpf", "", "cpf|cadastro"),
    ("BR_CPF", r"\b\d{11}\b", "br.cpf", "cpf|cadastro", ""),
    ("BR_CNPJ", r"\b\d{2}\.\d{3}\.\d{3}/\d{4}-\d{2}\b", "br.cnpj", "", ""),
    ("IN_AADHAAR", r"\b[2-9]\d{3}([ -]?)\d{4}[ -]?\d{4}\b", "in_.aadhaar", "aadhaar|aadhar|uidai|uid|आधार", ""),
    ("IN_PAN", r"\b[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]\b", "in_.pan", "", ""),
    ("AU_TFN", r"\b\d{3}[ -]?\d{3}[ -]?\d{2,3}\b", "au.tfn", "tfn|tax file(?: number| no)?", ""),
    ("AU_ABN", r"\b\d{2}[ ]?\d{3}[ ]?\d{3}[ ]?\d{3}\b", "au.abn", "abn|business number", ""),
    ("AU_ACN", r"\b\d{3}[ ]?\d{3}[ ]?\d{3}\b", "au.acn", "acn|company number", ""),
    ("CA_SIN", r"\b[1-79]\d{2}[ -]?\d{3}[ -]?\d{3}\b", "ca.sin", "sin|social insurance(?: number| no)?|nas", ""),
    ("NL_BSN", r"\b\d{3}[. ]?\d{3}[. ]?\d{3}\b", "nl.bsn", r"bsn|burgerservicenummer|sofi\w*", ""),
    ("PL_PESEL", r"\b\d{11}\b", "pl.pesel", "pesel|numer ewidencyjny", ""),
    ("SE_PERSONNUMMER", r"\b(?:19|20)?\d{6}[-+]\d{4}\b", "se.personnummer", "", ""),
    ("FI_HETU", r"\b\d{6}[-+A-FU-Y]\d{3}[0-9A-FHJ-NPR-Y]\b", "fi.hetu", "", ""),
    ("DK_CPR", r"\b[0-3]\d[01]\d{3}-?\d{4}\b", "dk.cpr", "cpr|personnummer|cpr-nummer", ""),
    ("NO_FODSELSNUMMER", r"\b\d{6} ?\d{5}\b", "no.fodselsnummer", "f(?:ø|o)dselsnummer|personnummer|fnr", ""),
    ("BE_NATIONAL_NUMBER", r"\b\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}\b", "be.nn", "", ""),
    ("CH_AHV", r"\b756\.?\d{4}\.?\d{4}\.?\d{2}\b", "ch.ssn", "", ""),
    ("PT_NIF", r"\b[1235689]\d{2} ?\d{3} ?\d{3}\b", "pt.nif", "nif|contribuinte|fiscal", ""),
    ("CN_RESIDENT_ID", r"\b[1-9]\d{5}(?:19|20)\d{9}[\dXx]\b", "cn.ric", "", ""),
    ("KR_RRN", r"\b\d{6}-[1-4]\d{6}\b", "kr.rrn", "", ""),
    ("JP_MY_NUMBER", r"\b\d{4}[ -]?\d{4}[ -]?\d{4}\b", "jp.in_", "my number|マイナンバー|個人番号", ""),
    ("SG_NRIC", r"\b[STFGM]\d{7}[A-Z]\b", "", "", ""),
    ("MX_CURP", r"\b[A-Z][AEIOUX][A-Z]{2}\d{6}[HMX][A-Z]{5}[0-9A-Z]\d\b", "mx.curp", "", ""),
    ("ZA_ID", r"\b\d{13}\b", "za.idnr", "id(?: number| no)?|identity|rsa id", ""),
    ("TR_TCKN", r"\b[1-9]\d{10}\b", "tr.tckimlik", r"tc|tckn|t\.c\.|kimlik", ""),
    ("AR_DNI", r"\b\d{2}\.\d{3}\.\d{3}\b", "ar.dni", "dni|documento", ""),
    ("CL_RUT", r"\b\d{1,2}\.?\d{3}\.?\d{3}-[\dKk]\b", "cl.rut", "rut|run", ""),
)  # fmt: skip
_SCHEMES = tuple(_Scheme(*row) for row in _TABLE)

_NINO_RESERVED = frozenset({"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"})
_NRIC_WEIGHTS = (2, 7, 6, 5, 4, 3, 2)
# Offset of the sum and letter by remainder, by first letter.
_NRIC_LETTERS = {
    "S": (0, "JZIHGFEDCBA"),
    "T": (4, "JZIHGFEDCBA"),
    "F": (0, "XWUTRQPNMLK"),
    "G": (4, "XWUTRQPNMLK"),
    "M": (3, "XWUTRQPNJLK"),
}


def _nino(value: str) -> bool:
    return value[:2].upper() not in _NINO_RESERVED


def _nric(value: str) -> bool:
    offset, letters = _NRIC_LETTERS[value[0]]
    total = offset + sum(int(digit) * weight for digit, weight in zip(value[1:8], _NRIC_WEIGHTS, strict=True))
    return letters[total % 11] == value[8]


_OWN_CHECKS: dict[str, Callable[[str], bool]] = {"UK_NINO": _nino, "SG_NRIC": _nric}


@lru_cache(maxsize=64)
def _validator(module: str) -> Any:
    return importlib.import_module(f"stdnum.{module}").is_valid


def _judge(scheme: _Scheme) -> Callable[[str, int, int], Iterator[Span]]:
    needed = words(scheme.needed) if scheme.needed else None
    helpful = words(scheme.helpful) if scheme.helpful else None

    def judge(text: str, start: int, end: int) -> Iterator[Span]:
        if not stands_alone(text, start, end):
            return
        if needed is not None and not near(text, start, end, needed):
            return
        value = text[start:end]
        valid = _OWN_CHECKS[scheme.entity](value) if not scheme.module else _validator(scheme.module)(value)
        if valid:
            sure = needed is not None or (helpful is not None and near(text, start, end, helpful))
            yield Span(start, end, 0.95 if sure else 0.8)

    return judge


def patterns() -> tuple[Pattern, ...]:
    """One pattern a scheme, in the order of the table."""
    return tuple(
        Pattern(
            rule=f"pii.{scheme.entity.lower()}",
            entity=scheme.entity,
            regex=scheme.regex,
            judge=_judge(scheme),
            explanation="shape and check digits" + (" and words near it" if scheme.needed else ""),
        )
        for scheme in _SCHEMES
    )


ENTITIES = tuple(dict.fromkeys(scheme.entity for scheme in _SCHEMES))
