"""LlamaIndex objects to plain data and core values. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, TextBlock
from llama_index.core.base.response.schema import AsyncStreamingResponse, PydanticResponse, Response, StreamingResponse
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle
from llama_index.core.tools import ToolOutput
from llama_index.core.tools.types import BaseTool

from wandb_governance.tracing.span import LlmCall, Retrieval, RetrievedDocument, SpanKind

_PROVIDERS = (
    ("azure", "azure"),
    ("openai", "openai"),
    ("anthropic", "anthropic"),
    ("bedrock", "aws"),
    ("vertex", "google"),
    ("gemini", "google"),
    ("google", "google"),
    ("cohere", "cohere"),
    ("mistral", "mistral"),
    ("groq", "groq"),
    ("deepseek", "deepseek"),
    ("ollama", "ollama"),
    ("together", "together"),
    ("fireworks", "fireworks"),
    ("huggingface", "huggingface"),
)
_FORWARDED_PARAMS = ("temperature", "max_tokens", "top_p", "seed", "num_output")


def plain(value: object) -> object:
    """A LlamaIndex object as plain data; anything else as it is."""
    match value:
        case ChatMessage():
            return message(value)
        case ChatResponse():
            return message(value.message)
        case CompletionResponse():
            return value.text
        case QueryBundle():
            return value.query_str
        case NodeWithScore():
            return {"id": value.node.node_id, "score": value.score, "text": node_text(value.node)}
        case BaseNode():
            return {"id": value.node_id, "text": node_text(value)}
        case Response() | PydanticResponse():
            return str(value.response)
        case StreamingResponse() | AsyncStreamingResponse():
            return value.response_txt
        case ToolOutput():
            return value.content
        case _:
            return value


def node_text(node: BaseNode) -> str:
    """The node's text without its metadata."""
    return str(getattr(node, "text", "") or "")


def message(value: ChatMessage) -> dict[str, object]:
    """Role, text and tool calls of a chat message; images and files only by type."""
    data: dict[str, object] = {"role": str(getattr(value.role, "value", value.role)), "content": message_text(value)}
    others = [block.block_type for block in value.blocks if not isinstance(block, TextBlock)]
    if others:
        data["blocks"] = others
    calls = value.additional_kwargs.get("tool_calls")
    if calls:
        data["tool_calls"] = [_tool_call(call) for call in calls]
    return data


def message_text(value: ChatMessage) -> str:
    """The text blocks of a message, joined."""
    return "\n".join(block.text for block in value.blocks if isinstance(block, TextBlock))


def _tool_call(call: object) -> object:
    function = getattr(call, "function", None)
    if function is not None:
        return {"name": getattr(function, "name", None), "arguments": getattr(function, "arguments", None)}
    return call


def response_text(response: ChatResponse | CompletionResponse | None) -> str:
    """The text of an answer; empty where there is none."""
    match response:
        case ChatResponse():
            return message_text(response.message)
        case CompletionResponse():
            return response.text
        case _:
            return ""


def has_content(response: ChatResponse | CompletionResponse) -> bool:
    """Whether a streamed piece holds text or a tool call; the first one may hold only a role."""
    if response.delta or response_text(response):
        return True
    return isinstance(response, ChatResponse) and bool(response.message.additional_kwargs.get("tool_calls"))


def kind_of(instance: object, method: str) -> SpanKind:
    """What a decorated method does. Calls of a model become ``llm`` only at their first event."""
    match instance:
        case BaseLLM():
            return SpanKind.CHAIN
        case BaseRetriever():
            return SpanKind.RETRIEVER
        case BaseEmbedding():
            return SpanKind.CHAIN
        case BaseNodePostprocessor():
            return SpanKind.RERANKER
        case BaseTool():
            return SpanKind.TOOL
    if method == "call_tool":
        return SpanKind.TOOL
    if method == "run" and "Agent" in type(instance).__name__:
        return SpanKind.AGENT
    return SpanKind.CHAIN


def provider_of(model: Mapping[str, Any]) -> str | None:
    """The provider, by the name of the LLM class."""
    name = str(model.get("class_name") or "").lower()
    return next((provider for word, provider in _PROVIDERS if word in name), None)


def call_of(model: Mapping[str, Any], params: Mapping[str, Any], *, input_chars: int) -> LlmCall:
    """The facts of a call that is about to be made."""
    kept = {name: params[name] for name in _FORWARDED_PARAMS if name in params}
    if "temperature" in model:
        kept.setdefault("temperature", model["temperature"])
    return LlmCall(
        provider=provider_of(model),
        request_model=str(model.get("model_name") or model.get("model") or "") or None,
        input_chars=input_chars,
        params=kept or None,
    )


def answered(call: LlmCall, response: ChatResponse | CompletionResponse | None, *, streaming: bool) -> LlmCall:
    """The call with what its response tells."""
    if response is None:
        return replace(call, streaming=streaming)
    raw = response.raw
    return replace(
        call,
        streaming=streaming,
        response_model=_field(raw, "model") or call.response_model,
        usage=_usage(raw, response.additional_kwargs),
        finish_reason=_finish_reason(raw),
        service_tier=_field(raw, "service_tier"),
        output_chars=len(response_text(response)),
    )


def _usage(raw: object, additional: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for name in ("usage", "usage_metadata", "meta"):
        found = raw.get(name) if isinstance(raw, Mapping) else getattr(raw, name, None)
        data = _mapping(found)
        if data:
            return data
    if isinstance(raw, Mapping) and "eval_count" in raw:
        return {key: raw[key] for key in ("prompt_eval_count", "eval_count") if key in raw}
    if any(str(key).endswith("_tokens") for key in additional):
        return {key: value for key, value in additional.items() if str(key).endswith("_tokens")}
    return None


def _mapping(value: object) -> Mapping[str, Any] | None:
    if isinstance(value, Mapping):
        return dict(value)
    dump = getattr(value, "model_dump", None) or getattr(value, "to_dict", None)
    return dump() if callable(dump) else None


def _field(raw: object, name: str) -> str | None:
    value = raw.get(name) if isinstance(raw, Mapping) else getattr(raw, name, None)
    return value if isinstance(value, str) else None


def _finish_reason(raw: object) -> str | None:
    choices = raw.get("choices") if isinstance(raw, Mapping) else getattr(raw, "choices", None)
    if isinstance(choices, Sequence) and choices:
        return _field(choices[0], "finish_reason")
    return _field(raw, "stop_reason") or _field(raw, "finish_reason")


def retrieval(nodes: Sequence[NodeWithScore], *, index_version: str | None = None) -> Retrieval:
    """What was found, best first."""
    return Retrieval(
        documents=tuple(
            RetrievedDocument(
                id=hit.node.node_id or hashlib.sha256(node_text(hit.node).encode()).hexdigest()[:16],
                rank=rank,
                score=None if hit.score is None else float(hit.score),
                source=_source(hit.node),
            )
            for rank, hit in enumerate(nodes)
        ),
        index_version=index_version,
    )


def _source(node: BaseNode) -> str | None:
    value = node.metadata.get("file_name") or node.metadata.get("source")
    return value if isinstance(value, str) else None
