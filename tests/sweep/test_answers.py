"""Answers: an OpenAI-compatible endpoint over real HTTP, samples, seeds, usage, cost, and the extractive reader."""

import json
import random
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from wandb_governance.errors import SweepError
from wandb_governance.pricing.book import PriceBook
from wandb_governance.sweep.answer import ChatModel, ExtractiveReader
from wandb_governance.sweep.cache import DiskStore, MemoryStore, Store
from wandb_governance.sweep.config import EndpointSection, load_sweep
from wandb_governance.sweep.records import ResultsFile
from wandb_governance.sweep.runner import Runner


class Endpoint:
    """A chat endpoint with the habits that real servers have."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.usage = True
        self.honours_seed = True
        self.fail_next = 0
        self.reply: str | None = None
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.requests.append({**body, "path": self.path})
                if endpoint.fail_next:
                    endpoint.fail_next -= 1
                    self.send_error(400, "no such model")
                    return
                payload = json.dumps(endpoint.answer(body)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = body["messages"][-1]["content"]
        seed = body.get("seed") if self.honours_seed else None
        rng = random.Random(f"{prompt}{seed}") if seed is not None else random.Random()
        text = self.reply or (prompt[:20] if body["temperature"] == 0 else f"draw {rng.random():.9f}")
        answer: dict[str, Any] = {"choices": [{"message": {"content": text}}], "model": body["model"]}
        if self.usage:
            answer["usage"] = {"prompt_tokens": 100, "completion_tokens": 10}
        return answer


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    running = Endpoint()
    yield running
    running.server.shutdown()


def model(endpoint: Endpoint, store: Store, **changes: Any) -> ChatModel:
    section = EndpointSection(
        base_url=endpoint.url,
        model="small",
        samples=changes.pop("samples", 1),
        seed=changes.pop("seed", None),
        **changes.pop("prices", {}),
    )
    facts: dict[str, Any] = {"temperature": 0.7, "draw": "run-1", "prompt": "{context}|{question}"} | changes
    return ChatModel(section=section, store=store, prices=PriceBook(), **facts)


def texts(answers: list[list[Any]]) -> list[list[str]]:
    return [[one.text for one in samples] for samples in answers]


def test_at_temperature_0_an_answer_is_shared(endpoint: Endpoint, tmp_path: Path) -> None:
    """Two runs that ask the same pay once."""
    store = DiskStore(tmp_path)
    for draw in ("run-1", "run-2"):
        model(endpoint, store, temperature=0.0, draw=draw).answer(["q"], [["c"]])
    assert len(endpoint.requests) == 1


def test_samples_of_one_question_never_share_an_entry(endpoint: Endpoint, tmp_path: Path) -> None:
    """Four samples are four calls and four texts."""
    (samples,) = texts(model(endpoint, DiskStore(tmp_path), samples=4).answer(["q"], [["c"]]))
    assert len(set(samples)) == 4
    assert len(endpoint.requests) == 4
    assert all("n" not in request for request in endpoint.requests)


def test_a_resumed_run_keeps_its_samples_and_another_draws_its_own(endpoint: Endpoint, tmp_path: Path) -> None:
    """Without a seed samples belong to the run: a resume is free, a second sweep is independent."""
    store = DiskStore(tmp_path)
    first = texts(model(endpoint, store, samples=3).answer(["q"], [["c"]]))
    resumed = texts(model(endpoint, store, samples=5).answer(["q"], [["c"]]))
    other = texts(model(endpoint, store, samples=3, draw="run-2").answer(["q"], [["c"]]))
    assert resumed[0][:3] == first[0]
    assert len(set(resumed[0])) == 5
    assert not set(other[0]) & set(resumed[0])
    assert len(endpoint.requests) == 8


def test_repeats_with_a_seed_are_equal_everywhere(endpoint: Endpoint) -> None:
    """Sample n is drawn with seed + n."""
    first = texts(model(endpoint, MemoryStore(), samples=3, seed=7).answer(["q"], [["c"]]))
    again = texts(model(endpoint, MemoryStore(), samples=3, seed=7, draw="other").answer(["q"], [["c"]]))
    assert first == again
    assert len(set(first[0])) == 3
    assert [request["seed"] for request in endpoint.requests[:3]] == [7, 8, 9]


def test_an_endpoint_that_ignores_the_seed_is_found_out(endpoint: Endpoint) -> None:
    """One probe, two calls."""
    assert model(endpoint, MemoryStore(), seed=1).honours_seed()
    endpoint.honours_seed = False
    assert not model(endpoint, MemoryStore(), seed=1).honours_seed()


def test_tokens_are_counted_where_the_endpoint_reports_none(endpoint: Endpoint) -> None:
    """The source is named, and the cost is not 0."""
    endpoint.usage = False
    prices = {"input_usd_per_million": 1.0, "output_usd_per_million": 2.0}
    ((answer,),) = model(endpoint, MemoryStore(), temperature=0.0, prices=prices).answer(["question"], [["a context"]])
    assert answer.usage_source == "tokenizer"
    assert answer.input_tokens > 0
    assert Decimal(answer.cost_usd or 0) == (Decimal(answer.input_tokens) + 2 * Decimal(answer.output_tokens)) / 10**6


def test_cost_and_latency_of_a_kept_answer_are_those_of_the_call(endpoint: Endpoint, tmp_path: Path) -> None:
    """A hit is free now, but the configuration is not: cold figures stay with the answer."""
    prices = {"input_usd_per_million": 10.0, "output_usd_per_million": 20.0}
    store = DiskStore(tmp_path)
    ((cold,),) = model(endpoint, store, temperature=0.0, prices=prices).answer(["q"], [["c"]])
    ((kept,),) = model(endpoint, store, temperature=0.0, prices=prices).answer(["q"], [["c"]])
    assert kept == cold
    assert cold.cost_usd == str(Decimal("0.0012"))
    assert cold.latency_s > 0


def test_an_unknown_price_is_null_and_never_0(endpoint: Endpoint) -> None:
    """A model that nobody has a price for, at an address that is not this machine's."""
    chat = model(endpoint, MemoryStore(), temperature=0.0)
    from wandb_governance.tracing.usage import TokenUsage

    remote = EndpointSection(base_url="https://models.example.org/v1", model="nobody-knows-this-model")
    hidden = ChatModel(section=remote, store=chat.store, prompt="", temperature=0.0, draw="", prices=PriceBook())
    assert hidden._cost(TokenUsage(input_tokens=5, output_tokens=5), None) is None


def test_an_error_is_told_and_not_kept(endpoint: Endpoint, tmp_path: Path) -> None:
    """The next call asks again."""
    store = DiskStore(tmp_path)
    endpoint.fail_next = 1
    with pytest.raises(SweepError, match="400"):
        model(endpoint, store, temperature=0.0).answer(["q"], [["c"]])
    assert texts(model(endpoint, store, temperature=0.0).answer(["q"], [["c"]])) == [["c|q"]]


def test_the_extractive_reader_quotes_a_sentence() -> None:
    """It is no language model and says so."""
    reader = ExtractiveReader()
    assert not reader.calls_model
    found = reader.answer(["How deep is the lake?"], [["The hill is high. The lake is 20 m deep. It rains."]])
    assert texts(found) == [["The lake is 20 m deep."]]
    assert texts(reader.answer(["anything"], [[]])) == [[""]]


def test_a_sweep_over_temperature_and_prompts_scores_answers(endpoint: Endpoint, tmp_path: Path) -> None:
    """Extractive and chat side by side: metrics, cost per question, and a judge whose grades are kept."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "d.md").write_text("The lake is 20 m deep.\n\nThe hill is high.")
    question = {"question": "How deep is the lake?", "answers": ["20 m"], "gold": [{"doc": "d", "start": 0, "end": 22}]}
    (tmp_path / "q.jsonl").write_text(json.dumps({"id": "a", **question}) + "\n" + json.dumps({"id": "b", **question}))
    (tmp_path / "rag.yaml").write_text(
        f"""name: answers
corpus: {{path: corpus}}
questions: {{path: q.jsonl, holdout: 0}}
space:
  chunk_size: 20
  top_k: 1
  retriever: bm25
  temperature: [0, 0.8]
  llm: [extractive, small]
  prompt: [default, terse]
metric: {{name: judge}}
judge: grader
prompts: {{terse: "Terse. {{context}} {{question}}"}}
models:
  small: {{base_url: "{endpoint.url}", model: small, samples: 2, seed: 1, input_usd_per_million: 1,
    output_usd_per_million: 1}}
  grader: {{base_url: "{endpoint.url}", model: grader}}
"""
    )
    endpoint.reply = "5"
    sweep = load_sweep(tmp_path / "rag.yaml")
    runner = Runner(sweep=sweep, store=DiskStore(tmp_path / "store"), results=ResultsFile(tmp_path / "results"))
    records = runner.run().records
    assert len(records) == 1 + 2 * 2
    assert all(record.error is None and record.metrics["judge"] == 1.0 for record in records)
    chat = [record for record in records if record.configuration.llm == "small"]
    assert {record.configuration.temperature for record in chat} == {0.0, 0.8}
    assert all(record.metrics["cost_usd"] > 0 for record in chat)
    extractive = next(record for record in records if record.configuration.llm == "extractive")
    assert extractive.metrics["cost_usd"] == 0
    assert extractive.metrics["f1"] > 0.4
    asked = len(endpoint.requests)
    Runner(sweep=sweep, store=runner.store, results=ResultsFile(tmp_path / "again")).run()
    assert len(endpoint.requests) == asked
