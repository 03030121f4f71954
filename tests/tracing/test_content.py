"""Inputs and outputs as text: bounded, redacted, and never a reason to fail."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from enum import Enum

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from wandb_governance.tracing.content import ContentEncoder

LIMIT = 1_000
encoder = ContentEncoder(limit_chars=LIMIT, redact=lambda text: text.replace("SECRET", "[X]"))

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@given(value=anything)
def test_any_value_becomes_bounded_text(value: object) -> None:
    """Whatever the value, the result is encodable text within the limit, and says how long the whole was."""
    content = encoder.encode(value)
    content.text.encode("utf-8")
    assert len(content.text) <= LIMIT
    assert (content.sha256 is not None) == (content.length > len(content.text))


@given(value=anything)
def test_the_secret_is_in_no_text(value: object) -> None:
    """Redaction reaches every string at any depth, keys included."""
    content = encoder.encode({"SECRET key": [value, {"deep": ("SECRET", {"SECRET"})}]})
    assert "SECRET" not in content.text


def test_25_a_cyclic_object_ends() -> None:
    """A list or dictionary that holds itself becomes text of bounded size."""
    cycle: list[object] = []
    cycle.extend([cycle, cycle])
    loop: dict[str, object] = {}
    loop["again"] = loop
    assert len(encoder.encode(cycle).text) <= LIMIT
    assert "nested too deep" in encoder.encode(loop).text


def test_25_ten_megabytes_are_cut_with_length_and_hash() -> None:
    """A huge prompt is kept up to the limit; its length and SHA-256 tell which it was."""
    huge = "x" * 10_000_000
    content = encoder.encode(huge)
    assert (len(content.text), content.length) == (LIMIT, 10_000_000)
    assert content.sha256 == hashlib.sha256(huge.encode()).hexdigest()


def test_25_a_secret_that_straddles_the_cut_does_not_show_in_part() -> None:
    """What is cut is redacted before it is cut."""
    assert "SEC" not in encoder.encode("x" * (LIMIT - 3) + "SECRET" + "y" * LIMIT).text


def test_25_odd_leaves_get_a_stand_in() -> None:
    """Bytes show length and hash, NaN and huge integers become strings, lone surrogates a replacement."""
    plain = orjson.loads(encoder.encode([b"\x00\xff", math.nan, -math.inf, 2**80, "a\ud800b"]).text)
    assert plain[0].startswith("<2 bytes, sha256 ")
    assert plain[1:] == ["nan", "-inf", str(2**80), "a?b"]


class Colour(Enum):
    RED = "red"


class Model(BaseModel):
    name: str
    key: SecretStr


@dataclasses.dataclass
class Point:
    x: int
    hidden: str = dataclasses.field(default="SECRET", repr=False)


class Hostile:
    """Its repr must never be asked for."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_known_kinds_of_objects_are_read_and_unknown_ones_only_named() -> None:
    """Enums, dataclasses and pydantic models show their fields; an unknown object shows its class, never its repr."""
    plain = orjson.loads(
        encoder.encode([Colour.RED, Point(1), Model(name="n", key=SecretStr("hidden")), Hostile()]).text
    )
    assert plain[0] == "red"
    assert plain[1] == {"x": 1}
    assert plain[2]["name"] == "n"
    assert "hidden" not in str(plain)
    assert plain[3].endswith("Hostile>")


@pytest.mark.parametrize("items", [5_000, 200_000])
def test_long_containers_are_cut_and_say_how_many_are_missing(items: int) -> None:
    """A list of many items is not walked to its end."""
    plain = encoder.plain(["x"] * items)
    assert isinstance(plain, list)
    assert len(plain) < 1_100
    assert str(plain[-1]).endswith("more")


def test_a_framework_object_goes_through_its_converter() -> None:
    """The adapter's converter is asked first, and what it returns is redacted like everything else."""
    convert = encoder.with_convert(lambda value: {"text": "SECRET"} if isinstance(value, Hostile) else value)
    assert orjson.loads(convert.encode(Hostile()).text) == {"text": "[X]"}
