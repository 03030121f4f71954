"""Charts that explain a choice: HTML to explore, SVG and PNG to show; made without a browser or a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.errors import MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

    from wandb_governance.sweep.select import Candidate, Selection

_AXES = ("splitter", "chunk_size", "chunk_overlap", "retriever", "embedding", "reranker", "top_k", "llm", "temperature")
_WIDTH, _HEIGHT = 720, 380
_KINDS = ["taken", "front", "can't be told from the best", "other"]
_COLOURS = ["#d62728", "#ff9d2e", "#4c78a8", "#b8bec6"]


def draw(selection: Selection, folder: Path) -> list[Path]:
    """Write every chart as HTML (self-contained), SVG and PNG.

    Args:
        selection: What to explain.
        folder: Made where it is not there.

    Returns:
        The files.

    Raises:
        MissingExtraError: altair or vl-convert is not installed.
    """
    try:
        import altair as alt
        import vl_convert  # noqa: F401 - altair writes through it
    except ImportError as error:
        raise MissingExtraError(error.name or "altair", extra="sweep") from error
    folder.mkdir(parents=True, exist_ok=True)
    charts = {
        "parallel_coordinates": _parallel(alt, selection),
        "quality_and_cost": _front(alt, selection),
        "size_and_overlap": _heat_map(alt, selection),
        "importance": _importance(alt, selection),
    }
    files = []
    for name, chart in charts.items():
        for suffix in ("html", "svg", "png"):
            file = folder / f"{name}.{suffix}"
            chart.save(str(file), **({"inline": True} if suffix == "html" else {}))
            files.append(file)
    return files


def kind_of(candidate: Candidate, selection: Selection) -> str:
    """Which of the four groups of the legend a candidate is in."""
    if candidate is selection.choice:
        return _KINDS[0]
    if candidate.on_front:
        return _KINDS[1]
    return _KINDS[2] if candidate.confident else _KINDS[3]


def _colour(alt: Any) -> Any:
    return alt.Color(
        "kind:N", scale=alt.Scale(domain=_KINDS, range=_COLOURS), title=None, legend=alt.Legend(orient="top")
    )


def _rows(selection: Selection) -> list[dict[str, Any]]:
    rows = []
    for candidate in selection.candidates:
        configuration, metrics = candidate.record.configuration, candidate.record.metrics
        rows.append(
            {
                "label": configuration.label,
                "kind": kind_of(candidate, selection),
                "mean": candidate.mean,
                "low": candidate.low,
                "high": candidate.high,
                "p_best": candidate.p_best,
                "context_tokens": metrics.get("context_tokens", 0.0),
                "cost_usd": metrics.get("cost_usd", 0.0),
                **{axis: getattr(configuration, axis) for axis in _AXES},
            }
        )
    return rows


def _parallel(alt: Any, selection: Selection) -> Any:
    """One line a configuration, one axis a parameter that varies, the score at the right."""
    rows = _rows(selection)
    varying = [axis for axis in _AXES if len({row[axis] for row in rows}) > 1]
    points, ticks = [], []
    for axis in [*varying, "mean"]:
        values = sorted({row[axis] for row in rows}, key=lambda v: (isinstance(v, str), v))
        span = max(len(values) - 1, 1)
        low, high = (values[0], values[-1]) if axis == "mean" else (0, span)
        for row in rows:
            place = row[axis] if axis == "mean" else values.index(row[axis])
            height = (place - low) / ((high - low) or 1)
            points.append({"axis": axis, "height": height, **{key: row[key] for key in ("label", "kind", "mean")}})
        shown = [low, high] if axis == "mean" else values
        for rank, value in enumerate(shown):
            text = f"{value:.3f}" if axis == "mean" else str(value)
            ticks.append({"axis": axis, "height": rank / max(len(shown) - 1, 1), "text": text})
    order = [*varying, "mean"]
    x = alt.X("axis:N", sort=order, title=None, axis=alt.Axis(labelAngle=0, labelFontSize=12))
    lines = (
        alt.Chart(alt.Data(values=points))
        .mark_line(opacity=0.7)
        .encode(
            x=x,
            y=alt.Y("height:Q", axis=None),
            detail="label:N",
            color=_colour(alt),
            strokeWidth=alt.condition(alt.datum.kind == _KINDS[0], alt.value(4), alt.value(1.2)),
            tooltip=[alt.Tooltip("label:N"), alt.Tooltip("mean:Q", format=".4f", title=selection.metric)],
        )
    )
    marks = (
        alt.Chart(alt.Data(values=ticks))
        .mark_text(dx=6, align="left", fontSize=10)
        .encode(x=alt.X("axis:N", sort=order), y="height:Q", text="text:N")
    )
    return _titled(lines + marks, f"{len(rows)} configurations; mean is {selection.metric}")


def _front(alt: Any, selection: Selection) -> Any:
    """Quality with its 95% interval against what the reader pays for."""
    rows = _rows(selection)
    priced = any(row["cost_usd"] for row in rows)
    cost, title = ("cost_usd", "USD per question") if priced else ("context_tokens", "tokens handed to the reader")
    x = alt.X(f"{cost}:Q", title=title, scale=alt.Scale(zero=False))
    y_scale = alt.Scale(zero=False)
    base = alt.Chart(alt.Data(values=rows))
    bars = base.mark_rule(opacity=0.35).encode(
        x=x, y=alt.Y("low:Q", title=selection.metric, scale=y_scale), y2="high:Q", color=_colour(alt)
    )
    dots = base.mark_circle(size=80, opacity=1).encode(
        x=x,
        y=alt.Y("mean:Q", scale=y_scale),
        color=_colour(alt),
        tooltip=[
            alt.Tooltip("label:N"),
            alt.Tooltip("mean:Q", format=".4f", title=selection.metric),
            alt.Tooltip("p_best:Q", format=".2f", title="P(best)"),
            alt.Tooltip(f"{cost}:Q", title=title),
        ],
    )
    line = (
        base.transform_filter(alt.FieldOneOfPredicate(field="kind", oneOf=_KINDS[:2]))
        .mark_line(interpolate="step-after", strokeDash=[4, 3], color=_COLOURS[1])
        .encode(x=x, y="mean:Q")
    )
    return _titled(line + bars + dots, selection.sentence)


def _heat_map(alt: Any, selection: Selection) -> Any:
    """Best score for each pair of size and overlap, over all other parameters."""
    best: dict[tuple[int, int], float] = {}
    for candidate in selection.candidates:
        pair = (candidate.record.configuration.chunk_size, candidate.record.configuration.chunk_overlap)
        best[pair] = max(best.get(pair, -1.0), candidate.mean)
    rows = [
        {"size": size, "overlap": overlap, "share": f"{overlap / size:.1%}", "mean": mean}
        for (size, overlap), mean in best.items()
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("size:O", title="chunk size (tokens)", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("share:O", title="overlap", sort="descending"),
    )
    cells = base.mark_rect().encode(
        color=alt.Color("mean:Q", title=selection.metric, scale=alt.Scale(scheme="blues", zero=False))
    )
    text = base.mark_text(fontSize=12, color="black").encode(text=alt.Text("mean:Q", format=".3f"))
    return _titled(cells + text, f"best {selection.metric} of each size and overlap")


def _importance(alt: Any, selection: Selection) -> Any:
    """Share of the spread that each parameter explains by itself."""
    rows = [{"parameter": name, "share": share} for name, share in selection.importance.items()]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(color=_COLOURS[2])
        .encode(
            x=alt.X("share:Q", axis=alt.Axis(format="%"), title="share of the spread explained alone"),
            y=alt.Y("parameter:N", sort="-x", title=None),
        )
    )
    return _titled(chart, f"what moves {selection.metric}")


def _titled(chart: Any, title: str) -> Any:
    return chart.properties(width=_WIDTH, height=_HEIGHT, title=title)
