"""Who may use what, how often, and what an answer must look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from wandb_governance.errors import PolicyDocumentError
from wandb_governance.policy.rule import RuleContext
from wandb_governance.policy.rules.output_schema import OutputSchema
from wandb_governance.policy.rules.rate_limit import RateLimit
from wandb_governance.policy.rules.rbac import Rbac
from wandb_governance.policy.verdict import Scope

if TYPE_CHECKING:
    from pathlib import Path

ROLES: dict[str, Any] = {
    "roles": {
        "analyst": {"models": ["gpt-4o-mini", "claude-*"], "tools": ["search"]},
        "admin": {"models": ["*"]},
        "guest": {"models": ["small"]},
    },
    "teams": {"ml-research": ["admin"]},
    "tiers": {"pilot": ["analyst"]},
    "default_roles": ["guest"],
}


def call(model: str = "gpt-4o", **more: Any) -> RuleContext:
    return RuleContext(scope=more.pop("scope", Scope.INPUT), model=model, **more)


@pytest.mark.parametrize(
    ("context", "allowed"),
    [
        (call(), False),
        (call("small"), True),
        (call(roles=("admin",)), True),
        (call(team="ml-research"), True),
        (call(team="other"), False),
        (call("claude-x", attributes={"tier": "pilot"}), True),
        (call("gpt-4o", attributes={"tier": "pilot"}), False),
        (call(roles=("no-such-role",)), False),
        (call(roles=("analyst",), scope=Scope.TOOL_ARGS, tool="search"), True),
        (RuleContext(scope=Scope.INPUT, model=None), False),
    ],
)
def test_a_call_needs_a_role_that_grants_it(context: RuleContext, allowed: bool) -> None:
    """Roles come from the caller, the W&B team, the experiment tier, and everybody's."""
    assert (not Rbac.from_options(ROLES).find("", context)) is allowed


def test_a_role_that_does_not_exist_is_a_mistake_of_the_document() -> None:
    """A typo must not lock everybody out, or in."""
    with pytest.raises(PolicyDocumentError, match="boss"):
        Rbac.from_options({**ROLES, "teams": {"x": ["boss"]}})


def test_a_rate_is_counted_by_caller(tmp_path: Path) -> None:
    """One user's burst leaves another's alone."""
    rule = RateLimit.from_options({"requests_per_minute": 2, "by": ["user"], "path": str(tmp_path / "b.sqlite")})
    one, two = call(user="one"), call(user="two")
    assert [bool(rule.find("", one)) for _ in range(3)] == [False, False, True]
    assert not rule.find("", two)


SCHEMA = {"type": "object", "required": ["answer"], "properties": {"answer": {"type": "string", "maxLength": 3}}}


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"answer": "yes"}', None), ("yes", "not JSON"), ('{"answer": "secret"}', "$.answer"), ("{}", "required")],
)
def test_an_answer_follows_its_schema(text: str, words: str | None) -> None:
    """The reason names the place and never the value."""
    found = OutputSchema.from_options({"schema": SCHEMA}).find(text, call(scope=Scope.OUTPUT))
    assert bool(found) is (words is not None)
    if words is not None:
        assert words in found[0].explanation
        assert "secret" not in found[0].explanation


@pytest.mark.parametrize("schema", [{"type": "no-such-type"}, {"$ref": "http://localhost/x.json"}])
def test_a_schema_that_is_none_or_would_be_fetched_is_refused(schema: dict[str, str]) -> None:
    """A document can't make the gateway call out."""
    with pytest.raises(PolicyDocumentError):
        OutputSchema.from_options({"schema": schema})
