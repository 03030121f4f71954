"""A W&B report of a sweep: what was chosen, why, and the panels to look further."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.errors import BackendError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def save_report(
    path: str, *, title: str, sentence: str, metric: str, axes: Sequence[str], rows: Mapping[str, Any]
) -> str:
    """Save a report beside the sweep.

    Args:
        path: ``entity/project/sweep id``.
        title: Of the report.
        sentence: The result.
        metric: Name of the sweep's metric.
        axes: Configuration keys for the parallel coordinates.
        rows: Facts of the choice.

    Returns:
        Address of the report.

    Raises:
        MissingExtraError: wandb-workspaces is not installed.
        BackendError: W&B refused.
    """
    try:
        from wandb_workspaces.reports import v2
    except ImportError as error:
        raise MissingExtraError("wandb-workspaces", extra="sweep") from error
    reports: Any = v2
    entity, project, sweep = path.split("/")
    facts = "\n".join(f"- {name}: {value}" for name, value in rows.items())
    columns = [reports.ParallelCoordinatesPlotColumn(metric=f"c::{axis}") for axis in axes]
    columns.append(reports.ParallelCoordinatesPlotColumn(metric=metric))
    runs = reports.Runset(entity=entity, project=project, name="trials", filters=f"Metric('sweep') == '{sweep}'")
    panels = [
        reports.ParallelCoordinatesPlot(columns=columns),
        reports.ScatterPlot(x="context_tokens", y=metric),
        reports.ParameterImportancePlot(with_respect_to=metric),
    ]
    try:
        report = reports.Report(
            entity=entity,
            project=project,
            title=title,
            description=sentence,
            blocks=[
                reports.P(text=sentence),
                reports.MarkdownBlock(text=facts),
                reports.PanelGrid(runsets=[runs], panels=panels),
            ],
        )
        report.save()
    except Exception as error:
        raise BackendError(f"could not save the report: {error}") from error
    return str(report.url)
