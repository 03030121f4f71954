"""A real index over real text, a model that reports its usage, and a run in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms import (
    CompletionResponse,
    CompletionResponseGen,
    CustomLLM,
    LLMMetadata,
)
from llama_index.core.llms.callbacks import llm_completion_callback

from wandb_governance.settings import Settings
from wandb_governance.testing.doubles import MemoryRun
from wandb_governance_llama_index import Instrumentation, instrument

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANSWER = "Paris is the capital of France."


class OpenAIShaped(CustomLLM):
    """Answers at once, with the usage of an OpenAI answer, and remembers what it was asked."""

    answer: str = ANSWER
    prompts: list[str] = []  # noqa: RUF012 - a pydantic field, copied for each model
    fails: bool = False

    @classmethod
    def class_name(cls) -> str:
        return "openai_llm"

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="gpt-4o")

    def _response(self, text: str, delta: str | None = None) -> CompletionResponse:
        raw = {
            "model": "gpt-4o-2024-08-06",
            "usage": {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010},
            "choices": [{"finish_reason": "stop"}],
        }
        return CompletionResponse(text=text, delta=delta, raw=raw)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        self.prompts.append(prompt)
        if self.fails:
            raise RuntimeError("the provider is down")
        return self._response(self.answer)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        self.prompts.append(prompt)

        def pieces() -> CompletionResponseGen:
            text = ""
            yield self._response("", "")
            for word in self.answer.split(" "):
                delta = word if not text else f" {word}"
                text += delta
                yield self._response(text, delta)

        return pieces()


@pytest.fixture
def llm() -> OpenAIShaped:
    return OpenAIShaped(prompts=[])


@pytest.fixture
def index() -> VectorStoreIndex:
    documents = [
        Document(text="Paris is the capital and largest city of France.", id_="paris"),
        Document(text="Lyon is a city in France. Write to the mayor at mayor@lyon-mairie.fr.", id_="lyon"),
        Document(text="Rome is the capital of Italy.", id_="rome"),
    ]
    return VectorStoreIndex.from_documents(documents, embed_model=MockEmbedding(8))


@pytest.fixture
def run() -> MemoryRun:
    return MemoryRun()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, export_interval_s=0.05, fsync="never")


@pytest.fixture
def instrumentation(run: MemoryRun, settings: Settings, index: VectorStoreIndex) -> Iterator[Instrumentation]:
    """Installed after the index was built, so that only the test's own calls are recorded."""
    made = instrument(run, settings=settings)
    yield made
    made.uninstall()
    made.governance.close()
