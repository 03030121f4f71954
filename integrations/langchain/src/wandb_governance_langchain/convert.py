"""LangChain's objects as plain data. Pure; nothing here keeps state or raises for odd input."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.outputs import Generation, LLMResult
from langchain_core.prompt_values import ChatPromptValue, PromptValue

from wandb_governance.tracing.span import Retrieval, RetrievedDocument

_ROLES = {
    "human": "user", "HumanMessageChunk": "user", "ai": "assistant", "AIMessageChunk": "assistant",
    "SystemMessageChunk": "system", "ToolMessageChunk": "tool", "developer": "system",
}  # fmt: skip
_MESSAGE_FIELDS = ("name", "tool_calls", "invalid_tool_calls", "tool_call_id")
MEDIA = frozenset({"image", "image_url", "input_image", "audio", "input_audio", "video", "file", "input_file"})
_SCORES = ("relevance_score", "score", "_score", "similarity", "similarity_score", "distance")
_USERS = ("user_id", "langfuse_user_id", "user", "ls_user_id")
_SESSIONS = ("session_id", "langfuse_session_id", "conversation_id", "thread_id")
_PROMPTS = ("prompt_name", "lc_hub_repo")
_PROMPT_VERSIONS = ("prompt_version", "lc_hub_commit_hash")
_IDENTITY = frozenset((*_USERS, *_SESSIONS, *_PROMPTS, *_PROMPT_VERSIONS, "langfuse_prompt", "langfuse_tags"))
GOVERNED = "wandb_governance_governed"
"""Metadata key of calls that a governed model or middleware judges itself."""
_INTERNAL_KEYS = frozenset({"lc_versions", GOVERNED})
_PARAMS = frozenset({
    "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of", "seed",
    "stop", "frequency_penalty", "presence_penalty", "reasoning_effort", "service_tier",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a call's metadata says of who made it and of its prompt."""

    user: str | None = None
    session: str | None = None
    prompt_name: str | None = None
    prompt_version: str | None = None
    tags: tuple[str, ...] = ()


def plain(value: object) -> object:
    """LangChain's own classes as dicts and strings; anything else as it is."""
    if isinstance(value, BaseMessage):
        return message(value)
    if isinstance(value, Document):
        return {"id": value.id, "page_content": value.page_content, "metadata": value.metadata}
    if isinstance(value, ChatPromptValue):
        return [message(item) for item in value.messages]
    if isinstance(value, PromptValue):
        return value.to_string()
    if isinstance(value, Generation):
        return getattr(value, "message", None) or value.text
    return value


def message(value: BaseMessage) -> dict[str, object]:
    """A message as role, content and tool calls; media as type, size and digest."""
    content = value.content
    made: dict[str, object] = {
        "role": role(value),
        "content": content if type(content) is str else _blocks(content),
    }
    # Reading the dict: pydantic takes microseconds to say that a message has no such field.
    fields = value.__dict__
    for name in _MESSAGE_FIELDS:
        if fields.get(name):
            made[name] = fields[name]
    return made


def role(value: BaseMessage) -> str:
    """Who wrote a message, in the words of the OpenAI API."""
    kind = value.type
    return _ROLES.get(kind) or (str(getattr(value, "role", kind)) if kind.startswith(("chat", "Chat")) else kind)


def text_of(value: BaseMessage) -> str:
    """The text of a message, of all its text blocks in order."""
    content = value.content
    if type(content) is str:
        return content
    if isinstance(content, str):
        return str(content)
    return "".join(text for block in content if (text := block_text(block)))


def block_text(block: object) -> str:
    """The text of one content block; empty where it holds none."""
    if isinstance(block, str):
        return block
    if isinstance(block, Mapping) and block.get("type") in ("text", "output_text", "input_text", "refusal", None):
        found = block.get("text") or block.get("refusal")
        return found if isinstance(found, str) else ""
    return ""


def output_of(generations: Sequence[Generation]) -> object:
    """What a model answered: the text where that is all, else content and tool calls; a list for several choices."""
    answers = [_answer(generation) for generation in generations]
    return answers[0] if len(answers) == 1 else answers


def answer_of(generation: Generation) -> BaseMessage | None:
    """The message of a chat model's answer; None for a text model."""
    found = generation.__dict__.get("message")
    return found if isinstance(found, BaseMessage) else None


def _answer(generation: Generation) -> object:
    answer = answer_of(generation)
    if answer is None:
        return generation.text
    if type(answer.content) is str and not answer.__dict__.get("tool_calls"):
        return answer.content or generation.text
    made = message(answer)
    del made["role"]
    return made


def _blocks(content: Any) -> object:
    if not isinstance(content, list):
        return str(content) if isinstance(content, str) else content
    return [_media(block) if isinstance(block, dict) and block.get("type") in MEDIA else block for block in content]


def _media(block: Mapping[str, Any]) -> dict[str, object]:
    """A block of media without its bytes."""
    return {key: _without_bytes(value) for key, value in block.items()}


def _without_bytes(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _without_bytes(item) for key, item in value.items()}
    if isinstance(value, str) and (value.startswith("data:") or len(value) > 1024):
        kind, _, data = (
            value.removeprefix("data:").partition(",") if value.startswith("data:") else ("base64", "", value)
        )
        digest = hashlib.sha256(data.encode("utf-8", "replace")).hexdigest()
        return f"<{kind[:64]}, {len(data)} characters, sha256 {digest}>"
    return value


def identity(metadata: Mapping[str, Any] | None) -> Identity | None:
    """Who called, from the metadata keys that applications commonly use; None where none is there."""
    if not metadata or _IDENTITY.isdisjoint(metadata):
        return None
    prompt = metadata.get("langfuse_prompt")
    return Identity(
        user=_first(metadata, _USERS),
        session=_first(metadata, _SESSIONS),
        prompt_name=_first(metadata, _PROMPTS) or _name(getattr(prompt, "name", None)),
        prompt_version=_first(metadata, _PROMPT_VERSIONS) or _name(getattr(prompt, "version", None)),
        tags=tuple(tag for tag in metadata.get("langfuse_tags") or () if isinstance(tag, str)),
    )


def _first(values: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((found for name in names if (found := _name(values.get(name))) is not None), None)


def _name(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) and value != "" else None


def facts(metadata: Mapping[str, Any], inherited: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata worth keeping on a span: what its parent did not have already, without ids of people."""
    return {
        key: value
        for key, value in metadata.items()
        if not (key.startswith(("ls_", "__")) or key in _IDENTITY or key in _INTERNAL_KEYS)
        and inherited.get(key) is not value
    }


def params(invocation: Mapping[str, Any]) -> dict[str, Any]:
    """Sampling parameters; never anything else, since a model's fields may hold keys."""
    return {name: value for name, value in invocation.items() if name in _PARAMS and value is not None}


def usage_of(generations: Sequence[Generation], llm_output: object) -> Mapping[str, Any] | None:
    """Token counts as LangChain passes them on; of several choices the first, since each repeats the same counts."""
    for generation in generations:
        counts = _counts(generation)
        if counts and "input_tokens" in counts:
            return dict(counts)
    if isinstance(llm_output, Mapping):
        for name in ("token_usage", "usage", "usage_metadata"):
            if llm_output.get(name):
                return _as_dict(llm_output[name])
    for generation in generations:
        for place in (_response_metadata(generation), generation.generation_info):
            found = _usage_in(place)
            if found is not None:
                return found
    return None


def _counts(generation: Generation) -> Mapping[str, Any] | None:
    answer = answer_of(generation)
    return None if answer is None else answer.__dict__.get("usage_metadata")


def _response_metadata(generation: Generation) -> Mapping[str, Any] | None:
    answer = answer_of(generation)
    return None if answer is None else answer.response_metadata


def _usage_in(place: object) -> Mapping[str, Any] | None:
    if not isinstance(place, Mapping):
        return None
    for name in ("token_usage", "usage", "usage_metadata", "amazon-bedrock-invocationMetrics", "billed_units", "meta"):
        if place.get(name):
            return {name: place[name]} if name in ("billed_units", "meta") else _as_dict(place[name])
    return dict(place) if "eval_count" in place or "prompt_eval_count" in place else None


def _as_dict(value: Any) -> Mapping[str, Any] | None:
    if isinstance(value, Mapping):
        return dict(value)
    dump = getattr(value, "model_dump", None)
    return dump() if callable(dump) else None


def from_cache(generations: Sequence[Generation]) -> bool:
    """Whether LangChain answered from its own cache: then it adds a ``total_cost`` of 0 to the usage."""
    return any((_counts(generation) or {}).get("total_cost") == 0 for generation in generations)


def response_facts(response: LLMResult) -> dict[str, Any]:
    """What the provider said besides the text: model, finish reason, service tier, provider."""
    found: dict[str, Any] = dict(response.llm_output) if isinstance(response.llm_output, Mapping) else {}
    for generation in response.generations[0] if response.generations else ():
        found.update(generation.generation_info or {})
        found.update(_response_metadata(generation) or {})
        break
    return found


def first_name(found: Mapping[str, Any], *names: str) -> str | None:
    """The first of ``names`` that is there as a string."""
    return next((value for name in names if isinstance(value := found.get(name), str) and value), None)


def retrieval(documents: object, index_version: str | None, redact: Callable[[str], str]) -> Retrieval:
    """Ids, ranks and scores of what a retriever returned."""
    if not isinstance(documents, list | tuple):
        return Retrieval(index_version=index_version)
    hits = tuple(_hit(document, rank, redact) for rank, document in enumerate(documents))
    versions = {
        str(doc.metadata["index_version"])
        for doc in documents
        if isinstance(getattr(doc, "metadata", None), dict) and doc.metadata.get("index_version")
    }
    return Retrieval(documents=hits, index_version=index_version or (versions.pop() if len(versions) == 1 else None))


def _hit(document: Any, rank: int, redact: Callable[[str], str]) -> RetrievedDocument:
    metadata = getattr(document, "metadata", None)
    metadata = metadata if isinstance(metadata, Mapping) else {}
    given = getattr(document, "id", None) or metadata.get("id") or metadata.get("doc_id") or metadata.get("_id")
    if given is None:
        text = str(getattr(document, "page_content", document))
        given = "sha256:" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
    score = next((metadata[name] for name in _SCORES if _is_number(metadata.get(name))), None)
    source = metadata.get("source")
    return RetrievedDocument(
        id=redact(str(given)),
        rank=rank,
        score=None if score is None else float(score),
        source=redact(source) if isinstance(source, str) else None,
    )


def _is_number(value: object) -> bool:
    return not isinstance(value, bool | str) and hasattr(value, "__float__")
