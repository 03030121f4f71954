"""Real LangChain chains and LangGraph graphs around a scripted model, and a run in memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from pydantic import Field

from wandb_governance.settings import Settings
from wandb_governance.testing.doubles import MemoryRun
from wandb_governance.tracing.guard import fault_counts
from wandb_governance_langchain import GovernanceCallbackHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from langchain_core.runnables import Runnable

ANSWER = "Paris is the capital of France."
USAGE = {"input_tokens": 1000, "output_tokens": 10, "total_tokens": 1010}
POLICY = """
pack: {name: tests, version: "1"}
policies:
  chain: [secrets, pii-detector]
  policy:
    secrets: {action: block, phases: [input, output, tool]}
    pii-detector: {action: redact, phases: [input, output, tool], entities: [EMAIL_ADDRESS]}
"""
KEY = "AKIAQ3EGRTFYSXWHBL5N"
"""Has the shape of an AWS access key, which ``secrets`` blocks."""


class ScriptedModel(BaseChatModel):
    """Answers what it is told to, with the facts of an OpenAI answer, and remembers what it was asked."""

    answer: str = ANSWER
    usage: dict[str, Any] | None = Field(default_factory=lambda: dict(USAGE))
    model_name: str = "gpt-4o"
    failures: list[Exception] = Field(default_factory=list)
    tool_calls: list[list[dict[str, Any]]] = Field(default_factory=list)
    """Calls to make, one list an answer; then it answers in words."""
    choices: int = 1
    pause_s: float = 0.0
    """Before the answer, or before the first content of a stream."""
    break_after: int | None = None
    seen: list[list[BaseMessage]] = Field(default_factory=list)
    pieces_made: list[str] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "openai-chat"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "openai", "ls_model_name": self.model_name, "ls_model_type": "chat"}

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, Any]:
        return self.bind(tools=list(tools), **kwargs)

    def _message(self) -> AIMessage:
        if self.failures:
            raise self.failures.pop(0)
        calls = self.tool_calls.pop(0) if self.tool_calls else []
        return AIMessage(
            "" if calls else self.answer,
            tool_calls=calls,
            usage_metadata=self.usage,
            response_metadata={"model_name": f"{self.model_name}-2024-08-06", "finish_reason": "stop"},
        )

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.seen.append(list(messages))
        time.sleep(self.pause_s)
        message = self._message()
        return ChatResult(generations=[ChatGeneration(message=message) for _ in range(self.choices)])

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        self.seen.append(list(messages))
        message = self._message()
        pieces = [message.content[at : at + 3] for at in range(0, len(message.content), 3)]
        chunks = [AIMessageChunk("")]
        if message.tool_calls:
            call = message.tool_calls[0]
            piece = {"name": call["name"], "args": str(call["args"]).replace("'", '"'), "id": call["id"], "index": 0}
            chunks.append(AIMessageChunk("", tool_call_chunks=[piece]))
        chunks += [AIMessageChunk(piece) for piece in pieces]
        chunks.append(AIMessageChunk("", usage_metadata=self.usage, response_metadata=message.response_metadata))
        for number, chunk in enumerate(chunks):
            if number == 1:
                time.sleep(self.pause_s)
            if number == self.break_after:
                raise ConnectionError("the provider went away")
            made = ChatGenerationChunk(message=chunk)
            self.pieces_made.append(chunk.text)
            if run_manager is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=made)
            yield made


@dataclass
class Recorded:
    """What a handler left behind."""

    handler: GovernanceCallbackHandler
    run: MemoryRun

    @property
    def config(self) -> dict[str, Any]:
        """A config with the handler."""
        return {"callbacks": [self.handler]}

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Rows of a table, everything delivered."""
        assert self.handler.flush(20)
        return list(self.run.tables.get(table, ()))

    @property
    def traces(self) -> list[dict[str, Any]]:
        return self.rows("traces")

    @property
    def calls(self) -> list[dict[str, Any]]:
        return self.rows("llm_calls")

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        return self.rows("verdicts")

    @property
    def call(self) -> dict[str, Any]:
        """The one row of ``llm_calls``."""
        (row,) = self.calls
        return row

    def named(self, name: str) -> dict[str, Any]:
        """The one row of ``traces`` with this name."""
        (row,) = [row for row in self.traces if row["name"] == name]
        return row

    def tree(self) -> dict[str, list[str]]:
        """Names of children by name of the parent; the roots under the empty name."""
        rows = {row["span_id"]: row for row in self.traces}
        found: dict[str, list[str]] = {}
        for row in rows.values():
            parent = rows[row["parent_id"]]["name"] if row["parent_id"] else ""
            found.setdefault(parent, []).append(row["name"])
        return {parent: sorted(names) for parent, names in found.items()}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "governance", export_interval_s=0.05, fsync="never")


@pytest.fixture
def recorded(settings: Settings) -> Iterator[Callable[..., Recorded]]:
    """Make a handler on a run of its own: ``recorded(policy=...)``."""
    made: list[Recorded] = []
    before = fault_counts()

    def make(**options: Any) -> Recorded:
        run = MemoryRun(f"run{len(made)}")
        found = Recorded(GovernanceCallbackHandler(run, settings=settings, **options), run)
        made.append(found)
        return found

    yield make
    for found in made:
        assert found.handler.open_runs == 0, "no run is left open"
        found.run.finish()
    faults = {key: count - before.get(key, 0) for key, count in fault_counts().items() if count > before.get(key, 0)}
    assert not {key for key in faults if "Governance" in key}, faults


@pytest.fixture
def record(recorded: Callable[..., Recorded]) -> Recorded:
    """A handler without policies."""
    return recorded()


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """Blocks credentials, redacts e-mail addresses, on every scope."""
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel()


def chain_of(model: Any) -> Runnable[Any, str]:
    """Prompt | model | parser."""
    prompt = ChatPromptTemplate.from_messages([("system", "You are helpful."), ("human", "{question}")])
    return prompt | model | StrOutputParser()
