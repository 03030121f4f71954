"""Reading the keys that a policy document gives to one rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wandb_governance.errors import PolicyDocumentError
from wandb_governance.policy.rules.patterns import Pattern, user_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping


def refuse_unknown(options: Mapping[str, object], known: set[str]) -> None:
    """Refuse keys that the rule does not enforce.

    Raises:
        PolicyDocumentError: A key is not in ``known``.
    """
    for key in options:
        if key not in known:
            raise PolicyDocumentError(f"unknown key; known are {', '.join(sorted(known))}", key=key)


def number_option(options: Mapping[str, object], key: str, *, default: float) -> float:
    """A score or threshold in [0, 1].

    Raises:
        PolicyDocumentError: It is not a number in [0, 1].
    """
    value = options.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise PolicyDocumentError("must be a number from 0 to 1", key=key)
    return float(value)


def string_list_option(options: Mapping[str, object], key: str) -> tuple[str, ...] | None:
    """A list of non-empty texts, or None where the key is absent.

    Raises:
        PolicyDocumentError: It is not such a list, or an empty one.
    """
    value = options.get(key)
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not value or not all(isinstance(v, str) and v for v in value):
        raise PolicyDocumentError("must be a list with at least one text", key=key)
    return tuple(str(v) for v in value)


def user_patterns_option(options: Mapping[str, object], key: str, *, rule: str, entity: str) -> tuple[Pattern, ...]:
    """Patterns of the user's own: texts, or mappings with ``name``, ``pattern`` (or ``regex``), ``entity``, ``score``.

    Raises:
        PolicyDocumentError: An entry has another form, or its pattern is refused.
    """
    value = options.get(key)
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise PolicyDocumentError("must be a list of patterns", key=key)
    return tuple(_user_pattern(item, f"{key}[{index}]", rule=rule, entity=entity) for index, item in enumerate(value))


def _user_pattern(item: object, key: str, *, rule: str, entity: str) -> Pattern:
    if isinstance(item, str):
        return user_pattern(item, rule=f"{rule}.{key}", entity=entity, key=key)
    if not isinstance(item, dict):
        raise PolicyDocumentError("must be a pattern or a mapping with 'name' and 'pattern'", key=key)
    for unknown in item.keys() - {"name", "pattern", "regex", "entity", "score"}:
        raise PolicyDocumentError("unknown key", key=f"{key}.{unknown}")
    regex = item.get("pattern", item.get("regex"))
    name = item.get("name", key)
    kind = item.get("entity", str(name).upper().replace("-", "_").replace(" ", "_") if "name" in item else entity)
    if not isinstance(regex, str) or not isinstance(name, str) or not isinstance(kind, str):
        raise PolicyDocumentError("'pattern', 'name' and 'entity' must be texts", key=key)
    score = number_option(item, "score", default=0.85)
    return user_pattern(regex, rule=f"{rule}.{name}", entity=kind, score=score, key=f"{key}.pattern")
