"""Runs: file stream, history, state, console, files."""

from __future__ import annotations

import gzip
import itertools
import json
from typing import TYPE_CHECKING

import pytest

from tests.server.client import Api, SteppedClock, open_api
from wandb_governance.server.upkeep import mark_crashed

if TYPE_CHECKING:
    from pathlib import Path

HISTORY = "wandb-history.jsonl"


@pytest.fixture
def api(tmp_path: Path) -> Api:
    """An empty server."""
    return open_api(tmp_path / "data")


def _run(api: Api, fields: str, name: str = "r1") -> dict[str, object]:
    found = api.ask(f'{{ project(name: "p") {{ run(name: "{name}") {{ {fields} }} }} }}')["project"]["run"]
    assert isinstance(found, dict)
    return found


def _rows(first: int, count: int, **more: object) -> list[str]:
    return [json.dumps({"_step": i, "loss": i * 1.0, **more}) for i in range(first, first + count)]


def test_a_request_that_is_sent_twice_changes_nothing_the_second_time(api: Api) -> None:
    """The SDK resends what was not acknowledged; lines are replaced by number."""
    api.run()
    for _ in range(2):
        api.stream("r1", {"files": {HISTORY: {"offset": 0, "content": _rows(0, 5)}}})
    found = _run(api, "historyLineCount historyKeys history(samples: 100)")
    assert found["historyLineCount"] == 5
    assert len(found["history"]) == 5  # type: ignore[arg-type]
    assert found["historyKeys"]["keys"]["loss"]["typeCounts"] == [{"type": "number", "count": 5}]  # type: ignore[index]


def test_key_statistics_count_types_across_requests(api: Api) -> None:
    """Counts add up request by request; a nested metric is flattened, a media object is one key of its type."""
    api.run()
    table = {"_type": "table-file", "path": "x"}
    api.stream("r1", {"files": {HISTORY: {"offset": 0, "content": _rows(0, 3, n={"x": 1})}}})
    api.stream("r1", {"files": {HISTORY: {"offset": 3, "content": _rows(3, 2, t=table)}}})
    keys = _run(api, "historyKeys")["historyKeys"]["keys"]  # type: ignore[index]
    assert keys["n.x"]["typeCounts"] == [{"type": "number", "count": 3}]
    assert keys["t"]["typeCounts"] == [{"type": "table-file", "count": 2}]
    assert keys["loss"]["monotonic"] is True
    assert keys["loss"]["previousValue"] == 4.0


def test_sampled_history_holds_only_rows_with_every_key(api: Api) -> None:
    """Rows that lack a key are left out, the rest is cut to the keys, and step bounds are inclusive."""
    api.run()
    lines = [json.dumps({"_step": i, "a": i} | ({"b": i} if i % 2 else {})) for i in range(20)]
    api.stream("r1", {"files": {HISTORY: {"offset": 0, "content": lines}}})
    spec = json.dumps({"keys": ["_step", "b"], "samples": 100, "minStep": 3, "maxStep": 9})
    found = api.ask(
        'query Q($s: [X]) { project(name: "p") { run(name: "r1") { sampledHistory(specs: $s) } } }', s=[spec]
    )
    assert found["project"]["run"]["sampledHistory"] == [[{"_step": i, "b": i} for i in (3, 5, 7, 9)]]


def test_a_long_run_is_thinned_evenly_with_both_ends(api: Api) -> None:
    """500 samples of 5,000 rows begin with the first row and end with the last."""
    api.run()
    api.stream("r1", {"files": {HISTORY: {"offset": 0, "content": _rows(0, 5000)}}})
    steps = [json.loads(row)["_step"] for row in _run(api, "history(samples: 500)")["history"]]  # type: ignore[attr-defined]
    assert len(steps) == 500
    assert (steps[0], steps[-1]) == (0, 4999)
    assert max(b - a for a, b in itertools.pairwise(steps)) <= 11


def test_not_a_number_survives_as_the_words_json_lacks(api: Api) -> None:
    """NaN and Infinity, which the SDK writes bare, do not break an answer."""
    api.run()
    line = '{"_step": 0, "a": NaN, "b": -Infinity}'
    assert api.stream("r1", {"files": {HISTORY: {"offset": 0, "content": [line]}}}).status_code == 200
    found = api.ask(
        'query Q($s: [X]) { project(name: "p") { run(name: "r1") { sampledHistory(specs: $s) } } }',
        s=['{"keys": ["a", "b"]}'],
    )
    assert found["project"]["run"]["sampledHistory"] == [[{"a": "NaN", "b": "-Infinity"}]]


@pytest.mark.parametrize(
    "chunk",
    [
        {"offset": -1, "content": []},
        {"offset": "0", "content": []},
        {"offset": 2**60, "content": ["{}"]},
        {"offset": 0, "content": ["not json"]},
        {"offset": 0, "content": ["[1]"]},
        {"offset": 0, "content": ['{"_step": "x"}']},
        {"offset": 0, "content": [1]},
        [],
    ],
)
def test_a_malformed_chunk_changes_nothing(api: Api, chunk: object) -> None:
    """A chunk that does not fit gets a status the SDK won't retry, and the valid file beside it is not stored."""
    api.run()
    body = {"files": {"output.log": {"offset": 0, "content": ["hello"]}, HISTORY: chunk}}
    answer = api.stream("r1", body)
    assert answer.status_code == 400
    found = _run(api, "historyLineCount logLineCount")
    assert found == {"historyLineCount": 0, "logLineCount": 0}


def test_a_gzipped_body_is_read_and_a_bomb_is_refused(tmp_path: Path) -> None:
    """The limit holds for the unpacked body."""
    api = open_api(tmp_path / "data", max_body_bytes=100_000)
    api.run()
    url, headers = "/files/local/p/r1/file_stream", {"Content-Encoding": "gzip"}
    good = gzip.compress(json.dumps({"files": {HISTORY: {"offset": 0, "content": _rows(0, 2)}}}).encode())
    assert api.http.post(url, content=good, headers=headers, auth=api.auth).status_code == 200
    bomb = gzip.compress(b"0" * 1_000_000)
    assert api.http.post(url, content=bomb, headers=headers, auth=api.auth).status_code == 413
    assert api.http.post(url, content=b"junk", headers=headers, auth=api.auth).status_code == 400
    assert _run(api, "historyLineCount") == {"historyLineCount": 2}


@pytest.mark.parametrize(("code", "state"), [(0, "finished"), (1, "failed"), (255, "failed")])
def test_the_exit_code_decides_how_a_run_ended(api: Api, code: int, state: str) -> None:
    """``complete`` is the only sign of an end."""
    api.run()
    api.stream("r1", {"complete": True, "exitcode": code})
    assert _run(api, "state exitcode") == {"state": state, "exitcode": code}


def test_a_run_without_heartbeat_is_crashed_and_comes_back_with_the_next(tmp_path: Path) -> None:
    """Silence marks a crash; a heartbeat after all makes the run live again."""
    clock = SteppedClock()
    api = open_api(tmp_path / "data", clock=clock, crash_after_seconds=60)
    api.run()
    clock.step(61)
    assert mark_crashed(api.services) == 1
    assert _run(api, "state") == {"state": "crashed"}
    api.stream("r1", {})
    assert _run(api, "state") == {"state": "running"}


def test_the_servers_own_absence_is_no_crash_of_a_run(tmp_path: Path) -> None:
    """After a restart every run gets the whole time again."""
    clock = SteppedClock()
    api = open_api(tmp_path / "data", clock=clock, crash_after_seconds=60)
    api.run()
    api.services.database.close()
    clock.step(3600)
    again = open_api(tmp_path / "data", clock=clock, crash_after_seconds=60)
    clock.step(30)
    assert mark_crashed(again.services) == 0


def test_a_stopped_run_hears_it_at_its_next_heartbeat(api: Api) -> None:
    """The reply carries the stop until the run ends; a run that ended is left alone."""
    run_id = api.run()
    assert "stopped" not in api.stream("r1", {}).json()
    api.ask("mutation M($i: X) { stopRun(input: $i) { success } }", i={"id": run_id})
    assert api.stream("r1", {}).json()["stopped"] is True
    assert "stopped" not in api.stream("r1", {"complete": True, "exitcode": 255}).json()
    assert _run(api, "state") == {"state": "killed"}


def test_config_is_merged_by_name_and_replaced_by_id(api: Api) -> None:
    """The SDK sends what it knows by name; the public API replaces by id."""
    run_id = api.run(config='{"a": {"value": 1}}')
    api.run(config='{"b": {"value": 2}}')
    assert json.loads(str(_run(api, "config")["config"])) == {"a": {"value": 1}, "b": {"value": 2}}
    api.ask(
        "mutation M($i: X) { upsertBucket(input: $i) { bucket { id } } }",
        i={"id": run_id, "config": '{"c": {"value": 3}}'},
    )
    assert json.loads(str(_run(api, "config")["config"])) == {"c": {"value": 3}}


def test_rewinding_drops_later_rows_and_rebuilds_the_summary(api: Api) -> None:
    """Rows after the step are gone, the line count follows, and the summary is that of the last row left."""
    api.run()
    api.stream("r1", {"files": {HISTORY: {"offset": 0, "content": _rows(0, 10)}}})
    query = (
        'mutation M { rewindRun(input: {runName: "r1", entityName: "local", projectName: "p", metricName: "_step", '
        "metricValue: 4}) { rewoundRun { historyLineCount summaryMetrics } } }"
    )
    run = api.ask(query)["rewindRun"]["rewoundRun"]
    assert run["historyLineCount"] == 5
    assert json.loads(run["summaryMetrics"])["loss"] == 4.0
    keys = _run(api, "historyKeys")["historyKeys"]
    assert keys["lastStep"] == 4  # type: ignore[index]
    assert keys["keys"]["loss"]["typeCounts"] == [{"type": "number", "count": 5}]  # type: ignore[index]


def test_console_lines_are_told_apart(api: Api) -> None:
    """Time, level and text come out of plain and of structured lines; a rewritten line keeps its number."""
    api.run()
    lines = ["ERROR 2026-01-02T03:04:05.678901 broken", "2026-01-02T03:04:06.000000 fine", "odd"]
    api.stream("r1", {"files": {"output.log": {"offset": 0, "content": lines}}})
    api.stream("r1", {"files": {"output.log": {"offset": 2, "content": ['{"level":"info","ts":"t","content":"new"}']}}})
    found = _run(api, "logLineCount logLines(last: 10) { edges { node { number level timestamp line } } }")
    nodes = [edge["node"] for edge in found["logLines"]["edges"]]  # type: ignore[index]
    assert [node["line"] for node in nodes] == ["broken", "fine", "new"]
    assert [node["level"] for node in nodes] == ["error", "", "info"]
    assert [node["number"] for node in nodes] == [0, 1, 2]
    assert nodes[0]["timestamp"] == "2026-01-02T03:04:05.678901"


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", "a\x00b", "a//b", "..\\x", "."])
def test_a_file_name_that_leaves_its_folder_is_refused(api: Api, name: str) -> None:
    """No link is made for it."""
    api.run()
    answer = api.post(
        'mutation M($f: [X]) { createRunFiles(input: {entityName: "local", projectName: "p", runName: "r1", '
        "files: $f}) { files { uploadUrl } } }",
        {"f": [name]},
    )
    assert answer.status_code == 400


def test_a_file_is_uploaded_listed_fetched_in_ranges_and_deleted(api: Api) -> None:
    """Names with spaces and ``./`` work; a range gives part of the bytes; a deleted file is gone."""
    api.run()
    made = api.ask(
        'mutation M { createRunFiles(input: {entityName: "local", projectName: "p", runName: "r1", files: '
        '["./a dir/é.txt"]}) { files { name uploadUrl } } }'
    )
    url = made["createRunFiles"]["files"][0]["uploadUrl"]
    assert api.put(url, b"hello world").headers["etag"]
    listed = _run(api, 'files(names: ["./a dir/é.txt"]) { edges { node { id name sizeBytes directUrl md5 } } }')
    node = listed["files"]["edges"][0]["node"]  # type: ignore[index]
    assert (node["name"], node["sizeBytes"], node["md5"]) == ("a dir/é.txt", 11, "XrY7u+Ae7tCTyyK7j1rNww==")
    part = api.http.get(node["directUrl"], headers={"Range": "bytes=6-"})
    assert (part.status_code, part.content) == (206, b"world")
    by_key = api.http.get("/files/local/p/r1/a dir/é.txt", auth=api.auth)
    assert by_key.content == b"hello world"
    api.ask("mutation M($f: [ID]) { deleteFiles(input: {files: $f}) { success } }", f=[node["id"]])
    assert api.http.get(node["directUrl"]).status_code == 404


def test_runs_are_filtered_and_ordered_as_the_api_asks(api: Api) -> None:
    """Filters reach config, summary and tags; orders put runs without the key last."""
    for i in range(4):
        api.run(f"r{i}", config=json.dumps({"lr": {"value": i}}), tags=["even"] if i % 2 == 0 else ["odd"],
                summaryMetrics=json.dumps({"loss": 10 - i} if i else {}))  # fmt: skip

    def names(filters: object, order: str | None = None) -> list[str]:
        query = (
            'query Q($f: X, $o: String) { project(name: "p") { runCount(filters: $f) runs(filters: $f, order: $o) '
            "{ edges { node { name } } } } }"
        )
        project = api.ask(query, f=json.dumps(filters), o=order)["project"]
        found = [edge["node"]["name"] for edge in project["runs"]["edges"]]
        assert project["runCount"] == len(found)
        return found

    assert names({"config.lr": {"$gte": 2}}, "+name") == ["r2", "r3"]
    assert names({"tags": "even"}, "+name") == ["r0", "r2"]
    assert names({"tags": {"$in": ["odd", "x"]}}, "+name") == ["r1", "r3"]
    assert names({}, "-summary_metrics.loss") == ["r1", "r2", "r3", "r0"]
    assert names({}, "+summary_metrics.loss") == ["r3", "r2", "r1", "r0"]
    assert names({"$or": [{"name": "r1"}, {"$and": [{"config.lr.value": 3}]}]}, "+name") == ["r1", "r3"]
    assert names({"display_name": {"$regex": "^r[12]$"}}, "+name") == ["r1", "r2"]
    assert names({"summary_metrics.loss": {"$exists": False}}) == ["r0"]
    assert names({"state": {"$ne": "running"}}) == []


def test_pages_follow_each_other_without_gap(api: Api) -> None:
    """Cursors walk every run once."""
    for i in range(7):
        api.run(f"r{i}")
    seen: list[str] = []
    cursor = None
    while True:
        query = (
            'query Q($c: String) { project(name: "p") { runs(first: 3, after: $c, order: "+name") { edges { node { '
            "name } } pageInfo { endCursor hasNextPage } } } }"
        )
        page = api.ask(query, c=cursor)["project"]["runs"]
        seen += [edge["node"]["name"] for edge in page["edges"]]
        cursor = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == [f"r{i}" for i in range(7)]
