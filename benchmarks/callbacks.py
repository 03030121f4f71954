"""What a tracing handler costs the caller: ours, none, a floor, and what others offer, as ratios.

    python benchmarks/callbacks.py --only none,noop_handler,list_floor,wandb_governance --json

Each (config, round) runs in a process of its own. There the chain is first timed bare, then with the handler, and only
the ratio of the two counts, since microseconds say little on a shared machine. Rounds are shuffled. A peer that is not
installed is left out and named.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import callback_peers

if TYPE_CHECKING:
    from collections.abc import Callable

QUESTIONS = {"small": "What is the capital of France?", "large": "Summarise this text. " * 410}
ANSWERS = {"small": "The capital of France is Paris.", "large": "It is a text that repeats itself. " * 60}
MODES = ("invoke", "ainvoke", "stream")
_WARM_UP_CALLS = 30
_WORKER_TIMEOUT_S = 900


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One process: microseconds a call, bare and with the handler, a figure per repetition."""

    base_us: list[float]
    with_us: list[float]
    base_caller_us: list[float]
    """Processor time of the calling thread alone, which other processes hardly disturb."""
    with_caller_us: list[float]
    base_cpu_us: list[float]
    with_cpu_us: list[float]
    flush_s: float
    flush_cpu_us: float
    """Processor time of the flush over all threads, a call."""
    rss_growth_mb: float
    calls: int

    @property
    def ratio(self) -> float:
        """Caller's time with the handler over without."""
        return statistics.median(self.with_us) / statistics.median(self.base_us)

    @property
    def caller_cpu_ratio(self) -> float:
        """The calling thread's processor time with the handler over without."""
        return statistics.median(self.with_caller_us) / statistics.median(self.base_caller_us)

    @property
    def cpu_ratio(self) -> float:
        """Processor time of all threads with the handler, flush included, over without."""
        return (statistics.median(self.with_cpu_us) + self.flush_cpu_us) / statistics.median(self.base_cpu_us)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", choices=("langchain", "llama_index"), default="langchain")
    parser.add_argument("--only", help="configs, with commas between them")
    parser.add_argument("--mode", choices=MODES, default="invoke")
    parser.add_argument("--payload", choices=tuple(QUESTIONS), default="small")
    parser.add_argument("--calls", type=int, default=200, help="calls a repetition")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        _work(args)
        return
    configs = callback_peers.CONFIGS[args.framework]
    names = args.only.split(",") if args.only else list(configs)
    unknown = [name for name in names if name not in configs]
    if unknown:
        parser.error(f"unknown config {', '.join(unknown)}; there are {', '.join(configs)}")
    samples, missing = _measure(args, names)
    report = {name: _summary(samples[name]) for name in names if samples.get(name)}
    if args.json:
        print(json.dumps(report))
    else:
        _print(args, report, missing)


def _measure(args: argparse.Namespace, names: list[str]) -> tuple[dict[str, list[Sample]], dict[str, str]]:
    sink = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    sink.daemon_threads = True
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    samples: dict[str, list[Sample]] = {}
    missing: dict[str, str] = {}
    for number in range(args.rounds):
        order = names[:]
        random.Random(number).shuffle(order)
        for name in order:
            if name in missing:
                continue
            print(f"round {number + 1}/{args.rounds}: {name}", file=sys.stderr, flush=True)
            try:
                samples.setdefault(name, []).append(_run_worker(args, name, sink.server_address[1]))
            except RuntimeError as error:
                missing[name] = str(error)
                print(f"  left out: {error}", file=sys.stderr)
    sink.shutdown()
    return samples, missing


def _run_worker(args: argparse.Namespace, name: str, port: int) -> Sample:
    command = [sys.executable, str(Path(__file__).resolve()), "--worker", name, "--port", str(port)]
    for option in ("framework", "mode", "payload", "calls", "repetitions"):
        command += [f"--{option}", str(getattr(args, option))]
    environment = {**os.environ, "NO_PROXY": "*", "no_proxy": "*"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_WORKER_TIMEOUT_S, env=environment, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("SAMPLE ")]
    if not lines:
        tail = [line for line in done.stderr.strip().splitlines() if line.strip()][-1:]
        raise RuntimeError(tail[0][:200] if tail else f"exit code {done.returncode}")
    return Sample(**json.loads(lines[0].removeprefix("SAMPLE ")))


def _work(args: argparse.Namespace) -> None:
    """One config, in this process."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.ERROR)
    prepare = callback_peers.CONFIGS[args.framework][args.worker]
    timed = _langchain(args) if args.framework == "langchain" else _llama_index()
    base_us, base_caller_us, base_cpu_us = _time(timed(None), args)
    attached, flush = prepare(args.port)
    call = timed(attached)
    for _ in range(_WARM_UP_CALLS):
        call()
    flush()  # What is loaded once, such as price tables, is not part of a call.
    gc.collect()
    before = _resident_mb()
    with_us, with_caller_us, with_cpu_us = _time(call, args)
    started, cpu_started = time.perf_counter(), time.process_time()
    flush()
    flush_s, flush_cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    gc.collect()
    calls = args.calls * args.repetitions + _WARM_UP_CALLS
    sample = Sample(
        base_us=base_us, with_us=with_us, base_caller_us=base_caller_us, with_caller_us=with_caller_us,
        base_cpu_us=base_cpu_us, with_cpu_us=with_cpu_us, flush_s=flush_s, flush_cpu_us=flush_cpu_s / calls * 1e6,
        rss_growth_mb=_resident_mb() - before, calls=calls,
    )  # fmt: skip
    print("SAMPLE " + json.dumps(asdict(sample)), flush=True)
    os._exit(0)  # Some peers never end their threads.


def _langchain(args: argparse.Namespace) -> Callable[[Any], Callable[[], object]]:
    from langchain_core.language_models.fake_chat_models import FakeListChatModel
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate

    prompt = ChatPromptTemplate.from_messages([("system", "You are helpful."), ("human", "{question}")])
    chain = prompt | FakeListChatModel(responses=[ANSWERS[args.payload]]) | StrOutputParser()
    given = {"question": QUESTIONS[args.payload]}
    loop = asyncio.new_event_loop()

    def with_config(config: dict[str, Any] | None) -> Callable[[], object]:
        def fresh() -> Any:
            return None if config is None else dict(config)

        if args.mode == "invoke":
            return lambda: chain.invoke(given, config=fresh())
        if args.mode == "stream":
            return lambda: list(chain.stream(given, config=fresh()))
        return lambda: loop.run_until_complete(chain.ainvoke(given, config=fresh()))

    return with_config


def _llama_index() -> Callable[[Any], Callable[[], object]]:
    from llama_index.core import Document, Settings, VectorStoreIndex
    from llama_index.core.embeddings import MockEmbedding
    from llama_index.core.llms import MockLLM

    def with_manager(manager: Any) -> Callable[[], object]:
        extra = {} if manager is None else {"callback_manager": manager}
        Settings.llm = MockLLM(max_tokens=16, **extra)
        Settings.embed_model = MockEmbedding(8, **extra)
        if manager is not None:
            Settings.callback_manager = manager
        texts = [Document(text=f"Paris is the capital of France. {number} " * 10) for number in range(8)]
        engine = VectorStoreIndex.from_documents(texts).as_query_engine(similarity_top_k=3)
        return lambda: engine.query(QUESTIONS["small"])

    return with_manager


def _time(call: Callable[[], object], args: argparse.Namespace) -> tuple[list[float], list[float], list[float]]:
    """Microseconds a call by the clock, of this thread's and of all threads' processor time; a figure a repetition."""
    for _ in range(_WARM_UP_CALLS):
        call()
    wall, caller, cpu = [], [], []
    for _ in range(args.repetitions):
        gc.collect()
        started, own_started, cpu_started = time.perf_counter(), time.thread_time(), time.process_time()
        for _ in range(args.calls):
            call()
        caller.append((time.thread_time() - own_started) / args.calls * 1e6)
        cpu.append((time.process_time() - cpu_started) / args.calls * 1e6)
        wall.append((time.perf_counter() - started) / args.calls * 1e6)
    return wall, caller, cpu


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _summary(samples: list[Sample]) -> dict[str, float]:
    ratios = [sample.ratio for sample in samples]
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "caller_cpu_ratio": round(statistics.median(sample.caller_cpu_ratio for sample in samples), 3),
        "cpu_ratio": round(statistics.median(sample.cpu_ratio for sample in samples), 3),
        "base_us": round(statistics.median(statistics.median(sample.base_us) for sample in samples), 1),
        "overhead_us": round(
            statistics.median(
                statistics.median(sample.with_us) - statistics.median(sample.base_us) for sample in samples
            ),
            1,
        ),
        "flush_s": round(statistics.median(sample.flush_s for sample in samples), 3),
        "rss_mb_per_1000_calls": round(
            statistics.median(sample.rss_growth_mb / sample.calls * 1000 for sample in samples), 2
        ),
        "rounds": len(samples),
    }


def _print(args: argparse.Namespace, report: dict[str, dict[str, float]], missing: dict[str, str]) -> None:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{args.framework}, {args.mode}, {args.payload} payload; load average {load} on {os.cpu_count()} cores")
    head = "".join(f"{name:>8}" for name in ("ratio", "min", "max", "caller", "cpu"))
    print(f"{'config':18}{head}{'base us':>10}{'over us':>10}{'MB/1000':>10}")
    for name, row in report.items():
        print(
            f"{name:18}{row['ratio']:8.2f}{row['ratio_min']:8.2f}{row['ratio_max']:8.2f}"
            f"{row['caller_cpu_ratio']:8.2f}{row['cpu_ratio']:8.2f}"
            f"{row['base_us']:10.0f}{row['overhead_us']:10.0f}{row['rss_mb_per_1000_calls']:10.2f}"
        )
    for name, why in missing.items():
        print(f"{name:18} left out: {why}")


class _Sink(BaseHTTPRequestHandler):
    """Takes what peers send and says yes."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b"{}"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = _answer  # noqa: N815 - names that http.server looks for

    def log_message(self, *args: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    main()
