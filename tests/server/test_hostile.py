"""Requests that no SDK sends: each is answered with a status that is not retried, and a refused one changes nothing."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.client import Api, open_api
from wandb_governance.server.graphql.schema import MUTATION, QUERY

pytestmark = pytest.mark.filterwarnings("ignore")
quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

_TABLES = (
    "project",
    "run",
    "history",
    "stream_line",
    "run_file",
    "collection",
    "artifact",
    "alias",
    "membership",
    "sweep",
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Api:
    """A server with a run and an artifact."""
    api = open_api(Path(tmp_path_factory.mktemp("hostile")) / "data")
    api.run(config='{"a": {"value": 1}}', tags=["t"])
    api.artifact({"f": b"1"})
    return api


def _counts(api: Api) -> dict[str, int]:
    with api.services.database.read() as tx:
        return {table: tx.scalar(f"SELECT count(*) FROM {table}") for table in _TABLES}


def _check(api: Api, answer: Any, before: dict[str, int]) -> None:
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
    assert answer.status_code not in {408, 425, 429}
    assert "could not answer" not in answer.text
    if answer.status_code != 200:
        assert _counts(api) == before


def _body(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


@quick
@given(content=st.binary(max_size=200) | st.builds(_body, json_values))
def test_any_body_at_graphql(api: Api, content: bytes) -> None:
    """Bytes that are no GraphQL request."""
    before = _counts(api)
    _check(api, api.http.post("/graphql", content=content, auth=api.auth), before)


words = st.sampled_from(
    ["{", "}", "(", ")", ":", "$a", "query", "mutation", "fragment F on Run", "...F", "... on Run", "viewer", "project",
     '(name: "p")', "run", '(name: "r1")', "id", "@include(if: $a)", '"', "[", "]", "1e999", "null", "entity", "runs",
     "subscription", "artifact", "sampledHistory", '(specs: "x")', "config", "é", "\x00", "#"]
)  # fmt: skip


@quick
@given(text=st.lists(words, max_size=30).map(" ".join), variables=st.dictionaries(st.just("a"), json_values))
def test_any_sentence_of_graphql(api: Api, text: str, variables: dict[str, Any]) -> None:
    """Documents made of the language's own words."""
    before = _counts(api)
    body = _body({"query": text, "variables": variables})
    _check(api, api.http.post("/graphql", content=body, auth=api.auth), before)


@settings(quick, max_examples=200)
@given(name=st.sampled_from(sorted(MUTATION.resolvers)), given_input=json_values, data=st.data())
def test_any_input_of_any_mutation(api: Api, name: str, given_input: Any, data: st.DataObject) -> None:
    """Inputs of every shape, with the keys that resolvers read."""
    keys = ("entityName", "projectName", "name", "id", "artifactID", "aliases", "config", "runName", "files", "tags",
            "metadata", "artifactTypeName", "artifactCollectionName", "modelName", "state", "runState",
            "sweep")  # fmt: skip
    more = data.draw(st.dictionaries(st.sampled_from(keys), json_values, max_size=6))
    value = {**given_input, **more} if isinstance(given_input, dict) else (more or given_input)
    before = _counts(api)
    body = _body({"query": f"mutation M($i: X) {{ {name}(input: $i) {{ id }} }}", "variables": {"i": value}})
    _check(api, api.http.post("/graphql", content=body, auth=api.auth), before)


@settings(quick, max_examples=120)
@given(
    name=st.sampled_from(sorted(QUERY.resolvers)),
    args=st.dictionaries(st.text(string.ascii_letters, min_size=1), json_values),
)
def test_any_argument_of_any_query(api: Api, name: str, args: dict[str, Any]) -> None:
    """Root queries with arguments of every shape."""
    known = {
        "name": None,
        "entityName": None,
        "id": None,
        "clientID": None,
        "query": None,
        "first": None,
        "after": None,
    }
    given_args = {**{key: next(iter(args.values()), None) for key in known}, **args}
    listed = ", ".join(f"{key}: $v{i}" for i, key in enumerate(given_args))
    variables = {f"v{i}": value for i, value in enumerate(given_args.values())}
    before = _counts(api)
    body = _body({"query": f"query Q {{ {name}({listed}) {{ id name }} }}", "variables": variables})
    _check(api, api.http.post("/graphql", content=body, auth=api.auth), before)


@quick
@given(filters=json_values | st.text(max_size=30), order=st.text(max_size=20), first=json_values, after=json_values)
def test_any_filter_order_and_page(api: Api, filters: Any, order: str, first: Any, after: Any) -> None:
    """Filters, orders and cursors of every shape, as text and as objects."""
    query = (
        'query Q($f: X, $o: X, $n: X, $a: X) { project(name: "p") { runs(filters: $f, order: $o, first: $n, after: $a) '
        "{ edges { node { name } } } artifactCollections(filters: $f, order: $o) { totalCount } sweeps(filters: $f) "
        "{ totalCount } } }"
    )
    for value in (filters, json.dumps(filters)):
        before = _counts(api)
        body = _body({"query": query, "variables": {"f": value, "o": order, "n": first, "a": after}})
        _check(api, api.http.post("/graphql", content=body, auth=api.auth), before)


_OPERATORS = ["$and", "$or", "$nor", "$not", "$eq", "$ne", "$gt", "$lt", "$in", "$nin", "$exists", "$regex",
              "$contains", "config.a", "tags", "name", "summary_metrics.x", "created_at", "$where"]  # fmt: skip


@settings(quick, max_examples=150)
@given(
    filters=st.recursive(
        json_values,
        lambda inner: st.dictionaries(st.sampled_from(_OPERATORS), inner, max_size=3) | st.lists(inner, max_size=3),
        max_leaves=10,
    )
)
def test_any_combination_of_filter_operators(api: Api, filters: Any) -> None:
    """Operators where they don't belong."""
    before = _counts(api)
    query = 'query Q($f: X) { project(name: "p") { runCount(filters: $f) runs(filters: $f) { totalCount } } }'
    body = _body({"query": query, "variables": {"f": json.dumps(filters)}})
    _check(api, api.http.post("/graphql", content=body, auth=api.auth), before)


@quick
@given(body=json_values | st.fixed_dictionaries({"files": st.dictionaries(
    st.sampled_from(["wandb-history.jsonl", "wandb-events.jsonl", "wandb-summary.json", "output.log", "x"]),
    json_values | st.fixed_dictionaries({"offset": json_values, "content": json_values | st.lists(
        st.text(max_size=20) | json_values.map(json.dumps), max_size=3)}))}))  # fmt: skip
def test_any_body_at_the_file_stream(api: Api, body: Any) -> None:
    """Chunks with offsets and contents of every shape."""
    before = _counts(api)
    answer = api.http.post("/files/local/p/r1/file_stream", content=_body(body), auth=api.auth)
    _check(api, answer, before)


@quick
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH"]),
    path=st.lists(st.sampled_from(["storage", "run", "cas", "manifest", "part", "files", "artifacts", "artifactsV2",
                                   "..", "%2e%2e", "%00", "1", "99999999999999999999", "local", "p", "r1", "x",
                                   "", "é"]),
                  max_size=8),
    query=st.text(string.printable, max_size=20),
)  # fmt: skip
def test_any_path(api: Api, method: str, path: list[str], query: str) -> None:
    """Paths built from the server's own words."""
    before = _counts(api)
    url = "/" + "/".join(path) + "?" + "".join(c for c in query if c.isalnum() or c in "=&%")
    _check(api, api.http.request(method, url, auth=api.auth), before)


def test_fragments_that_name_each_other_end(api: Api) -> None:
    """Neither a cycle nor a doubling chain of fragments keeps a thread busy."""
    cycle = "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"
    chain = "{ ...F0 } " + " ".join(f"fragment F{i} on Query {{ ...F{i + 1} ...F{i + 1} }}" for i in range(30))
    for text in (cycle, chain + " fragment F30 on Query { viewer { id } }", "{" * 5000, "[" * 5000):
        assert api.post(text).status_code == 400


def test_a_yaml_bomb_is_refused(api: Api) -> None:
    """Anchors in a sweep config can't grow it."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 20)]
    answer = api.post(
        "mutation M($i: X) { upsertSweep(input: $i) { sweep { id } } }",
        {"i": {"entityName": "local", "projectName": "p", "config": "\n".join(lines)}},
    )
    assert answer.status_code == 400
