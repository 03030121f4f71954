"""Every operation of the SDK is answered, and every field it selects is resolved or null on purpose."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.server.client import Api, open_api
from tests.server.documents import sdk_documents

HOSTED = {
    "ViewAccessTokens", "createAccessToken", "revokeAccessToken", "updateAccessTokenProjects",
}  # fmt: skip
"""Public links to reports: this server has no public."""

LAUNCH = {
    "CreateDefaultResourceConfig", "CreateRunQueue", "DeleteFromRunQueue", "DeleteRunQueue", "GetDefaultResourceConfig",
    "GetRunQueueItem", "GetRunQueueItems", "GetRunQueueMetadata", "UpsertRunQueue", "fetchRunQueuesFromProject",
}  # fmt: skip
"""Queues of W&B Launch: jobs on other machines are not what this server is for."""

_RUN = (
    "commit config createdAt description displayName group heartbeatAt historyLineCount id jobType name notes "
    "projectId readOnly state summaryMetrics sweepName systemMetrics tags user { name username } historyKeys"
)

COMPOSED = {
    "Run": f"query Run($project: String!, $entity: String!, $name: String!) {{ project(name: $project, entityName: "
    f"$entity) {{ run(name: $name) {{ {_RUN} }} }} }}",
    "Runs": f"query Runs($project: String!, $entity: String!, $filters: JSONString, $order: String) {{ project(name: "
    f"$project, entityName: $entity) {{ internalId readOnly runCount(filters: $filters) runs(filters: $filters, order: "
    f"$order) {{ edges {{ cursor node {{ {_RUN} }} }} pageInfo {{ endCursor hasNextPage }} }} }} }}",
    "RunFiles": "query RunFiles($project: String!, $entity: String!, $name: String!) { project(name: $project, "
    "entityName: $entity) { internalId run(name: $name) { fileCount files { edges { cursor node { directUrl id md5 "
    "mimetype name sizeBytes updatedAt url } } pageInfo { endCursor hasNextPage } } } } }",
    "RunFullHistory": "query RunFullHistory($project: String!, $entity: String!, $name: String!) { project(name: "
    "$project, entityName: $entity) { run(name: $name) { events(samples: 10) history(samples: 10) } } }",
    "DeleteRun": "mutation DeleteRun($id: ID!, $deleteArtifacts: Boolean) { deleteRun(input: {id: $id, "
    "deleteArtifacts: $deleteArtifacts}) { clientMutationId } }",
}  # fmt: skip
"""Documents that the SDK puts together while it runs."""


def _documents() -> list[Any]:
    found = {name: [text] for name, text in COMPOSED.items()} | sdk_documents()
    return [
        pytest.param(name, text, id=f"{name}-{i}" if i else name)
        for name, texts in sorted(found.items())
        if name not in LAUNCH | HOSTED
        for i, text in enumerate(texts)
    ]


@pytest.fixture
def api(seeded: tuple[Path, dict[str, Any]], tmp_path: Path) -> Api:
    """A server of this test's own with one of everything."""
    folder, names = seeded
    shutil.copytree(folder, tmp_path / "data")
    api = open_api(tmp_path / "data")
    api.names.update(names)
    return api


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A data directory with one of everything, and the ids in it."""
    folder = tmp_path_factory.mktemp("seed") / "data"
    api = open_api(folder)
    names = api.names
    names["run"] = api.run("r1", config='{"lr": {"value": 1}, "_wandb": {"value": {"t": {"1": [1]}}}}', tags=["a"])
    lines = [json.dumps({"_step": i, "_timestamp": 1.5 + i, "loss": 1 / (i + 1)}) for i in range(5)]
    stream = {
        "wandb-history.jsonl": {"offset": 0, "content": lines},
        "wandb-events.jsonl": {"offset": 0, "content": ['{"system.cpu": 1, "_timestamp": 1.5}']},
        "wandb-summary.json": {"offset": 0, "content": ['{"loss": 0.2}']},
        "output.log": {"offset": 0, "content": ["2026-01-01T00:00:00.000000 hello"]},
    }
    assert api.stream("r1", {"files": stream}).status_code == 200
    files = api.ask(
        'mutation M { createRunFiles(input: {entityName: "local", projectName: "p", runName: "r1", files: ["a.txt"]}) '
        "{ files { uploadUrl } } }"
    )
    api.put(files["createRunFiles"]["files"][0]["uploadUrl"], b"hello")
    names["file"] = api.ask('{ project(name: "p") { run(name: "r1") { files { edges { node { id } } } } } }')[
        "project"
    ]["run"]["files"]["edges"][0]["node"]["id"]
    names["artifact"] = api.artifact({"f.txt": b"1"}, run="r1", clientID="client-1", tags=[{"tagName": "t"}])
    names["pending"] = api.artifact({"f.txt": b"2"}, run="r1", commit=False)
    names["manifest"] = api.ask(
        "mutation M($i: X) { createArtifactManifest(input: $i) { artifactManifest { id } } }",
        i={"artifactID": names["pending"], "name": "patch.json", "digest": "", "type": "PATCH"},
    )["createArtifactManifest"]["artifactManifest"]["id"]
    api.ask(
        "mutation M($i: X) { useArtifact(input: $i) { artifact { id } } }",
        i={"artifactID": names["artifact"], "entityName": "local", "projectName": "p", "runName": "r1"},
    )
    assert api.link(names["artifact"], "M", "staging").status_code == 200
    project = api.ask('{ project(name: "p") { id artifactCollection(name: "set") { id } } }')["project"]
    names["project"], names["sequence"] = project["id"], project["artifactCollection"]["id"]
    registry = api.ask(
        '{ project(name: "wandb-registry-model", entityName: "local-org-registries") { id '
        'artifactCollection(name: "M") '
        "{ id } } }"
    )["project"]
    names["registry"], names["portfolio"] = registry["id"], registry["artifactCollection"]["id"]
    sweep = api.ask(
        "mutation M($i: X) { upsertSweep(input: $i) { sweep { id name } } }",
        i={"entityName": "local", "projectName": "p", "config": "method: grid\nparameters: {a: {values: [1, 2]}}\n"},
    )["upsertSweep"]["sweep"]
    names["sweep"], names["sweep_id"] = sweep["name"], sweep["id"]
    names["agent"] = api.ask(
        "mutation M($i: X) { createAgent(input: $i) { agent { id } } }",
        i={"entityName": "local", "projectName": "p", "sweep": sweep["name"], "host": "h"},
    )["createAgent"]["agent"]["id"]
    api.ask("mutation M($i: X) { agentHeartbeat(input: $i) { commands } }", i={"id": names["agent"]})
    api.ask('mutation M { createTeam(input: {teamName: "team1"}) { entity { id } } }')
    names["user"] = api.ask("{ viewer { id } }")["viewer"]["id"]
    names["team"] = api.ask('{ entity(name: "team1") { id } }')["entity"]["id"]
    api.services.database.close()
    return folder, names


def _alias(collection: str, alias: str, project: str = "p", entity: str = "local") -> dict[str, str]:
    return {
        "entityName": entity, "projectName": project, "artifactCollectionName": collection, "alias": alias,
    }  # fmt: skip


def _inputs(names: dict[str, Any]) -> dict[str, Any]:
    """``$input`` by operation."""
    where = {"entityName": "local", "projectName": "p"}
    registry = {"entityName": "local-org-registries", "projectName": "wandb-registry-model"}
    members = {"projectId": names["registry"], "userIds": [names["user"]]}
    trigger = {
        "name": "a1", "enabled": True, "scopeType": "PROJECT", "scopeID": names["project"],
        "triggeringEventType": "CREATE_ARTIFACT", "eventFilter": '{"$or":[{"$and":[]}]}',
        "triggeredActionType": "NO_OP", "triggeredActionConfig": {"noOpActionInput": {"noOp": True}},
    }  # fmt: skip
    return {
        "AddAliases": {"artifactID": names["artifact"], "aliases": [_alias("set", "new")]},
        "DeleteAliases": {"artifactID": names["artifact"], "aliases": [_alias("set", "latest")]},
        "AddArtifactCollectionTags": {**where, "artifactCollectionName": "set", "tags": [{"tagName": "x"}]},
        "DeleteArtifactCollectionTags": {**where, "artifactCollectionName": "set", "tags": [{"tagName": "x"}]},
        "CreateArtifact": {**where, "artifactTypeName": "dataset", "artifactCollectionName": "new", "digest": "d",
                           "aliases": [], "runName": "r1"},
        "CreateArtifactFiles": {"artifactFiles": [{"artifactID": names["pending"], "name": "n", "md5":
                                "mntkyYsGZgKyH4aa581nOg=="}]},
        "CreateAutomation": trigger,
        "UpdateAutomation": {**trigger, "id": names.get("trigger")},
        "CreateGenericWebhookIntegration": {"entityName": "team1", "name": "hook", "urlEndpoint": "http://127.0.0.1:9/"},
        "CreateProject": {"entityName": "local", "name": "fresh"},
        "CreateRegistryMembers": members,
        "DeleteRegistryMembers": members,
        "UpdateUserRegistryRole": {"projectId": names["registry"], "userId": names["user"], "userProjectRole": "admin"},
        "UpdateTeamRegistryRole": {"projectId": names["registry"], "teamId": names["team"], "teamProjectRole": "admin"},
        "DeleteArtifact": {"artifactID": names["artifact"], "deleteAliases": True},
        "LinkArtifact": {**registry, "artifactID": names["artifact"], "artifactPortfolioName": "M", "aliases": []},
        "UnlinkArtifact": {"artifactID": names["artifact"], "artifactPortfolioID": names["portfolio"]},
        "UpdateArtifact": {"artifactID": names["artifact"], "description": "d", "tagsToAdd": [{"tagName": "z"}]},
        "UpdateArtifactPortfolio": {"artifactPortfolioID": names["portfolio"], "description": "d"},
        "UpdateArtifactSequence": {"artifactSequenceID": names["sequence"], "description": "d"},
        "UpdateArtifactSequenceType": {"artifactSequenceID": names["sequence"], "destinationArtifactTypeName": "other"},
        "UpdateRunState": {"id": names["run"], "state": "failed"},
        "UpsertRegistry": {"entityName": "local-org-registries", "name": "wandb-registry-new", "artifactTypes":
                           [{"name": "policy"}], "allowAllArtifactTypesInRegistry": False},
        "RenameRegistry": {"entityName": "local-org-registries", "oldProjectName": "wandb-registry-model",
                           "newProjectName": "wandb-registry-models"},
        "UseArtifact": {**where, "artifactID": names["artifact"], "runName": "r1"},
    }  # fmt: skip


_IDS = {
    "ArtifactByID": "artifact", "ArtifactCreatedBy": "artifact", "ArtifactUsedBy": "artifact",
    "FetchArtifactManifest": "artifact", "ArtifactCollectionAliases": "sequence", "DeleteArtifactSequence": "sequence",
    "DeleteArtifactPortfolio": "portfolio", "DeleteRegistry": "registry", "DeleteRun": "run", "StopRun": "run",
    "UpsertSweepState": "sweep_id", "EnqueueSweepRun": "sweep_id", "Heartbeat": "agent", "DeleteAutomation": "trigger",
    "DeleteInvite": "user", "DeleteApiKey": "key", "deleteView": "view",
    "ArtifactFileURLsByManifestEntries": "artifact",
}  # fmt: skip


def _variables(operation: str, names: dict[str, Any]) -> dict[str, Any]:
    """Variables that name what the fixture made; a document takes those it declares."""
    spec = '{"keys": ["_step", "loss"], "samples": 10}'
    name = {
        "ArtifactMembershipByName": "set:latest", "ArtifactType": "set:latest", "GetProject": "p",
        "FetchRegistry": "wandb-registry-model", "GetSweep": names["sweep"], "GetSweepLegacy": names["sweep"],
        "GetTeamEntity": "team1", "ProjectArtifactCollection": "set", "CreateArtifactManifest": "wandb_manifest.json",
        "UpsertView2": "nw-1-v", "upsertView": "v1", "View": "p", "Project": "p",
    }  # fmt: skip
    of_registry = operation in {"FetchRegistry", "RegistryUserMembers", "RegistryTeamMembers"}
    entity = (
        "local-org-registries"
        if of_registry
        else "team1"
        if operation in {"CreateInvite", "DeleteInvite", "CreateServiceAccount", "IntegrationsByEntity"}
        else "local"
    )
    project = "wandb-registry-model" if of_registry else "p"
    return {
        "entity": entity, "entityName": entity, "project": project, "projectName": project,
        "run": "r1", "runName": "r1", "name": name.get(operation, "r1"), "sweep": names["sweep"],
        "type": "dataset", "collection": "set", "alias": "latest", "agentID": names["agent"],
        "organization": "local-org", "org": "local-org", "orgName": "local-org", "clientID": "client-1",
        "id": names.get(_IDS.get(operation, "")), "artifactID": names["pending" if "Commit" in operation or
            "Manifest" in operation else "artifact"], "artifact_id": names["artifact"],
        "artifactManifestID": names["manifest"], "manifestType": "FULL", "includeUpload": True, "digest": "d",
        "artifactTypeName": "dataset", "artifactCollectionName": "set", "artifactPortfolioName": "M",
        "artifactId": names["artifact"], "files": ["a.txt"] if operation != "deleteFiles" else [names["file"]],
        "specs": [spec], "spec": spec, "historySpecs": [spec], "liveKeys": ["_step"], "samples": 10, "first": 10,
        "last": 10, "minStep": 0, "maxStep": 100, "pageSize": 10, "perPage": 10, "reportLimit": 10,
        "filters": "{}", "config": "{}" if operation in {"EnqueueSweepRun", "UpsertBucket"} else None,
        "state": "RUNNING" if "Sweep" in operation else None, "host": "h", "metrics": "{}", "runState": "{}",
        "metricName": "_step", "metricValue": 2.0, "title": "t", "text": "t", "severity": "INFO", "query": "local",
        "email": "new@example.com", "username": "local", "teamName": "team2", "description": "d", "desc": "d",
        "storageLayout": "V2", "manifestVersion": "1", "entries": [{"name": "f.txt", "digest": "x"}],
        "entryList": [], "spec_": None, "displayName": "d", "viewType": "runs", "type_": None, "chartName": "c",
        "chartType": "vega2", "access": "private", "reportId": names.get("view"),
        "input": _inputs(names).get(operation),
        "completedParts": [], "completeMultipartAction": "Abort", "storagePath": "x", "uploadID": names.get("upload"),
        "entityNames": None, "userName": None, "fileNames": None, "deleteArtifacts": False,
    }  # fmt: skip


def _prepare(operation: str, api: Api) -> None:
    """What an operation needs beyond the fixture."""
    names = api.names
    if operation in {"UpdateAutomation", "DeleteAutomation"}:
        made = api.ask(
            "mutation M($i: X) { createFilterTrigger(input: $i) { trigger { id } } }",
            i=_inputs(names)["CreateAutomation"],
        )
        names["trigger"] = made["createFilterTrigger"]["trigger"]["id"]
    if operation in {"SpecificReport", "deleteView", "DeleteView"}:
        made = api.ask(
            'mutation M { upsertView(input: {entityName: "local", projectName: "p", name: "v", type: "runs", '
            'spec: "{}"}) '
            "{ view { id } } }"
        )
        names["view"] = made["upsertView"]["view"]["id"]
    if operation == "DeleteApiKey":
        made = api.ask('mutation M { generateApiKey(input: {description: "d"}) { apiKey { id } } }')
        names["key"] = made["generateApiKey"]["apiKey"]["id"]
    if operation == "UpdateRunState":
        api.ask(
            "mutation M($i: X) { updateRunState(input: $i) { success } }", i={"id": names["run"], "state": "pending"}
        )
    if operation == "CompleteMultipartUploadArtifact":
        part = {"artifactID": names["artifact"], "name": "big", "md5": "1B2M2Y8AsgTpgAmY7PhCfg==",
                "uploadPartsInput": [{"partNumber": 1, "hexMD5": "x"}]}  # fmt: skip
        made = api.ask(
            "mutation M($i: X) { createArtifactFiles(input: $i) { files { edges { node { uploadMultipartUrls { "
            "uploadID } } } } } }",
            i={"artifactFiles": [part]},
        )
        edge = made["createArtifactFiles"]["files"]["edges"][0]
        names["upload"] = edge["node"]["uploadMultipartUrls"]["uploadID"]


@pytest.mark.parametrize(("operation", "document"), _documents())
def test_an_operation_of_the_sdk_is_answered_in_full(api: Api, operation: str, document: str) -> None:
    """The answer is 200 with data and no field stays without a resolver."""
    _prepare(operation, api)
    variables = _variables(operation, api.names)
    if operation == "UpsertSweep" and "$config" in document:
        variables |= {"config": "method: random\nparameters: {a: {min: 0.0, max: 1.0}}\n"}
    elif operation == "UpsertSweep":
        variables |= {"id": api.names["sweep_id"]}
    if operation == "UpsertBucket" and "$name" not in document:
        variables |= {"id": api.names["run"]}
    declared = {name for name in variables if f"${name}:" in document.replace(" :", ":")}
    given = {name: variables[name] for name in declared if variables[name] is not None}
    answer = api.post(document, given, "")
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]
    assert dict(api.services.unresolved) == {}


def test_every_recorded_operation_is_tested() -> None:
    """The record of SDK 0.31.0's operations has none that the table above leaves out."""
    record = json.loads((Path(__file__).parent / "operations.json").read_text())
    tested = {parameter.values[0] for parameter in _documents()}
    assert set(record) - tested == set()
