"""One configuration on one set of questions: the numbers of a trial."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from wandb_governance.errors import SweepError
from wandb_governance.pricing.book import PriceBook
from wandb_governance.sweep import answer_metrics
from wandb_governance.sweep.answer import DEFAULT_PROMPT, ChatModel, ExtractiveReader, Judge
from wandb_governance.sweep.build import IndexSpec, embed_texts, obtain_index, truncated_chunks
from wandb_governance.sweep.config import endpoint_options
from wandb_governance.sweep.embedder import make_embedder
from wandb_governance.sweep.metrics import in_tokens, precision_omega, ranking_scores, span_scores
from wandb_governance.sweep.result import QuestionResult, TrialResult
from wandb_governance.sweep.retrieve import RerankEndpoint, Search
from wandb_governance.sweep.space import NONE
from wandb_governance.sweep.tokens import tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wandb_governance.sweep.answer import Answer, Reader
    from wandb_governance.sweep.build import Executor
    from wandb_governance.sweep.cache import Store
    from wandb_governance.sweep.config import RagSweep
    from wandb_governance.sweep.index import VectorIndex
    from wandb_governance.sweep.metrics import DocSpan
    from wandb_governance.sweep.questions import Question
    from wandb_governance.sweep.ranking import Hits
    from wandb_governance.sweep.space import Configuration
    from wandb_governance.sweep.splitter import Chunk
    from wandb_governance.sweep.tokens import IntArray


class Observer(Protocol):
    """Sees every question of a trial, to trace it and to ask the policies."""

    def question(
        self, question: Question, chunks: Sequence[tuple[Chunk, float]], answers: Sequence[Answer], model: str | None
    ) -> str:
        """The strictest verdict on question, chunks and answers: ``allow`` where nothing was found."""
        ...


class NoObserver:
    """Sees nothing."""

    def question(
        self,
        question: Question,
        chunks: Sequence[tuple[Chunk, float]],
        answers: Sequence[Answer],
        model: str | None,
    ) -> str:
        """Always ``allow``."""
        return "allow"


class _OpenIndexes:
    """The last indexes that were opened, so that trials next to each other share what is derived from one."""

    _KEPT = 2

    def __init__(self) -> None:
        self._indexes: dict[str, VectorIndex] = {}

    def setdefault(self, index: VectorIndex) -> VectorIndex:
        """The index with these bytes that is open already, or this one."""
        digest = f"{index.folder}:{index.digest}"
        kept = self._indexes.pop(digest, index)
        self._indexes[digest] = kept
        while len(self._indexes) > self._KEPT:
            del self._indexes[next(iter(self._indexes))]
        return kept


_OPEN = _OpenIndexes()


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration of a sweep, ready to be asked."""

    sweep: RagSweep
    configuration: Configuration
    store: Store
    draw: str = "local"
    """Who samples above temperature 0 belong to."""
    observer: Observer = field(default_factory=NoObserver)
    executor: Executor | None = None
    progress: Callable[[int], None] = lambda _: None

    @cached_property
    def index_spec(self) -> IndexSpec:
        """The knobs of the index."""
        c, spec = self.configuration, self.sweep.spec
        options = endpoint_options(spec.embeddings[c.embedding]) if c.embedding in spec.embeddings else "{}"
        return IndexSpec(
            splitter=c.splitter,
            tokenizer=c.tokenizer,
            chunk_size=c.chunk_size,
            chunk_overlap=c.chunk_overlap,
            embedding=None if c.embedding == NONE else c.embedding,
            embedding_options=options,
            searched=spec.metric.spans == "searched",
        )

    @cached_property
    def index(self) -> VectorIndex:
        """The index, built where it is not in the store."""
        found = obtain_index(
            self.sweep.corpus, self.index_spec, self.store, executor=self.executor, progress=self.progress
        )
        return _OPEN.setdefault(found)

    @cached_property
    def search(self) -> Search:
        """How the index is searched."""
        c = self.configuration
        section = self.sweep.spec.rerankers.get(c.reranker)
        endpoint = None
        if section:
            key = section.api_key_env
            endpoint = RerankEndpoint(
                url=section.base_url, model=section.model or "", api_key_env=key, revision=section.revision
            )
        return Search(
            index=self.index,
            retriever=c.retriever,  # type: ignore[arg-type]
            embedder=self.index_spec.embedder(),
            store=self.store,
            reranker=c.reranker,
            endpoint=endpoint,
        )

    @cached_property
    def reader(self) -> Reader | None:
        """Who answers."""
        c, spec = self.configuration, self.sweep.spec
        if c.llm == NONE:
            return None
        if c.llm == "extractive":
            return ExtractiveReader()
        prompt = DEFAULT_PROMPT if c.prompt == "default" and "default" not in spec.prompts else spec.prompts[c.prompt]
        return ChatModel(
            section=spec.models[c.llm],
            store=self.store,
            prompt=prompt,
            temperature=c.temperature,
            draw=self.draw,
            prices=PriceBook(),
        )

    @cached_property
    def _judge(self) -> Judge | None:
        spec = self.sweep.spec
        if spec.metric.name != "judge" or spec.judge is None:
            return None
        section = spec.models[spec.judge].model_copy(update={"samples": 1, "max_tokens": 8})
        model = ChatModel(
            section=section, store=self.store, prompt="{question}", temperature=0.0, draw="judge", prices=PriceBook()
        )
        return Judge(model=model)

    @cached_property
    def _starts(self) -> dict[str, IntArray]:
        measure = tokenizer(self.configuration.tokenizer)
        return {document.id: measure.starts(document.text) for document in self.sweep.corpus.documents}

    @cached_property
    def _spans(self) -> dict[str, tuple[IntArray, IntArray]]:
        grouped: dict[str, list[DocSpan]] = {}
        for chunk in self.index.chunks:
            grouped.setdefault(chunk.doc, []).append((chunk.doc, chunk.start, chunk.end))
        arrays = {}
        for doc, spans in grouped.items():
            places = np.array([span[1:] for span in self._in_unit(spans)], dtype=np.int64)
            arrays[doc] = (places[:, 0], places[:, 1])
        return arrays

    def _in_unit(self, spans: Sequence[DocSpan]) -> Sequence[DocSpan]:
        return in_tokens(spans, self._starts) if self.sweep.spec.metric.unit == "tokens" else spans

    def ask(self, questions: Sequence[Question]) -> TrialResult:
        """Retrieve, answer and score.

        Raises:
            SweepError: A score is not a number, or a model could not be reached.
        """
        found = self.search.found([question.text for question in questions], self.sweep.largest_k)
        hits = [one.hits[: self.configuration.top_k] for one in found]
        chunks = [[self.index.chunks[row] for row, _ in ranked] for ranked in hits]
        texts = [[chunk.text for chunk in retrieved] for retrieved in chunks]
        answers: list[list[Answer]] = [[] for _ in questions]
        if self.reader:
            answers = self.reader.answer([question.text for question in questions], texts)
        results = tuple(
            self._result(question, retrieved, ranked, given, one.latency_s)
            for question, retrieved, ranked, given, one in zip(questions, chunks, hits, answers, found, strict=True)
        )
        truncated = truncated_chunks(self.index, self.index_spec)
        return TrialResult(
            configuration=self.configuration,
            metric=self.sweep.spec.metric.name,
            index_key=self.index.recipe.key,
            index_rows=self.index.rows,
            truncated_chunks=truncated,
            results=results,
            warnings=tuple(self._warnings(truncated)),
        )

    def _warnings(self, truncated: int) -> list[str]:
        found = []
        if truncated:
            embedder = self.index_spec.embedder()
            limit = embedder.max_tokens if embedder else None
            found.append(
                f"{truncated} of {self.index.rows} chunks are longer than the {limit} tokens that the model reads"
            )
        if self.configuration.top_k > self.index.rows:
            found.append(f"top_k {self.configuration.top_k} is more than the {self.index.rows} chunks; all are given")
        reader = self.reader
        seeded = isinstance(reader, ChatModel) and reader.temperature > 0 and reader.section.seed is not None
        if isinstance(reader, ChatModel) and seeded and not reader.honours_seed():
            found.append(f"{self.configuration.llm} does not honour a seed: repeats of a sample differ")
        return found

    def _result(
        self, question: Question, chunks: list[Chunk], hits: Hits, answers: list[Answer], retrieval_s: float
    ) -> QuestionResult:
        scores = self._retrieval_scores(question, chunks)
        if answers:
            scores |= self._answer_scores(question, chunks, answers)
        for name, value in scores.items():
            if not math.isfinite(value):
                raise SweepError(f"{name} of question {question.id!r} is {value}; no mean can be taken over it")
        ranked = [(chunk, score) for chunk, (_, score) in zip(chunks, hits, strict=True)]
        model = self.configuration.llm if self.reader and self.reader.calls_model else None
        costs = [answer.cost_usd for answer in answers]
        known = all(cost is not None for cost in costs)
        return QuestionResult(
            question=question.id,
            scores=scores,
            chunks=tuple(chunk.id for chunk in chunks),
            context_tokens=sum(self._tokens(chunk) for chunk in chunks),
            answer=answers[0].text if answers else None,
            cost_usd=str(sum((Decimal(cost or 0) for cost in costs), Decimal(0))) if known else None,
            latency_s=round(retrieval_s + sum(a.latency_s for a in answers) / max(len(answers), 1), 6),
            verdict=self.observer.question(question, ranked, answers, model),
        )

    def _retrieval_scores(self, question: Question, chunks: list[Chunk]) -> dict[str, float]:
        scores: dict[str, float] = {}
        if question.gold:
            gold = self._in_unit([(g.doc, g.start, g.end) for g in question.gold])
            scores = span_scores(gold, self._in_unit([(c.doc, c.start, c.end) for c in chunks]))
            scores["precision_omega"] = self._omega(question, gold)
        if question.documents:
            scores |= ranking_scores(dict(question.documents), [chunk.doc for chunk in chunks])
        return scores

    def _tokens(self, chunk: Chunk) -> int:
        key = ("tokens", chunk.id)
        if key not in self.index.derived:
            self.index.derived[key] = tokenizer(self.configuration.tokenizer).count(chunk.text)
        count: int = self.index.derived[key]
        return count

    def _omega(self, question: Question, gold: Sequence[DocSpan]) -> float:
        """Precision-omega of the index; trials that differ in what they retrieve share it."""
        metric = self.sweep.spec.metric
        key = (metric.unit, metric.touching, self.configuration.tokenizer, tuple(gold))
        if key not in self.index.derived:
            self.index.derived[key] = precision_omega(gold, self._spans, touching=metric.touching)
        value: float = self.index.derived[key]
        return value

    def _answer_scores(self, question: Question, chunks: list[Chunk], answers: list[Answer]) -> dict[str, float]:
        texts = self.sweep.corpus.texts
        references = question.answers or tuple(texts[g.doc][g.start : g.end] for g in question.gold)
        contexts = [chunk.text for chunk in chunks]
        scores = {"groundedness": [answer_metrics.groundedness(a.text, contexts) for a in answers]}
        if references:
            scores["exact_match"] = [answer_metrics.exact_match(a.text, references) for a in answers]
            scores["f1"] = [answer_metrics.token_f1(a.text, references) for a in answers]
            scores["answer_similarity"] = [self._similarity(a.text, references) for a in answers]
            if self._judge:
                scores["judge"] = [self._judge.grade(question.text, a.text, references) for a in answers]
        return {name: float(np.mean(values)) for name, values in scores.items()}

    def _similarity(self, answer: str, references: Sequence[str]) -> float:
        embedder = make_embedder("static")
        return answer_metrics.answer_similarity(
            answer, references, lambda texts: embed_texts(texts, embedder, self.store)
        )
