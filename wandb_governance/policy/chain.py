"""From a policy document to the links of a chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wandb_governance.errors import ConfigError, GovernanceError
from wandb_governance.policy.newer_names import rule_options
from wandb_governance.policy.redaction import ENTITIES, Markers
from wandb_governance.policy.rules.registry import KINDS, RuleKind
from wandb_governance.policy.verdict import Action, Mode, Scope
from wandb_governance.policy.yaml_source import YamlSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from wandb_governance.policy.document import PolicyDocument, PolicySection, Redaction
    from wandb_governance.policy.redaction import Replacer
    from wandb_governance.policy.rule import Rule

_PLAIN = Markers()
_SIX_MONTHS_DAYS = 183
_FROM_MODEL = frozenset({Scope.OUTPUT, Scope.TOOL_ARGS})
_STRICT = frozenset({Action.REDACT, Action.ESCALATE, Action.BLOCK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One policy of the chain, ready to run."""

    name: str
    """Name in the chain."""
    rule: Rule
    kind: str
    """Name of the rule in the registry."""
    action: Action
    mode: Mode = Mode.ENFORCE
    scopes: frozenset[Scope] = frozenset(Scope)
    fail_closed: bool = True
    timeout_s: float | None = None
    deferred: bool = False
    """Runs beside the upstream call (``async: true``)."""
    replacer: Replacer = _PLAIN
    message: str | None = None
    """What the caller of a blocked request is told, in place of the reasons."""
    pure: bool = True
    admission: bool = False
    sensitive: bool = False
    include_metadata: bool = False
    passive: bool = False
    """It judges nothing; others do what it says."""

    def replacer_in(self, scope: Scope, session: str | None) -> Replacer:
        """What replaces findings: in a session's input a pseudonym that its vault turns back, else a marker."""
        bind = getattr(self.replacer, "in_session", None)
        if bind is None or session is None or scope in _FROM_MODEL:
            return self.replacer
        bound: Replacer = bind(session)
        return bound


def build_chain(
    document: PolicyDocument,
    source: YamlSource | None = None,
    *,
    replacer_for: Callable[[Redaction], Replacer] | None = None,
) -> tuple[Link, ...]:
    """Links of the document's chain, in order.

    Args:
        document: The document.
        source: Where its keys were written, for errors.
        replacer_for: Gives the replacer of a redaction that is reversible; by default the installation's vault.

    Raises:
        PolicyDocumentError: A policy is unknown, can't be loaded, or is asked for what it can't do.
    """
    if not document.pack.enabled:
        return ()
    source = source or YamlSource(value=None, places={})
    links: list[Link] = []
    for name in document.policies.chain:
        section = document.policies.policy.get(name) or _empty_section()
        if not section.enabled:
            continue
        kind_name = section.kind or name
        kind = KINDS[kind_name]
        _check_section(name, section, kind, source, document.profile)
        rule = _load(name, kind_name, kind, section, source)
        links.append(_link(name, kind_name, kind, section, rule, replacer_for))
    return tuple(links)


def _empty_section() -> PolicySection:
    from wandb_governance.policy.document import PolicySection

    return PolicySection()


def _check_retention(name: str, section: PolicySection, profile: str | None, source: YamlSource) -> None:
    days, hold = section.options.get("retention_days"), section.options.get("legal_hold_days", 0)
    path = ("policies", "policy", name, "retention_days")
    if not isinstance(days, int):
        return
    if isinstance(hold, int) and days < hold:
        raise source.error(path, f"is shorter than the legal hold of {hold} days")
    if profile == "eu-ai-act-deployer" and days < _SIX_MONTHS_DAYS:
        raise source.error(path, "logs are kept six months at least (AI Act, art. 26(6)): use 183 or more")


def _check_section(name: str, section: PolicySection, kind: RuleKind, source: YamlSource, profile: str | None) -> None:
    base = ("policies", "policy", name)
    action = section.asked_action or kind.action
    if action not in kind.actions:
        allowed = ", ".join([a for a in Action if a in kind.actions])
        key = "action" if section.action is not None else "response"
        raise source.error((*base, key), f"{action} can't be enforced by this policy; use one of {allowed}")
    if section.redaction is not None and action is not Action.REDACT and not kind.sensitive:
        raise source.error((*base, "redaction"), f"has no effect: the action is {action}")
    if section.async_ and action is Action.REDACT:
        raise source.error((*base, "async"), "can't redact: the text has gone out before an async policy answers")
    scopes = set(section.asked_scopes or kind.scopes)
    if section.async_ and scopes & {Scope.TOOL_ARGS, Scope.OUTPUT}:
        raise source.error((*base, "async"), "works on input, tool_result and retrieval only: name them in scopes")
    if section.asked_scopes is not None and not scopes:
        raise source.error((*base, "scopes"), "is empty, so nothing runs this policy; use enabled: false")
    _check_retention(name, section, profile, source)
    if kind.admission and not scopes <= kind.scopes:
        raise source.error((*base, "scopes"), f"this policy looks at calls: use {', '.join(sorted(kind.scopes))}")


def _load(name: str, kind_name: str, kind: RuleKind, section: PolicySection, source: YamlSource) -> Rule:
    base = ("policies", "policy", name)
    try:
        return kind.load(rule_options(kind_name, section.options))
    except ConfigError as error:
        raise source.error((*base, *_path(error.key)), error.message) from error
    except (ImportError, AttributeError, OSError, GovernanceError) as error:
        raise source.error(base, f"policy {kind_name!r} can't be loaded: {error}") from error
    except (TypeError, ValueError) as error:
        raise source.error(base, f"has an option that policy {kind_name!r} can't take: {error}") from error


def _default_vault(redaction: Redaction) -> Replacer:
    from wandb_governance.policy.budget import default_path
    from wandb_governance.policy.vault import Vault, VaultReplacer

    markers = Markers(marker_format=redaction.marker_format, custom=redaction.custom_markers)
    return VaultReplacer.over(Vault.open(default_path().parent), redaction.ttl_s, markers)


def _path(key: str | None) -> tuple[str | int, ...]:
    if not key:
        return ()
    return tuple(int(part) if part.isdigit() else part for part in key.replace("[", ".").replace("]", "").split("."))


def _link(
    name: str,
    kind_name: str,
    kind: RuleKind,
    section: PolicySection,
    rule: Rule,
    replacer_for: Callable[[Redaction], Replacer] | None,
) -> Link:
    action = section.asked_action or kind.action
    closed = kind.fail_closed and action in _STRICT
    redaction = section.redaction
    entities = ENTITIES | frozenset(getattr(rule, "entities", None) or ())
    replacer: Replacer = Markers(entities=entities)
    if redaction is not None and redaction.reversible:
        replacer = (replacer_for or _default_vault)(redaction)
    elif redaction is not None:
        replacer = Markers(
            marker_format=redaction.marker_format,
            custom=redaction.custom_markers,
            preserve_length=redaction.preserve_length,
            entities=entities,
        )
    return Link(
        name=name,
        rule=rule,
        kind=kind_name,
        action=action,
        mode=section.mode,
        scopes=frozenset(section.asked_scopes or kind.scopes),
        fail_closed=closed if section.fail_mode is None else section.fail_mode == "closed",
        timeout_s=section.timeout_ms / 1000 if section.timeout_ms else None,
        deferred=section.async_,
        replacer=replacer,
        message=section.response.message if section.response else None,
        pure=kind.pure,
        admission=kind.admission,
        sensitive=kind.sensitive,
        passive=kind.passive,
        include_metadata=bool(redaction and redaction.include_metadata),
    )
