"""The facts of one model call, from what LangChain says at its start and its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wandb_governance.tracing.span import LlmCall
from wandb_governance_langchain import convert

if TYPE_CHECKING:
    from langchain_core.outputs import Generation, LLMResult

    from wandb_governance_langchain.runs import Run

_NO_TOKENS = {"input_tokens": 0, "output_tokens": 0}


def started(run: Run) -> LlmCall:
    """What is known when a call begins; what policies may ask for."""
    return LlmCall(
        provider=_provider(run.metadata, run.invocation),
        request_model=_request_model(run.metadata, run.invocation),
        attempt=run.attempt,
        input_chars=run.input_chars,
        params=convert.params(run.invocation) or None,
    )


def ended(run: Run, generations: Sequence[Generation], response: LLMResult | None, *, failed: bool = False) -> LlmCall:
    """What is known when it ended.

    Args:
        run: The call.
        generations: The choices, or what came of them before an error.
        response: What LangChain handed over; None where a call was cut off without a word.
        failed: Whether it ended with an error, so that counts of single chunks are all there is.
    """
    invocation = run.invocation
    said = {} if response is None else convert.response_facts(response)
    usage = convert.usage_of(generations, None if response is None else response.llm_output)
    if usage is None and (failed or response is None):
        usage = run.chunk_usage
    if usage is None and _counted_with_the_first(run, response):
        usage = _NO_TOKENS
    return LlmCall(
        provider=_provider(run.metadata, invocation) or convert.first_name(said, "model_provider"),
        request_model=_request_model(run.metadata, invocation),
        response_model=convert.first_name(said, "model_name", "model", "model_id", "model_version"),
        usage=usage,
        finish_reason=convert.first_name(said, "finish_reason", "stop_reason", "stopReason", "done_reason"),
        service_tier=convert.first_name(said, "service_tier") or convert.first_name(invocation, "service_tier"),
        cache_hit=convert.from_cache(generations),
        streaming=run.stream is not None,
        attempt=run.attempt,
        choices=max(len(generations), 1),
        input_chars=run.input_chars,
        output_chars=sum(map(_chars, generations)) if generations else run.seen_chars,
        params=convert.params(invocation) or None,
    )


def take_chunk(run: Run, text: str, chunk: Any, *, limit_chars: int) -> None:
    """Keep what a chunk of a stream says, in case nothing else ever comes; sees the first content."""
    if run.stream is None:
        run.stream = []
    if text:
        if run.seen_chars < limit_chars:
            run.stream.append(text)
        run.seen_chars += len(text)
    answer = None if chunk is None else chunk.__dict__.get("message")
    if run.span.first_token_ns is None and (text or _has_content(answer)):
        run.span.first_token()
    counts = None if answer is None else answer.__dict__.get("usage_metadata")
    if counts:
        run.chunk_usage = counts if run.chunk_usage is None else _sum(run.chunk_usage, counts)


def _provider(metadata: Mapping[str, Any], invocation: Mapping[str, Any]) -> str | None:
    found = metadata.get("ls_provider")
    if isinstance(found, str):
        return found
    kind = invocation.get("_type")
    return kind.removesuffix("-chat") if isinstance(kind, str) else None


def _request_model(metadata: Mapping[str, Any], invocation: Mapping[str, Any]) -> str | None:
    return convert.first_name(metadata, "ls_model_name") or convert.first_name(
        invocation, "model", "model_name", "model_id", "deployment_name", "azure_deployment"
    )


def _counted_with_the_first(run: Run, response: LLMResult | None) -> bool:
    """Whether the counts of a whole batch stand at its first call, as plain LLMs report them."""
    if run.batch is None or response is None or not isinstance(response.llm_output, Mapping):
        return False
    return response.llm_output.get("token_usage") == {}


def _chars(generation: Generation) -> int:
    answer = convert.answer_of(generation)
    if answer is not None:
        called = sum(len(str(call.get("args", ""))) for call in answer.__dict__.get("tool_calls") or ())
        return len(convert.text_of(answer)) + called
    return len(generation.text)


def _has_content(answer: Any) -> bool:
    """Whether a chunk without plain text still brings something: a tool call or reasoning."""
    if answer is None:
        return False
    if answer.__dict__.get("tool_call_chunks") or answer.additional_kwargs.get("reasoning_content"):
        return True
    content = answer.content
    return isinstance(content, list) and any(
        isinstance(block, dict) and (block.get("reasoning") or block.get("thinking") or block.get("text"))
        for block in content
    )


def _sum(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    total = dict(left)
    for name, count in right.items():
        known = total.get(name)
        if isinstance(count, Mapping):
            total[name] = _sum(known if isinstance(known, Mapping) else {}, count)
        elif isinstance(count, int | float):
            total[name] = count + (known if isinstance(known, int | float) else 0)
    return total
