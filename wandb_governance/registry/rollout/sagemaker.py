"""A SageMaker endpoint: model, endpoint configuration and endpoint, named after the content they serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import MissingExtraError
from wandb_governance.registry.rollout.base import DeliveryError, Event

if TYPE_CHECKING:
    from wandb_governance.registry.targets import Target

_SERVING = "InService"
_UNDER_WAY = ("Creating", "Updating", "SystemUpdating", "RollingBack")


@dataclass(frozen=True, slots=True, kw_only=True)
class SageMakerEndpoint:
    """Creates what is missing and updates the endpoint; done when it is in service with the new configuration.

    Credentials come from boto3's own chain. ``url`` of the target overrides the endpoint, for tests and VPC endpoints.
    """

    target: Target
    client: Any = None

    def deliver(self, event: Event) -> str:
        """See ``Deliverer.deliver``; an endpoint that is still changing is tried again later."""
        client = self.client or _client(self.target)
        name, endpoint = event.deployed_name.replace("_", "-")[:63], str(self.target.model)
        try:
            self._model(client, name, event)
            self._configuration(client, name)
            status, live = self._endpoint(client, endpoint)
            if status is None:
                client.create_endpoint(EndpointName=endpoint, EndpointConfigName=name)
            elif live != name and status == _SERVING:
                client.update_endpoint(EndpointName=endpoint, EndpointConfigName=name, RetainAllVariantProperties=True)
            status, live = self._endpoint(client, endpoint)
        except client.exceptions.ClientError as error:
            raise DeliveryError(f"SageMaker: {error}") from error
        if status == _SERVING and live == name:
            return f"endpoint {endpoint} serves {name}"
        if status in _UNDER_WAY:
            raise DeliveryError(f"endpoint {endpoint} is {status}")
        raise DeliveryError(f"endpoint {endpoint} is {status} with {live}", final=status == "UpdateRollbackFailed")

    def _model(self, client: Any, name: str, event: Event) -> None:
        if not _exists(client, lambda: client.describe_model(ModelName=name)):
            tags = [{"Key": "wandb-governance:promotion", "Value": event.promotion}]
            environment = {"WANDB_ARTIFACT": event.source, "WANDB_ARTIFACT_SHA256": event.root}
            client.create_model(
                ModelName=name,
                ExecutionRoleArn=self.target.role_arn,
                PrimaryContainer={"Image": self.target.image, "Environment": environment},
                Tags=tags,
            )

    def _configuration(self, client: Any, name: str) -> None:
        if not _exists(client, lambda: client.describe_endpoint_config(EndpointConfigName=name)):
            variant = {
                "VariantName": "live",
                "ModelName": name,
                "InitialInstanceCount": 1,
                "InstanceType": self.target.instance_type,
            }
            client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])

    def _endpoint(self, client: Any, endpoint: str) -> tuple[str | None, str | None]:
        found: dict[str, Any] = {}
        if not _exists(client, lambda: found.update(client.describe_endpoint(EndpointName=endpoint))):
            return None, None
        return found["EndpointStatus"], found["EndpointConfigName"]


def _exists(client: Any, describe: Any) -> bool:
    try:
        describe()
    except client.exceptions.ClientError as error:
        if "Could not find" in str(error):
            return False
        raise
    return True


def _client(target: Target) -> Any:
    try:
        import boto3  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise MissingExtraError("boto3", extra="sagemaker") from error
    return boto3.client("sagemaker", region_name=target.region, endpoint_url=target.url)
