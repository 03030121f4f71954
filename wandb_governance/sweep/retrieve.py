"""Retrieval over one index: dense, by words, or both; once at the largest k, then sliced."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import orjson

from wandb_governance.errors import SweepConfigError, SweepError
from wandb_governance.sweep import lexical
from wandb_governance.sweep.build import embed_texts
from wandb_governance.sweep.endpoint import post_json
from wandb_governance.sweep.ranking import dense_hits, fuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.sweep.cache import Store
    from wandb_governance.sweep.embedder import Embedder
    from wandb_governance.sweep.index import VectorIndex
    from wandb_governance.sweep.ranking import Hits

Retriever = Literal["dense", "bm25", "hybrid"]
RETRIEVERS: tuple[Retriever, ...] = ("dense", "bm25", "hybrid")

DEPTH = 100
"""Candidates that fusion and reranking look at; fixed, so that a list cut at k is the list retrieved at k."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one query found."""

    hits: Hits
    latency_s: float
    """Cold: embedding and search as they were measured when this was not in the store, shared by the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankEndpoint:
    """A ``/rerank`` endpoint as Jina, Cohere, vLLM and llama.cpp serve it."""

    url: str
    model: str
    api_key_env: str = ""
    revision: str = ""

    def order(self, query: str, texts: Sequence[str]) -> list[tuple[int, float]]:
        """Positions and relevance from best to worst.

        Raises:
            SweepError: The endpoint refused or left texts out.
        """
        body = {"model": self.model, "query": query, "documents": list(texts), "top_n": len(texts)}
        key = os.environ.get(self.api_key_env, "") if self.api_key_env else ""
        results = post_json(self.url, body, api_key=key).get("results", [])
        ranked = [(int(row["index"]), float(row["relevance_score"])) for row in results]
        if {position for position, _ in ranked} != set(range(len(texts))):
            raise SweepError(f"{self.url} ranked {len(ranked)} of {len(texts)} texts")
        return sorted(ranked, key=lambda hit: (-hit[1], hit[0]))


@dataclass(frozen=True, kw_only=True)
class Search:
    """One way to search one index."""

    index: VectorIndex
    retriever: Retriever
    embedder: Embedder | None
    store: Store
    reranker: str = "none"
    """``none``, ``bm25`` or the name of an endpoint."""
    endpoint: RerankEndpoint | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.retriever not in RETRIEVERS:
            raise SweepConfigError(
                f"no retriever {self.retriever!r}; there are {', '.join(RETRIEVERS)}", key="retriever"
            )
        if self.retriever != "bm25" and self.embedder is None:
            raise SweepConfigError(f"{self.retriever} retrieval needs an embedding", key="embedding")

    @property
    def key(self) -> str:
        """Changes whenever rankings may."""
        endpoint = [self.endpoint.url, self.endpoint.model, self.endpoint.revision] if self.endpoint else []
        parts = [self.index.recipe.key, self.retriever, lexical.VERSION, self.reranker, endpoint, DEPTH]
        return hashlib.sha256(orjson.dumps(parts)).hexdigest()[:32]

    def found(self, queries: Sequence[str], k: int) -> list[Found]:
        """The k best rows for each query, kept in the store with the time that it took.

        Args:
            queries: Question texts.
            k: At least 1; with fusion or a reranker at most ``DEPTH``. An index with fewer chunks gives them all.

        Raises:
            SweepConfigError: k is too large for a method that looks at ``DEPTH`` candidates.
        """
        if k < 1 or (k > DEPTH and (self.retriever == "hybrid" or self.reranker != "none")):
            raise SweepConfigError(
                f"must be from 1 to {DEPTH} with a hybrid retriever or a reranker, is {k}", key="top_k"
            )

        def produce(positions: list[int]) -> list[bytes]:
            begun = time.perf_counter()
            rankings = self._search([queries[position] for position in positions], k)
            latency = round((time.perf_counter() - begun) / len(positions), 6)
            return [orjson.dumps([hits, latency]) for hits in rankings]

        own = self.key
        keys = [f"{own}:{k}:{hashlib.sha256(query.encode()).hexdigest()}" for query in queries]
        values = self.store.compute("retrieval", keys, produce, batch=max(len(keys), 1))
        return [Found(hits=[(row, score) for row, score in hits], latency_s=s) for hits, s in map(orjson.loads, values)]

    def _search(self, queries: Sequence[str], k: int) -> list[Hits]:
        plain = self.retriever != "hybrid" and self.reranker == "none"
        depth = k if plain else DEPTH
        rankings: list[list[Hits]] = []
        if self.retriever in {"dense", "hybrid"}:
            assert self.embedder is not None
            rankings.append(dense_hits(self.index.vectors, embed_texts(queries, self.embedder, self.store), depth))
        if self.retriever in {"bm25", "hybrid"}:
            rankings.append([self.index.words.search(query, depth) for query in queries])
        if plain:
            return rankings[0]
        fused = [fuse(lists, [1.0] * len(lists))[:depth] for lists in zip(*rankings, strict=True)]
        return [self._rerank(query, hits)[:k] for query, hits in zip(queries, fused, strict=True)]

    def _rerank(self, query: str, hits: Hits) -> Hits:
        if self.reranker == "none" or not hits:
            return hits
        texts = [self.index.chunks[row].text for row, _ in hits]
        if self.reranker == "bm25":
            ranked = lexical.Bm25(texts).search(query, len(texts))
        elif self.endpoint:
            ranked = self.endpoint.order(query, texts)
        else:
            raise SweepConfigError(f"no reranker {self.reranker!r} under 'rerankers'", key="reranker")
        return [(hits[position][0], score) for position, score in ranked]
