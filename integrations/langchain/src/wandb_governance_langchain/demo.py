"""The demo's LangChain part: a RAG chain, called in every way."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever

from wandb_governance.demo.story import (
    BLOCKED_QUESTION,
    QUESTIONS,
    REDACTED_QUESTION,
    SYSTEM,
    ModelAddress,
    Search,
    Step,
)
from wandb_governance.errors import MissingExtraError
from wandb_governance_langchain.enforce import govern
from wandb_governance_langchain.handler import GovernanceCallbackHandler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.callbacks import CallbackManagerForRetrieverRun
    from langchain_core.runnables import Runnable

    from wandb_governance.demo.story import Passage
    from wandb_governance.runtime import Governance


class PassageRetriever(BaseRetriever):
    """Lexical search as a LangChain retriever."""

    search: Any
    k: int = 2

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [
            Document(id=passage.id, page_content=passage.text, metadata={"source": passage.id, "score": score})
            for passage, score in self.search.best(query, self.k)
        ]


def _joined(documents: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in documents)


def chain(
    handler: GovernanceCallbackHandler, found: Sequence[Passage], model: ModelAddress
) -> Runnable[dict[str, str], str]:
    """Retrieve, prompt, ask the governed model, parse.

    Raises:
        MissingExtraError: ``langchain-openai`` is not installed.
    """
    try:
        from langchain_openai import ChatOpenAI
    except ImportError as error:
        raise MissingExtraError("langchain-openai", extra="demo") from error
    chat = ChatOpenAI(
        model=model.name,
        base_url=model.base_url,
        api_key=lambda: model.api_key,
        temperature=0,
        max_completion_tokens=48,
    )
    prompt = ChatPromptTemplate.from_messages([("system", SYSTEM + "\n\n{context}"), ("human", "{question}")])
    context = itemgetter("question") | PassageRetriever(search=Search(found)) | _joined
    asked: Runnable[dict[str, str], Any] = {"context": context, "question": itemgetter("question")} | prompt
    return asked | govern(chat, handler) | StrOutputParser()


def steps(governance: Governance, found: Sequence[Passage], model: ModelAddress) -> list[Step]:
    """Invoke, stream, two at once, one redacted, one blocked."""
    handler = GovernanceCallbackHandler(governance=governance)
    rag = chain(handler, found, model)
    config: Any = {"callbacks": [handler], "run_name": "rag_chain"}

    async def invoke() -> str:
        return rag.invoke({"question": QUESTIONS[0]}, config=config)

    async def stream() -> str:
        return "".join(rag.stream({"question": QUESTIONS[1]}, config=config))

    async def both() -> str:
        return " | ".join(await rag.abatch([{"question": question} for question in QUESTIONS[2:]], config=config))

    async def redacted() -> str:
        return await rag.ainvoke({"question": REDACTED_QUESTION}, config=config)

    async def blocked() -> str:
        return rag.invoke({"question": BLOCKED_QUESTION}, config=config)

    return [
        Step(title="LangChain invoke", run=invoke),
        Step(title="LangChain stream", run=stream),
        Step(title="LangChain abatch of 2", run=both),
        Step(title="LangChain ainvoke, personal data redacted", run=redacted),
        Step(title="LangChain invoke, prompt injection blocked", run=blocked),
    ]
