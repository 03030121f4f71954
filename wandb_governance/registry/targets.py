"""The parts of ``governance.yaml`` that name other systems. Secrets stand there as references only."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from wandb_governance.registry.gates.base import DurationNs, Section
from wandb_governance.registry.keys import SecretReference

_HOUR_NS = 3_600 * 1_000_000_000


class Secret(Section):
    """Where a secret is: exactly one of env, file and keyring. The secret itself never stands in the file."""

    env: str | None = None
    file: str | None = None
    keyring: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(place is not None for place in (self.env, self.file, self.keyring)) != 1:
            raise ValueError("needs exactly one of env, file and keyring; the secret itself never stands in this file")
        return self

    @property
    def reference(self) -> SecretReference:
        """The reference that can be read."""
        return SecretReference(env=self.env, file=self.file, keyring=self.keyring)


class Target(Section):
    """Something that must learn which version is live."""

    kind: Literal["webhook", "vllm", "sagemaker", "github_dispatch", "gateway_alias"]
    url: str | None = None
    urls: tuple[str, ...] = Field(default=(), strict=False)
    """Replicas, for vllm."""
    secret: Secret | None = None
    """Signing key of a webhook (``whsec_...``) or the token of an API."""
    repository: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    event_type: str = Field(default="wandb-governance-promotion", max_length=100)
    file: str | None = None
    """The gateway's model-alias file."""
    model: str | None = None
    """Model name that clients ask the gateway or SageMaker's endpoint for."""
    adapter_root: str | None = None
    """Folder below which vLLM finds adapters by name."""
    role_arn: str | None = None
    image: str | None = None
    instance_type: str = "ml.g5.xlarge"
    region: str | None = None
    max_attempts: int = Field(default=8, ge=1, le=50)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed: dict[str, tuple[str, ...]] = {
            "webhook": ("url", "secret"),
            "vllm": ("urls", "adapter_root"),
            "sagemaker": ("model", "role_arn", "image", "region"),
            "github_dispatch": ("repository", "secret"),
            "gateway_alias": ("file", "model"),
        }
        missing = [name for name in needed[self.kind] if not getattr(self, name)]
        if missing:
            raise ValueError(f"a {self.kind} target needs {', '.join(missing)}")
        return self


class Jira(Section):
    """A Jira project in which approvals are issues."""

    url: str
    project: str
    api: Literal["2", "3"] = "3"
    issue_type: str = "Task"
    approved_status_ids: tuple[str, ...] = Field(min_length=1, strict=False)
    """Status ids that mean yes; names are translated and renamed, ids are not."""
    rejected_status_ids: tuple[str, ...] = Field(default=(), strict=False)
    user: Secret | None = None
    """E-mail for Basic authentication; without it the token is a bearer token."""
    token: Secret


class ServiceNow(Section):
    """A ServiceNow instance in which approvals are change requests."""

    url: str
    user: Secret
    password: Secret
    binding_field: str = "u_wandb_governance_digest"
    """A field of change_request that holds what the approval is bound to."""


class GitHub(Section):
    """A repository whose environment reviews count as approvals."""

    url: str = "https://api.github.com"
    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    environment: str = "production"
    ref: str = "main"
    token: Secret


class CredoAI(Section):
    """A Credo AI use case whose assessment must be clear."""

    url: str = "https://api.credo.ai"
    tenant: str
    use_case: str
    controls: tuple[str, ...] = Field(min_length=1, strict=False)
    """Control keys that must be met; our evidence is attached to each."""
    met_statuses: tuple[str, ...] = Field(min_length=1, strict=False)
    """Statuses of a control that count as met; any other is a no."""
    decision_events: tuple[str, ...] = Field(min_length=1, strict=False)
    """Names of audit-log events whose user is the approver."""
    token: Secret


class TicketSystems(Section):
    """Systems in which people approve."""

    jira: Jira | None = None
    servicenow: ServiceNow | None = None
    github: GitHub | None = None
    credoai: CredoAI | None = None
    poll_after: DurationNs = _HOUR_NS
