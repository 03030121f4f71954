"""The space of configurations: which are possible, how many, and which one a set of W&B parameters means."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import SweepConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NONE = "none"
Scalar = str | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One point of the space: everything that decides a trial's numbers, besides corpus and questions."""

    splitter: str
    tokenizer: str
    chunk_size: int
    """Tokens."""
    chunk_overlap: int
    """Tokens."""
    retriever: str
    embedding: str
    """``none`` where the retriever looks at words alone."""
    reranker: str
    top_k: int
    llm: str
    """``none``, ``extractive`` or a name under ``models``."""
    prompt: str
    """``none`` where nothing is generated."""
    temperature: float

    @property
    def key(self) -> str:
        """16 hexadecimal digits; the same configuration has the same key in every sweep."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def index_key(self) -> tuple[str, str, int, int, str]:
        """What decides the index."""
        return (self.splitter, self.tokenizer, self.chunk_size, self.chunk_overlap, self.embedding)

    @property
    def label(self) -> str:
        """One line for people, such as ``recursive 256/32 dense(minilm) k=5``."""
        search = self.retriever if self.embedding == NONE else f"{self.retriever}({self.embedding})"
        reranked = "" if self.reranker == NONE else f"+{self.reranker}"
        answer = "" if self.llm == NONE else f" {self.llm} T={self.temperature:g}"
        return f"{self.splitter} {self.chunk_size}/{self.chunk_overlap} {search}{reranked} k={self.top_k}{answer}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """An overlap as it was written: tokens, or a share of the size."""

    tokens: int | None = None
    share: float | None = None

    def of(self, size: int) -> int:
        """Tokens at this chunk size; a share is rounded down."""
        return self.tokens if self.tokens is not None else math.floor(size * (self.share or 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """All values between two bounds, both included."""

    low: float
    high: float
    whole: bool
    """Only whole numbers."""

    def draw(self, rng: random.Random) -> float | int:
        """One value."""
        return rng.randint(int(self.low), int(self.high)) if self.whole else round(rng.uniform(self.low, self.high), 4)

    def as_parameter(self) -> dict[str, Any]:
        """The W&B parameter."""
        kind = "int_uniform" if self.whole else "uniform"
        low, high = (int(self.low), int(self.high)) if self.whole else (self.low, self.high)
        return {"distribution": kind, "min": low, "max": high}


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The axes of a sweep."""

    splitter: tuple[str, ...]
    tokenizer: tuple[str, ...]
    chunk_size: tuple[int, ...] | Range
    chunk_overlap: tuple[Overlap, ...] | Range
    """A range is of shares of the size."""
    retriever: tuple[str, ...]
    embedding: tuple[str, ...]
    reranker: tuple[str, ...]
    top_k: tuple[int, ...] | Range
    llm: tuple[str, ...]
    prompt: tuple[str, ...]
    temperature: tuple[float, ...] | Range

    @property
    def has_range(self) -> bool:
        """Whether an axis has no list of values, so that there is no grid."""
        return any(isinstance(axis, Range) for axis in self._numeric)

    @property
    def _numeric(self) -> tuple[object, ...]:
        return (self.chunk_size, self.chunk_overlap, self.top_k, self.temperature)

    @property
    def uses_shares(self) -> bool:
        """Whether every overlap is a share, so that size and overlap are two free axes."""
        return isinstance(self.chunk_overlap, Range) or all(o.share is not None for o in self.chunk_overlap)

    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Distinct possible pairs of size and overlap, in the order written."""
        return tuple(dict.fromkeys(pair for pair in self._all_pairs() if 0 <= pair[1] < pair[0]))

    def impossible_pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs whose overlap is not smaller than the size; they never become trials."""
        return tuple(dict.fromkeys(pair for pair in self._all_pairs() if not 0 <= pair[1] < pair[0]))

    def _all_pairs(self) -> Iterator[tuple[int, int]]:
        assert not isinstance(self.chunk_size, Range)
        assert not isinstance(self.chunk_overlap, Range)
        for size, overlap in itertools.product(self.chunk_size, self.chunk_overlap):
            yield size, overlap.of(size)

    def searches(self) -> tuple[tuple[str, str], ...]:
        """Retrievers with their embeddings; words alone need none."""
        found = ((r, NONE if r == "bm25" else e) for r, e in itertools.product(self.retriever, self.embedding))
        return tuple(dict.fromkeys(found))

    def answers(self) -> tuple[tuple[str, str], ...]:
        """Models with their prompts; an extractive reader or none has no prompt."""
        found = (
            (llm, NONE if llm in {NONE, "extractive"} else p) for llm, p in itertools.product(self.llm, self.prompt)
        )
        return tuple(dict.fromkeys(found))

    def grid(self) -> list[Configuration]:
        """Every distinct possible configuration.

        Raises:
            SweepConfigError: An axis is a range.
        """
        if self.has_range:
            raise SweepConfigError("a grid needs lists of values; use random or bayes with ranges", key="search.method")
        assert not isinstance(self.top_k, Range)
        assert not isinstance(self.temperature, Range)
        points = itertools.product(
            self.splitter,
            self.tokenizer,
            self.pairs(),
            self.searches(),
            self.reranker,
            self.top_k,
            self.answers(),
            self.temperature,
        )
        found: dict[str, Configuration] = {}
        for splitter, tokenizer, pair, search, reranker, top_k, answer, temperature in points:
            point = _configuration(
                splitter=splitter,
                tokenizer=tokenizer,
                pair=pair,
                search=search,
                reranker=reranker,
                top_k=top_k,
                answer=answer,
                temperature=temperature,
            )
            found.setdefault(point.key, point)
        return list(found.values())

    def sample(self, count: int, *, seed: int) -> list[Configuration]:
        """Distinct possible configurations drawn at random; fewer where the space holds fewer."""
        rng = random.Random(seed)
        if not self.has_range:
            grid = self.grid()
            return rng.sample(grid, min(count, len(grid)))
        found: dict[str, Configuration] = {}
        for _ in range(count * 20):
            point = self._draw(rng)
            found.setdefault(point.key, point)
            if len(found) == count:
                break
        return list(found.values())

    def _draw(self, rng: random.Random) -> Configuration:
        pair = self._draw_pair(rng)
        return _configuration(
            splitter=rng.choice(self.splitter),
            tokenizer=rng.choice(self.tokenizer),
            pair=pair,
            search=rng.choice(self.searches()),
            reranker=rng.choice(self.reranker),
            top_k=int(_draw(self.top_k, rng)),
            answer=rng.choice(self.answers()),
            temperature=float(_draw(self.temperature, rng)),
        )

    def _draw_pair(self, rng: random.Random) -> tuple[int, int]:
        if not isinstance(self.chunk_size, Range) and not isinstance(self.chunk_overlap, Range):
            return rng.choice(self.pairs())
        size = int(_draw(self.chunk_size, rng))
        overlap = self.chunk_overlap
        chosen = Overlap(share=float(overlap.draw(rng))) if isinstance(overlap, Range) else rng.choice(overlap)
        return size, chosen.of(size)

    def parameters(self) -> dict[str, dict[str, Any]]:
        """The axes as W&B sweep parameters; no combination of them is impossible."""
        parameters: dict[str, dict[str, Any]] = {}
        if self.uses_shares:
            parameters["chunk_size"] = _parameter(self.chunk_size)
            overlap = self.chunk_overlap
            shares = overlap if isinstance(overlap, Range) else tuple(o.share or 0.0 for o in overlap)
            parameters["overlap_ratio"] = _parameter(shares)
        else:
            parameters["chunking"] = _parameter([f"{size}/{overlap}" for size, overlap in self.pairs()])
        parameters["retrieval"] = _parameter([r if e == NONE else f"{r}:{e}" for r, e in self.searches()])
        parameters["top_k"] = _parameter(self.top_k)
        parameters["answer"] = _parameter([a if p == NONE else f"{a}:{p}" for a, p in self.answers()])
        if any(llm not in {NONE, "extractive"} for llm in self.llm):
            parameters["temperature"] = _parameter(self.temperature)
        for name in ("splitter", "tokenizer", "reranker"):
            parameters[name] = _parameter(getattr(self, name))
        return parameters

    def points(self) -> list[dict[str, Any]]:
        """The grid as W&B parameters, one for each configuration.

        Raises:
            SweepConfigError: An axis is a range.
        """
        if self.has_range:
            raise SweepConfigError("a space with ranges has no grid", key="space")
        axes = self.parameters()
        values = itertools.product(*(axis.get("values", [axis.get("value")]) for axis in axes.values()))
        return [dict(zip(axes, point, strict=True)) for point in values]

    def configuration(self, parameters: Mapping[str, Any]) -> Configuration:
        """The configuration that W&B's parameters mean.

        Raises:
            SweepConfigError: A parameter is missing or means nothing here.
        """
        try:
            if "chunking" in parameters:
                size, overlap = (int(part) for part in str(parameters["chunking"]).split("/"))
            else:
                size = int(parameters["chunk_size"])
                overlap = Overlap(share=float(parameters["overlap_ratio"])).of(size)
            retriever, _, embedding = str(parameters["retrieval"]).partition(":")
            llm, _, prompt = str(parameters["answer"]).partition(":")
            return _configuration(
                splitter=str(parameters["splitter"]),
                tokenizer=str(parameters["tokenizer"]),
                pair=(size, overlap),
                search=(retriever, embedding or NONE),
                reranker=str(parameters["reranker"]),
                top_k=int(parameters["top_k"]),
                answer=(llm, prompt or NONE),
                temperature=float(parameters.get("temperature", 0.0)),
            )
        except (KeyError, ValueError) as error:
            raise SweepConfigError(f"the run's parameters are not those of this rag.yaml: {error!r}") from error


def _configuration(
    *,
    splitter: str,
    tokenizer: str,
    pair: tuple[int, int],
    search: tuple[str, str],
    reranker: str,
    top_k: int,
    answer: tuple[str, str],
    temperature: float,
) -> Configuration:
    return Configuration(
        splitter=splitter,
        tokenizer=tokenizer,
        chunk_size=pair[0],
        chunk_overlap=pair[1],
        retriever=search[0],
        embedding=search[1],
        reranker=reranker,
        top_k=top_k,
        llm=answer[0],
        prompt=answer[1],
        temperature=0.0 if answer[0] in {NONE, "extractive"} else temperature,
    )


def _draw(axis: tuple[Any, ...] | Range, rng: random.Random) -> Any:
    return axis.draw(rng) if isinstance(axis, Range) else rng.choice(axis)


def _parameter(axis: Sequence[Scalar] | Range) -> dict[str, Any]:
    if isinstance(axis, Range):
        return axis.as_parameter()
    # 0.0 and 0 are told apart by W&B's grid search, and a whole float comes back from a run as an integer.
    whole = (int(value) if isinstance(value, float) and value.is_integer() else value for value in axis)
    values = list(dict.fromkeys(whole))
    return {"value": values[0]} if len(values) == 1 else {"values": values}
