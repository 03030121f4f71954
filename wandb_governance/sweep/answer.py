"""Answers from retrieved chunks: a chat model behind an OpenAI-compatible endpoint, or an extractive reader."""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from wandb_governance.errors import SweepError
from wandb_governance.sweep import lexical
from wandb_governance.sweep.endpoint import post_json
from wandb_governance.sweep.tokens import tokenizer
from wandb_governance.tracing.usage import TokenUsage, UsageSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.pricing.book import PriceBook
    from wandb_governance.sweep.cache import Store
    from wandb_governance.sweep.config import EndpointSection

DEFAULT_PROMPT = """Answer the question from the context alone. If the context does not hold the answer, say so.

Context:
{context}

Question: {question}
Answer:"""

_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, with what it cost when it was made."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    usage_source: str = UsageSource.PROVIDER
    """``tokenizer`` where the endpoint reported no usage and tokens were counted here."""
    cost_usd: str | None = "0"
    """Decimal USD; None where no price is known."""
    latency_s: float = 0.0
    """Cold: measured when the model was called, kept with the answer."""


class Reader(Protocol):
    """Answers questions from texts."""

    @property
    def calls_model(self) -> bool:
        """Whether a language model is called."""
        ...

    def answer(self, questions: Sequence[str], contexts: Sequence[Sequence[str]]) -> list[list[Answer]]:
        """For each question, its samples in order of sample number."""
        ...


class ExtractiveReader:
    """Gives back the retrieved sentence that shares most with the question. It is no language model."""

    calls_model = False

    def answer(self, questions: Sequence[str], contexts: Sequence[Sequence[str]]) -> list[list[Answer]]:
        """One answer for each question, free and the same every time."""
        return [[self._one(question, texts)] for question, texts in zip(questions, contexts, strict=True)]

    @staticmethod
    def _one(question: str, texts: Sequence[str]) -> Answer:
        sentences = list(
            dict.fromkeys(part.strip() for text in texts for part in _SENTENCE.split(text) if part.strip())
        )
        if not sentences:
            return Answer(text="")
        row, _ = lexical.Bm25(sentences).search(question, 1)[0]
        return Answer(text=sentences[row])


@dataclass(frozen=True, kw_only=True)
class ChatModel:
    """A chat model behind an OpenAI-compatible endpoint.

    At temperature 0 an answer is shared by everyone who asks the same. Above 0 each sample has a number: with a seed,
    sample n is drawn with seed + n and is the same for everyone; without one, samples belong to ``draw``, so that
    another trial or another sweep draws its own.
    """

    calls_model = True

    section: EndpointSection
    store: Store
    prompt: str
    temperature: float
    draw: str
    """Who the samples belong to: the run's id."""
    prices: PriceBook

    @property
    def samples(self) -> int:
        """Answers for each question."""
        return self.section.samples if self.temperature > 0 else 1

    def answer(self, questions: Sequence[str], contexts: Sequence[Sequence[str]]) -> list[list[Answer]]:
        """Samples of every question; what has been answered before comes from the store.

        Raises:
            SweepError: The endpoint refused or gave no text. Nothing of a failed call is kept.
        """
        prompts = [
            self.prompt.replace("{context}", "\n\n".join(texts)).replace("{question}", question)
            for question, texts in zip(questions, contexts, strict=True)
        ]
        jobs = [(prompt, sample) for prompt in prompts for sample in range(self.samples)]

        def produce(positions: list[int]) -> list[bytes]:
            return [orjson.dumps(asdict(self._call(*jobs[position]))) for position in positions]

        values = self.store.compute("answer", [self._key(*job) for job in jobs], produce, batch=1)
        answers = [Answer(**orjson.loads(value)) for value in values]
        return [answers[first : first + self.samples] for first in range(0, len(answers), self.samples)]

    def honours_seed(self) -> bool:
        """Whether the endpoint draws the same text twice from one seed; asked once and kept."""

        def produce(_: list[int]) -> list[bytes]:
            texts = {self._call("Write one surprising sentence.", 0).text for _ in range(2)}
            return [b"1" if len(texts) == 1 else b"0"]

        return self.store.compute("seed", [self._key("seed probe", 0)], produce) == [b"1"]

    def _key(self, prompt: str, sample: int) -> str:
        section = self.section
        if self.temperature == 0:
            belongs: Any = None
        elif section.seed is not None:
            belongs = [section.seed, sample]
        else:
            belongs = [self.draw, sample]
        parts = [
            section.base_url,
            section.model,
            section.revision,
            prompt,
            self.temperature,
            section.max_tokens,
            belongs,
        ]
        return hashlib.sha256(orjson.dumps(parts)).hexdigest()

    def _call(self, prompt: str, sample: int) -> Answer:
        section = self.section
        body: dict[str, Any] = {
            "model": section.model or "default",
            "messages": [{"role": "user", "content": prompt}],
            "temperature": self.temperature,
            "max_tokens": section.max_tokens,
        }
        if self.temperature > 0 and section.seed is not None:
            body["seed"] = section.seed + sample
        key = os.environ.get(section.api_key_env, "") if section.api_key_env else ""
        begun = time.perf_counter()
        answer = post_json(f"{section.base_url.rstrip('/')}/chat/completions", body, api_key=key)
        latency = time.perf_counter() - begun
        try:
            text = str(answer["choices"][0]["message"]["content"] or "")
        except (KeyError, IndexError, TypeError) as error:
            raise SweepError(f"{section.base_url} gave no message: {sorted(answer)}") from error
        usage = self._usage(answer.get("usage") or {}, prompt, text)
        cost = self._cost(usage, answer.get("model"))
        return Answer(
            text=text,
            input_tokens=usage.input_tokens or 0,
            output_tokens=usage.output_tokens or 0,
            usage_source=usage.source.value,
            cost_usd=None if cost is None else str(cost),
            latency_s=round(latency, 6),
        )

    @staticmethod
    def _usage(reported: dict[str, Any], prompt: str, text: str) -> TokenUsage:
        if reported.get("prompt_tokens") and "completion_tokens" in reported:
            return TokenUsage(
                input_tokens=int(reported["prompt_tokens"]), output_tokens=int(reported["completion_tokens"])
            )
        count = tokenizer("cl100k_base").count
        return TokenUsage(input_tokens=count(prompt), output_tokens=count(text), source=UsageSource.TOKENIZER)

    def _cost(self, usage: TokenUsage, response_model: str | None) -> Decimal | None:
        section = self.section
        if section.input_usd_per_million is not None and section.output_usd_per_million is not None:
            paid_in = Decimal(str(section.input_usd_per_million)) * (usage.input_tokens or 0)
            paid_out = Decimal(str(section.output_usd_per_million)) * (usage.output_tokens or 0)
            return (paid_in + paid_out) / _MILLION
        cost = self.prices.price(
            usage=usage,
            provider=section.base_url,
            request_model=section.model,
            response_model=response_model,
            at_ns=time.time_ns(),
        )
        return cost.usd


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A chat model that grades answers from 1 to 5; its grades are kept, so a repeat is free and equal."""

    model: ChatModel

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(r"[1-5]")

    def grade(self, question: str, answer: str, references: Sequence[str]) -> float:
        """Grade in [0, 1].

        Raises:
            SweepError: The judge's reply holds no digit from 1 to 5.

        Source:
            Zheng et al., Judging LLM-as-a-Judge, 2023 (single-answer grading with a reference).
        """
        request = (
            "Grade the answer to the question against the reference. 5: same meaning. 1: wrong or missing. "
            f"Reply with one digit.\n\nQuestion: {question}\nReference: {' / '.join(references)}\n"
            f"Answer: {answer}\nGrade:"
        )
        reply = self.model.answer([request], [[]])[0][0].text
        found = self._pattern.search(reply)
        if found is None:
            raise SweepError(f"the judge {self.model.section.model!r} replied without a grade: {reply[:80]!r}")
        return (int(found.group()) - 1) / 4
