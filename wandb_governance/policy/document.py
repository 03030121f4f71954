"""The policy document: YAML in, strict values out, every mistake with file, line and key."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from wandb_governance.policy.rules.registry import KINDS
from wandb_governance.policy.targets import GatewaySection, PositiveFloat, PositiveInt, Providers, Strict
from wandb_governance.policy.verdict import Action, Mode, Scope
from wandb_governance.policy.yaml_source import KeyPath, Place, YamlSource, parse_yaml, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

_Phase = Literal["input", "output", "tool", "tools", "tool_args", "tool_result", "retrieval"]
_PHASES = {
    "input": (Scope.INPUT,),
    "output": (Scope.OUTPUT,),
    "tool": (Scope.TOOL_ARGS, Scope.TOOL_RESULT),
    "tools": (Scope.TOOL_ARGS, Scope.TOOL_RESULT),
    "tool_args": (Scope.TOOL_ARGS,),
    "tool_result": (Scope.TOOL_RESULT,),
    "retrieval": (Scope.RETRIEVAL,),
}


class Pack(Strict):
    """Name and version of a set of policies."""

    name: Annotated[str, Field(min_length=1)]
    version: str = "0"
    enabled: bool = True
    """With false nothing is checked."""
    description: str = ""


class Response(Strict):
    """What a caller is told (the newer field names)."""

    action: Action | None = None
    message: str | None = None
    """Shown to the caller of a blocked request, in place of the reasons."""


class Redaction(Strict):
    """How a finding is replaced."""

    marker_format: str = "[{entity}]"
    """``{entity}`` (or ``{type}``) stands for the type of the finding."""
    include_metadata: bool = False
    """The gateway tells in a response header what it redacted, by type and count."""
    preserve_length: bool = False
    """The marker is cut or padded with ``*`` to the length of what it replaces."""
    custom_markers: dict[str, str] = Field(default_factory=dict)
    """Marker by type, over ``marker_format``."""
    reversible: bool = False
    """Replace by a pseudonym that the session's vault can turn back."""
    ttl_s: PositiveInt = 24 * 3600
    """How long a reversible pseudonym can be turned back."""

    @field_validator("marker_format")
    @classmethod
    def _marker_fields(cls, value: str) -> str:
        bare = value.replace("{entity}", "").replace("{type}", "")
        if "{" in bare or "}" in bare:
            raise ValueError("may hold {entity} or {type} and no other braces")
        if any(c.isspace() for c in value):
            raise ValueError("may hold no white space: a stream could not keep it whole")
        return value

    @field_validator("custom_markers")
    @classmethod
    def _marker_words(cls, value: dict[str, str]) -> dict[str, str]:
        if any(c.isspace() for marker in value.values() for c in marker):
            raise ValueError("may hold no white space: a stream could not keep it whole")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Redaction:
        if self.reversible and self.preserve_length:
            raise ValueError("reversible and preserve_length can't both be kept")
        return self


class PolicySection(Strict):
    """Options of one policy: those that every policy has, and in ``model_extra`` the rule's own."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True, hide_input_in_errors=True)

    kind: str | None = None
    """Rule, where the name in the chain is not its own name; lets one rule stand twice in a chain."""
    enabled: bool = True
    action: Action | None = None
    mode: Mode = Mode.ENFORCE
    scopes: tuple[Scope, ...] | None = None
    phases: tuple[_Phase, ...] | None = None
    """The newer name of ``scopes``; ``tool`` means arguments and results."""
    fail_mode: Literal["closed", "open"] | None = None
    """What a failing rule means: ``closed`` blocks, ``open`` allows."""
    timeout_ms: PositiveFloat | None = None
    async_: bool = Field(default=False, alias="async")
    """Run beside the upstream call; the response is held until the verdict is there."""
    response: Response | None = None
    redaction: Redaction | None = None

    @model_validator(mode="after")
    def _one_of(self) -> PolicySection:
        if self.scopes is not None and self.phases is not None:
            raise ValueError("give scopes or phases, not both")
        if self.action is not None and self.response is not None and self.response.action not in {None, self.action}:
            raise ValueError("action and response.action differ")
        return self

    @property
    def asked_action(self) -> Action | None:
        """The action the document asks for, if it does."""
        if self.action is not None:
            return self.action
        return self.response.action if self.response else None

    @property
    def asked_scopes(self) -> tuple[Scope, ...] | None:
        """The scopes the document asks for, if it does."""
        if self.phases is not None:
            return tuple(dict.fromkeys(scope for phase in self.phases for scope in _PHASES[phase]))
        return self.scopes

    @property
    def options(self) -> dict[str, Any]:
        """The rule's own options."""
        return dict(self.model_extra or {})


class Streaming(Strict):
    """How streamed output is released."""

    mode: Literal["exact", "buffer", "observe"] = "exact"
    max_hold_chars: PositiveInt = 65_536
    """A stream that holds back more than this is blocked."""


class Policies(Strict):
    """The chain and the options of its members."""

    chain: tuple[str, ...] = ()
    policy: dict[str, PolicySection] = Field(default_factory=dict)
    stream: Streaming = Streaming()


class PolicyDocument(Strict):
    """A whole document."""

    pack: Pack
    profile: Literal["eu-ai-act-deployer"] | None = None
    """Refuses settings that fall short of a profile; see ``audit-logger``."""
    providers: Providers = Providers()
    policies: Policies = Policies()
    gateway: GatewaySection = GatewaySection()

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of pack and policies as resolved."""
        resolved = self.model_dump(mode="json", by_alias=True, include={"pack", "profile", "policies"})
        return hashlib.sha256(orjson.dumps(resolved, option=orjson.OPT_SORT_KEYS)).hexdigest()


def load_document(path: str | Path) -> tuple[PolicyDocument, YamlSource]:
    """Read a document and the files it includes.

    Raises:
        PolicyDocumentError: The file is wrong; the message names file, line and key.
    """
    file = Path(path)
    source = _with_includes(read_yaml(file), file)
    return validate_document(source), source


def parse_document(text: str, *, file: str | None = None) -> tuple[PolicyDocument, YamlSource]:
    """Read a document from text; ``includes`` needs a file and is refused.

    Raises:
        PolicyDocumentError: The text is wrong.
    """
    source = parse_yaml(text, file=file)
    return validate_document(source), source


def validate_document(source: YamlSource) -> PolicyDocument:
    """Check every key and value of ``source``.

    Raises:
        PolicyDocumentError: The first thing that is wrong, with the place it was written at.
    """
    if not isinstance(source.value, dict):
        raise source.error((), "must be a mapping with the keys pack and policies")
    try:
        document = PolicyDocument.model_validate_json(orjson.dumps(source.value), strict=True)
    except ValidationError as error:
        raise _first_error(error, source) from None
    except orjson.JSONEncodeError as error:
        raise source.error((), f"holds a value that is no plain data: {error}") from error
    _check_chain(document, source)
    return document


def _check_chain(document: PolicyDocument, source: YamlSource) -> None:
    seen: set[str] = set()
    for index, name in enumerate(document.policies.chain):
        if name in seen:
            raise source.error(("policies", "chain", index), f"{name!r} stands twice in the chain")
        seen.add(name)
        section = document.policies.policy.get(name)
        kind = section.kind if section and section.kind else name
        if kind not in KINDS:
            at: KeyPath = ("policies", "chain", index) if kind == name else ("policies", "policy", name, "kind")
            raise source.error(at, f"unknown policy {kind!r}{_nearest(kind, KINDS)}; known are {', '.join(KINDS)}")
    for name in document.policies.policy:
        if name not in seen:
            hint = _nearest(name, seen)
            raise source.error(
                ("policies", "policy", name),
                f"has options but does not stand in policies.chain, so nothing runs it{hint}",
            )


def _with_includes(source: YamlSource, file: Path) -> YamlSource:
    if not isinstance(source.value, dict) or "includes" not in source.value:
        return source
    names = source.value["includes"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise source.error(("includes",), "must be a list of file names")
    root = file.resolve().parent
    chain: list[Any] = []
    chain_places: list[Place | None] = []
    merged: dict[str, Any] = {}
    places: dict[KeyPath, Place] = {}
    for index, name in enumerate(names):
        target = (root / name).resolve()
        if not target.is_relative_to(root):
            raise source.error(("includes", index), "must lie in the folder of the document")
        part = read_yaml(target)
        policies = part.value.get("policies") if isinstance(part.value, dict) else None
        if not isinstance(policies, dict) or set(part.value) != {"policies"}:
            raise part.error((), "a fragment holds the key policies and no other")
        _take_chain(part, chain, chain_places)
        merged = _merge(merged, {k: v for k, v in policies.items() if k != "chain"})
        places |= part.places
    own = dict(source.value)
    own.pop("includes")
    policies = own.get("policies")
    if isinstance(policies, dict):
        _take_chain(source, chain, chain_places)
        own["policies"] = _merge(merged, policies) | {"chain": chain}
    else:
        own["policies"] = merged | {"chain": chain}
    places |= source.places
    for index, place in enumerate(chain_places):
        if place is not None:
            places["policies", "chain", index] = place
    return YamlSource(value=own, places=places, file=source.file)


def _take_chain(source: YamlSource, chain: list[Any], places: list[Place | None]) -> None:
    names = source.value["policies"].get("chain", [])
    for index, name in enumerate(names if isinstance(names, list) else []):
        if name not in chain:
            chain.append(name)
            places.append(source.place(("policies", "chain", index)))


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _first_error(error: ValidationError, source: YamlSource) -> Exception:
    found = error.errors(include_url=False, include_context=True, include_input=False)
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    written = {part for path in source.places for part in path[-1:]}
    path = tuple(part for part in first["loc"] if part in written or isinstance(part, int))
    kind = first["type"]
    if kind == "extra_forbidden":
        key = str(first["loc"][-1])
        siblings = _known_keys(first["loc"][:-1])
        return source.error(path, f"unknown key{_nearest(key, siblings)}")
    if kind == "missing":
        return source.error(tuple(first["loc"]), "is missing")
    message = first["msg"].removeprefix("Value error, ")
    if kind == "string_type":
        message = "should be text: put it in quotes"
    return source.error(path, message[:1].lower() + message[1:])


def _known_keys(loc: tuple[str | int, ...]) -> list[str]:
    model: Any = PolicyDocument
    for part in loc:
        if isinstance(part, int) or not hasattr(model, "model_fields"):
            continue
        field = model.model_fields.get(part)
        model = _inner_model(field.annotation) if field is not None else model
    return [f.alias or name for name, f in model.model_fields.items()] if hasattr(model, "model_fields") else []


def _inner_model(annotation: Any) -> Any:
    if hasattr(annotation, "model_fields"):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner_model(argument)
        if found is not None:
            return found
    return None


def _nearest(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
