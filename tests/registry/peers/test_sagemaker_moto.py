"""SageMaker roll-out against moto's server, through boto3."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from wandb_governance.registry.rollout.base import DeliveryError, Event
from wandb_governance.registry.rollout.sagemaker import SageMakerEndpoint
from wandb_governance.registry.targets import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

boto3 = pytest.importorskip("boto3", reason="runs in tox -e registry-peers")
moto_server = pytest.importorskip("moto.server")

EVENT = Event(
    id="p.sm",
    type="promotion.committed",
    promotion="p",
    thing="support-bot",
    stage="production",
    alias="production",
    collection="wandb-registry-model/support-bot",
    source="acme/bot/adapter:v1",
    root="ab" * 32,
)


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """A SageMaker on a free port."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Target(
        kind="sagemaker",
        url=f"http://{host}:{port}",
        model="support",
        role_arn="arn:aws:iam::123456789012:role/sm",
        image="1.dkr.ecr.eu-west-1.amazonaws.com/llm:1",
        region="eu-west-1",
        instance_type="ml.m5.large",
    )
    server.stop()


def test_a_first_version_is_created_and_serves(target: Target) -> None:
    """Model, configuration and endpoint; a second delivery of the same event changes nothing."""
    deliverer = SageMakerEndpoint(target=target)
    assert "serves support-bot-abababababab" in deliverer.deliver(EVENT)
    assert deliverer.deliver(EVENT) == deliverer.deliver(EVENT)
    client = boto3.client("sagemaker", region_name="eu-west-1", endpoint_url=target.url)
    assert len(client.list_models()["Models"]) == 1
    model = client.describe_model(ModelName="support-bot-abababababab")
    assert model["PrimaryContainer"]["Environment"]["WANDB_ARTIFACT"] == EVENT.source


def test_a_second_version_updates_the_endpoint(target: Target) -> None:
    """Moto lacks UpdateEndpoint, so botocore's Stubber answers that one call with SageMaker's documented shape."""
    from botocore.stub import Stubber

    client = boto3.client("sagemaker", region_name="eu-west-1")
    name = "support-bot-cdcdcdcdcdcd"
    described = {
        "EndpointName": "support",
        "EndpointArn": "arn:aws:sagemaker:eu-west-1:1:endpoint/support",
        "CreationTime": 0,
        "LastModifiedTime": 0,
    }
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:x/aaaaaaaaaaaaaaaaaaaa"

    def stub(status: str, config: str) -> dict[str, Any]:
        return {**described, "EndpointStatus": status, "EndpointConfigName": config}

    with Stubber(client) as stubber:
        stubber.add_response(
            "describe_model", {"ModelName": name, "ModelArn": arn, "ExecutionRoleArn": arn, "CreationTime": 0}
        )
        stubber.add_response(
            "describe_endpoint_config",
            {
                "EndpointConfigName": name,
                "EndpointConfigArn": arn,
                "ProductionVariants": [{"VariantName": "live"}],
                "CreationTime": 0,
            },
        )
        stubber.add_response("describe_endpoint", stub("InService", "support-bot-old"))
        wanted = {"EndpointName": "support", "EndpointConfigName": name, "RetainAllVariantProperties": True}
        stubber.add_response("update_endpoint", {"EndpointArn": arn}, wanted)
        stubber.add_response("describe_endpoint", stub("Updating", "support-bot-old"))
        with pytest.raises(DeliveryError, match="Updating"):
            SageMakerEndpoint(target=target, client=client).deliver(replace(EVENT, root="cd" * 32))
        stubber.assert_no_pending_responses()
