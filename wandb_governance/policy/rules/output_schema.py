"""``output-schema``: the answer is JSON, and follows a JSON Schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from pydantic import Field

from wandb_governance.errors import MissingExtraError, PolicyDocumentError
from wandb_governance.policy.rules.strict_options import RuleOptions, read_options
from wandb_governance.policy.verdict import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_governance.policy.rule import RuleContext


class SchemaOptions(RuleOptions):
    """Options of ``output-schema``."""

    json_schema: dict[str, Any] = Field(default_factory=dict, alias="schema")
    """JSON Schema, draft 2020-12; {} asks for any JSON. References to other documents are refused."""


class OutputSchema:
    """Refuses an answer that does not fit."""

    name = "output-schema"
    version = "1"

    def __init__(self, schema: Mapping[str, Any]) -> None:
        try:
            from jsonschema import Draft202012Validator
            from jsonschema.exceptions import SchemaError
        except ImportError as error:
            raise MissingExtraError("jsonschema", extra="gateway") from error
        if _foreign_reference(schema):
            raise PolicyDocumentError("may refer to no other document: nothing is fetched", key="schema")
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            raise PolicyDocumentError(f"is no JSON Schema: {error.message}", key="schema") from error
        self._validator = Draft202012Validator(schema)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> OutputSchema:
        """Read the rule's options.

        Raises:
            PolicyDocumentError: An option is unknown or wrong.
            MissingExtraError: ``jsonschema`` is not installed.
        """
        return cls(read_options(SchemaOptions, options).json_schema)

    def find(self, text: str, context: RuleContext) -> Sequence[Finding]:
        """The first thing that does not fit; it names the place and never the value."""
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return (self._finding("the answer is not JSON", len(text)),)
        error = next(iter(self._validator.iter_errors(value)), None)
        if error is None:
            return ()
        return (self._finding(f"at {error.json_path} the answer breaks {error.validator!r} of the schema", len(text)),)

    def _finding(self, explanation: str, length: int) -> Finding:
        return Finding(
            rule="output.schema", entity="OUTPUT_SCHEMA", start=0, end=length, score=1.0, explanation=explanation
        )


def _foreign_reference(value: Any) -> bool:
    if isinstance(value, dict):
        references = (value.get(key) for key in ("$ref", "$dynamicRef"))
        if any(isinstance(reference, str) and not reference.startswith("#") for reference in references):
            return True
        return any(_foreign_reference(item) for item in value.values())
    return isinstance(value, list) and any(_foreign_reference(item) for item in value)
