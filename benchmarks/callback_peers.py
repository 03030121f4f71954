"""How each peer is attached: ``prepare(port)`` gives what a chain is called with, and what flushes.

``port`` is a local server that takes whatever a peer sends, so that nothing leaves the machine.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import deque
from collections.abc import Callable
from typing import Any

Prepared = tuple[Any, Callable[[], object]]
Prepare = Callable[[int], Prepared]


def none(_: int) -> Prepared:
    return None, lambda: None


def noop_handler(_: int) -> Prepared:
    from langchain_core.callbacks import BaseCallbackHandler

    return {"callbacks": [BaseCallbackHandler()]}, lambda: None


def list_floor(_: int) -> Prepared:
    """The least a tracer can do: keep ids, times and references, and write nothing."""
    from langchain_core.callbacks import BaseCallbackHandler

    class Floor(BaseCallbackHandler):
        run_inline = True

        def __init__(self) -> None:
            self.ended: deque[Any] = deque(maxlen=10_000)
            self.open: dict[Any, Any] = {}

        def start(self, serialized: Any, given: Any, *, run_id: Any, parent_run_id: Any = None, **kwargs: Any) -> None:
            self.open[run_id] = (time.time_ns(), parent_run_id, given)

        def end(self, result: Any, *, run_id: Any, **kwargs: Any) -> None:
            self.ended.append((self.open.pop(run_id, None), time.time_ns(), result))

        on_chain_start = on_chat_model_start = on_llm_start = on_tool_start = on_retriever_start = start
        on_chain_end = on_llm_end = on_tool_end = on_retriever_end = on_chain_error = on_llm_error = end

    return {"callbacks": [Floor()]}, lambda: None


def _offline_run() -> Any:
    os.environ.update(
        WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=tempfile.mkdtemp(prefix="bench-wandb-"),
        WANDB_GOVERNANCE_HOME=tempfile.mkdtemp(prefix="bench-governance-"),
    )  # fmt: skip
    import wandb

    return wandb.init(project="bench", settings=wandb.Settings(silent=True, console="off", x_disable_stats=True))


def wandb_governance(_: int) -> Prepared:
    """All of it: journal, default redaction, usage, prices, tables in an offline run."""
    from wandb_governance_langchain import GovernanceCallbackHandler

    handler = GovernanceCallbackHandler(_offline_run())
    return {"callbacks": [handler]}, handler.flush


def wandb_governance_llama_index(_: int) -> Prepared:
    from wandb_governance_llama_index import instrument

    handle = instrument(_offline_run())
    return None, handle.flush


def wandb_tracer(_: int) -> Prepared:
    run = _offline_run()
    from langchain_community.callbacks.tracers.wandb import WandbTracer

    return {"callbacks": [WandbTracer({"project": "bench"})]}, run.finish


def weave(port: int) -> Prepared:
    url = f"http://127.0.0.1:{port}"
    os.environ.update(
        WANDB_API_KEY="x" * 40, WF_TRACE_SERVER_URL=url, WANDB_BASE_URL=url, WEAVE_PRINT_CALL_LINK="false",
        WEAVE_SENTRY_ENV="off", WANDB_ERROR_REPORTING="false",
    )  # fmt: skip
    from weave.integrations.langchain.langchain import WeaveTracer
    from weave.trace import weave_client
    from weave.trace.context import weave_client_context
    from weave.trace_server_bindings.remote_http_trace_server import RemoteHTTPTraceServer

    server = RemoteHTTPTraceServer(url, should_batch=True)
    client = weave_client.WeaveClient("entity", "project", server, ensure_project_exists=False)
    weave_client_context.set_weave_client_global(client)
    return {"callbacks": [WeaveTracer()]}, client.flush


def langfuse(port: int) -> Prepared:
    from langfuse import Langfuse
    from langfuse.langchain import CallbackHandler

    client = Langfuse(public_key="pk-lf-x", secret_key="sk-lf-x", base_url=f"http://127.0.0.1:{port}")
    return {"callbacks": [CallbackHandler()]}, client.flush


def langsmith(port: int) -> Prepared:
    from langchain_core.tracers.langchain import LangChainTracer
    from langsmith import Client

    client = Client(api_url=f"http://127.0.0.1:{port}", api_key="x")
    return {"callbacks": [LangChainTracer(project_name="bench", client=client)]}, client.flush


def opik(port: int) -> Prepared:
    os.environ.update(
        OPIK_URL_OVERRIDE=f"http://127.0.0.1:{port}", OPIK_SENTRY_ENABLE="false", OPIK_ANALYTICS_ENABLE="false",
        OPIK_CONSOLE_LOGGING_LEVEL="ERROR", OPIK_CHECK_TLS_CERTIFICATE="false",
    )  # fmt: skip
    from opik.integrations.langchain import OpikTracer

    tracer = OpikTracer(project_name="bench")
    return {"callbacks": [tracer]}, tracer.flush


def mlflow(_: int) -> Prepared:
    import mlflow as peer

    peer.set_tracking_uri(f"sqlite:///{tempfile.mkdtemp(prefix='bench-mlflow-')}/mlflow.db")
    peer.set_experiment("bench")
    peer.langchain.autolog()
    return None, lambda: peer.flush_trace_async_logging(terminate=False)


def mlflow_llama_index(_: int) -> Prepared:
    import mlflow as peer

    peer.set_tracking_uri(f"sqlite:///{tempfile.mkdtemp(prefix='bench-mlflow-')}/mlflow.db")
    peer.set_experiment("bench")
    peer.llama_index.autolog()
    return None, lambda: peer.flush_trace_async_logging(terminate=False)


def _in_memory_spans() -> Any:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    return provider


def openinference(_: int) -> Prepared:
    """Spans stay in memory: nothing is written or sent."""
    from openinference.instrumentation.langchain import LangChainInstrumentor

    provider = _in_memory_spans()
    LangChainInstrumentor().instrument(tracer_provider=provider)
    return None, provider.force_flush


def openinference_llama_index(_: int) -> Prepared:
    from openinference.instrumentation.llama_index import LlamaIndexInstrumentor

    provider = _in_memory_spans()
    LlamaIndexInstrumentor().instrument(tracer_provider=provider)
    return None, provider.force_flush


CONFIGS: dict[str, dict[str, Prepare]] = {
    "langchain": {
        "none": none,
        "noop_handler": noop_handler,
        "list_floor": list_floor,
        "wandb_governance": wandb_governance,
        "openinference": openinference,
        "langfuse": langfuse,
        "langsmith": langsmith,
        "mlflow": mlflow,
        "weave": weave,
        "opik": opik,
        "wandb_tracer": wandb_tracer,
    },
    "llama_index": {
        "none": none,
        "wandb_governance": wandb_governance_llama_index,
        "openinference": openinference_llama_index,
        "mlflow": mlflow_llama_index,
    },
}
