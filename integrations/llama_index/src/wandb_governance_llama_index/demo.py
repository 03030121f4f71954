"""The demo's LlamaIndex part: a query engine, asked in every way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.llms import CompletionResponse, CompletionResponseGen, CustomLLM, LLMMetadata
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from pydantic import PrivateAttr

from wandb_governance.demo.story import QUESTIONS, SYSTEM, ModelAddress, Search, Step
from wandb_governance.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.demo.story import Passage
    from wandb_governance_llama_index.instrumentation import Instrumentation


class PassageRetriever(BaseRetriever):
    """Lexical search as a LlamaIndex retriever."""

    def __init__(self, found: Sequence[Passage], *, k: int = 2) -> None:
        super().__init__()
        self._search = Search(found)
        self._k = k

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [
            NodeWithScore(node=TextNode(id_=passage.id, text=passage.text), score=score)
            for passage, score in self._search.best(query_bundle.query_str, self._k)
        ]


class CompatibleLLM(CustomLLM):
    """Any OpenAI-compatible server through the openai SDK, whatever its version."""

    _model: ModelAddress = PrivateAttr()
    _client: Any = PrivateAttr()

    def __init__(self, model: ModelAddress) -> None:
        super().__init__()
        try:
            from openai import OpenAI
        except ImportError as error:
            raise MissingExtraError("openai", extra="demo") from error
        self._model = model
        self._client = OpenAI(base_url=model.base_url, api_key=model.api_key)

    @classmethod
    def class_name(cls) -> str:
        """Tells the provider's API."""
        return "openai_compatible_llm"

    @property
    def metadata(self) -> LLMMetadata:
        """Name of the model."""
        return LLMMetadata(model_name=self._model.name, context_window=4096, num_output=48)

    def _ask(self, prompt: str, *, stream: bool) -> Any:
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
        return self._client.chat.completions.create(
            model=self._model.name, messages=messages, temperature=0, max_tokens=48, stream=stream
        )

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Ask once."""
        answer = self._ask(prompt, stream=False)
        return CompletionResponse(text=answer.choices[0].message.content or "", raw=answer)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Ask and stream."""

        def pieces() -> CompletionResponseGen:
            text = ""
            for chunk in self._ask(prompt, stream=True):
                delta = (chunk.choices[0].delta.content or "") if chunk.choices else ""
                text += delta
                yield CompletionResponse(text=text, delta=delta, raw=chunk)

        return pieces()


def steps(instrumentation: Instrumentation, found: Sequence[Passage], model: ModelAddress) -> list[Step]:
    """Query, stream, query asynchronously."""
    llm = instrumentation.govern(CompatibleLLM(model))
    retriever = PassageRetriever(found)

    def engine(*, streaming: bool) -> RetrieverQueryEngine:
        synthesizer = get_response_synthesizer(llm=llm, streaming=streaming)
        return RetrieverQueryEngine(retriever=retriever, response_synthesizer=synthesizer)

    async def query() -> str:
        return str(engine(streaming=False).query(QUESTIONS[0]))

    async def stream() -> str:
        response: Any = engine(streaming=True).query(QUESTIONS[1])
        return "".join(response.response_gen)

    async def aquery() -> str:
        return str(await engine(streaming=False).aquery(QUESTIONS[3]))

    return [
        Step(title="LlamaIndex query", run=query),
        Step(title="LlamaIndex streaming query", run=stream),
        Step(title="LlamaIndex aquery", run=aquery),
    ]
