"""Run a chain of policies over texts and decide."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from wandb_governance.errors import DetectorError
from wandb_governance.policy.chain import Link, build_chain
from wandb_governance.policy.deadline import call_within
from wandb_governance.policy.findings_cache import FindingsCache
from wandb_governance.policy.redaction import redact
from wandb_governance.policy.verdict import Action, Decision, Mode, Scope, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wandb_governance.policy.decision_audit import DecisionAudit
    from wandb_governance.policy.document import PolicyDocument
    from wandb_governance.policy.rule import RuleContext
    from wandb_governance.policy.stream_bounds import StreamBounds
    from wandb_governance.policy.verdict import Finding
    from wandb_governance.policy.yaml_source import YamlSource

WITHHELD = "[WITHHELD]"
"""Stands for a text that could not be checked and so may not be recorded."""

_WORTH_LOOKING_NS = 500_000
_SURROGATES = re.compile("[\ud800-\udfff]")


class PolicyEngine:
    """A chain of policies.

    Immutable and safe from any thread. Every policy sees the text as it was given; redactions of all policies are
    made together, so the order of the chain never changes what is found.

    Args:
        links: The chain.
        digest: SHA-256 (hex) of the resolved document.
        version: Version of the pack.
        name: Name of the pack.
        cache_entries: Texts whose findings are kept, by hash; chat history repeats with each call. 0 keeps none.
        audit: Where each judged call is recorded, where ``audit-logger`` asks for it.
    """

    def __init__(
        self,
        links: Sequence[Link],
        *,
        digest: str,
        version: str = "0",
        name: str = "",
        document: PolicyDocument | None = None,
        cache_entries: int = 4096,
        audit: DecisionAudit | None = None,
    ) -> None:
        self.links = tuple(links)
        self.digest = digest
        self.version = version
        self.name = name
        self.document = document
        self.audit = audit
        self._cache: FindingsCache[Finding] = FindingsCache(cache_entries)
        self._verdicts: FindingsCache[Verdict] = FindingsCache(cache_entries)
        self._all_pure = {scope: all(link.pure for link in links if scope in link.scopes) for scope in Scope}
        self._bounds: dict[str, StreamBounds] = {}
        self._ns_per_char: dict[str, float] = {}
        active = [link for link in links if not link.passive]
        self._by_scope = {scope: tuple(link for link in active if scope in link.scopes) for scope in Scope}
        self._deferring = frozenset(scope for scope in Scope if any(link.deferred for link in self._by_scope[scope]))
        self._for_records = tuple(link for link in links if link.sensitive or link.action is Action.REDACT)

    @classmethod
    def from_file(cls, path: str | Path) -> PolicyEngine:
        """An engine from a YAML file.

        Raises:
            PolicyDocumentError: The file is wrong; the message names file, line and key.
        """
        from wandb_governance.policy.document import load_document

        document, source = load_document(path)
        return cls.from_document(document, source)

    @classmethod
    def from_document(cls, document: PolicyDocument, source: YamlSource | None = None) -> PolicyEngine:
        """An engine from a document that was read.

        Raises:
            PolicyDocumentError: The document asks for what can't be enforced.
        """
        links = build_chain(document, source)
        return cls(
            links,
            digest=document.digest,
            version=document.pack.version,
            name=document.pack.name,
            document=document,
            audit=_audit_of(links, document),
        )

    def evaluate(self, text: str, context: RuleContext, *, deferred: bool | None = None) -> Decision:
        """Decide on one text.

        Args:
            text: The text, as it is.
            context: What is known besides.
            deferred: Which policies run: True those with ``async: true``, False the others, None all.
        """
        return self.evaluate_many((text,), context, deferred=deferred)[0]

    def evaluate_many(
        self, texts: Sequence[str], context: RuleContext, *, deferred: bool | None = None
    ) -> list[Decision]:
        """Decide on the texts of one call, such as its messages.

        A policy that looks at the call, such as ``rate-limit``, counts it once.

        Returns:
            One decision per text, in order.
        """
        links = [link for link in self._by_scope[context.scope] if deferred is None or link.deferred is deferred]
        admitted: dict[str, Verdict] = {}
        decisions = [self._decide(text, context, links, admitted, part=f"{deferred}") for text in texts]
        if self.audit is not None and decisions:
            self.audit.write(decisions, context)
        return decisions

    def evaluate_pure(self, text: str, context: RuleContext) -> Decision:
        """Decide as the policies do that look at the text alone; nothing is counted against a rate or a budget."""
        links = [link for link in self._by_scope[context.scope] if link.pure]
        return self._decide(text, context, links, {}, part="pure")

    def estimate_ns(self, texts: Sequence[str], context: RuleContext, *, deferred: bool | None = None) -> int:
        """About how long ``evaluate_many`` will take, from what it took before; texts that are kept take nothing."""
        total = 0.0
        chars = sum(map(len, texts))
        for link in self._by_scope[context.scope]:
            if deferred is not None and link.deferred is not deferred:
                continue
            pace = self._ns_per_char.get(link.name, 0.0)
            if pace * chars > _WORTH_LOOKING_NS:
                total += sum(len(t) for t in texts if not self._cache.holds(link.name, t, context)) * pace
        return int(total)

    def redact(self, text: str) -> str:
        """``text`` as it may be recorded: what a redacting or sensitive policy finds is replaced, in any scope or mode.

        A policy that fails makes it ``[WITHHELD]``.
        """
        if not self._for_records:
            return text
        from wandb_governance.policy.rule import RuleContext

        context = RuleContext(scope=Scope.OUTPUT)
        clean = scannable(text)
        found = []
        for link in self._for_records:
            try:
                found.append((self._find(link, clean, context), link.replacer))
            except DetectorError:
                return WITHHELD
        return redact(text, found)

    def blocks_on(self, scope: Scope) -> bool:
        """Whether a decision on ``scope`` may stop the call."""
        return any(link.mode is Mode.ENFORCE and _may_stop(link) for link in self._by_scope[scope])

    def redacts_on(self, scope: Scope) -> bool:
        """Whether a decision on ``scope`` may change the text."""
        return any(link.mode is Mode.ENFORCE and link.action is Action.REDACT for link in self._by_scope[scope])

    def defers_on(self, scope: Scope) -> bool:
        """Whether ``scope`` has policies that run beside the upstream call."""
        return scope in self._deferring

    @property
    def defers(self) -> bool:
        """Whether any scope has policies that run beside the upstream call."""
        return bool(self._deferring)

    def links_on(self, scope: Scope) -> tuple[Link, ...]:
        """Policies of ``scope``, in chain order."""
        return self._by_scope[scope]

    def bounds(self, link: Link) -> StreamBounds:
        """Up to where a stream is settled for a policy."""
        found = self._bounds.get(link.name)
        if found is None:
            from wandb_governance.policy.stream_bounds import bounds_of

            found = self._bounds.setdefault(link.name, bounds_of(link.rule))
        return found

    def link(self, name: str) -> Link | None:
        """The policy called ``name`` in the chain."""
        return next((link for link in self.links if link.name == name), None)

    def _decide(
        self, text: str, context: RuleContext, links: Sequence[Link], admitted: dict[str, Verdict], *, part: str
    ) -> Decision:
        if not isinstance(text, str):
            raise TypeError(f"a text is needed, not {type(text).__name__}")
        clean = scannable(text)
        key = self._cache.key(part, clean, context) if self._all_pure[context.scope] else None
        known = self._verdicts.get(key) if key is not None else None
        if known is not None:
            return conclude(text, known, links, digest=self.digest, context=context)
        verdicts: list[Verdict] = []
        for link in links:
            verdict = admitted.get(link.name) if link.admission else None
            if verdict is None:
                verdict = self._judge(link, clean, context)
                if link.admission:
                    admitted[link.name] = verdict
            verdicts.append(verdict)
        if key is not None and not any(verdict.failure for verdict in verdicts):
            self._verdicts.put(key, tuple(replace(verdict, latency_ns=0) for verdict in verdicts))
        return conclude(text, verdicts, links, digest=self.digest, context=context)

    def _judge(self, link: Link, text: str, context: RuleContext) -> Verdict:
        started = time.perf_counter_ns()
        findings: tuple[Finding, ...] = ()
        failure: str | None = None
        try:
            findings = self._find(link, text, context)
        except DetectorError as error:
            failure = str(error)
        return make_verdict(link, context.scope, findings, failure, latency_ns=time.perf_counter_ns() - started)

    def _find(self, link: Link, text: str, context: RuleContext) -> tuple[Finding, ...]:
        if not link.pure:
            return run_rule(link, text, context)
        key = self._cache.key(link.name, text, context)
        kept = self._cache.get(key)
        if kept is None:
            started = time.perf_counter_ns()
            kept = run_rule(link, text, context)
            pace = (time.perf_counter_ns() - started) / max(len(text), 50)
            self._ns_per_char[link.name] = 0.8 * self._ns_per_char.get(link.name, pace) + 0.2 * pace
            self._cache.put(key, kept)
        return kept


def _audit_of(links: Sequence[Link], document: PolicyDocument) -> DecisionAudit | None:
    from wandb_governance.policy.rules.audit_logger import AuditLogger

    options = next((link.rule.options for link in links if isinstance(link.rule, AuditLogger)), None)
    if options is None:
        return None
    from wandb_governance.policy.decision_audit import DecisionAudit

    return DecisionAudit(options, digest=document.digest)


def run_rule(link: Link, text: str, context: RuleContext) -> tuple[Finding, ...]:
    """Findings of one rule, within its time.

    Raises:
        DetectorError: The rule failed or was too slow; the message never holds the text.
    """
    try:
        if link.timeout_s is None:
            found = link.rule.find(text, context)
        else:
            found = call_within(link.timeout_s, lambda: link.rule.find(text, context))
        return tuple(finding for finding in found if finding.score >= finding.threshold)
    except DetectorError:
        raise
    except TimeoutError as error:
        raise DetectorError(f"no answer within {link.timeout_s} s", rule=link.name) from error
    except Exception as error:  # noqa: BLE001 - whatever a rule raises is a verdict, and its text may hold the input
        raise DetectorError(f"failed with {type(error).__name__}", rule=link.name) from None


def make_verdict(
    link: Link, scope: Scope, findings: tuple[Finding, ...], failure: str | None, *, latency_ns: int = 0
) -> Verdict:
    """What a policy says, given what its rule found or why it failed."""
    if failure is not None:
        action = Action.BLOCK if link.fail_closed else Action.ALLOW
    else:
        action = _action_of(link, findings) if findings else Action.ALLOW
    return Verdict(
        policy=link.name,
        policy_version=link.rule.version,
        scope=scope,
        action=action,
        mode=link.mode,
        findings=findings,
        latency_ns=latency_ns,
        failure=failure,
    )


def conclude(
    text: str, verdicts: Sequence[Verdict], links: Sequence[Link], *, digest: str, context: RuleContext | None = None
) -> Decision:
    """One decision from the verdicts of ``links``: the strictest action wins, redactions are made together."""
    found = [
        (verdict.findings, link.replacer_in(verdict.scope, context.session if context else None))
        for verdict, link in zip(verdicts, links, strict=True)
        if verdict.effective is Action.REDACT and verdict.findings
    ]
    action = max((verdict.effective for verdict in verdicts), key=lambda a: a.severity, default=Action.ALLOW)
    return Decision(
        action=action,
        verdicts=tuple(verdicts),
        text=redact(text, found) if found else text,
        policy_digest=digest,
    )


def _action_of(link: Link, findings: tuple[Finding, ...]) -> Action:
    soften = getattr(link.rule, "action_of", None)
    return link.action if soften is None else soften(findings, link.action)


def _may_stop(link: Link) -> bool:
    return link.action in {Action.BLOCK, Action.ESCALATE} or link.fail_closed


def scannable(text: str) -> str:
    """``text`` with lone surrogates, which no detector can encode, replaced one for one."""
    if text.isascii():
        return text
    return _SURROGATES.sub("\ufffd", text)
