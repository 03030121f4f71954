"""A client that speaks to the server's application in this process, as the SDK's clients do over HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.testclient import TestClient

from wandb_governance.server.http.app import make_app, open_services
from wandb_governance.server.settings import ServerSettings

if TYPE_CHECKING:
    from pathlib import Path

    from wandb_governance.clock import Clock
    from wandb_governance.server.context import Services
    from wandb_governance.server.hook import PromotionHook


class SteppedClock:
    """A clock that moves when it is told to."""

    def __init__(self, now_ns: int = 1_800_000_000_000_000_000) -> None:
        self.now = now_ns

    def now_ns(self) -> int:
        return self.now

    def monotonic_ns(self) -> int:
        return self.now

    def step(self, seconds: float) -> None:
        self.now += int(seconds * 1_000_000_000)


Response = Any
"""The answer of the test client, whose HTTP library starlette chooses."""


@dataclass
class Api:
    """The server in this process."""

    services: Services
    http: TestClient
    key: str
    names: dict[str, Any] = field(default_factory=dict)

    @property
    def auth(self) -> tuple[str, str]:
        return ("api", self.key)

    def post(self, query: str, variables: dict[str, Any] | None = None, name: str | None = None) -> Response:
        body = {"query": query, "variables": variables or {}, "operationName": name}
        return self.http.post("/graphql", json=body, auth=self.auth)

    def ask(self, query: str, **variables: Any) -> Any:
        answer = self.post(query, variables)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def stream(self, run: str, body: dict[str, Any], project: str = "p", entity: str = "local") -> Response:
        return self.http.post(f"/files/{entity}/{project}/{run}/file_stream", json=body, auth=self.auth)

    def put(self, url: str, content: bytes) -> Response:
        return self.http.put(url, content=content)

    def run(self, name: str = "r1", project: str = "p", **more: Any) -> str:
        given = {"name": name, "modelName": project, "entityName": "local", **more}
        data = self.ask("mutation M($i: X) { upsertBucket(input: $i) { bucket { id } } }", i=given)
        return str(data["upsertBucket"]["bucket"]["id"])

    def artifact(
        self, files: dict[str, bytes], *, name: str = "set", kind: str = "dataset", project: str = "p",
        run: str | None = None, commit: bool = True, **more: Any,
    ) -> str:  # fmt: skip
        """Log an artifact the way wandb-core does; its id."""
        contents = {
            path: {"digest": _md5(data), "size": len(data), "birthArtifactID": "x"} for path, data in files.items()
        }
        manifest = json.dumps({"version": 1, "storagePolicy": "wandb-storage-policy-v1", "contents": contents}).encode()
        given = {
            "artifactTypeName": kind, "artifactCollectionName": name, "entityName": "local", "projectName": project,
            "digest": hashlib.md5(manifest).hexdigest(), "digestAlgorithm": "MANIFEST_MD5", "runName": run,
            "aliases": [], "enableDigestDeduplication": True, **more,
        }  # fmt: skip
        made = self.ask("mutation M($i: X) { createArtifact(input: $i) { artifact { id state } } }", i=given)
        artifact = made["createArtifact"]["artifact"]
        if artifact["state"] == "COMMITTED":
            return str(artifact["id"])
        link = self.ask(
            "mutation M($i: X) { createArtifactManifest(input: $i) { artifactManifest { file { uploadUrl } } } }",
            i={"artifactID": artifact["id"], "name": "wandb_manifest.json", "digest": _md5(manifest), "type": "FULL"},
        )
        specs = [{"artifactID": artifact["id"], "name": path, "md5": _md5(data)} for path, data in files.items()]
        uploads = self.ask(
            "mutation M($i: X) { createArtifactFiles(input: $i) { files { edges { node { uploadUrl } } } } }",
            i={"artifactFiles": specs},
        )
        for edge, data in zip(uploads["createArtifactFiles"]["files"]["edges"], files.values(), strict=True):
            if edge["node"]["uploadUrl"]:
                assert self.put(edge["node"]["uploadUrl"], data).status_code == 200
        url = link["createArtifactManifest"]["artifactManifest"]["file"]["uploadUrl"]
        assert self.put(url, manifest).status_code == 200
        if commit:
            self.commit(artifact["id"])
        return str(artifact["id"])

    def commit(self, artifact_id: str) -> None:
        self.ask("mutation M($i: X) { commitArtifact(input: $i) { artifact { id } } }", i={"artifactID": artifact_id})

    def link(self, artifact_id: str, collection: str, *aliases: str, registry: str = "wandb-registry-model") -> Any:
        given = {
            "artifactID": artifact_id, "artifactPortfolioName": collection, "entityName": "local-org-registries",
            "projectName": registry,
            "aliases": [{"artifactCollectionName": collection, "alias": alias} for alias in aliases],
        }  # fmt: skip
        query = "mutation M($i: X) { linkArtifact(input: $i) { versionIndex artifactMembership { id } } }"
        return self.post(query, {"i": given})


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def open_api(data_dir: Path, *, clock: Clock | None = None, hook: PromotionHook | None = None, **settings: Any) -> Api:
    """Open a data directory in this process; use ``api.http`` as a context manager to run its background work."""
    services = open_services(ServerSettings(data_dir=data_dir, **settings), clock=clock, hook=hook)
    http = TestClient(make_app(services), base_url="http://127.0.0.1:8080", raise_server_exceptions=False)
    return Api(services=services, http=http, key=(data_dir / "api_key").read_text().strip())
