"""One version of the gateway's document, resolved: what a request is served by from its start to its end."""

from __future__ import annotations

import fnmatch
import ipaddress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wandb_governance.errors import PolicyDocumentError
from wandb_governance.policy.budget import Budget, BudgetStore, default_path
from wandb_governance.policy.chain import build_chain
from wandb_governance.policy.document import load_document
from wandb_governance.policy.engine import PolicyEngine
from wandb_governance.policy.rule import RuleContext
from wandb_governance.policy.rules.audit_logger import AuditLogger, AuditOptions
from wandb_governance.policy.rules.limits import CostTracker, open_store
from wandb_governance.policy.vault import VaultReplacer
from wandb_governance.policy.verdict import Scope

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wandb_governance.policy.document import PolicyDocument
    from wandb_governance.policy.targets import Target, VirtualKey
    from wandb_governance.policy.vault import Vault
    from wandb_governance.policy.yaml_source import YamlSource

DEFAULT_URLS = {
    "openai": "https://api.openai.com/v1",
    # Both providers publish their API in the OpenAI form under these roots.
    "anthropic": "https://api.anthropic.com/v1",
    "cohere": "https://api.cohere.ai/compatibility/v1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A target with its secret resolved."""

    target: Target
    base_url: str
    secret: str | None

    def __repr__(self) -> str:
        return f"Upstream({self.target.id!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Immutable; a reload replaces it as a whole."""

    document: PolicyDocument
    engine: PolicyEngine
    upstreams: Mapping[str, Upstream]
    keys: Mapping[bytes, VirtualKey]
    """SHA-256 of each virtual key."""
    budgets: tuple[Budget, ...]
    """Budgets of the cost tracker."""
    store: BudgetStore | None
    """Accounts, where anything has a budget."""
    audit: AuditOptions
    include_metadata: bool
    vault: Vault | None
    """Where reversible pseudonyms are, where a policy uses them."""

    def route(self, model: str) -> list[Upstream]:
        """Upstreams of a model: the first that takes it, then that one's fallbacks. Empty where none takes it."""
        chosen = next((up for up in self.upstreams.values() if _names(up.target, model)), None)
        if chosen is None:
            chosen = next((up for up in self.upstreams.values() if not up.target.models and not up.target.model), None)
        if chosen is None:
            return []
        return [chosen, *(self.upstreams[name] for name in chosen.target.fallbacks)]

    def key_of(self, secret: bytes) -> VirtualKey | None:
        """The virtual key whose secret this is. Comparing digests tells an attacker nothing about the key."""
        return self.keys.get(sha256(secret).digest())

    def models(self) -> list[tuple[str, str]]:
        """Model and target of every model that is named without a glob."""
        found = []
        for name, upstream in self.upstreams.items():
            target = upstream.target
            names = target.models or ((target.model,) if target.model else ())
            found += [(model, name) for model in names if not set(model) & set("*?[")]
        return found


def load_deployment(path: Path) -> Deployment:
    """Read, check and resolve a document.

    Raises:
        PolicyDocumentError: It is wrong, asks for what can't be enforced, or names an upstream that is not allowed.
    """
    document, source = load_document(path)
    engine = PolicyEngine(
        build_chain(document, source),
        digest=document.digest,
        version=document.pack.version,
        name=document.pack.name,
        document=document,
        cache_entries=50_000,
    )
    _check_upstreams(document, source)
    _warm(engine)
    upstreams = {
        target.id: Upstream(
            target=target,
            base_url=target.base_url or DEFAULT_URLS[target.family],
            secret=target.secret_key_ref.resolve() if target.secret_key_ref else None,
        )
        for target in document.providers.targets
    }
    trackers = [link.rule for link in engine.links if isinstance(link.rule, CostTracker)]
    budgets = tuple(budget for tracker in trackers for budget in tracker.budgets)
    has_budget = bool(budgets) or any(key.budget_usd is not None for key in document.gateway.keys)
    loggers = [link.rule for link in engine.links if isinstance(link.rule, AuditLogger)]
    return Deployment(
        document=document,
        engine=engine,
        upstreams=upstreams,
        keys=_keys(document, source),
        budgets=budgets,
        store=(trackers[0].store if trackers else open_store(str(default_path()))) if has_budget else None,
        audit=loggers[0].options if loggers else AuditOptions(),
        include_metadata=any(link.include_metadata for link in engine.links),
        vault=next((link.replacer.vault for link in engine.links if isinstance(link.replacer, VaultReplacer)), None),
    )


def refused_address(address: str, *, allow_private: bool) -> str | None:
    """Why an upstream may not be at this IP address; None where it may."""
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip in _METADATA:
        return f"{ip} is an address that no model is served at"
    if not allow_private and (ip.is_private or ip.is_loopback or ip.is_reserved):
        return f"{ip} is private, and gateway.allow_private_upstreams is false"
    return None


_METADATA = frozenset({ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200")})


def _warm(engine: PolicyEngine) -> None:
    """Let every detector load what it loads on first use, and learn how long each takes."""
    text = "Please write to Ann Example at ann@example.com or call +1 415 555 2671 before March 3. " * 4
    for scope in (Scope.INPUT, Scope.OUTPUT, Scope.TOOL_RESULT):
        engine.evaluate_pure(text, RuleContext(scope=scope))
        for link in engine.links_on(scope):
            engine.bounds(link).settled("a word ")


def _check_upstreams(document: PolicyDocument, source: YamlSource) -> None:
    for index, target in enumerate(document.providers.targets):
        host = urlsplit(target.base_url or DEFAULT_URLS[target.family]).hostname or ""
        try:
            reason = refused_address(host, allow_private=document.gateway.allow_private_upstreams)
        except ValueError:
            # A name: its addresses are checked each time it is connected to.
            continue
        if reason is not None:
            raise source.error(("providers", "targets", index, "base_url"), reason)


def _keys(document: PolicyDocument, source: YamlSource) -> dict[bytes, VirtualKey]:
    keys: dict[bytes, VirtualKey] = {}
    for index, key in enumerate(document.gateway.keys):
        path = ("gateway", "keys", index)
        if key.sha256 is not None:
            digest = bytes.fromhex(key.sha256)
        else:
            assert key.secret_key_ref is not None
            secret = key.secret_key_ref.resolve()
            if secret is None:
                raise source.error((*path, "secret_key_ref"), f"the variable {key.secret_key_ref.env} is not set")
            digest = sha256(secret.encode()).digest()
        if digest in keys:
            raise source.error(path, f"is the same key as {keys[digest].id!r}")
        keys[digest] = key
    return keys


def _names(target: Target, model: str) -> bool:
    globs = target.models or ((target.model,) if target.model else ())
    return any(glob == model or fnmatch.fnmatchcase(model, glob) for glob in globs)


__all__ = ["Deployment", "PolicyDocumentError", "Upstream", "load_deployment", "refused_address"]
