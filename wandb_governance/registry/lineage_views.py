"""A lineage graph as tree, JSON, OpenLineage events and a page with a drawing."""

from __future__ import annotations

import html
import uuid
from typing import TYPE_CHECKING, Any

from wandb_governance.registry.attest import iso_utc
from wandb_governance.registry.lineage import Graph, Node, Presence
from wandb_governance.registry.report import plain

if TYPE_CHECKING:
    from rich.tree import Tree

PRODUCER = "urn:wandb-governance"
_RUN_EVENT = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_NAMESPACE = uuid.UUID("6f0c1c1e-6f0e-5f0a-9d8e-2b1f7f5f3c11")
_COLOURS = {
    "prediction": "#7c3aed",
    "artifact": "#2563eb",
    "run": "#0f766e",
    "commit": "#57534e",
    "promotion": "#b45309",
    "approval": "#15803d",
}
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _SHOWN = 250, 44, 70, 18, 34


def tree(graph: Graph) -> Tree:
    """For a terminal; a node that was shown before is not opened again."""
    from rich.text import Text
    from rich.tree import Tree

    seen: set[str] = set()

    def grow(parent: Tree, node: str) -> None:
        if node in seen:
            return
        seen.add(node)
        for relation, child in graph.children(node):
            again = " (above)" if child.id in seen else ""
            branch = parent.add(Text(f"{relation}: ", style="dim") + _line(child) + Text(again, style="dim"))
            grow(branch, child.id)

    top = Tree(_line(graph.nodes[graph.root]))
    grow(top, graph.root)
    return top


def as_json(graph: Graph) -> dict[str, Any]:
    """Nodes and edges."""
    nodes = [
        {"id": n.id, "kind": n.kind, "label": n.label, "presence": n.presence.value, "facts": dict(n.facts)}
        for n in graph.nodes.values()
    ]
    edges = [{"source": e.source, "target": e.target, "relation": e.relation} for e in graph.edges]
    return {"root": graph.root, "nodes": nodes, "edges": edges}


def open_lineage(graph: Graph, *, at_ns: int) -> list[dict[str, Any]]:
    """One OpenLineage run event per run of the graph, with what it used and made; gates as a test facet.

    Source:
        OpenLineage 2-0-2, RunEvent; facets SourceCodeLocationJobFacet 1-0-1, TestRunFacet 1-0-0.
    """
    made: dict[str, list[str]] = {}
    used: dict[str, list[str]] = {}
    for edge in graph.edges:
        if edge.relation == "made by":
            made.setdefault(edge.target, []).append(edge.source)
        elif edge.relation == "used":
            used.setdefault(edge.source, []).append(edge.target)
        elif edge.relation == "evaluated by":
            used.setdefault(edge.target, []).append(edge.source)
    runs = [node for node in graph.nodes.values() if node.kind == "run" and node.presence is Presence.KNOWN]
    return [_event(graph, node, used=used.get(node.id, []), made=made.get(node.id, []), at_ns=at_ns) for node in runs]


def _event(graph: Graph, node: Node, *, used: list[str], made: list[str], at_ns: int) -> dict[str, Any]:
    entity, _, name = node.label.rpartition("/")
    job: dict[str, Any] = {
        "namespace": f"wandb://{entity}",
        "name": str(node.facts.get("job_type") or name),
        "facets": {},
    }
    for relation, child in graph.children(node.id):
        if relation == "ran code" and child.facts.get("repository"):
            job["facets"]["sourceCodeLocation"] = {
                "_producer": PRODUCER,
                "_schemaURL": "https://openlineage.io/spec/facets/1-0-1/SourceCodeLocationJobFacet.json",
                "type": "git",
                "url": str(child.facts["repository"]),
                "repoUrl": str(child.facts["repository"]),
                "version": child.label,
            }
    return {
        "eventType": "COMPLETE",
        "eventTime": iso_utc(at_ns),
        "producer": PRODUCER,
        "schemaURL": _RUN_EVENT,
        "run": {"runId": str(uuid.uuid5(_NAMESPACE, node.label)), "facets": _tests(graph, made)},
        "job": job,
        "inputs": [_dataset(item) for item in used],
        "outputs": [_dataset(item) for item in made],
    }


def _tests(graph: Graph, made: list[str]) -> dict[str, Any]:
    tests = [
        {
            "name": f"{child.facts['stage']}/{gate}",
            "status": "pass" if status == "pass" else "fail",
            "severity": "error",
        }
        for item in made
        for _, child in graph.children(item)
        if child.kind == "promotion"
        for gate, status in child.facts["gates"].items()
    ]
    if not tests:
        return {}
    schema = "https://openlineage.io/spec/facets/1-0-0/TestRunFacet.json#/$defs/TestRunFacet"
    return {"test": {"_producer": PRODUCER, "_schemaURL": schema, "tests": tests}}


def _dataset(node: str) -> dict[str, Any]:
    name = node.partition(":")[2]
    collection, _, version = name.rpartition(":")
    facet = {
        "_producer": PRODUCER,
        "_schemaURL": "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json",
        "datasetVersion": version,
    }
    return {"namespace": "wandb", "name": collection or name, "facets": {"version": facet}}


def page(graph: Graph) -> str:
    """A self-contained HTML page: the drawing (SVG) and a table of every node. Nothing in it is loaded or executed."""
    rows = "".join(
        f"<tr><td>{_h(n.kind)}</td><td>{_h(n.label)}</td><td>{_h(n.presence)}</td><td>{_h(_facts(n))}</td></tr>"
        for n in graph.nodes.values()
    )
    title = _h(f"Lineage of {graph.nodes[graph.root].label}")
    style = (
        "body{font:15px system-ui,sans-serif;margin:2rem;color:#1c1917;background:#fff}table{border-collapse:collapse}"
        "td,th{border-bottom:1px solid #d6d3d1;padding:.3rem .6rem;text-align:left;vertical-align:top}"
        "td{word-break:break-word}"
        "svg{max-width:100%;height:auto}@media(prefers-color-scheme:dark){body{color:#e7e5e4;background:#1c1917}}"
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<style>{style}</style></head><body><h1>{title}</h1>{svg(graph)}"
        f"<table><thead><tr><th>kind</th><th>what</th><th>presence</th><th>facts</th></tr></thead><tbody>{rows}</tbody>"
        "</table></body></html>\n"
    )


def svg(graph: Graph) -> str:
    """The graph in columns by distance from the root."""
    places = _places(graph)
    width = (max(x for x, _ in places.values()) + 1) * (_WIDTH + _GAP_X)
    height = (max(y for _, y in places.values()) + 1) * (_HEIGHT + _GAP_Y)
    lines = []
    for edge in graph.edges:
        (x1, y1), (x2, y2) = _point(places[edge.source]), _point(places[edge.target])
        middle = (x1 + _WIDTH + x2) / 2
        lines.append(
            f'<path d="M{x1 + _WIDTH} {y1 + _HEIGHT / 2} C{middle} {y1 + _HEIGHT / 2} {middle} {y2 + _HEIGHT / 2} '
            f'{x2} {y2 + _HEIGHT / 2}" fill="none" stroke="#a8a29e"><title>{_h(edge.relation)}</title></path>'
        )
    boxes = [_box(graph.nodes[node], _point(place)) for node, place in places.items()]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="lineage graph" font-family="system-ui,sans-serif" font-size="12">'
        f"{''.join(lines)}{''.join(boxes)}</svg>"
    )


def _box(node: Node, point: tuple[int, int]) -> str:
    x, y = point
    dash = "" if node.presence is Presence.KNOWN else ' stroke-dasharray="5 3"'
    label = node.label if len(node.label) <= _SHOWN else "..." + node.label[-_SHOWN + 3 :]
    kind = node.kind if node.presence is Presence.KNOWN else f"{node.kind}, {node.presence}"
    return (
        f'<g><title>{_h(node.label)}</title><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" '
        f'fill="#fff" stroke="{_COLOURS.get(node.kind, "#57534e")}" stroke-width="2"{dash}/>'
        f'<text x="{x + 10}" y="{y + 17}" fill="{_COLOURS.get(node.kind, "#57534e")}">{_h(kind)}</text>'
        f'<text x="{x + 10}" y="{y + 34}" fill="#1c1917">{_h(label)}</text></g>'
    )


def _places(graph: Graph) -> dict[str, tuple[int, int]]:
    """Column and row of each node, breadth first."""
    column = {graph.root: 0}
    queue = [graph.root]
    for node in queue:
        for _, child in graph.children(node):
            if child.id not in column:
                column[child.id] = column[node] + 1
                queue.append(child.id)
    rows: dict[int, int] = {}
    places = {}
    for node in queue:
        row = rows.get(column[node], 0)
        rows[column[node]] = row + 1
        places[node] = (column[node], row)
    return places


def _point(place: tuple[int, int]) -> tuple[int, int]:
    return place[0] * (_WIDTH + _GAP_X) + 4, place[1] * (_HEIGHT + _GAP_Y) + 4


def _line(node: Node) -> Any:
    from rich.text import Text

    styles = {Presence.KNOWN: "", Presence.GONE: "yellow", Presence.UNREADABLE: "red"}
    mark = "" if node.presence is Presence.KNOWN else f" [{node.presence}]"
    return Text(f"{node.kind} {plain(node.label)}{mark}", style=styles[node.presence])


def _facts(node: Node) -> str:
    return ", ".join(f"{name}={value}" for name, value in node.facts.items() if value not in (None, "", {}))


def _h(text: object) -> str:
    return html.escape(plain(text), quote=True)
