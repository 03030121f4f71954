"""Mongo-style filters and order strings, as ``wandb.Api()`` sends them.

A filter is a JSON object of ``$and``, ``$or``, ``$nor``, ``$not`` and of keys with an operator object or a value; an
order is a comma list of ``+key`` and ``-key``. What a key means is told by a getter, one for each kind of object.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from wandb_governance.server.problem import BadRequest

Getter = Callable[[Any, str], Any]
"""``(object, key) -> value``; :data:`MISSING` where the object has no such key."""

Predicate = Callable[[Any], bool]

Item = TypeVar("Item")

MISSING: Any = type("_Missing", (), {"__repr__": lambda _self: "MISSING", "__bool__": lambda _self: False})()
"""The value of a key that an object does not have; not the same as null."""

MAX_DEPTH = 20
MAX_PATTERN = 256


def read_filter(text: Any, getter: Getter) -> Predicate | None:
    """The predicate of a JSON filter, or None where it lets everything pass.

    Raises:
        BadRequest: It is no JSON object, is nested too deeply or uses an operator that does not exist.
    """
    if text is None or text == "":
        return None
    if isinstance(text, str):
        try:
            text = json.loads(text)
        except (ValueError, RecursionError):
            raise BadRequest("a filter must be a JSON object") from None
    if text is None or text == {}:
        return None
    return _compile(text, getter, 0)


def _compile(document: Any, getter: Getter, depth: int) -> Predicate:
    if not isinstance(document, dict):
        raise BadRequest("a filter must be a JSON object")
    if depth > MAX_DEPTH:
        raise BadRequest(f"a filter is nested deeper than {MAX_DEPTH} levels")
    parts = [_compile_entry(key, value, getter, depth) for key, value in document.items()]
    return lambda item: all(part(item) for part in parts)


def _compile_entry(key: str, value: Any, getter: Getter, depth: int) -> Predicate:
    if key in {"$and", "$or", "$nor"}:
        if not isinstance(value, list):
            raise BadRequest(f"{key} needs a list")
        parts = [_compile(part, getter, depth + 1) for part in value]
        if key == "$and":
            return lambda item: all(part(item) for part in parts)
        if key == "$or":
            # the SDK writes {"$or": [{"$and": []}]} for "everything"; an empty $or lets everything pass too
            return lambda item: not parts or any(part(item) for part in parts)
        return lambda item: not any(part(item) for part in parts)
    if key == "$not":
        inner = _compile(value, getter, depth + 1)
        return lambda item: not inner(item)
    if key.startswith("$"):
        raise BadRequest(f"unknown filter operator {key[:40]!r}")
    test = _compile_test(value, depth + 1)
    return lambda item: test(getter(item, key))


def _compile_test(value: Any, depth: int) -> Predicate:
    if depth > MAX_DEPTH:
        raise BadRequest(f"a filter is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict) and any(name.startswith("$") for name in value):
        tests = [_operator(name, operand, depth) for name, operand in value.items()]
        return lambda found: all(test(found) for test in tests)
    return lambda found: _equal(found, value)


def _operator(name: str, operand: Any, depth: int) -> Predicate:
    if name == "$not":
        inner = _compile_test(operand, depth + 1)
        return lambda found: not inner(found)
    if name in {"$in", "$nin"}:
        if not isinstance(operand, list):
            raise BadRequest(f"{name} needs a list")
        wanted = name == "$in"
        return lambda found: any(_equal(found, choice) for choice in operand) is wanted
    if name == "$exists":
        return lambda found: (found is not MISSING and found is not None) is bool(operand)
    if name in {"$regex", "$contains"}:
        return _text_test(name, operand)
    if name == "$options":
        return lambda _found: True
    simple: dict[str, Callable[[Any], bool]] = {
        "$eq": lambda found: _equal(found, operand),
        "$ne": lambda found: not _equal(found, operand),
        "$gt": lambda found: _compare(found, operand) == 1,
        "$gte": lambda found: _compare(found, operand) in {0, 1},
        "$lt": lambda found: _compare(found, operand) == -1,
        "$lte": lambda found: _compare(found, operand) in {0, -1},
    }
    if name not in simple:
        raise BadRequest(f"unknown filter operator {name[:40]!r}")
    return simple[name]


def _text_test(name: str, operand: Any) -> Predicate:
    if not isinstance(operand, str) or len(operand) > MAX_PATTERN:
        raise BadRequest(f"{name} needs text of at most {MAX_PATTERN} characters")
    if name == "$contains":
        return lambda found: any(operand in text for text in _texts(found))
    search = _linear_regex(operand)
    return lambda found: any(search(text) for text in _texts(found))


def _linear_regex(pattern: str) -> Callable[[str], object]:
    import re2  # linear time: no pattern of a client can hold a thread

    try:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = 8 << 20
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        raise BadRequest(f"the pattern {pattern[:80]!r} does not compile: {error}") from None
    search: Callable[[str], object] = compiled.search
    return search


def _texts(found: Any) -> list[str]:
    if isinstance(found, str):
        return [found]
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []


def _equal(found: Any, wanted: Any) -> bool:
    if found is MISSING:
        return wanted is None
    if isinstance(found, list) and not isinstance(wanted, list):
        return any(_equal(entry, wanted) for entry in found)
    if isinstance(found, bool) != isinstance(wanted, bool):
        return False
    return bool(found == wanted)


def _compare(found: Any, wanted: Any) -> int | None:
    both_numbers = _is_number(found) and _is_number(wanted)
    if both_numbers or (isinstance(found, str) and isinstance(wanted, str)):
        return int(found > wanted) - int(found < wanted)
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


_ORDER = re.compile(r"([+-]?)([^\s+\-,][^,]*)")


def read_order(text: Any) -> list[tuple[str, bool]]:
    """Keys of an order string with True for descending.

    Raises:
        BadRequest: It is not a comma list of keys.
    """
    if text is None or text == "":
        return []
    if not isinstance(text, str) or len(text) > 1000:
        raise BadRequest("an order must be a comma list of +key and -key")
    keys = []
    for part in text.split(","):
        match = _ORDER.fullmatch(part.strip())
        if match is None:
            raise BadRequest(f"{part[:80]!r} is not +key or -key")
        keys.append((match[2], match[1] == "-"))
    return keys


def ordered(items: Iterable[Item], keys: Sequence[tuple[str, bool]], getter: Getter) -> list[Item]:
    """``items`` sorted by ``keys``, stable; objects that lack a key come last whichever way the key runs."""
    result = list(items)
    for key, descending in reversed(keys):
        result.sort(key=lambda item: _sort_key(getter(item, key)), reverse=descending)
        result.sort(key=lambda item: getter(item, key) in (MISSING, None))
    return result


def _sort_key(value: Any) -> tuple[int, Any]:
    if isinstance(value, bool):
        return 0, int(value)
    if isinstance(value, int | float) and not math.isnan(value):
        return 1, value
    if isinstance(value, str):
        return 2, value
    return 3, ""
