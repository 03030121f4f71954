"""Options of a rule, read strictly."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from wandb_governance.errors import PolicyDocumentError

if TYPE_CHECKING:
    from collections.abc import Mapping


class RuleOptions(BaseModel):
    """Refuses an option it doesn't know."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True)


_Options = TypeVar("_Options", bound=RuleOptions)


def read_options(model: type[_Options], options: Mapping[str, Any]) -> _Options:
    """Validate ``options``.

    Raises:
        PolicyDocumentError: The first option that is unknown or wrong; ``key`` is its path below the policy.
    """
    try:
        return model.model_validate_json(orjson.dumps(dict(options), option=orjson.OPT_NON_STR_KEYS), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or None
        if first["type"] == "extra_forbidden":
            known = [field.alias or name for name, field in model.model_fields.items()]
            close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
            message = (
                f"unknown key; did you mean {close[0]!r}?" if close else f"unknown key; known are {', '.join(known)}"
            )
        else:
            message = first["msg"].removeprefix("Value error, ")
            message = message[:1].lower() + message[1:]
        raise PolicyDocumentError(message, key=key) from None
