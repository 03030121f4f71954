"""``rag.yaml``: what to index, what to ask, which values to try, and how to choose."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from wandb_governance.errors import PolicyDocumentError, SweepConfigError
from wandb_governance.policy.yaml_source import YamlSource, read_yaml
from wandb_governance.sweep.corpus import Corpus, load_corpus
from wandb_governance.sweep.embedder import EMBEDDERS
from wandb_governance.sweep.metrics import ANSWER_METRICS, METRICS
from wandb_governance.sweep.questions import QuestionSet, load_questions
from wandb_governance.sweep.retrieve import RETRIEVERS
from wandb_governance.sweep.space import NONE, Overlap, Range, Space
from wandb_governance.sweep.splitter import SPLITTERS
from wandb_governance.sweep.tokens import TOKENIZERS

if TYPE_CHECKING:
    from collections.abc import Sequence

_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _overlap(value: object) -> object:
    """``32`` is tokens; ``0.25`` and ``25%`` are a share of the size."""
    if isinstance(value, str) and (match := _PERCENT.fullmatch(value.strip())):
        value = float(match.group(1)) / 100
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(  # noqa: TRY004 - pydantic reports a ValueError with its place, and lets a TypeError through
            "wanted a number of tokens, or a share of the size such as 12.5%"
        )
    if isinstance(value, int):
        if value < 0:
            raise ValueError("must not be negative")
        return Overlap(share=0.0) if value == 0 else Overlap(tokens=value)
    if not 0 <= value < 1:
        raise ValueError("a share must be from 0% to below 100%; write tokens as a whole number")
    return Overlap(share=value)


class Bounds(_Section):
    """A range: both bounds included."""

    min: float
    max: float

    @model_validator(mode="after")
    def _ordered(self) -> Bounds:
        if self.min >= self.max:
            raise ValueError("min must be below max")
        return self


class CorpusSection(_Section):
    """Where the documents are."""

    path: str
    encoding: str = "utf-8"


class QuestionsSection(_Section):
    """Where the questions are, and how many the search may not see."""

    path: str
    gold_offsets: Literal["repair", "refuse", "drop"] = "repair"
    holdout: float = Field(default=0.25, ge=0, lt=0.9)
    """Share of the questions that only confirm the winner."""


class SpaceSection(_Section):
    """Values to try."""

    chunk_size: list[Annotated[int, Field(ge=1)]] | Bounds
    chunk_overlap: list[Annotated[Overlap, BeforeValidator(_overlap)]] | Bounds = Field(
        default_factory=lambda: [Overlap(share=0.0)]
    )
    top_k: list[Annotated[int, Field(ge=1)]] | Bounds
    temperature: list[Annotated[float, Field(ge=0, le=2)]] | Bounds = [0.0]
    splitter: list[str] = ["recursive"]
    tokenizer: list[str] = ["cl100k_base"]
    retriever: list[str] = ["dense"]
    embedding: list[str] = ["minilm"]
    reranker: list[str] = [NONE]
    llm: list[str] = [NONE]
    prompt: list[str] = ["default"]

    @model_validator(mode="before")
    @classmethod
    def _single_values(cls, data: Any) -> Any:
        """One value stands for a list of one."""
        if not isinstance(data, dict):
            return data
        return {key: value if isinstance(value, list | dict) else [value] for key, value in data.items()}


class SearchSection(_Section):
    """How the space is searched."""

    method: Literal["grid", "random", "bayes"] = "grid"
    runs: int | None = Field(default=None, ge=1)
    """Most trials; a grid without it runs to its end."""
    seed: int = 0
    early_stop: bool = False
    """Let W&B's hyperband stop trials: they then report a lower bound of the final score as they go."""
    scheduler: Literal["wandb", "optuna"] | None = None
    """Search by the SDK's ``wandb sweep-scheduler`` instead of the server."""


class MetricSection(_Section):
    """What is maximised."""

    name: str
    unit: Literal["characters", "tokens"] = "characters"
    """What spans are counted in."""
    spans: Literal["exact", "searched"] = "exact"
    """``searched`` places a chunk where its text is found first, as Chroma's evaluator does."""
    touching: bool = False
    """A chunk that only touches an excerpt counts for precision-omega, as in Chroma's evaluator."""


class BudgetSection(_Section):
    """Where a sweep stops, with what it has by then."""

    usd: float | None = Field(default=None, gt=0)
    minutes: float | None = Field(default=None, gt=0)


class ScreeningSection(_Section):
    """Cheap first: fewer questions, no answers, until few configurations are left."""

    first_questions: int = Field(default=30, ge=5)
    factor: int = Field(default=3, ge=2)
    """Each rung keeps one configuration in this many, and asks this many times as many questions."""


class ConstraintsSection(_Section):
    """What a winner must keep to."""

    cost_usd_per_question: float | None = Field(default=None, gt=0)
    latency_s: float | None = Field(default=None, gt=0)
    context_tokens: float | None = Field(default=None, gt=0)
    policy_clean: bool = False
    """No verdict of a policy may block in any trial of the configuration."""


class EndpointSection(_Section):
    """An OpenAI-compatible endpoint."""

    base_url: str
    model: str | None = None
    api_key_env: str = ""
    revision: str = ""
    max_tokens: int = Field(default=128, ge=1)
    samples: int = Field(default=1, ge=1)
    """Answers drawn for each question where the temperature is above 0."""
    seed: int | None = None
    input_usd_per_million: float | None = Field(default=None, ge=0)
    output_usd_per_million: float | None = Field(default=None, ge=0)


class ArtifactSection(_Section):
    """What the winner's index is called."""

    name: str | None = None
    registry: str | None = None
    """Registry collection such as ``wandb-registry-index/support``; empty for none."""
    aliases: list[str] = ["best"]


class RagFile(_Section):
    """The whole file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    corpus: CorpusSection
    questions: QuestionsSection
    space: SpaceSection
    search: SearchSection = SearchSection()
    metric: MetricSection
    budget: BudgetSection = BudgetSection()
    screening: ScreeningSection | None = None
    constraints: ConstraintsSection = ConstraintsSection()
    artifact: ArtifactSection = ArtifactSection()
    policy: str | None = None
    """A policy file that every question and answer goes through."""
    project: str | None = None
    """W&B project."""
    models: dict[str, EndpointSection] = {}
    embeddings: dict[str, EndpointSection] = {}
    rerankers: dict[str, EndpointSection] = {}
    prompts: dict[str, str] = {}
    judge: str | None = None
    """Name under ``models`` of the chat model that judges answers, for the metric ``judge``."""


@dataclass(frozen=True, kw_only=True)
class RagSweep:
    """A checked sweep file with the data it names."""

    file: Path
    spec: RagFile

    @cached_property
    def corpus(self) -> Corpus:
        """The documents."""
        return load_corpus(self._path(self.spec.corpus.path), encoding=self.spec.corpus.encoding)

    @cached_property
    def questions(self) -> QuestionSet:
        """The questions, with gold checked."""
        section = self.spec.questions
        return load_questions(self._path(section.path), self.corpus, gold_offsets=section.gold_offsets)

    @cached_property
    def space(self) -> Space:
        """The axes."""
        section = self.spec.space
        overlap = section.chunk_overlap
        return Space(
            splitter=tuple(section.splitter),
            tokenizer=tuple(section.tokenizer),
            chunk_size=_axis(section.chunk_size, whole=True),
            chunk_overlap=_axis(overlap, whole=False),
            retriever=tuple(section.retriever),
            embedding=tuple(section.embedding),
            reranker=tuple(section.reranker),
            top_k=_axis(section.top_k, whole=True),
            llm=tuple(section.llm),
            prompt=tuple(section.prompt),
            temperature=_axis(section.temperature, whole=False),
        )

    @property
    def largest_k(self) -> int:
        """The k that retrieval runs at; smaller ones are slices of it."""
        k = self.space.top_k
        return int(k.high) if isinstance(k, Range) else max(k)

    def _path(self, path: str) -> Path:
        return self.file.parent / path


def load_sweep(path: str | Path) -> RagSweep:
    """Read and check a sweep file; the data that it names is read when it is first needed.

    Raises:
        SweepConfigError: With file, line and key of the first thing that is wrong.
    """
    file = Path(path)
    try:
        source = read_yaml(file)
    except PolicyDocumentError as error:
        raise SweepConfigError(error.message, file=error.file, line=error.line, key=error.key) from error
    if not isinstance(source.value, dict):
        raise SweepConfigError("wanted a mapping; write one with: wandb-governance sweep init", file=file)
    try:
        spec = RagFile.model_validate(source.value)
    except ValidationError as error:
        first = error.errors()[0]
        path_ = tuple(part for part in first["loc"] if not str(part).startswith(("list[", "Bounds", "function-")))
        message = str(first["msg"]).removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = "no such key"
        raise _at(source, path_, message) from error
    sweep = RagSweep(file=file, spec=spec)
    _check(sweep, source)
    return sweep


def _check(sweep: RagSweep, source: YamlSource) -> None:
    spec, space = sweep.spec, sweep.spec.space
    _known(source, ("space", "splitter"), space.splitter, SPLITTERS)
    _known(source, ("space", "tokenizer"), space.tokenizer, TOKENIZERS)
    _known(source, ("space", "retriever"), space.retriever, RETRIEVERS)
    _known(source, ("space", "embedding"), space.embedding, (*EMBEDDERS, *spec.embeddings))
    _known(source, ("space", "reranker"), space.reranker, (NONE, "bm25", *spec.rerankers))
    _known(source, ("space", "llm"), space.llm, (NONE, "extractive", *spec.models))
    _known(source, ("space", "prompt"), space.prompt, ("default", *spec.prompts))
    _known(source, ("metric", "name"), [spec.metric.name], METRICS)
    if spec.metric.name in ANSWER_METRICS and NONE in space.llm:
        raise _at(source, ("metric", "name"), f"{spec.metric.name} scores answers, so 'none' can't be in space.llm")
    if spec.metric.name == "judge" and spec.judge not in spec.models:
        raise _at(source, ("judge",), "the metric judge needs the name of a model under 'models'")
    for name, text in spec.prompts.items():
        if "{question}" not in text or "{context}" not in text:
            raise _at(source, ("prompts", name), "must hold {question} and {context}")
    _check_chunking(sweep, source)
    if spec.search.method != "grid" and spec.search.runs is None:
        raise _at(source, ("search",), f"{spec.search.method} search needs 'runs'")
    if spec.search.method == "grid" and sweep.space.has_range:
        raise _at(source, ("search", "method"), "a grid needs lists of values; use random or bayes with min and max")


def _check_chunking(sweep: RagSweep, source: YamlSource) -> None:
    space = sweep.space
    size, overlap = space.chunk_size, space.chunk_overlap
    if isinstance(overlap, Range) and (overlap.low < 0 or overlap.high >= 1):
        raise _at(source, ("space", "chunk_overlap"), "a range is of shares of the size, from 0 to below 1")
    if isinstance(size, Range):
        if size.low < 1:
            raise _at(source, ("space", "chunk_size"), "min must be at least 1")
        if not space.uses_shares:
            raise _at(
                source, ("space", "chunk_overlap"), "with a range of sizes write overlaps as shares, such as 12.5%"
            )
    elif not isinstance(overlap, Range) and not space.pairs():
        raise _at(source, ("space", "chunk_overlap"), "every overlap is at least as large as every chunk_size")


def _known(source: YamlSource, path: tuple[str, ...], values: Sequence[str], known: Sequence[str]) -> None:
    for index, value in enumerate(values):
        if value not in known:
            written = (*path, index) if (*path, index) in source.places else path
            raise _at(source, written, f"no {path[-1]} {value!r}; there are {', '.join(known)}")


def _at(source: YamlSource, path: tuple[Any, ...], message: str) -> SweepConfigError:
    found = source.error(path, message)
    return SweepConfigError(found.message, file=found.file, line=found.line, key=found.key)


def _axis(values: list[Any] | Bounds, *, whole: bool) -> Any:
    if isinstance(values, Bounds):
        return Range(low=values.min, high=values.max, whole=whole)
    return tuple(values)


def endpoint_options(section: EndpointSection) -> str:
    """What an embedding endpoint is made with, as JSON."""
    settings = {"base_url": section.base_url, "api_key_env": section.api_key_env, "revision": section.revision}
    return json.dumps(settings, sort_keys=True)
