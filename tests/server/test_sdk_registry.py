"""Registry and automations as the SDK's public API uses them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.server.conftest import SdkScript


def test_a_registry_is_made_filled_searched_and_deleted(sdk: SdkScript) -> None:
    """Types, links, aliases, tags, search by name and alias, unlink and delete go through ``wandb.Api()``."""
    out = sdk(
        """
        import json, pathlib, wandb
        pathlib.Path("p.txt").write_text("prompt")
        api = wandb.Api()
        registry = api.create_registry("prompts", visibility="organization", artifact_types=["prompt"],
                                       organization="local-org", description="d")
        with wandb.init(project="reg") as run:
            artifact = wandb.Artifact("system", "prompt")
            artifact.add_file("p.txt")
            run.log_artifact(artifact).wait()
            run.link_artifact(artifact, "wandb-registry-prompts/System", aliases=["staging"])
            other = wandb.Artifact("other", "dataset")
            other.add_file("p.txt")
            run.log_artifact(other).wait()
            try:
                run.link_artifact(other, "wandb-registry-prompts/Data")
                refused = False
            except Exception as error:
                refused = "type" in str(error)
        linked = api.artifact("wandb-registry-prompts/System:staging")
        linked.aliases.append("production")
        linked.tags.append("checked")
        linked.save()
        found = [c.name for c in api.registries(organization="local-org", filter={"name": "prompts"}).collections()]
        versions = [v.name for v in api.registries(organization="local-org").collections().versions(
            filter={"alias": "production"})]
        types = sorted(api.registry("prompts", organization="local-org").artifact_types)
        linked.unlink()
        left = api.artifact_exists("wandb-registry-prompts/System:production")
        registry.delete()
        gone = [r.name for r in api.registries(organization="local-org")]
        print(json.dumps({"refused": refused, "found": found, "versions": versions, "types": types, "left": left,
                          "gone": sorted(gone)}))
        """,
        timeout=250,
    )
    assert json.loads(out.splitlines()[-1]) == {
        "refused": True,
        "found": ["System"],
        "versions": ["System:v0"],
        "types": ["prompt"],
        "left": False,
        "gone": ["dataset", "model"],
    }


def test_an_automation_is_created_listed_changed_and_deleted(sdk: SdkScript) -> None:
    """The SDK reads back event, filter, scope and action as it wrote them; a second of the same name is refused."""
    out = sdk(
        """
        import json, wandb
        from wandb.automations import ArtifactEvent, DoNothing, OnAddArtifactAlias
        api = wandb.Api()
        with wandb.init(project="auto") as run:
            pass
        project = api.project("auto", "local")
        event = OnAddArtifactAlias(scope=project, filter=ArtifactEvent.alias.eq("production"))
        made = api.create_automation(event >> DoNothing(), name="promoted")
        try:
            api.create_automation(event >> DoNothing(), name="promoted")
            twice = "accepted"
        except Exception as error:
            twice = "exists" in str(error)
        listed = [a for a in api.automations(entity="local")]
        changed = api.update_automation(made, enabled=False)
        print(json.dumps({"names": [a.name for a in listed], "twice": twice, "enabled": changed.enabled,
                          "event": str(listed[0].event.event_type.value), "filter": "production" in str(listed[0].event.filter),
                          "deleted": api.delete_automation(changed), "left": len(list(api.automations(entity="local")))}))
        """,
        timeout=250,
    )
    assert json.loads(out.splitlines()[-1]) == {
        "names": ["promoted"],
        "twice": True,
        "enabled": False,
        "event": "ADD_ARTIFACT_ALIAS",
        "filter": True,
        "deleted": True,
        "left": 0,
    }
