"""The composition root: recorder, policy, journal and export, put together for one adapter.

    recorder ─▶ Span ─▶ session (journal) ─▶ export thread ─▶ W&B

``Governance`` is what an adapter holds. Several of them on one run share its session.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import signal
import sys
import threading
import weakref
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wandb_governance.backend.wandb_sdk import active_run, attach, run_is_active
from wandb_governance.errors import PolicyViolation
from wandb_governance.export.session import UNATTACHED, Session
from wandb_governance.pipeline import Enricher
from wandb_governance.pricing.book import PriceBook
from wandb_governance.settings import Settings
from wandb_governance.tracing.content import ContentEncoder, Convert, Redact
from wandb_governance.tracing.guard import fault, logger
from wandb_governance.tracing.recorder import OpenSpan, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType

    from wandb_governance.backend.base import RunPort
    from wandb_governance.policy.engine import PolicyEngine
    from wandb_governance.policy.rule import RuleContext
    from wandb_governance.policy.verdict import Action, Decision, Scope, Verdict
    from wandb_governance.tracing.span import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the policies said of the texts of one call."""

    decisions: tuple[Decision, ...]
    """One per text, in order."""
    violation: PolicyViolation | None
    """To be raised where the call must not go on."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts to go on with."""
        return tuple(decision.text for decision in self.decisions)

    @property
    def redacted(self) -> bool:
        """Whether a policy changed a text."""
        return any(decision.changed_by for decision in self.decisions)


class Governance:
    """What an adapter needs: a recorder, the policies, and where records go.

    Args:
        run: What ``wandb.init()`` returned. Without it the run that is active when a span ends is used; while there is
            none, records wait in the journal for the next one.
        policy: A policy file, or an engine. Without it nothing is judged; redaction of what is written stays on.
        prices: A YAML price table over the public prices.
        settings: Read from the environment where not given.
        convert: Knows the framework's own classes when inputs and outputs are written.

    Raises:
        PolicyDocumentError: The policy file is wrong.
        PriceTableError: The price table is wrong.
        BackendError: ``run`` is not a W&B run.
    """

    def __init__(
        self,
        *,
        run: Any = None,
        policy: str | Path | PolicyEngine | None = None,
        prices: str | Path | None = None,
        settings: Settings | None = None,
        convert: Convert | None = None,
    ) -> None:
        self.settings = settings or Settings.from_env()
        self.engine = _engine(policy)
        self._run: RunPort | None = None if run is None else attach(run)
        self._prices = None if prices is None else Path(prices).absolute()
        self._book = PriceBook.load(prices)
        self._session: Session | None = None
        self._lock = threading.RLock()
        self._sweeps: list[weakref.WeakMethod[Callable[..., None]]] = []
        encoder = ContentEncoder(
            limit_chars=self.settings.content_limit_chars,
            redact=_redaction(self.engine, self.settings),
            convert=convert,
        )
        self.recorder = Recorder(self._write, encoder, pseudonym_key=_pseudonym_key(self.settings.home))
        if self._run is not None:
            self._session = self._session_of(self._run)

    @property
    def session(self) -> Session:
        """The session of the run that records belong to now."""
        session = self._session
        if session is not None:
            if session.run is None:
                if not run_is_active():
                    return session
            elif self._run is not None or not session.run.finished:
                return session
        with self._lock:
            self._session = self._session_of(self._run or active_run())
            return self._session

    def _session_of(self, run: RunPort | None) -> Session:
        session = _find_session(run, self._new_session, self.settings.home)
        session.sweepers.add(self)
        if session.prices != self._prices:
            logger.warning(
                "run %s has a handler with another price table already; that one counts",
                run.descriptor.run_id if run is not None else "",
            )
        _install_exit_hooks()
        if run is not None:
            _leave_first()
        return session

    def _new_session(self, run: RunPort | None) -> Session:
        return Session(
            run,
            settings=self.settings,
            enricher=Enricher(self._book),
            look_for_run=lambda: _claim_active_run(self.settings.home),
            prices=self._prices,
        )

    def _write(self, span: Span) -> None:
        try:
            self.session.write_span(span)
        except Exception as error:  # noqa: BLE001 - the recorder's sink is on the caller's thread
            fault("runtime.write", error)

    def judge(
        self,
        span: OpenSpan,
        texts: Sequence[str],
        scope: Scope,
        *,
        enforced: bool = True,
        stoppable: bool = True,
        tool: str | None = None,
    ) -> Judgement | None:
        """Ask the policies about the texts of one call, and write their verdicts down.

        The verdicts are in the journal when this returns, so also before a violation is raised.

        Args:
            span: The call.
            texts: Its messages, or one text.
            scope: What they are.
            enforced: Whether the caller can put a redaction into effect; False where only the record is changed.
            stoppable: Whether the caller can still stop the call; False where its text is out already.
            tool: Name of the tool, for tool scopes.

        Returns:
            The judgement; None where there is no policy. A fault of the engine itself is a violation where the
            document can block or redact on this scope: enforcement fails closed.
        """
        if self.engine is None or not texts:
            return None
        try:
            decisions = tuple(self.engine.evaluate_many(texts, self.rule_context(span, scope, tool=tool)))
        except Exception as error:  # noqa: BLE001 - a fault of the engine must not let a call through
            fault("policy.engine", error)
            if not (self.engine.blocks_on(scope) or self.engine.redacts_on(scope)):
                return None
            reasons = (f"the policy engine failed with {type(error).__name__}",)
            return Judgement(decisions=(), violation=PolicyViolation(policy="engine", scope=scope, reasons=reasons))
        return self.record(span, decisions, scope, enforced=enforced, stoppable=stoppable)

    def rule_context(self, span: OpenSpan, scope: Scope, *, tool: str | None = None) -> RuleContext:
        """What the rules may know of a call besides its text."""
        from wandb_governance.policy.rule import RuleContext

        call, context = span.llm, span.context
        return RuleContext(
            scope=scope,
            provider=None if call is None else call.provider,
            model=None if call is None else call.request_model,
            tool=tool,
            user=self.recorder.pseudonym(context.user),
            session=self.recorder.pseudonym(context.session),
            team=context.team,
            roles=context.roles,
        )

    def record(
        self,
        span: OpenSpan,
        decisions: Sequence[Decision],
        scope: Scope,
        *,
        enforced: bool = True,
        stoppable: bool = True,
    ) -> Judgement:
        """Write the verdicts of a call down, one per policy over all of its texts, and join them to its span.

        For decisions that were made elsewhere, such as by a ``StreamRedactor``; ``judge`` does it itself.
        """
        effective = {"redact": enforced, "escalate": stoppable, "block": stoppable}
        ids: list[str] = []
        violation = None
        for verdict in _merge(decisions):
            verdict_id = self.recorder.ids.span_id()
            ids.append(verdict_id)
            row = _verdict_record(
                verdict,
                verdict_id,
                span,
                digest=decisions[0].policy_digest,
                time_ns=self.recorder.clock.now_ns(),
                effective=effective,
            )
            try:
                self.session.write_record(row)
            except Exception as error:  # noqa: BLE001 - what can't be written is still enforced
                fault("runtime.record", error)
            span.verdict = _stricter(span.verdict, verdict.effective)
            if violation is None and verdict.effective in {"block", "escalate"}:
                violation = PolicyViolation(
                    policy=verdict.policy, scope=scope, reasons=_reasons(verdict), verdict_id=verdict_id
                )
        span.policies = (*span.policies, *ids)
        return Judgement(decisions=tuple(decisions), violation=violation)

    def on_sweep(self, sweep: Callable[..., None]) -> None:
        """Call ``sweep(final=…)`` at every look of the export thread, and with True before the run ends.

        Args:
            sweep: A method that ends spans nothing else will end; its object is not kept alive.
        """
        self._sweeps.append(weakref.WeakMethod(sweep))

    def sweep(self, *, final: bool) -> None:
        """Let the adapters end spans that nothing else will end."""
        for known in list(self._sweeps):
            method = known()
            if method is None:
                self._sweeps.remove(known)
                continue
            try:
                method(final=final)
            except Exception as error:  # noqa: BLE001 - on the export thread, which must go on
                fault("runtime.sweep", error)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Bring everything recorded so far to W&B.

        Returns:
            Whether W&B's SDK took it within the time; what is left stays in the journal.
        """
        return self.session.flush(timeout_s)

    def close(self) -> None:
        """Flush and end the export thread."""
        self.session.close()


def _engine(policy: str | Path | PolicyEngine | None) -> PolicyEngine | None:
    if policy is None:
        return None
    from wandb_governance.policy.engine import PolicyEngine

    return policy if isinstance(policy, PolicyEngine) else PolicyEngine.from_file(policy)


def _redaction(engine: PolicyEngine | None, settings: Settings) -> Redact | None:
    """What hides secrets and personal data in everything written: the built-in rules, then the policy's own."""
    default: Redact | None = None
    if settings.redaction == "default":
        from wandb_governance.policy.default_redaction import default_redaction

        default = default_redaction()
    if engine is None:
        return default
    if default is None:
        return engine.redact
    first = default
    return lambda text: engine.redact(first(text))


def _merge(decisions: Sequence[Decision]) -> list[Verdict]:
    """One verdict per policy over all texts of a call, with the text's number in each finding."""
    merged: dict[str, Verdict] = {}
    for index, decision in enumerate(decisions):
        for verdict in decision.verdicts:
            findings = tuple(replace(found, message_index=index) for found in verdict.findings)
            before = merged.get(verdict.policy)
            if before is None:
                merged[verdict.policy] = replace(verdict, findings=findings)
                continue
            merged[verdict.policy] = replace(
                before,
                action=max(before.action, verdict.action, key=lambda action: action.severity),
                findings=(*before.findings, *findings),
                latency_ns=before.latency_ns + verdict.latency_ns,
                failure=before.failure or verdict.failure,
            )
    return list(merged.values())


def _stricter(known: str | None, action: Action) -> str:
    from wandb_governance.policy.verdict import Action

    return str(action if known is None else max(Action(known), action, key=lambda item: item.severity))


def _reasons(verdict: Verdict) -> tuple[str, ...]:
    if verdict.failure is not None:
        return (verdict.failure,)
    told = (found.explanation or f"{found.entity} found by {found.rule}" for found in verdict.findings)
    return tuple(dict.fromkeys(told)) or ("the policy says so",)


def _verdict_record(
    verdict: Verdict, verdict_id: str, span: OpenSpan, *, digest: str, time_ns: int, effective: Mapping[str, bool]
) -> dict[str, Any]:
    return {
        "type": "verdict",
        "verdict_id": verdict_id,
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "time_ns": time_ns,
        "policy": verdict.policy,
        "policy_version": verdict.policy_version,
        "policy_digest": digest,
        "scope": verdict.scope,
        "action": verdict.action,
        "mode": verdict.mode,
        "enforced": verdict.mode == "enforce" and effective.get(verdict.action, True),
        "findings": [asdict(found) for found in verdict.findings],
        "latency_ns": verdict.latency_ns,
        "failure": verdict.failure,
    }


def _pseudonym_key(home: Path) -> bytes:
    """The key of this installation, made at first use; ``WANDB_GOVERNANCE_PSEUDONYM_KEY`` shares one among machines."""
    given = os.environ.get("WANDB_GOVERNANCE_PSEUDONYM_KEY")
    if given:
        return given.encode()
    path = home / "pseudonym.key"
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = home / f".pseudonym.{os.getpid()}.{secrets.token_hex(4)}"
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(32))
    # A link fails where another process was first: then its key is the key.
    with contextlib.suppress(FileExistsError):
        os.link(scratch, path)
    scratch.unlink()
    return path.read_bytes()


_Key = tuple[Path, str]
_sessions: dict[_Key, Session] = {}
"""By home and run id; the one that waits for a run stands under ``UNATTACHED``."""
_registry_lock = threading.RLock()
_hooks_installed = False


def _find_session(run: RunPort | None, make: Callable[[RunPort | None], Session], home: Path) -> Session:
    """The session of ``run``: the one it has, the one that waited for a run, or a new one."""
    with _registry_lock:
        waiting = _sessions.get((home, UNATTACHED))
        if waiting is not None and (waiting.closed or waiting.run is not None):
            waiting = None
        if run is None:
            session = waiting or make(None)
            _sessions[home, UNATTACHED] = session
            return session
        key = (home, run.descriptor.run_id)
        known = _sessions.get(key)
        if known is not None and known.serves(run):
            return known
        if waiting is None:
            session = make(run)
        else:
            session = waiting
            session.claim(run)
            del _sessions[home, UNATTACHED]
        _sessions[key] = session
        return session


def _claim_active_run(home: Path) -> None:
    """Give the active run to the session that waits for one, unless it has a session already."""
    run = active_run()
    if run is None or run.finished:
        return
    with _registry_lock:
        waiting = _sessions.get((home, UNATTACHED))
        known = _sessions.get((home, run.descriptor.run_id))
        if waiting is not None and waiting.run is None and (known is None or not known.serves(run)):
            _find_session(run, lambda _: waiting, home)
            _leave_first()


def _leave_first() -> None:
    """At exit come before W&B's own hook, which was registered when the run began."""
    atexit.unregister(_at_exit)
    atexit.register(_at_exit)


def _live_sessions() -> list[Session]:
    with _registry_lock:
        return list(_sessions.values())


def _install_exit_hooks() -> None:
    """Flush at exit and at SIGTERM; go on after a fork. Once per process."""
    global _hooks_installed
    with _registry_lock:
        if _hooks_installed:
            return
        _hooks_installed = True
    atexit.register(_at_exit)
    os.register_at_fork(after_in_child=_after_fork)
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def _at_exit() -> None:
    for session in _live_sessions():
        try:
            session.leave()
        except Exception as error:  # noqa: BLE001 - other sessions must still be closed
            fault("runtime.at_exit", error)


def _on_sigterm(signum: int, frame: FrameType | None) -> None:
    """Leave as the interpreter does at exit, so that every exit hook runs; only where nobody else handles SIGTERM."""
    del frame
    sys.exit(128 + signum)


def _after_fork() -> None:
    global _registry_lock
    _registry_lock = threading.RLock()
    for session in list(_sessions.values()):
        try:
            session.after_fork()
        except Exception as error:  # noqa: BLE001 - the child must go on
            fault("runtime.after_fork", error)
