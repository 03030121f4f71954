"""Draw labelled training texts from the templates."""

from __future__ import annotations

import json
import random
import re
import sys
import unicodedata
from pathlib import Path

from names import PARTICLES, SURNAME_FIRST, TITLES, UNSPACED, NameList, name_lists, surroundings
from templates import DECOYS, LOCALISED, NEGATIVES, PROMPTS

SLOT = re.compile(r"\{(P|N|F|L|LF|T|C|K|A|O|J|V|W|D|U)\}")
LATIN_SHARE = 0.8
Spans = list[tuple[int, int, str]]


def _latin(names: NameList) -> bool:
    return all(ord(ch) < 0x250 for n in names.given[:5] for ch in n)


class Writer:
    """Fills slots; every draw comes from one seeded generator."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.lists = name_lists(for_report=False)
        self.latin = [n for n in self.lists.values() if _latin(n)]
        self.by_language: dict[str, list[NameList]] = {}
        for names in self.lists.values():
            self.by_language.setdefault(names.locale.split("_")[0], []).append(names)
        self.around = surroundings(seed)

    def pick_list(self, language: str | None) -> NameList:
        if language and language in self.by_language and self.rng.random() < 0.85:
            return self.rng.choice(self.by_language[language])
        if self.rng.random() < 0.5:
            return self.lists[self.rng.choice(("en_US", "en_GB", "en", "en_IN", "en_IE"))]
        return (
            self.rng.choice(self.latin)
            if self.rng.random() < LATIN_SHARE
            else self.rng.choice(list(self.lists.values()))
        )

    def given(self, names: NameList) -> str:
        name = self.rng.choice(names.given)
        if self.rng.random() < 0.04 and names.locale not in UNSPACED:
            name += self.rng.choice(("-", " ")) + self.rng.choice(names.given)
        return name

    def surname(self, names: NameList) -> str:
        name = self.rng.choice(names.surnames)
        draw = self.rng.random()
        if names.locale in UNSPACED:
            return name
        if draw < 0.04:
            return f"{name}-{self.rng.choice(names.surnames)}"
        if draw < 0.07 and names.locale.startswith(("es", "pt")):
            return f"{name} {self.rng.choice(names.surnames)}"
        if draw < 0.10 and _latin(names):
            particle = self.rng.choice(PARTICLES)
            return particle + name if particle in {"Mc", "O'"} else f"{particle} {name}"
        return name

    def full(self, names: NameList) -> str:
        given, surname = self.given(names), self.surname(names)
        if names.locale in UNSPACED and self.rng.random() < 0.85:
            return surname + given
        if names.locale in SURNAME_FIRST and self.rng.random() < 0.6:
            return f"{surname} {given}"
        draw = self.rng.random()
        if draw < 0.06 and _latin(names):
            return f"{given} {self.rng.choice('ABCDEFGHJKLMNPRSTW')}. {surname}"
        if draw < 0.10 and _latin(names):
            return f"{given[0]}. {surname}"
        if draw < 0.12 and _latin(names):
            return f"{given} {self.given(names)} {surname}"
        return f"{given} {surname}"

    def person(self, names: NameList) -> str:
        draw = self.rng.random()
        if draw < 0.6:
            return self.full(names)
        return self.given(names) if draw < 0.92 else self.surname(names)

    def value(self, slot: str, names: NameList) -> tuple[str, str | None]:
        rng, around = self.rng, self.around
        if slot in {"P", "N", "F", "L"}:
            make = {"P": self.person, "N": self.full, "F": self.given, "L": self.surname}[slot]
            return make(names), "PER"
        if slot == "LF":
            return f"{self.surname(names)}, {self.given(names)}", "PER"
        if slot == "T":
            return rng.choice(TITLES.get(names.locale.split("_")[0], TITLES["en"])), None
        choices = {
            "C": (around.cities, "LOC"),
            "K": (around.countries, "LOC"),
            "A": (around.addresses, "LOC"),
            "O": (around.organisations, None),
            "J": (around.occupations, None),
            "D": (tuple(DECOYS), None),
        }
        if slot in choices:
            values, label = choices[slot]
            return rng.choice(values), label
        if slot == "U":
            return rng.choice(names.given).lower()[:6] + str(rng.randint(1, 99)), None
        return ("#", None) if slot == "V" else (str(rng.choice((rng.randint(1, 99), rng.randint(100, 99999)))), None)

    def fill(self, template: str, language: str | None) -> tuple[str, Spans]:
        names = self.pick_list(language)
        text, spans, at = "", [], 0
        for match in SLOT.finditer(template):
            text += template[at : match.start()]
            if self.rng.random() < 0.25 and language is None:
                names = self.pick_list(None)
            value, label = self.value(match.group(1), names)
            if label:
                spans.append((len(text), len(text) + len(value), label))
            text += value
            at = match.end()
        return text + template[at:], _joined(text + template[at:], spans)

    def one(self) -> tuple[str, Spans]:
        draw = self.rng.random()
        if draw < 0.24:
            text, spans = self.fill(self.rng.choice(NEGATIVES).replace("\\n", "\n"), None)
        elif draw < 0.48:
            language, template = self.rng.choice(LOCALISED).split("|", 1)
            text, spans = self.fill(template.replace("\\n", "\n"), language)
        else:
            text, spans = self.fill(self.rng.choice(PROMPTS).replace("\\n", "\n"), None)
        return text, spans

    def example(self) -> tuple[str, Spans]:
        text, spans = self.one()
        while self.rng.random() < 0.35 and len(text) < 400:
            glue = self.rng.choice((" ", "\n", "\n\n", ". "))
            more, more_spans = self.one()
            offset = len(text) + len(glue)
            spans += [(s + offset, e + offset, label) for s, e, label in more_spans]
            text += glue + more
        return self.noisy(text, spans)

    def noisy(self, text: str, spans: Spans) -> tuple[str, Spans]:
        draw = self.rng.random()
        if draw < 0.15:
            text = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
        elif draw < 0.18:
            text = "".join(c.upper() if len(c.upper()) == 1 else c for c in text)
        elif draw < 0.22:
            text = "".join(_plain(c) for c in text)
        return text, spans


def _joined(text: str, spans: Spans) -> Spans:
    """Given name and surname side by side are one person."""
    joined: Spans = []
    for start, end, label in spans:
        if joined and label == "PER" == joined[-1][2] and text[joined[-1][1] : start] in {" ", "-"}:
            joined[-1] = (joined[-1][0], end, label)
        else:
            joined.append((start, end, label))
    return joined


def _plain(character: str) -> str:
    base = unicodedata.normalize("NFD", character)[0]
    return base if base.isalpha() else character


def main(path: str, count: str, seed: str) -> None:
    """Write ``count`` examples as JSON lines with ``text`` and ``spans``."""
    writer = Writer(int(seed))
    with Path(path).open("w", encoding="utf-8") as out:
        for _ in range(int(count)):
            text, spans = writer.example()
            out.write(json.dumps({"text": text, "spans": spans}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
