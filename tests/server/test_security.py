"""Keys, signed links, limits, confinement: what a stranger can't do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from tests.server.client import Api, SteppedClock, open_api
from wandb_governance.cli.main import app
from wandb_governance.server.store.signing import LIFETIME_SECONDS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def api(tmp_path: Path) -> Api:
    """A server with a run, on a stepped clock."""
    api = open_api(tmp_path / "data", clock=SteppedClock(), max_body_bytes=1_000_000)
    api.run()
    return api


def _links(api: Api) -> tuple[str, str]:
    """An upload link of a file, and a download link of it once it is there."""
    made = api.ask(
        'mutation M { createRunFiles(input: {entityName: "local", projectName: "p", runName: "r1", files: ["a.txt"]}) '
        "{ files { uploadUrl } } }"
    )
    upload = made["createRunFiles"]["files"][0]["uploadUrl"]
    api.put(upload, b"hello")
    found = api.ask('{ project(name: "p") { run(name: "r1") { files { edges { node { directUrl } } } } } }')
    return upload, found["project"]["run"]["files"]["edges"][0]["node"]["directUrl"]


@pytest.mark.parametrize("auth", [None, ("api", ""), ("api", "local-" + "0" * 40), ("api", "x")])
def test_without_a_key_of_this_server_nothing_is_answered(api: Api, auth: Any) -> None:
    """Every route but the signed links and the health check answers 401."""
    assert api.http.post("/graphql", json={"query": "{ viewer { id } }"}, auth=auth).status_code == 401
    assert api.http.post("/files/local/p/r1/file_stream", json={}, auth=auth).status_code == 401
    assert api.http.get("/files/local/p/r1/a.txt", auth=auth).status_code == 401
    assert api.http.get("/artifacts/local/" + "0" * 32, auth=auth).status_code == 401
    assert api.http.get("/api/unresolved", auth=auth).status_code == 401


def test_the_key_is_not_in_the_store(api: Api, tmp_path: Path) -> None:
    """The store keeps a hash; the key is in one file that only its owner reads."""
    api.services.database.close()
    assert api.key.encode() not in (tmp_path / "data" / "store.sqlite3").read_bytes()
    assert (tmp_path / "data" / "api_key").stat().st_mode & 0o077 == 0
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_a_link_works_without_a_key_until_it_expires(api: Api) -> None:
    """After its lifetime the same link is refused with a status that is not retried."""
    upload, download = _links(api)
    assert api.http.get(download).content == b"hello"
    assert isinstance(api.services.clock, SteppedClock)
    api.services.clock.step(LIFETIME_SECONDS + 1)
    for answer in (api.http.get(download), api.put(upload, b"later")):
        assert answer.status_code == 403
        assert "expired" in answer.json()["errors"][0]["message"]


def test_a_link_is_good_for_its_own_method_and_path_only(api: Api) -> None:
    """Another method, file, run or expiry does not fit the signature."""
    upload, download = _links(api)
    path, query = urlsplit(download).path, urlsplit(download).query
    assert api.put(f"{path}?{query}", b"x").status_code == 403
    assert api.http.get(upload).status_code == 403
    assert api.http.get(f"{path}x?{query}").status_code == 403
    assert api.http.get(path.replace("/run/1/", "/run/2/") + "?" + query).status_code == 403
    later = query.replace("expires=", "expires=9")
    assert api.http.get(f"{path}?{later}").status_code == 403
    assert api.http.get(path).status_code == 403
    assert api.http.get(f"{path}?expires=x&signature=é").status_code == 403


def test_a_browser_may_use_a_link_from_another_origin(api: Api) -> None:
    """``wandb verify`` asks for that; the link is the permission, no cookie is."""
    upload, _ = _links(api)
    answer = api.http.options(upload, headers={"Origin": "http://elsewhere"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


def test_a_stored_page_can_not_run_in_the_servers_name(api: Api) -> None:
    """A downloaded HTML file is sandboxed."""
    _, download = _links(api)
    headers = api.http.get(download).headers
    assert "sandbox" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_a_body_over_the_limit_is_refused_before_it_is_read(api: Api) -> None:
    """Declared or streamed, with 413, which the SDK does not retry."""
    big = b"x" * 1_000_001
    assert api.http.post("/graphql", content=big, auth=api.auth).status_code == 413
    assert api.http.post("/graphql", content=iter([big]), auth=api.auth).status_code == 413


@pytest.mark.parametrize(
    "path", ["../../api_key", "%2e%2e/%2e%2e/api_key", "..%2f..%2fapi_key", "a/../../../store.sqlite3"]
)
def test_no_path_leads_out_of_a_run(api: Api, path: str) -> None:
    """Neither plain nor encoded dots reach the data directory."""
    answer = api.http.get(f"/files/local/p/r1/{path}", auth=api.auth)
    assert answer.status_code in {400, 404}
    assert api.key not in answer.text


def test_another_address_needs_a_flag_that_says_what_it_exposes() -> None:
    """Without ``--expose`` the command ends with exit code 2 and tells why."""
    done = CliRunner().invoke(app, ["server", "--host", "0.0.0.0", "--port", "0", "--data-dir", "x"])
    assert done.exit_code == 2
    assert "other machines" in done.output
    assert "--expose" in done.output
