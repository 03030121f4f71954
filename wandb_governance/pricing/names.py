"""Names of providers and models in one vocabulary, that of the price catalogue."""

from __future__ import annotations

import re

_PROVIDERS = {
    "openai": ("openai", "openai_responses", "text-completion-openai"),
    "azure": (
        "azure", "azure_openai", "azureopenai", "azure_ai", "azure_ai_openai", "azure_ai_inference", "az_ai_openai",
        "az_ai_inference", "microsoft_foundry",
    ),
    "anthropic": ("anthropic",),
    "google": (
        "google", "google_genai", "google_vertexai", "google_gemini", "google_ai_studio", "gemini", "vertexai",
        "vertex_ai", "vertex", "gcp_gemini", "gcp_vertex_ai", "gcp_gen_ai", "google_anthropic_vertex", "google_vertex",
        "google_generative_ai",
    ),
    "aws": ("aws", "aws_bedrock", "amazon_bedrock", "bedrock", "bedrock_converse", "anthropic_bedrock", "amazon"),
    "cohere": ("cohere", "cohere_chat"),
    "mistral": ("mistral", "mistralai", "mistral_ai"),
    "groq": ("groq",),
    "deepseek": ("deepseek",),
    "x-ai": ("xai", "x_ai"),
    "perplexity": ("perplexity", "pplx"),
    "together": ("together", "togetherai", "together_ai"),
    "fireworks": ("fireworks", "fireworks_ai"),
    "moonshotai": ("moonshot", "moonshotai"),
    "openrouter": ("openrouter",),
    "voyageai": ("voyage", "voyageai"),
    "github-copilot": ("github_copilot", "copilot"),
}  # fmt: skip
_CANONICAL = {alias: provider for provider, aliases in _PROVIDERS.items() for alias in aliases}

_HOSTS = (
    (r"api\.openai\.com", "openai"),
    (r"[\w.-]+\.(?:openai|cognitiveservices|services\.ai)\.azure\.com|[\w.-]+\.azure-api\.net", "azure"),
    (r"api\.anthropic\.com", "anthropic"),
    (r"(?:[\w.-]+[.-])?(?:generativelanguage|aiplatform)\.googleapis\.com", "google"),
    (r"bedrock-(?:runtime|mantle)\.[\w-]+\.(?:amazonaws\.com|api\.aws)", "aws"),
    (r"api\.cohere\.(?:ai|com)", "cohere"),
    (r"api\.mistral\.ai", "mistral"),
    (r"api\.groq\.com", "groq"),
    (r"api\.deepseek\.com", "deepseek"),
    (r"api\.x\.ai", "x-ai"),
    (r"api\.perplexity\.ai", "perplexity"),
    (r"api\.together\.(?:xyz|ai)", "together"),
    (r"api\.fireworks\.ai", "fireworks"),
    (r"api\.moonshot\.(?:ai|cn)", "moonshotai"),
    (r"(?:api\.)?openrouter\.ai", "openrouter"),
    (r"api\.voyageai\.com", "voyageai"),
)

LOCAL_PROVIDERS = frozenset({
    "ollama", "llama.cpp", "llamacpp", "llama-cpp", "llama_cpp", "llamafile", "lmstudio", "lm_studio", "gpt4all", "mlx",
    "huggingface_pipeline", "vllm", "sglang",
})  # fmt: skip
"""Servers that run on one's own machine and send no bill."""

_BEDROCK_ID = re.compile(
    r"^(?:(?:us|us-gov|eu|apac|ap|au|jp|ca|sa|global)\.)?"
    r"(?:ai21|amazon|anthropic|cohere|deepseek|luma|meta|mistral|openai|qwen|stability|twelvelabs|writer)\."
    r"[a-z0-9][\w.-]*(?::\d+(?::\w+)?)?$"
)
_REGION = re.compile(r"^(?:us|us-gov|eu|apac|ap|au|jp|ca|sa|global)\.(?=[a-z0-9]+\.)")
_OPENAI_MODEL = re.compile(
    r"^(?:ft:)?(?:gpt-|chatgpt-|o[1-9](?:-|$)|text-embedding-|text-moderation|omni-moderation|whisper-|tts-|davinci-|babbage-"
    r"|dall-e|computer-use-)"
)
_ANTHROPIC_MODEL = re.compile(r"^claude-")
_GOOGLE_MODEL = re.compile(r"^(?:gemini-|gemma-|models/|publishers/google/|text-embedding-00|gemini-embedding)")


def canonical_provider(name: str | None, *, model: str | None = None) -> str | None:
    """The provider in the catalogue's vocabulary.

    Args:
        name: What a framework, OpenTelemetry or a user calls it (``google_genai``, ``azure.ai.openai``), or the URL or
            host of its API; None where it is not known.
        model: The model; it decides where ``name`` is None, and tells Bedrock from the model's maker.

    Returns:
        A lower-case id. A name or host that is not known comes back as it is, so that it is never taken for another
        provider. None where neither argument says.
    """
    if model is not None and name not in {"openrouter", "litellm"} and is_bedrock_id(model):
        return "aws"
    if name is None or name.strip().lower() in {"", "unknown", "litellm"}:
        return _provider_of_model(model) if model else None
    plain = name.strip().lower()
    known = _CANONICAL.get(re.sub(r"[\s.-]", "_", plain))
    return known if known is not None else _provider_of_host(plain)


def _provider_of_host(url: str) -> str:
    host = url.partition("://")[2] or url
    host = host.partition("/")[0]
    bare = host.partition(":")[0]
    return next((provider for pattern, provider in _HOSTS if re.fullmatch(pattern, bare)), host)


def _provider_of_model(model: str) -> str | None:
    name = model.strip().lower()
    prefix, slash, _ = name.partition("/")
    if slash and re.sub(r"[.-]", "_", prefix) in _CANONICAL:
        return _CANONICAL[re.sub(r"[.-]", "_", prefix)]
    for pattern, provider in ((_GOOGLE_MODEL, "google"), (_OPENAI_MODEL, "openai"), (_ANTHROPIC_MODEL, "anthropic")):
        if pattern.match(name):
            return provider
    return None


def is_bedrock_id(model: str) -> bool:
    """Whether a model is named the way Bedrock does: an ARN, or ``region.maker.model``."""
    name = model.strip().lower()
    return name.startswith(("arn:aws:bedrock:", "arn:aws-us-gov:bedrock:")) or bool(_BEDROCK_ID.match(name))


def model_names(model: str, *, provider: str | None = None) -> tuple[str, ...]:
    """Names under which a price of ``model`` may be found, the most specific first, in lower case.

    ``models/``, resource paths, ARNs, a prefix that repeats the provider, Bedrock regions and Google's three-digit
    build numbers are taken off one after the other. A fine-tuned model stays one: its base model costs less.
    """
    names = [model.strip().lower()]
    _append(names, _without_path(names[-1]))
    prefix, slash, rest = names[-1].partition("/")
    if slash and provider is not None and provider != "openrouter" and canonical_provider(prefix) == provider:
        _append(names, rest.removeprefix("converse/"))
    if provider == "aws":
        _append(names, _REGION.sub("", names[-1]))
    if provider == "google":
        _append(names, re.sub(r"-00\d$", "", names[-1]))
    return tuple(names)


def _without_path(name: str) -> str:
    if name.startswith("arn:"):
        kind, _, rest = name.split(":", 5)[-1].partition("/")
        # An application profile or provisioned model names an account's resource, not a model.
        return rest if kind in {"inference-profile", "foundation-model"} and rest else name
    if "/models/" in name:
        return name.rsplit("/models/", 1)[1]
    return name.removeprefix("models/")


def _append(names: list[str], name: str) -> None:
    if name and name not in names:
        names.append(name)


def is_local(provider: str | None, model: str | None) -> bool:
    """Whether the model runs on one's own machine; Ollama's cloud models do not."""
    name = (model or "").lower()
    return (provider or "").strip().lower() in LOCAL_PROVIDERS and not name.endswith(("-cloud", ":cloud"))


def canonical_tier(service_tier: str | None, *, batch: bool = False) -> str:
    """The service tier in one vocabulary: ``standard``, ``batch``, or the provider's word in lower case."""
    if batch:
        return "batch"
    plain = (service_tier or "").strip().lower()
    return "standard" if plain in _STANDARD_TIERS else plain


_STANDARD_TIERS = frozenset({"", "auto", "default", "standard", "standard_only", "on_demand", "on-demand", "ondemand"})
