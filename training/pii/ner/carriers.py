"""Names set into running text, so that the model learns the names and not the templates.

Carriers are the benign and hostile prompts of the data folder (CC0, Apache-2.0, MIT) and word salads of Faker's lorem
lists in many languages. What the carriers name themselves is labelled by the model of the round before.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from faker import Faker

if TYPE_CHECKING:
    from generate import Spans, Writer

SETS = (
    "alpaca_seed_benign",
    "awesome_roleplay_benign",
    "advbench_harmful",
    "notinject_one_two",
    "deepset_train",
    "bastioncorpus",
    "bipia_email_train",
    "surge_toxicity",
    "selfreminder_jailbreak",
)
LOREM = (
    "de_DE",
    "fr_FR",
    "it_IT",
    "pl_PL",
    "ru_RU",
    "ja_JP",
    "zh_CN",
    "zh_TW",
    "ko_KR",
    "ar_AA",
    "el_GR",
    "he_IL",
    "hy_AM",
    "la",
    "en_US",
    "nl_NL",
    "cs_CZ",
    "da_DK",
    "tl_PH",
    "fa_IR",
    "az_AZ",
    "ro_RO",
    "uk_UA",
    "vi_VN",
    "bn_BD",
    "ka_GE",
    "lv_LV",
    "th_TH",
    "es_ES",
    "pt_BR",
    "sv_SE",
    "hi_IN",
    "tr_TR",
    "hu_HU",
    "fi_FI",
)
SOMEONE = re.compile(
    r"\b(?:he|she|him|her|someone|somebody|my friend|the (?:user|customer|client|manager|teacher|doctor|patient|author|"
    r"student|man|woman|person|team|speaker|president))\b",
    re.IGNORECASE,
)
LEADING = re.compile(
    r"\b(?:for|to|with|by|from|of|about|and|tell|ask|help|give|write|contact|email|against|like|than|between|für|von|mit|an|pour|avec|de|para|con|voor|di|per|till|av|dla|od|için)\b"
)
RELATIONS = (
    "my sister",
    "his brother",
    "her uncle",
    "nurse",
    "judge",
    "coach",
    "CEO",
    "account holder",
    "the plaintiff",
    "my sister-in-law",
    "colleague",
    "agent",
    "officer",
    "name on card",
    "caller",
    "payee",
    "sender",
    "the author",
    "my flatmate",
    "intern",
    "engineer",
    "contact sister",
    "captain",
    "pastor",
    "minister",
    "grandma",
    "holder",
    "applicant",
    "kids with",
    "next to",
    "committee chaired by",
    "signed by",
    "on behalf of",
    "a speech for",
    "a limerick for",
    "the CV of",
    "related to",
    "represented by",
    "sincerely",
    "policyholder",
)
ACRONYMS = (
    "IBAN",
    "UUID",
    "API",
    "SSN",
    "DOB",
    "SQL",
    "HTTP",
    "JSON",
    "VAT",
    "ISBN",
    "SHA",
    "DOI",
    "URL",
    "CSV",
    "FAQ",
    "ETA",
    "KPI",
    "iban",
    "uuid",
    "mail",
    "ops",
    "sha",
    "id",
    "notes",
    "status",
    "callback",
    "holder",
    "total",
)
EPONYMS = (
    "{L} Brothers",
    "{L} & Sons",
    "{L} & Co.",
    "{L} Bank",
    "{L} University",
    "{L} Street",
    "{L}'s theorem",
    "the {L} algorithm",
    "the {L} Prize",
    "Lake {F}",
    "St. {F} Hospital",
    "{F} {L} University",
    "{L} Industries",
    "the {L} equation",
    "{L}-{L} inequality",
    "{L}'s law",
    "{L} syndrome",
    "{F} {L} Inc.",
    "Port {F}",
    "{L} County",
    "{L} Airport",
    "{F}'s Pizza",
    "the {L} method",
    "{L} Drive",
    "{L} Avenue",
    "Hotel {F}",
    "{L} Ltd.",
)


class Carrier:
    """Draws examples out of running text."""

    def __init__(self, data: str, writer: Writer, label) -> None:
        self.writer, self.rng = writer, writer.rng
        self.sentences: list[tuple[str, Spans]] = []
        for name in SETS:
            for line in (Path(data) / name / "data.jsonl").open(encoding="utf-8"):
                for piece in re.split(r"(?<=[.!?])\s+|\n+", json.loads(line)["text"][:3000]):
                    if 15 < len(piece) < 220:
                        self.sentences.append((piece, label(piece)))
        self.lorem = {}
        for locale in LOREM:
            try:
                words = Faker(locale).get_words_list()
            except (AttributeError, ValueError):
                continue
            self.lorem.setdefault(tuple(sorted(words)[:5]), (locale, sorted(words)))
        self.salads = list(self.lorem.values())

    def person(self, language: str | None = None) -> tuple[str, str]:
        """A name and its locale."""
        names = self.writer.pick_list(language)
        return self.writer.person(names), names.locale

    def running(self) -> tuple[str, Spans]:
        """A real sentence with names set in."""
        text, spans = self.rng.choice(self.sentences)
        if self.rng.random() < 0.25:
            return text, list(spans)
        for _ in range(1 if self.rng.random() < 0.7 else 2):
            text, spans = self._set_in(text, list(spans))
        return text, spans

    def _set_in(self, text: str, spans: Spans) -> tuple[str, Spans]:
        rng = self.rng
        value, _ = self.person()
        label: str | None = "PER"
        draw = rng.random()
        if draw < 0.15:
            names = self.writer.pick_list("en")
            value = re.sub(
                r"\{([FL])\}",
                lambda m: self.writer.given(names) if m.group(1) == "F" else self.writer.surname(names),
                rng.choice(EPONYMS),
            )
            label = None
        elif draw < 0.2:
            value, label = rng.choice(ACRONYMS), None
        before, after, at, until = "", "", 0, 0
        places = [m for m in SOMEONE.finditer(text) if not _inside(m.span(), spans)]
        leads = [m for m in LEADING.finditer(text) if not _inside(m.span(), spans)]
        how = rng.random()
        if places and how < 0.3 and label:
            at, until = rng.choice(places).span()
        elif leads and how < 0.65:
            at = until = rng.choice(leads).end()
            before = " "
        elif how < 0.75:
            after = rng.choice((", ", ": ", " - ", " asked: ", " wrote "))
        elif how < 0.85:
            at = until = len(text)
            before = rng.choice((", ", " - ", " (", "\n", " ~"))
            after = ")" if before == " (" else ""
        else:
            spaces = [i for i, c in enumerate(text) if c == " " and not _inside((i, i), spans)] or [0]
            at = until = rng.choice(spaces)
            before = " " + (rng.choice(RELATIONS) + " " if label and rng.random() < 0.7 else "")
        moved = len(before) + len(value) + len(after) - (until - at)
        spans = [(s, e, k) if e <= at else (s + moved, e + moved, k) for s, e, k in spans]
        if label:
            spans = sorted([*spans, (at + len(before), at + len(before) + len(value), label)])
        return text[:at] + before + value + after + text[until:], spans

    def salad(self) -> tuple[str, Spans]:
        """Words of one language in no order, with names between them."""
        locale, words = self.rng.choice(self.salads)
        language = locale.split("_")[0]
        unspaced = language in {"ja", "zh", "th"}
        glue = "" if unspaced else " "
        text, spans = "", []
        for _ in range(self.rng.randint(3, 14)):
            if self.rng.random() < 0.14:
                value, _ = self.person(language if self.rng.random() < 0.7 else None)
                spans.append((len(text), len(text) + len(value), "PER"))
            else:
                value = self.rng.choice(words)
                value = value.capitalize() if not text or self.rng.random() < 0.12 else value
            text += value + (self.rng.choice((", ", ". ", ": ", "。")) if self.rng.random() < 0.1 else glue)
        return text, spans

    def field(self) -> tuple[str, Spans]:
        """Lines of keys and values; some values are names."""
        _, words = self.rng.choice(self.salads)
        key_words = [*RELATIONS, *ACRONYMS, *self.rng.sample(words, min(6, len(words)))]
        lines, spans, at = [], [], 0
        for _ in range(self.rng.randint(1, 5)):
            key = self.rng.choice(key_words)
            sign = self.rng.choice((": ", "=", " = ", '": "', ",", "\t", " | "))
            value, label = (
                (self.person()[0], "PER")
                if self.rng.random() < 0.5
                else (self.rng.choice((*ACRONYMS, "#", "42", self.rng.choice(words))), None)
            )
            line = f"{key}{sign}{value}" + self.rng.choice(("\n", "\n", ", ", "; ", '", "'))
            if label:
                spans.append((at + len(key) + len(sign), at + len(key) + len(sign) + len(value), label))
            lines.append(line)
            at += len(line)
        return "".join(lines), spans

    def example(self) -> tuple[str, Spans]:
        """One draw of any kind, sometimes two in a row."""
        draw = self.rng.random()
        text, spans = self.running() if draw < 0.62 else self.salad() if draw < 0.88 else self.field()
        if self.rng.random() < 0.25:
            more, more_spans = self.running()
            offset = len(text) + 1
            text, spans = f"{text} {more}", [*spans, *((s + offset, e + offset, k) for s, e, k in more_spans)]
        return self.writer.noisy(text, spans)


def _inside(span: tuple[int, int], spans: Spans) -> bool:
    return any(s <= span[1] and span[0] <= e for s, e, _ in spans)
