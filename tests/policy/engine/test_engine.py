"""The chain: order, modes, failures, time, cache."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from wandb_governance.errors import DetectorError
from wandb_governance.policy.chain import Link
from wandb_governance.policy.engine import WITHHELD, PolicyEngine
from wandb_governance.policy.rule import RuleContext
from wandb_governance.policy.verdict import Action, Finding, Mode, Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

INPUT = RuleContext(scope=Scope.INPUT)


class Word:
    """Finds one word; counts its calls."""

    version = "7"

    def __init__(
        self, word: str, entity: str = "PERSON", do: Callable[[], None] | None = None, score: float = 1.0
    ) -> None:
        self.name = f"word-{word}"
        self.word, self.entity, self.do, self.score = word, entity, do, score
        self.calls = 0

    def find(self, text: str, context: RuleContext) -> Sequence[Finding]:
        self.calls += 1
        if self.do is not None:
            self.do()
        at = text.find(self.word)
        if at < 0:
            return ()
        end = at + len(self.word)
        return (Finding(rule=self.name, entity=self.entity, start=at, end=end, score=self.score, threshold=0.5),)


def fail(error: Exception) -> Callable[[], None]:
    def do() -> None:
        raise error

    return do


def link(rule: Word, action: Action = Action.REDACT, **more: object) -> Link:
    return Link(name=more.pop("name", rule.name), rule=rule, kind="t", action=action, **more)  # type: ignore[arg-type]


def engine(*links: Link, **more: object) -> PolicyEngine:
    return PolicyEngine(links, digest="d" * 64, **more)  # type: ignore[arg-type]


def test_the_strictest_action_wins_whatever_the_order() -> None:
    """Deny overrides."""
    redacts, blocks = link(Word("ann")), link(Word("bomb"), Action.BLOCK)
    for chain in ((redacts, blocks), (blocks, redacts)):
        decision = engine(*chain).evaluate("ann and bomb", INPUT)
        assert decision.action is Action.BLOCK
        assert decision.blocking is not None
        assert decision.blocking.policy == "word-bomb"
        assert decision.text == "[PERSON] and bomb"


def test_redactions_of_several_policies_are_made_together() -> None:
    """The second policy sees the text as given, so its offsets are right."""
    decision = engine(link(Word("ann")), link(Word("@x", "URL"))).evaluate("ann @x ann", INPUT)
    assert decision.text == "[PERSON] [URL] ann"
    assert decision.changed_by == ("word-ann", "word-@x")


def test_a_shadow_policy_is_recorded_and_changes_nothing() -> None:
    """Shadow tells what would have been."""
    decision = engine(link(Word("ann"), Action.BLOCK, mode=Mode.SHADOW)).evaluate("ann", INPUT)
    assert (decision.action, decision.text) == (Action.ALLOW, "ann")
    assert decision.verdicts[0].action is Action.BLOCK


@pytest.mark.parametrize(("closed", "action"), [(True, Action.BLOCK), (False, Action.ALLOW)])
def test_a_failing_rule_is_a_verdict_by_its_fail_mode(closed: bool, action: Action) -> None:
    """The reason names the error, never the text."""
    rule = Word("x", do=fail(RuntimeError("secret text")))
    decision = engine(link(rule, fail_closed=closed)).evaluate("a text", INPUT)
    assert decision.action is action
    assert decision.verdicts[0].failure == "failed with RuntimeError"


def test_the_reason_of_a_detector_error_is_kept() -> None:
    """A rule that can't decide says why."""
    decision = engine(link(Word("x", do=fail(DetectorError("no model", rule="x"))))).evaluate("a", INPUT)
    assert decision.verdicts[0].failure == "no model"


def test_a_rule_that_is_too_slow_is_a_failure_in_time() -> None:
    """The caller waits for timeout and no longer."""
    release = threading.Event()
    rule = Word("x", do=lambda: release.wait(20) and None)
    began = time.monotonic()
    decision = engine(link(rule, timeout_s=0.05)).evaluate("a", INPUT)
    assert time.monotonic() - began < 5
    release.set()
    assert decision.action is Action.BLOCK
    assert "0.05" in (decision.verdicts[0].failure or "")


def test_a_finding_below_its_threshold_does_not_count() -> None:
    """Score and threshold decide, not the presence of a finding."""
    assert engine(link(Word("ann", score=0.4))).evaluate("ann", INPUT).action is Action.ALLOW


def test_the_same_text_is_looked_at_once_in_a_scope_and_role() -> None:
    """History that is sent again costs a hash."""
    rule = Word("ann")
    sut = engine(link(rule))
    for _ in range(3):
        assert sut.evaluate("ann", INPUT).text == "[PERSON]"
    assert rule.calls == 1
    sut.evaluate("ann", RuleContext(scope=Scope.OUTPUT))
    sut.evaluate("ann", RuleContext(scope=Scope.INPUT, role="system"))
    assert rule.calls == 3


def test_a_failure_is_not_kept() -> None:
    """A rule that failed once is asked again."""
    rule = Word("ann", do=fail(RuntimeError()))
    sut = engine(link(rule))
    sut.evaluate("ann", INPUT)
    rule.do = None
    assert sut.evaluate("ann", INPUT).text == "[PERSON]"


def test_the_cache_is_bounded() -> None:
    """The oldest text goes first."""
    rule = Word("ann")
    sut = engine(link(rule), cache_entries=2)
    for text in ("a", "b", "c", "a"):
        sut.evaluate(text, INPUT)
    assert rule.calls == 4


def test_a_rule_that_looks_at_the_call_runs_once_for_all_its_texts() -> None:
    """Ten messages are one request to a rate limit."""
    rule = Word("ann")
    engine(link(rule, Action.BLOCK, pure=False, admission=True)).evaluate_many(["x"] * 10, INPUT)
    assert rule.calls == 1


def test_deferred_policies_run_apart() -> None:
    """The part that runs beside the call and the part before it are disjoint and together all."""
    now, later = Word("ann"), Word("bob")
    sut = engine(link(now), link(later, Action.BLOCK, deferred=True))
    assert sut.evaluate("ann bob", INPUT, deferred=False).action is Action.REDACT
    assert later.calls == 0
    assert sut.evaluate("ann bob", INPUT, deferred=True).action is Action.BLOCK
    assert sut.defers_on(Scope.INPUT)


def test_what_may_be_recorded_hides_sensitive_findings_in_any_scope_and_mode() -> None:
    """A blocked secret does not stand in the trace either."""
    sut = engine(
        link(Word("ann"), scopes=frozenset({Scope.INPUT}), mode=Mode.SHADOW),
        link(Word("key", "SECRET"), Action.BLOCK, sensitive=True),
    )
    assert sut.redact("ann key") == "[PERSON] [SECRET]"


def test_a_text_that_could_not_be_checked_is_not_recorded() -> None:
    """Better no trace than a raw one."""
    assert engine(link(Word("x", do=fail(RuntimeError())))).redact("raw") == WITHHELD


def test_lone_surrogates_do_not_fail_a_rule() -> None:
    """JSON may hold half a pair."""
    assert engine(link(Word("ann"))).evaluate("\ud800 ann", INPUT).text == "\ud800 [PERSON]"


def test_a_value_that_is_no_text_is_refused() -> None:
    """A wrong type is a bug of the caller, never an allowed call."""
    with pytest.raises(TypeError):
        engine(link(Word("ann"))).evaluate(b"ann", INPUT)  # type: ignore[arg-type]


def test_what_an_engine_may_do_on_a_scope() -> None:
    """Callers that can't stop a call ask before."""
    sut = engine(link(Word("a"), fail_closed=False, scopes=frozenset({Scope.OUTPUT})))
    assert sut.redacts_on(Scope.OUTPUT)
    assert not sut.redacts_on(Scope.INPUT)
    assert not sut.blocks_on(Scope.OUTPUT)


def test_threads_get_the_same_answers() -> None:
    """One engine serves every thread."""
    sut = engine(link(Word("ann")), cache_entries=8)
    wrong: list[str] = []

    def work(seed: int) -> None:
        for n in range(300):
            text = f"{(n * seed) % 23} ann"
            if sut.evaluate(text, INPUT).text != text.replace("ann", "[PERSON]"):
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
