"""Test cases for a policy document: what a text must lead to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, SubElement, tostring

import orjson
from pydantic import Field, ValidationError

from wandb_governance.errors import PolicyViolation
from wandb_governance.policy.rule import RuleContext
from wandb_governance.policy.stream import StreamRedactor
from wandb_governance.policy.targets import Strict
from wandb_governance.policy.verdict import Action, Decision, Scope
from wandb_governance.policy.yaml_source import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from wandb_governance.policy.engine import PolicyEngine


class Expectation(Strict):
    """What must come out; what is not given is not checked."""

    action: Action | None = None
    text: str | None = None
    entities: tuple[str, ...] | None = None
    """Exactly these types are found, in any order."""
    by: str | None = None
    """The policy whose verdict is the strictest."""
    contains: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


class CaseContext(Strict):
    """What is known of the call."""

    role: str | None = None
    model: str | None = None
    provider: str | None = None
    team: str | None = None
    tool: str | None = None
    user: str | None = None
    roles: tuple[str, ...] = ()
    tier: str | None = None


class Case(Strict):
    """One case."""

    name: str
    text: str
    scope: Scope = Scope.INPUT
    context: CaseContext = CaseContext()
    stream: bool = False
    """Also feed the text character by character; the outcome must be the same."""
    expect: Expectation


class Cases(Strict):
    """A file of cases."""

    cases: tuple[Case, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What became of a case."""

    name: str
    problems: tuple[str, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether everything expected came out."""
        return not self.problems


def load_cases(path: Path) -> tuple[Case, ...]:
    """Read a file of cases.

    Raises:
        PolicyDocumentError: It is wrong; names file, line and key.
    """
    source = read_yaml(path)
    try:
        return Cases.model_validate_json(orjson.dumps(source.value), strict=True).cases
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise source.error(tuple(first["loc"]), first["msg"]) from None


def run_case(engine: PolicyEngine, case: Case) -> CaseResult:
    """Judge a case's text and compare."""
    began = time.perf_counter()
    facts = case.context.model_dump(exclude={"tier"})
    context = RuleContext(scope=case.scope, **facts, attributes={"tier": case.context.tier})
    decision = engine.evaluate(case.text, context)
    problems = list(_problems(case.expect, decision))
    if case.stream and not problems:
        problems += _stream_problems(engine, case, context, decision)
    return CaseResult(name=case.name, problems=tuple(problems), seconds=time.perf_counter() - began)


def _problems(expect: Expectation, decision: Decision) -> Iterable[str]:
    found = {f.entity for verdict in decision.verdicts for f in verdict.findings}
    if expect.action is not None and decision.action is not expect.action:
        yield f"action is {decision.action}, not {expect.action}"
    if expect.text is not None and decision.text != expect.text:
        yield f"text is {decision.text!r}, not {expect.text!r}"
    if expect.entities is not None and found != set(expect.entities):
        yield f"found {sorted(found)}, not {sorted(expect.entities)}"
    if expect.by is not None:
        by = [
            v.policy
            for v in decision.verdicts
            if v.effective is decision.action and decision.action is not Action.ALLOW
        ]
        if expect.by not in by:
            yield f"decided by {', '.join(by) or 'no policy'}, not {expect.by}"
    yield from (f"the text lacks {part!r}" for part in expect.contains if part not in decision.text)
    yield from (f"the text holds {part!r}" for part in expect.lacks if part in decision.text)


def _stream_problems(engine: PolicyEngine, case: Case, context: RuleContext, decision: Decision) -> list[str]:
    redactor = StreamRedactor(engine, context)
    try:
        out = "".join([*(redactor.feed(character) for character in case.text), redactor.finish()])
    except PolicyViolation:
        return [] if decision.action in {Action.BLOCK, Action.ESCALATE} else ["blocked in a stream, and not as a whole"]
    return [] if out == decision.text else [f"streamed text is {out!r}, not {decision.text!r}"]


def junit(results: Iterable[CaseResult], *, suite: str) -> bytes:
    """Results as JUnit XML, which CI systems read."""
    listed = list(results)
    failed = sum(not result.passed for result in listed)
    root = Element("testsuites")
    total = f"{sum(result.seconds for result in listed):.4f}"
    node = SubElement(
        root, "testsuite", name=suite, tests=str(len(listed)), failures=str(failed), errors="0", time=total
    )
    for result in listed:
        case = SubElement(node, "testcase", classname=suite, name=result.name, time=f"{result.seconds:.4f}")
        if not result.passed:
            SubElement(case, "failure", message=result.problems[0]).text = "\n".join(result.problems)
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root)


def to_json(results: Iterable[CaseResult]) -> dict[str, Any]:
    """Results as plain data."""
    listed = list(results)
    return {
        "passed": sum(r.passed for r in listed),
        "failed": sum(not r.passed for r in listed),
        "cases": [{"name": r.name, "passed": r.passed, "problems": r.problems, "seconds": r.seconds} for r in listed],
    }
