"""National identity and tax numbers: shape here, check digits by python-stdnum, words around where the shape is common."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from wandb_governance.policy.rules.patterns import Pattern, Span
from wandb_governance.policy.rules.pii.checks import near, stands_alone, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scheme:
    entity: str
    regex: str
    module: str
    """Module of python-stdnum whose ``is_valid`` decides."""
    context: tuple[str, ...] = ()
    """Words of which one must stand near; empty where shape and checksum are enough."""
    optional_context: tuple[str, ...] = ()
    """Words that raise the score where none is needed."""


_SCHEMES: tuple[_Scheme, ...] = (
    _Scheme(entity="ES_NIF", regex=r"\b\d{8}[ -]?[A-HJ-NP-TV-Za-hj-np-tv-z]\b", module="es.dni", optional_context=("dni", "nif")),
    _Scheme(entity="ES_NIE", regex=r"\b[XYZxyz][ -]?\d{7}[ -]?[A-Za-z]\b", module="es.nie", optional_context=("nie",)),
    _Scheme(
        entity="IT_FISCAL_CODE",
        regex=r"(?i)\b[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]\b",
        module="it.codicefiscale",
    ),
    _Scheme(
        entity="DE_TAX_ID",
        regex=r"\b\d{2}[ ]?\d{3}[ ]?\d{3}[ ]?\d{3}\b",
        module="de.idnr",
        context=("steuer\\w*", "idnr", "steuer-?id\\w*", "identifikationsnummer", "tin", "tax"),
    ),
    _Scheme(
        entity="FR_NIR",
        regex=r"\b[1-478][ ]?\d{2}[ ]?(?:0[1-9]|[1-9]\d)[ ]?(?:\d{2}|2[ABab])[ ]?\d{3}[ ]?\d{3}[ ]?\d{2}\b",
        module="fr.nir",
    ),
    _Scheme(
        entity="UK_NHS",
        regex=r"\b\d{3}[ -]?\d{3}[ -]?\d{4}\b",
        module="gb.nhs",
        context=("nhs", "national health(?: service)?", "patient(?: id| number| no)?", "health number"),
    ),
    _Scheme(entity="UK_NINO", regex=r"(?i)\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ -]?\d{2}[ -]?\d{2}[ -]?\d{2}[ -]?[A-D]\b", module=""),
    _Scheme(
        entity="BR_CPF",
        regex=r"\b\d{3}\.\d{3}\.\d{3}-?\d{2}\b",
        module="br.cpf",
        optional_context=("cpf", "cadastro"),
    ),
    _Scheme(entity="BR_CPF", regex=r"\b\d{11}\b", module="br.cpf", context=("cpf", "cadastro")),
    _Scheme(entity="BR_CNPJ", regex=r"\b\d{2}\.\d{3}\.\d{3}/\d{4}-\d{2}\b", module="br.cnpj"),
    _Scheme(
        entity="IN_AADHAAR",
        regex=r"\b[2-9]\d{3}([ -]?)\d{4}[ -]?\d{4}\b",
        module="in_.aadhaar",
        context=("aadhaar", "aadhar", "uidai", "uid", "आधार"),
    ),
    _Scheme(entity="IN_PAN", regex=r"\b[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]\b", module="in_.pan"),
    _Scheme(entity="AU_TFN", regex=r"\b\d{3}[ -]?\d{3}[ -]?\d{2,3}\b", module="au.tfn", context=("tfn", "tax file(?: number| no)?")),
    _Scheme(entity="AU_ABN", regex=r"\b\d{2}[ ]?\d{3}[ ]?\d{3}[ ]?\d{3}\b", module="au.abn", context=("abn", "business number")),
    _Scheme(entity="AU_ACN", regex=r"\b\d{3}[ ]?\d{3}[ ]?\d{3}\b", module="au.acn", context=("acn", "company number")),
    _Scheme(
        entity="CA_SIN",
        regex=r"\b[1-79]\d{2}[ -]?\d{3}[ -]?\d{3}\b",
        module="ca.sin",
        context=("sin", "social insurance(?: number| no)?", "nas"),
    ),
    _Scheme(entity="NL_BSN", regex=r"\b\d{3}[. ]?\d{3}[. ]?\d{3}\b", module="nl.bsn", context=("bsn", "burgerservicenummer", "sofi\\w*")),
    _Scheme(entity="PL_PESEL", regex=r"\b\d{11}\b", module="pl.pesel", context=("pesel", "numer ewidencyjny")),
    _Scheme(entity="SE_PERSONNUMMER", regex=r"\b(?:19|20)?\d{6}[-+]\d{4}\b", module="se.personnummer"),
    _Scheme(entity="FI_HETU", regex=r"\b\d{6}[-+A-FU-Y]\d{3}[0-9A-FHJ-NPR-Y]\b", module="fi.hetu"),
    _Scheme(entity="DK_CPR", regex=r"\b[0-3]\d[01]\d{3}-?\d{4}\b", module="dk.cpr", context=("cpr", "personnummer", "cpr-nummer")),
    _Scheme(entity="NO_FODSELSNUMMER", regex=r"\b\d{6} ?\d{5}\b", module="no.fodselsnummer", context=("f(?:ø|o)dselsnummer", "personnummer", "fnr")),
    _Scheme(entity="BE_NATIONAL_NUMBER", regex=r"\b\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}\b", module="be.nn"),
    _Scheme(entity="CH_AHV", regex=r"\b756\.?\d{4}\.?\d{4}\.?\d{2}\b", module="ch.ssn"),
    _Scheme(entity="PT_NIF", regex=r"\b[1235689]\d{2} ?\d{3} ?\d{3}\b", module="pt.nif", context=("nif", "contribuinte", "fiscal")),
    _Scheme(entity="CN_RESIDENT_ID", regex=r"\b[1-9]\d{5}(?:19|20)\d{9}[\dXx]\b", module="cn.ric"),
    _Scheme(entity="KR_RRN", regex=r"\b\d{6}-[1-4]\d{6}\b", module="kr.rrn"),
    _Scheme(entity="JP_MY_NUMBER", regex=r"\b\d{4}[ -]?\d{4}[ -]?\d{4}\b", module="jp.in_", context=("my number", "マイナンバー", "個人番号")),
    _Scheme(entity="SG_NRIC", regex=r"\b[STFGM]\d{7}[A-Z]\b", module=""),
    _Scheme(entity="MX_CURP", regex=r"\b[A-Z][AEIOUX][A-Z]{2}\d{6}[HMX][A-Z]{5}[0-9A-Z]\d\b", module="mx.curp"),
    _Scheme(entity="ZA_ID", regex=r"\b\d{13}\b", module="za.idnr", context=("id(?: number| no)?", "identity", "rsa id")),
    _Scheme(entity="TR_TCKN", regex=r"\b[1-9]\d{10}\b", module="tr.tckimlik", context=("tc", "tckn", "t\\.c\\.", "kimlik")),
    _Scheme(entity="AR_DNI", regex=r"\b\d{2}\.\d{3}\.\d{3}\b", module="ar.dni", context=("dni", "documento")),
    _Scheme(entity="CL_RUT", regex=r"\b\d{1,2}\.?\d{3}\.?\d{3}-[\dKk]\b", module="cl.rut", context=("rut", "run")),
)  # fmt: skip

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
    needed = words(*scheme.context) if scheme.context else None
    helpful = words(*scheme.optional_context) if scheme.optional_context else None

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
            explanation="shape and check digits" + (" and words near it" if scheme.context else ""),
        )
        for scheme in _SCHEMES
    )


ENTITIES = tuple(dict.fromkeys(scheme.entity for scheme in _SCHEMES))
