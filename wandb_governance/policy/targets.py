"""The part of a policy document that only a gateway enforces: upstreams, keys, limits."""

from __future__ import annotations

import os
from decimal import Decimal  # noqa: TC003 - pydantic reads it
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Strict(BaseModel):
    """Refuses what it doesn't know, changes nothing, and never repeats an input in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True)


PROVIDERS = ("openai", "anthropic", "cohere", "openai-compatible")

PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveInt = Annotated[int, Field(gt=0)]


class SecretRef(Strict):
    """Where a secret is; the secret itself never stands in the document."""

    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """Name of an environment variable."""

    def resolve(self) -> str | None:
        """The secret, or None where the variable is not set."""
        return os.environ.get(self.env) or None


class Target(Strict):
    """One upstream."""

    id: Annotated[str, Field(min_length=1)]
    provider: str
    """``openai:chat:gpt-4o``, ``anthropic:messages:claude-sonnet-4-5``, ``cohere:chat:…`` or ``openai-compatible``."""
    secret_key_ref: SecretRef | None = None
    base_url: str | None = None
    """Root of the API, such as ``https://api.openai.com/v1``; required for ``openai-compatible``."""
    models: tuple[str, ...] = ()
    """Names, or globs such as ``gpt-4*``, that go to this target; by default the model in ``provider``, else all."""
    fallbacks: tuple[str, ...] = ()
    """Ids of targets to try, in order, when this one fails."""
    timeout_s: PositiveFloat = 60.0
    """Longest silence of the upstream, from the request to the first byte and between two."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """Further attempts after a connection failure, 429 or 5xx, before the first byte went to the client."""

    @field_validator("provider")
    @classmethod
    def _known_provider(cls, value: str) -> str:
        if value.split(":", 1)[0] not in PROVIDERS:
            raise ValueError(f"unknown provider; use one of {', '.join(PROVIDERS)}, as in openai:chat:gpt-4o")
        return value

    @field_validator("base_url")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        from urllib.parse import urlsplit

        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http or https URL")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("may hold no user, password, query or fragment")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _compatible_needs_url(self) -> Target:
        if self.family == "openai-compatible" and self.base_url is None:
            raise ValueError("openai-compatible needs base_url")
        return self

    @property
    def family(self) -> str:
        """Provider without endpoint and model, such as ``anthropic``."""
        return self.provider.split(":", 1)[0]

    @property
    def model(self) -> str | None:
        """Model named in ``provider``, if any."""
        parts = self.provider.split(":", 2)
        return parts[2] if len(parts) == 3 else None


class Providers(Strict):
    """The upstreams."""

    targets: tuple[Target, ...] = ()

    @model_validator(mode="after")
    def _ids_fit(self) -> Providers:
        ids = [target.id for target in self.targets]
        if len(set(ids)) != len(ids):
            raise ValueError("two targets have the same id")
        for target in self.targets:
            unknown = [name for name in target.fallbacks if name not in ids or name == target.id]
            if unknown:
                raise ValueError(f"fallbacks of {target.id!r} name no other target: {', '.join(unknown)}")
        return self


class VirtualKey(Strict):
    """A key that a client of the gateway holds instead of the provider's."""

    id: Annotated[str, Field(min_length=1)]
    """Name that stands in records."""
    secret_key_ref: SecretRef | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the key, where it shall not be in the environment."""
    roles: tuple[str, ...] = ()
    team: str | None = None
    project: str | None = None
    run: str | None = None
    tier: str | None = None
    """Experiment tier, for ``rbac``."""
    budget_usd: Annotated[Decimal, Field(ge=0)] | None = None
    """What this key may spend in ``budget_period``."""
    budget_period: Literal["hour", "day", "week", "month", "total"] = "month"

    @model_validator(mode="after")
    def _one_secret(self) -> VirtualKey:
        if (self.secret_key_ref is None) == (self.sha256 is None):
            raise ValueError("give either secret_key_ref or sha256")
        return self


class GatewayLimits(Strict):
    """What the gateway refuses before it does any work."""

    max_body_bytes: PositiveInt = 10 * 1024 * 1024
    max_header_bytes: PositiveInt = 32 * 1024
    max_concurrency: PositiveInt = 12_000
    """Requests at once in a worker; more are answered 503."""
    max_response_bytes: PositiveInt = 64 * 1024 * 1024
    body_timeout_s: PositiveFloat = 30.0
    """Longest time a client may take to send its body."""


class Breaker(Strict):
    """When an upstream is left alone for a while."""

    failures: PositiveInt = 5
    """Failures in a row that open the circuit."""
    open_s: PositiveFloat = 15.0
    """Seconds before one request may try again."""


class GatewaySection(Strict):
    """Settings of ``wandb-governance gateway run`` that are no policy."""

    keys: tuple[VirtualKey, ...] = ()
    """With none, any bearer token is accepted and forwarded to the upstream that has no ``secret_key_ref``."""
    limits: GatewayLimits = GatewayLimits()
    breaker: Breaker = Breaker()
    drain_s: PositiveFloat = 30.0
    """How long a stopping worker waits for calls in flight."""
    allow_private_upstreams: bool = True
    """Whether a ``base_url`` may resolve to a private or loopback address; link-local ones never may."""

    @model_validator(mode="after")
    def _ids_differ(self) -> GatewaySection:
        ids = [key.id for key in self.keys]
        if len(set(ids)) != len(ids):
            raise ValueError("two keys have the same id")
        return self
