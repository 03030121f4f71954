"""Redact a text that arrives in pieces, exactly as the whole would be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol

from wandb_governance.errors import DetectorError, PolicyViolation
from wandb_governance.policy.engine import conclude, make_verdict, run_rule, scannable
from wandb_governance.policy.redaction import apply, plan
from wandb_governance.policy.stream_bounds import Unbounded
from wandb_governance.policy.verdict import Action, Decision, Mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.policy.chain import Link
    from wandb_governance.policy.engine import PolicyEngine
    from wandb_governance.policy.rule import RuleContext
    from wandb_governance.policy.stream_bounds import StreamBounds
    from wandb_governance.policy.verdict import Finding, Verdict

StreamMode = Literal["exact", "buffer", "observe"]

_JUDGE_EVERY_CHARS = 400
_STOPS = frozenset({Action.BLOCK, Action.ESCALATE})


class Redactor(Protocol):
    """One streamed text under policy."""

    released_chars: int
    """Characters that have gone out."""

    def feed(self, text: str) -> str:
        """Take a piece; return what may go out now.

        Raises:
            PolicyViolation: A policy blocks; nothing more goes out.
        """
        ...

    def finish(self) -> str:
        """The rest, once the text is whole.

        Raises:
            PolicyViolation: A policy blocks.
        """
        ...

    @property
    def decision(self) -> Decision:
        """What was decided; whole after ``finish`` or a violation."""
        ...


class StreamRedactor:
    """One text: a choice's content, a refusal, a transcript. Not safe for use by two threads at once.

    What ``feed`` and ``finish`` return, joined, equals the redaction of the whole text for every way to cut it. A
    policy that blocks does so before any character of its finding is released. A policy that redacts and needs the
    whole text holds everything back until ``finish``; one that only flags or blocks on the sense of a text is asked
    every 400 characters and at the end.

    Args:
        engine: The policies.
        context: Scope and what else is known.
        mode: ``exact``; ``buffer`` holds everything until ``finish``; ``observe`` releases all and only decides.
        max_hold_chars: A text of which more is held back is blocked; it bounds memory.
    """

    def __init__(
        self,
        engine: PolicyEngine,
        context: RuleContext,
        *,
        mode: StreamMode = "exact",
        max_hold_chars: int | None = None,
    ) -> None:
        self._engine = engine
        self._context = context
        self._mode = mode
        self._max_hold = max_hold_chars
        self._links = engine.links_on(context.scope)
        self._bounds = [engine.bounds(link) for link in self._links]
        held = [(link, bounds) for link, bounds in zip(self._links, self._bounds, strict=True) if _holds(link, bounds)]
        self._holding: list[StreamBounds] = [bounds for _, bounds in held]
        self._local = frozenset(link.name for link, _ in held)
        self._left = max((bounds.left_chars for bounds in self._holding), default=0)
        self._window = ""
        self._base = 0
        self._settled = 0
        self._cuts: list[int] = [0]
        self._next_try = 1
        self._whole: list[str] = []
        self._judged = 0
        self._length = 0
        self._fresh: dict[str, list[Finding]] = {}
        self._found: dict[str, list[Finding]] = {}
        self._failed: dict[str, str] = {}
        self._out: list[str] = []
        self._closed = False
        self.released_chars = 0

    def feed(self, text: str) -> str:
        """Take a piece; return what may go out now.

        Raises:
            PolicyViolation: A policy blocks; nothing more goes out.
        """
        if self._closed:
            raise ValueError("the stream is finished")
        if not text:
            return ""
        self._length += len(text)
        self._whole.append(text)
        if self._mode == "observe":
            return self._release(text)
        self._window += text
        pending = len(self._window) - self._settled
        if self._mode == "buffer" or pending < self._next_try:
            return self._hold(pending)
        return self._advance()

    def finish(self) -> str:
        """The rest, once the text is whole.

        Raises:
            PolicyViolation: A policy blocks.
        """
        if self._closed:
            return ""
        self._closed = True
        if self._mode == "observe":
            self._judge_whole(final=True)
            return ""
        self._scan(final=True)
        self._judge_whole(final=True)
        return self._emit(len(self._window))

    @property
    def decision(self) -> Decision:
        """What was decided; whole after ``finish`` or a violation. ``text`` is what has been released."""
        verdicts = [
            make_verdict(link, self._context.scope, tuple(self._found.get(link.name, ())), self._failed.get(link.name))
            for link in self._links
        ]
        if self._mode == "observe":
            verdicts = [replace(verdict, mode=Mode.SHADOW) for verdict in verdicts]
        decision = conclude("", verdicts, self._links, digest=self._engine.digest)
        return replace(decision, text="".join(self._out))

    def _advance(self) -> str:
        window = scannable(self._window)
        bound = min((bounds.settled(window) for bounds in self._holding), default=len(window))
        if bound <= self._settled:
            pending = len(self._window) - self._settled
            # A long run without a cut is tried less and less often, so that it costs linear time.
            self._next_try = pending + 1 + pending // 32
            return self._hold(pending)
        bound = min(bound, self._scan(final=False, bound=bound))
        if bound <= self._settled:
            return ""
        self._next_try = 1
        if self._length - self._judged >= _JUDGE_EVERY_CHARS:
            self._judge_whole(final=False)
        return self._emit(bound)

    def _hold(self, pending: int) -> str:
        if self._max_hold is not None and pending > self._max_hold and self._mode == "exact":
            self._stop("stream", f"more than {self._max_hold} characters without a place to cut")
        return ""

    def _scan(self, *, final: bool, bound: int = 0) -> int:
        """Ask the rules that look at places; keep what they found before ``bound``."""
        window = scannable(self._window)
        if final:
            bound = len(window)
        fresh: dict[str, list[Finding]] = {}
        for link in self._links:
            if link.name not in self._local:
                continue
            for finding in self._ask(link, window):
                if finding.end <= self._settled:
                    continue
                if finding.start < bound < finding.end:
                    bound = max(finding.start, self._settled)
                fresh.setdefault(link.name, []).append(finding)
        self._fresh = {name: [f for f in found if f.end <= bound] for name, found in fresh.items()}
        self._stop_if_blocked(fresh)
        return bound

    def _ask(self, link: Link, text: str) -> Sequence[Finding]:
        if link.name in self._failed:
            return ()
        try:
            return run_rule(link, text, self._context)
        except DetectorError as error:
            self._failed[link.name] = str(error)
            if link.fail_closed and link.mode is Mode.ENFORCE and self._mode != "observe":
                self._stop(link.name, str(error))
            return ()

    def _stop_if_blocked(self, fresh: dict[str, list[Finding]]) -> None:
        for link in self._links:
            found = fresh.get(link.name)
            if found and link.mode is Mode.ENFORCE and link.action in _STOPS:
                self._keep(link.name, found)
                self._stop(link.name, *(f.explanation or f.entity for f in found))

    def _judge_whole(self, *, final: bool) -> None:
        """Ask the rules that look at the sense of the whole text."""
        links = [link for link in self._links if link.name not in self._local or self._mode == "observe"]
        links = [link for link in links if not link.admission]
        self._judged = self._length
        if not links or (not final and not any(_stops(link) for link in links)):
            return
        whole = scannable("".join(self._whole))
        for link in links:
            if not final and not _stops(link):
                continue
            found = list(self._ask(link, whole))
            self._found[link.name] = found
            if found and _stops(link) and self._mode != "observe":
                self._stop(link.name, *(f.explanation or f.entity for f in found))

    def _stop(self, policy: str, *reasons: str) -> None:
        self._closed = True
        self._window = ""
        raise PolicyViolation(policy=policy, scope=self._context.scope, reasons=reasons)

    def _keep(self, name: str, found: Sequence[Finding]) -> None:
        kept = self._found.setdefault(name, [])
        kept.extend(replace(f, start=f.start + self._base, end=f.end + self._base) for f in found)

    def _emit(self, bound: int) -> str:
        fresh = self._fresh
        self._fresh = {}
        for name, found in fresh.items():
            self._keep(name, found)
        redacting = [
            (fresh[link.name], link.replacer_in(self._context.scope, self._context.session))
            for link in self._links
            if link.name in fresh and link.action is Action.REDACT and link.mode is Mode.ENFORCE
        ]
        piece = self._window[self._settled : bound]
        replacements = [
            replace(r, start=r.start - self._settled, end=r.end - self._settled)
            for r in plan(self._window, redacting)
            if r.end <= bound
        ]
        text = apply(piece, replacements)
        self._forget(bound)
        return self._release(text)

    def _forget(self, bound: int) -> None:
        """Keep as much of what has gone as the rules look back at, from an earlier cut on."""
        self._settled = bound
        self._cuts.append(bound)
        far = [cut for cut in self._cuts if cut <= bound - self._left]
        drop = far[-1] if far else 0
        if drop:
            self._window = self._window[drop:]
            self._base += drop
            self._settled -= drop
            self._cuts = [cut - drop for cut in self._cuts if cut >= drop]

    def _release(self, text: str) -> str:
        self._out.append(text)
        self.released_chars += len(text)
        return text


def _stops(link: Link) -> bool:
    return link.action in _STOPS and link.mode is Mode.ENFORCE


def _holds(link: Link, bounds: StreamBounds) -> bool:
    """Whether text waits for this policy: it changes places, or it blocks on places that are known as they come."""
    if link.admission:
        return False
    if link.action is Action.REDACT and link.mode is Mode.ENFORCE:
        return True
    return not isinstance(bounds, Unbounded)


def verdicts_of(decision: Decision) -> tuple[Verdict, ...]:
    """Verdicts that say anything."""
    return tuple(v for v in decision.verdicts if v.findings or v.failure)
