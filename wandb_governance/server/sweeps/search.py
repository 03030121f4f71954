"""The next point of a sweep and the runs to stop early, by W&B's ``sweeps`` package.

Pure: a decoded config and the sweep's runs go in, values come out. The package is imported when first needed; it brings
numpy, scipy and scikit-learn, about 100 MB.
"""

from __future__ import annotations

import copy
import math
import threading
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wandb_governance.server.problem import BadRequest, Unprocessable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_import_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What the search knows of one run."""

    name: str
    state: str
    config: Mapping[str, Any]
    """``{parameter: {"value": v}}``."""

    summary: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    """Rows that have the sweep's metric, oldest first."""

    stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A point to try."""

    config: dict[str, Any]
    """``{parameter: {"value": v}}``, plain Python values."""

    search_info: dict[str, Any] | None = None
    """What the search tells of its choice."""


def _package() -> Any:
    with _import_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sweeps
    return sweeps


def warm_up() -> None:
    """Import the search in the background, so that the first heartbeat of an agent need not wait for it."""
    threading.Thread(target=_package, name="import-sweeps", daemon=True).start()


def read_config(text: Any) -> dict[str, Any]:
    """A sweep's config from its YAML text.

    Raises:
        BadRequest: It is not a YAML mapping.
    """
    import yaml

    if not isinstance(text, str) or len(text) > 1_000_000:
        raise BadRequest("the sweep config must be YAML text of at most 1,000,000 characters")
    try:
        config = yaml.load(text, Loader=_loader())  # noqa: S506 - a safe loader, see _loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadRequest(f"the sweep config is not valid YAML: {str(error)[:300]}") from None
    if not isinstance(config, dict):
        raise BadRequest("the sweep config must be a YAML mapping")
    return config


def _loader() -> Any:
    import yaml

    class NoAliases(yaml.SafeLoader):
        """Safe, and without anchors in what a client sends: they can blow a small text up to gigabytes."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                event: Any = self.peek_event()  # type: ignore[no-untyped-call]
                if self.aliases_seen >= 100:
                    raise yaml.YAMLError(f"over 100 aliases, the last at line {event.start_mark.line + 1}")
                self.aliases_seen += 1
            return super().compose_node(parent, index)

        aliases_seen = 0

    return NoAliases


def violations(config: Mapping[str, Any]) -> list[str]:
    """What in a config the schema of ``sweeps`` does not allow."""
    found = _package().schema_violations_from_proposed_config(copy.deepcopy(dict(config)))
    return [str(entry) for entry in found]


def suggest(config: Mapping[str, Any], trials: Sequence[Trial]) -> Suggestion | None:
    """The next point, or None when a grid is exhausted.

    Raises:
        Unprocessable: The config can't be searched.
    """
    package = _package()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = package.next_run(copy.deepcopy(dict(config)), [_as_run(package, trial) for trial in trials])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unprocessable(f"the sweep config can't be searched: {error}") from error
    if run is None:
        return None
    return Suggestion(config=_plain(run.config), search_info=_plain(run.search_info))


def to_stop(config: Mapping[str, Any], trials: Sequence[Trial]) -> list[str]:
    """Names of running runs that ``early_terminate`` of the config ends."""
    if not config.get("early_terminate"):
        return []
    package = _package()
    runs = [_as_run(package, trial) for trial in trials]
    try:
        return [run.name for run in package.stop_runs(copy.deepcopy(dict(config)), runs)]
    except (ValueError, KeyError, TypeError, AttributeError):
        # the package raises while no run has a value of the metric yet
        return []


def _as_run(package: Any, trial: Trial) -> Any:
    return package.SweepRun(
        name=trial.name,
        state=trial.state,
        config=dict(trial.config),
        summaryMetrics=dict(trial.summary),
        sampledHistory=[dict(row) for row in trial.history],
        stopped=trial.stopped,
    )


def _plain(value: Any) -> Any:
    if hasattr(value, "item") and not isinstance(value, dict):
        value = value.item()
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def grid_size(config: Mapping[str, Any]) -> int | None:
    """How many points a grid has, or None where that is not finite or the method is no grid."""
    if config.get("method") != "grid":
        return None
    return _points(config.get("parameters"))


def _points(parameters: Any) -> int | None:
    if not isinstance(parameters, dict):
        return None
    total = 1
    for spec in parameters.values():
        count = _choices(spec)
        if count is None:
            return None
        total *= count
    return total


def _choices(spec: Any) -> int | None:
    if not isinstance(spec, dict):
        return None
    if "parameters" in spec:
        return _points(spec["parameters"])
    if isinstance(spec.get("values"), list):
        return len({repr(value) for value in spec["values"]})
    if "value" in spec:
        return 1
    low, high = spec.get("min"), spec.get("max")
    if isinstance(low, int) and isinstance(high, int) and spec.get("distribution") in {None, "int_uniform"}:
        return max(0, high - low + 1)
    step = spec.get("q")
    if spec.get("distribution") == "q_uniform" and all(isinstance(n, int | float) and n for n in (step, high)):
        return int((high - (low or 0)) / step) + 1  # type: ignore[operator]
    return None
