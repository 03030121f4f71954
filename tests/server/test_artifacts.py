"""Artifacts: versions, aliases, manifests, files, lineage, time to live."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.server.client import Api, SteppedClock, open_api
from wandb_governance.server.upkeep import end_artifacts

if TYPE_CHECKING:
    from pathlib import Path

    from wandb_governance.server.hook import Actor


@pytest.fixture
def api(tmp_path: Path) -> Api:
    """A server with a run."""
    api = open_api(tmp_path / "data")
    api.run()
    return api


def _member(api: Api, name: str, fields: str = "versionIndex") -> Any:
    query = f'query Q($n: String!) {{ project(name: "p") {{ artifactCollectionMembership(name: $n) {{ {fields} }} }} }}'
    return api.ask(query, n=name)["project"]["artifactCollectionMembership"]


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def _mutate(api: Api, operation: str, fields: str, /, **given: Any) -> Any:
    return api.post(f"mutation M($i: X) {{ {operation}(input: $i) {{ {fields} }} }}", {"i": given})


def test_versions_count_up_and_latest_follows(api: Api) -> None:
    """Each new content is a new version; ``latest`` is the newest, older ones stay reachable by number and digest."""
    first = api.artifact({"f": b"1"})
    api.artifact({"f": b"2"})
    assert _member(api, "set")["versionIndex"] == 1
    assert _member(api, "set:v0", "artifact { id }")["artifact"]["id"] == first
    digest = _member(api, "set:v0", "artifact { digest }")["artifact"]["digest"]
    assert _member(api, f"set:{digest}")["versionIndex"] == 0
    assert _member(api, "set:v7") is None
    assert _member(api, "nothing:latest") is None


def test_equal_content_is_the_same_version_and_takes_the_new_aliases(api: Api) -> None:
    """A second log of the same digest uploads nothing and moves the aliases."""
    first = api.artifact({"f": b"1"})
    second = api.artifact({"f": b"1"}, aliases=[{"artifactCollectionName": "set", "alias": "again"}])
    assert first == second
    assert _member(api, "set:again")["versionIndex"] == 0


def test_known_bytes_need_no_upload(api: Api) -> None:
    """The link for a file whose bytes are here is null, in whatever artifact they came."""
    api.artifact({"f": b"same"})
    pending = api.artifact({"g": b"new"}, name="other", commit=False)
    specs = [{"artifactID": pending, "name": name, "md5": _md5(data)} for name, data in (("a", b"x"), ("b", b"same"))]
    answer = _mutate(api, "createArtifactFiles", "files { edges { node { uploadUrl } } }", artifactFiles=specs).json()
    links = [edge["node"]["uploadUrl"] for edge in answer["data"]["createArtifactFiles"]["files"]["edges"]]
    assert links[0] is not None
    assert links[1] is None


def test_an_alias_is_at_one_version_only_whoever_moves_it(api: Api) -> None:
    """Threads that move one alias between versions leave it at exactly one of them, at every moment."""
    ids = [api.artifact({"f": str(i).encode()}) for i in range(4)]
    entry = {"entityName": "local", "projectName": "p", "artifactCollectionName": "set", "alias": "prod"}
    seen: list[int] = []

    def move(artifact_id: str) -> None:
        for _ in range(10):
            assert _mutate(api, "addAliases", "success", artifactID=artifact_id, aliases=[entry]).status_code == 200
            query = (
                '{ project(name: "p") { artifactCollection(name: "set") { aliases { edges { node { alias } } } } } }'
            )
            edges = api.ask(query)["project"]["artifactCollection"]["aliases"]["edges"]
            seen.append(sum(edge["node"]["alias"] == "prod" for edge in edges))

    threads = [threading.Thread(target=move, args=(artifact_id,)) for artifact_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 40


@pytest.mark.parametrize("alias", ["v3", "a/b", "a:b", "", "x" * 129])
def test_a_name_that_can_not_be_an_alias_is_refused(api: Api, alias: str) -> None:
    """A version number is reserved."""
    artifact = api.artifact({"f": b"1"})
    entry = {"entityName": "local", "projectName": "p", "artifactCollectionName": "set", "alias": alias}
    assert _mutate(api, "addAliases", "success", artifactID=artifact, aliases=[entry]).status_code == 400


def test_an_artifact_can_not_be_committed_before_its_bytes_are_here(api: Api) -> None:
    """A manifest that names a missing file leaves the version pending."""
    manifest = json.dumps({"version": 1, "contents": {"f": {"digest": _md5(b"missing"), "size": 7}}}).encode()
    made = _mutate(
        api, "createArtifact", "artifact { id }", artifactTypeName="dataset", artifactCollectionName="half",
        entityName="local", projectName="p", digest="d", aliases=[],
    ).json()  # fmt: skip
    artifact = made["data"]["createArtifact"]["artifact"]["id"]
    empty = _mutate(api, "commitArtifact", "artifact { id }", artifactID=artifact)
    assert empty.status_code == 422
    link = _mutate(
        api, "createArtifactManifest", "artifactManifest { file { uploadUrl } }", artifactID=artifact, name="m.json",
        digest=_md5(manifest), type="FULL",
    ).json()["data"]["createArtifactManifest"]["artifactManifest"]["file"]["uploadUrl"]  # fmt: skip
    assert api.put(link, b"other bytes").status_code == 422
    assert api.put(link, manifest).status_code == 200
    refused = _mutate(api, "commitArtifact", "artifact { id }", artifactID=artifact)
    assert refused.status_code == 422
    assert "'f' has not been uploaded" in refused.json()["errors"][0]["message"]
    assert _member(api, "half:latest") is None


def test_a_file_with_other_bytes_than_announced_is_refused(api: Api) -> None:
    """The MD5 in the link is checked against what arrives."""
    pending = api.artifact({"f": b"1"}, commit=False)
    spec = {"artifactID": pending, "name": "g", "md5": _md5(b"right")}
    answer = _mutate(api, "createArtifactFiles", "files { edges { node { uploadUrl } } }", artifactFiles=[spec]).json()
    url = answer["data"]["createArtifactFiles"]["files"]["edges"][0]["node"]["uploadUrl"]
    assert api.put(url, b"wrong").status_code == 422
    assert api.put(url, b"right").status_code == 200


def test_an_incremental_manifest_is_laid_over_its_base(api: Api) -> None:
    """The committed manifest holds every earlier entry and the new one."""
    base = api.artifact({"0.json": b"zero"}, name="inc")
    api.artifact({"1.json": b"one"}, name="warm")  # brings the bytes of the increment
    made = _mutate(
        api, "createArtifact", "artifact { id artifactSequence { latestArtifact { id } } }", artifactTypeName="dataset",
        artifactCollectionName="inc", entityName="local", projectName="p", digest="inc-1", aliases=[],
    ).json()["data"]["createArtifact"]["artifact"]  # fmt: skip
    assert made["artifactSequence"]["latestArtifact"]["id"] == base
    increment = json.dumps({"version": 1, "contents": {"1.json": {"digest": _md5(b"one"), "size": 3}}}).encode()
    manifest = _mutate(
        api, "createArtifactManifest", "artifactManifest { id }", artifactID=made["id"], digest="",
        name="wandb_manifest.incremental.json", type="INCREMENTAL", baseArtifactID=base,
    ).json()["data"]["createArtifactManifest"]["artifactManifest"]["id"]  # fmt: skip
    link = _mutate(
        api, "updateArtifactManifest", "artifactManifest { file { uploadUrl } }", artifactManifestID=manifest,
        digest=_md5(increment), baseArtifactID=base,
    ).json()["data"]["updateArtifactManifest"]["artifactManifest"]["file"]["uploadUrl"]  # fmt: skip
    api.put(link, increment)
    api.commit(made["id"])
    found = _member(
        api, "inc:latest", "files { totalCount edges { node { name directUrl } } } artifact { size fileCount }"
    )
    assert [edge["node"]["name"] for edge in found["files"]["edges"]] == ["0.json", "1.json"]
    assert found["artifact"] == {"size": 7, "fileCount": 2}
    assert api.http.get(found["files"]["edges"][1]["node"]["directUrl"]).content == b"one"


def test_writers_of_a_distributed_artifact_share_one_version(api: Api) -> None:
    """Patches of one distributed id meet in one version, whose manifest holds them all."""
    ids = set()
    for name, data in (("a", b"aa"), ("b", b"bb")):
        api.artifact({name: data}, name=f"bytes-{name}")
        made = _mutate(
            api, "createArtifact", "artifact { id }", artifactTypeName="dataset", artifactCollectionName="shared",
            entityName="local", projectName="p", digest="", distributedID="together", aliases=[],
        ).json()["data"]["createArtifact"]["artifact"]["id"]  # fmt: skip
        ids.add(made)
        patch = json.dumps({"version": 1, "contents": {name: {"digest": _md5(data), "size": 2}}}).encode()
        manifest = _mutate(
            api, "createArtifactManifest", "artifactManifest { file { uploadUrl } }", artifactID=made, type="PATCH",
            name="wandb_manifest.patch.json", digest=_md5(patch),
        ).json()["data"]["createArtifactManifest"]["artifactManifest"]["file"]["uploadUrl"]  # fmt: skip
        api.put(manifest, patch)
    assert len(ids) == 1
    api.commit(ids.pop())
    found = _member(api, "shared:latest", "files { edges { node { name } } }")
    assert [edge["node"]["name"] for edge in found["files"]["edges"]] == ["a", "b"]


def test_a_large_file_arrives_in_parts(api: Api) -> None:
    """Parts are joined in order and the whole must have the announced MD5."""
    parts = [b"a" * 1000, b"b" * 1000, b"c" * 10]
    whole = _md5(b"".join(parts))
    pending = api.artifact({"f": b"1"}, name="big", commit=False)
    spec = {
        "artifactID": pending,
        "name": "big",
        "md5": whole,
        "uploadPartsInput": [{"partNumber": i} for i in (1, 2, 3)],
    }
    parts_fields = "uploadMultipartUrls { uploadID uploadUrlParts { partNumber uploadUrl } }"
    fields = f"files {{ edges {{ node {{ storagePath {parts_fields} }} }} }}"
    answer = _mutate(api, "createArtifactFiles", fields, artifactFiles=[spec]).json()
    node = answer["data"]["createArtifactFiles"]["files"]["edges"][0]["node"]
    upload = node["uploadMultipartUrls"]
    done = {"artifactID": pending, "uploadID": upload["uploadID"], "storagePath": node["storagePath"],
            "completeMultipartAction": "Complete",
            "completedParts": [{"partNumber": i} for i in (1, 2, 3)]}  # fmt: skip
    for link, part in zip(upload["uploadUrlParts"][:2], parts, strict=False):
        assert api.put(link["uploadUrl"], part).headers["etag"]
    assert _mutate(api, "completeMultipartUploadArtifact", "digest", **done).status_code == 422
    api.put(upload["uploadUrlParts"][2]["uploadUrl"], parts[2])
    complete = _mutate(api, "completeMultipartUploadArtifact", "digest", **done)
    assert complete.json()["data"]["completeMultipartUploadArtifact"]["digest"] == whole


def test_deleting_needs_the_aliases_to_go_and_latest_moves_back(api: Api) -> None:
    """A version with aliases is refused with their names; after it is gone the one before it is latest."""
    api.artifact({"f": b"1"})
    second = api.artifact({"f": b"2"})
    refused = _mutate(api, "deleteArtifact", "artifact { id }", artifactID=second)
    assert refused.status_code == 422
    assert "'latest'" in refused.json()["errors"][0]["message"]
    assert _mutate(api, "deleteArtifact", "artifact { id }", artifactID=second, deleteAliases=True).status_code == 200
    assert _member(api, "set:latest")["versionIndex"] == 0
    assert _member(api, "set:v1") is None
    assert api.ask("query Q($i: ID!) { artifact(id: $i) { id } }", i=second)["artifact"] is None


def test_a_version_number_is_never_given_twice(api: Api) -> None:
    """The version after a deleted one has a new number, so an old reference can't come to mean new bytes."""
    api.artifact({"f": b"1"})
    second = api.artifact({"f": b"2"})
    _mutate(api, "deleteArtifact", "artifact { id }", artifactID=second, deleteAliases=True)
    api.artifact({"f": b"3"})
    assert _member(api, "set:latest")["versionIndex"] == 2


def test_the_time_to_live_ends_a_version_unless_it_is_linked(tmp_path: Path) -> None:
    """A version that a registry holds stays."""
    clock = SteppedClock()
    api = open_api(tmp_path / "data", clock=clock)
    api.run()
    api.artifact({"f": b"1"}, ttlDurationSeconds=60)
    linked = api.artifact({"f": b"2"}, ttlDurationSeconds=60)
    api.link(linked, "Kept")
    clock.step(59)
    assert end_artifacts(api.services) == 0
    clock.step(2)
    assert end_artifacts(api.services) == 1
    assert _member(api, "set:v0") is None
    assert _member(api, "set:v1")["versionIndex"] == 1


def test_lineage_names_the_maker_and_the_users(api: Api) -> None:
    """The run that logged and the run that used are found from the version, and the version from both."""
    artifact = api.artifact({"f": b"1"}, run="r1")
    api.run("r2")
    _mutate(
        api, "useArtifact", "artifact { id }", artifactID=artifact, entityName="local", projectName="p", runName="r2"
    )
    found = api.ask(
        "query Q($i: ID!) { artifact(id: $i) { createdBy { __typename ... on Run { name } } usedBy { edges { node { "
        "name } } } } }",
        i=artifact,
    )["artifact"]
    assert found["createdBy"] == {"__typename": "Run", "name": "r1"}
    assert [edge["node"]["name"] for edge in found["usedBy"]["edges"]] == ["r2"]
    runs = api.ask(
        '{ project(name: "p") { a: run(name: "r1") { outputArtifacts { edges { node { id } } } } '
        'b: run(name: "r2") { inputArtifacts { edges { node { id } } } } } }'
    )["project"]
    assert runs["a"]["outputArtifacts"]["edges"][0]["node"]["id"] == artifact
    assert runs["b"]["inputArtifacts"]["edges"][0]["node"]["id"] == artifact


def test_linking_again_changes_aliases_only(api: Api) -> None:
    """One version has one place in a portfolio; another type is refused."""
    artifact = api.artifact({"f": b"1"})
    first = api.link(artifact, "M", "staging").json()["data"]["linkArtifact"]
    again = api.link(artifact, "M", "production").json()["data"]["linkArtifact"]
    assert first == again
    other = api.artifact({"f": b"9"}, name="other", kind="model")
    refused = api.link(other, "M")
    assert refused.status_code == 400
    assert "'dataset'" in refused.json()["errors"][0]["message"]


def test_a_registry_must_exist(api: Api) -> None:
    """Linking does not make one by accident."""
    artifact = api.artifact({"f": b"1"})
    refused = api.link(artifact, "M", registry="wandb-registry-none")
    assert refused.status_code == 404


class _Freeze:
    """Refuses everything that touches production."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def check(self, operation: str, input: Any, actor: Actor) -> str | None:
        self.asked.append((operation, actor.username))
        return "production is frozen" if "production" in json.dumps(dict(input)) else None


def test_the_promotion_hook_refuses_with_its_own_words(tmp_path: Path) -> None:
    """A refused link or alias changes nothing and the user reads the reason; others pass."""
    hook = _Freeze()
    api = open_api(tmp_path / "data", hook=hook)
    api.run()
    artifact = api.artifact({"f": b"1"})
    refused = api.link(artifact, "M", "production")
    assert refused.status_code == 403
    assert refused.json() == {"errors": [{"message": "production is frozen"}]}
    assert api.link(artifact, "M", "staging").status_code == 200
    entry = {"entityName": "local-org-registries", "projectName": "wandb-registry-model", "artifactCollectionName": "M"}
    for operation in ("addAliases", "deleteAliases"):
        answer = _mutate(api, operation, "success", artifactID=artifact, aliases=[{**entry, "alias": "production"}])
        assert answer.status_code == 403
    assert ("linkArtifact", "local") in hook.asked


def test_a_gated_operation_can_not_hide_in_a_fragment(tmp_path: Path) -> None:
    """An alias or a fragment around the mutation does not get past the hook."""
    api = open_api(tmp_path / "data", hook=_Freeze())
    api.run()
    artifact = api.artifact({"f": b"1"})
    query = "mutation M($i: X) { ...F } fragment F on Mutation { harmless: linkArtifact(input: $i) { versionIndex } }"
    given = {
        "artifactID": artifact, "artifactPortfolioName": "production", "entityName": "local-org-registries",
        "projectName": "wandb-registry-model",
    }  # fmt: skip
    assert api.post(query, {"i": given}).status_code == 403
