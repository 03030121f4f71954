"""A small company: people, keys, stages, a model that improves, and a golden dataset."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from wandb_governance.backend.registry import RunFacts
from wandb_governance.clock import RandomIds
from wandb_governance.registry.approval import Choice, Vote
from wandb_governance.registry.ballot import binding_of
from wandb_governance.registry.document import GovernanceDocument, load_document
from wandb_governance.registry.keys import SigningKey
from wandb_governance.registry.ledger import Ledger
from wandb_governance.registry.suite import Answer, Suite, evaluate
from wandb_governance.registry.workflow import Promoter

from .doubles import FolderRegistry

if TYPE_CHECKING:
    from pathlib import Path

    from wandb_governance.registry.promotion import Promotion

HOUR_NS = 3_600 * 1_000_000_000
START_NS = time.time_ns()
COLLECTION = "wandb-registry-model/support-bot"
GOLDEN = "acme/data/golden:v0"
EXAMPLES = 60
CARD = """# support-bot
## Intended use
Answers questions of customers about their orders.
## Limitations
Knows nothing of refunds made after training ended.
## Training data
Tickets of 2025 without personal data, dataset tickets.
## Evaluation
Sixty golden questions, scored by exact match, see ledger.
"""


class SteppedClock:
    """A clock that a test moves."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self.now = now_ns

    def now_ns(self) -> int:
        self.now += 1_000
        return self.now

    def monotonic_ns(self) -> int:
        return self.now

    def pass_hours(self, hours: float) -> None:
        self.now += int(hours * HOUR_NS)


@dataclass
class World:
    """Everything a promotion needs."""

    folder: Path
    registry: FolderRegistry
    clock: SteppedClock
    writer: SigningKey
    evaluator: SigningKey
    people: dict[str, SigningKey]
    yaml: str
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.folder / "governance.yaml"

    def write_yaml(self, text: str) -> None:
        self.yaml = text
        self.file.write_text(text)

    @property
    def document(self) -> GovernanceDocument:
        return load_document(self.file)

    def ledger(self) -> Ledger:
        return Ledger(self.folder / "ledger.db", clock=self.clock, key=self.writer)

    def promoter(self, **changes: Any) -> Promoter:
        promoter = Promoter(
            document=self.document,
            folder=self.folder,
            registry=self.registry,
            ledger=self.ledger(),
            clock=self.clock,
            ids=RandomIds(),
            key=self.writer,
        )
        return replace(promoter, **changes)

    def train(self, number: int, *, wrong: int = 0, user: str = "ana", evaluated: bool = True, **metadata: Any) -> str:
        """Log version ``number`` of the model, and evaluate it with ``wrong`` wrong answers."""
        source, run = f"acme/bot/adapter:v{number}", f"acme/bot/train{number}"
        facts = RunFacts(path=run, state="finished", user=user, commit="a" * 40, job_type="train")
        self.registry.record_run(facts, used=[GOLDEN])
        files = {"weights.json": json.dumps({"wrong": wrong, "version": number}), "README.md": CARD}
        self.registry.log(source, files, metadata=metadata, run=run)
        if evaluated:
            self.evaluate(source, wrong=wrong)
        return source

    def evaluate(self, source: str, *, wrong: int = 0, **suite: Any) -> str:
        def predict(example: Any) -> Answer:
            right = int(example["example_id"]) >= wrong
            return Answer(text=example["answer"] if right else "?", latency_s=0.2, cost_usd="0.0001")

        made = Suite(
            scorers={"correctness": lambda example, answer: float(answer.text == example["answer"])},
            screen=lambda text, scope: [{"policy": "pii-detector", "action": "allow"}],
            groups=("locale",),
            **suite,
        )
        version = evaluate(
            made,
            registry=self.registry,
            candidate=source,
            dataset=GOLDEN,
            predict=predict,
            project="acme/bot",
            key=self.evaluator,
            clock=self.clock,
        )
        return version.source

    def vote(
        self, promotion: Promotion, person: str, choice: Choice = Choice.APPROVE, **changes: Any
    ) -> dict[str, Any]:
        now = self.clock.now_ns()
        vote = Vote(
            promotion=promotion.id,
            choice=choice,
            person=person,
            binding=binding_of(promotion),
            issued_at_ns=now,
            expires_at_ns=now + 48 * HOUR_NS,
        )
        return replace(vote, **changes).sealed(self.people[person])


def yaml_text(people: dict[str, SigningKey], writer: SigningKey, evaluator: SigningKey) -> str:
    def person(name: str, roles: str) -> str:
        return (
            f"  - id: {name}\n    roles: [{roles}]\n    accounts:\n"
            f"      wandb: [{name}]\n      email: [{name}@acme.test]\n"
            f"      jira: [jira-{name}]\n      github: [{name}-gh]\n      servicenow: [{name}.sn]\n"
            f'      credoai: [{name}@acme.test]\n    keys: ["{people[name].public.text}"]\n'
        )

    return (
        "version: 1\nledger: ledger.db\nproject: acme/governance\n"
        f'trust:\n  ledger: ["{writer.public.text}"]\n  evaluators: ["{evaluator.public.text}"]\npeople:\n'
        + person("ana", "engineer")
        + person("ben", "ml-lead")
        + person("cho", "compliance, ml-lead")
        + person("dev", "compliance")
        + f"""service_accounts:
  - id: ci
    accounts: {{wandb: [ci-bot]}}
    responsible: ben
governed:
  support-bot:
    kind: adapter
    collection: {COLLECTION}
    owner: ana
    licence: apache-2.0
    risk: limited
    intended_use: answers questions of customers
stages:
  staging:
    alias: staging
    gates:
      - metric: {{metric: correctness, at_least: 0.8}}
      - no_regression: {{metric: correctness, margin: 0.1}}
      - policy_clean
      - lineage_complete
      - model_card_complete
      - fairness: {{metric: correctness, group: locale, max_gap: 0.5}}
  production:
    alias: production
    requires: staging
    gates:
      - metric: {{metric: correctness, at_least: 0.8}}
    approvals:
      count: 2
      roles: {{ml-lead: 1, compliance: 1}}
      expires_after: 72h
"""
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A company with four people and version 1 of its model."""
    people = {name: SigningKey.generate() for name in ("ana", "ben", "cho", "dev", "eve")}
    writer, evaluator = SigningKey.generate(), SigningKey.generate()
    registry = FolderRegistry(tmp_path / "wandb")
    made = World(
        folder=tmp_path,
        registry=registry,
        clock=SteppedClock(),
        writer=writer,
        evaluator=evaluator,
        people=people,
        yaml="",
    )
    made.write_yaml(yaml_text(people, writer, evaluator))
    rows = [
        {"example_id": str(i), "question": f"q{i}", "answer": f"a{i}", "locale": "de" if i % 2 else "en"}
        for i in range(EXAMPLES)
    ]
    registry.log(GOLDEN, {"golden.jsonl": "".join(json.dumps(row) + "\n" for row in rows)}, type="dataset")
    made.train(1)
    return made
