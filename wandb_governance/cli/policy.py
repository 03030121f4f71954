"""``policy``: check, test, explain and measure policies, or start a file."""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.policy.engine import PolicyEngine
    from wandb_governance.policy.verdict import Decision

_FILE = click.Path(path_type=Path, dir_okay=False)
_config = click.option(
    "--policy-config", "-c", type=_FILE, default=Path("policy-config.yaml"), show_default=True, help="The policy file."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_SCOPES = click.Choice(["input", "output", "tool_args", "tool_result", "retrieval"])


@click.group()
def policy() -> None:
    """Check, test, explain and measure policies."""


def _engine(path: Path) -> PolicyEngine:
    from wandb_governance.policy.engine import PolicyEngine

    engine = PolicyEngine.from_file(path)
    # Trying a policy out is no access to be recorded.
    engine.audit = None
    return engine


@policy.command()
@click.argument("path", type=_FILE, default=Path("policy-config.yaml"))
@_json
def check(path: Path, as_json: bool) -> None:
    """Check that every key of a policy file can be enforced. Exit code 2 where one can't."""
    from wandb_governance.errors import PolicyDocumentError

    try:
        engine = _engine(path)
    except PolicyDocumentError as error:
        if as_json:
            facts = {"file": error.file, "line": error.line, "key": error.key, "message": error.message}
            click.echo(json.dumps({"ok": False, "error": facts}))
            sys.exit(2)
        raise
    links = [
        {
            "policy": link.name,
            "version": link.rule.version,
            "action": link.action,
            "mode": link.mode,
            "scopes": sorted(link.scopes),
            "fail_mode": "closed" if link.fail_closed else "open",
        }
        for link in engine.links
    ]
    if as_json:
        click.echo(json.dumps({"ok": True, "pack": engine.name, "digest": engine.digest, "policies": links}))
        return
    click.echo(f"{path}: ok, pack {engine.name} {engine.version}, digest {engine.digest[:16]}")
    for link in links:
        scopes = ", ".join(link["scopes"])
        click.echo(f"  {link['policy']:18} {link['action']:9} {link['mode']:8} fails {link['fail_mode']:6} on {scopes}")


@policy.command()
@click.argument("cases", type=_FILE)
@click.option("--junit", "junit_path", type=_FILE, help="Write JUnit XML here.")
@_config
@_json
def test(cases: Path, junit_path: Path | None, policy_config: Path, as_json: bool) -> None:
    """Run test cases against a policy file. Exit code 1 where one fails."""
    from wandb_governance.policy.cases import junit, load_cases, run_case, to_json

    engine = _engine(policy_config)
    results = [run_case(engine, case) for case in load_cases(cases)]
    if junit_path is not None:
        junit_path.write_bytes(junit(results, suite=engine.name))
    if as_json:
        click.echo(json.dumps(to_json(results)))
    else:
        for result in results:
            click.secho(f"{'ok  ' if result.passed else 'FAIL'} {result.name}", fg=None if result.passed else "red")
            for problem in result.problems:
                click.echo(f"     {problem}")
        failed = sum(not result.passed for result in results)
        click.echo(f"{len(results) - failed} passed, {failed} failed")
    sys.exit(0 if all(result.passed for result in results) else 1)


@policy.command()
@click.argument("text")
@click.option("--scope", type=_SCOPES, default="input", show_default=True, help="What the text is.")
@_config
@_json
def explain(text: str, scope: str, policy_config: Path, as_json: bool) -> None:
    """Tell what each policy says of TEXT (``-`` reads standard input) and why."""
    from wandb_governance.policy.rule import RuleContext
    from wandb_governance.policy.verdict import Scope

    given = sys.stdin.read() if text == "-" else text
    engine = _engine(policy_config)
    decision = engine.evaluate(given, RuleContext(scope=Scope(scope)))
    if as_json:
        click.echo(json.dumps(_plain(decision)))
    else:
        _print_decision(decision)


def _plain(decision: Decision) -> dict[str, Any]:
    from dataclasses import asdict

    verdicts = [{**asdict(verdict), "effective": verdict.effective} for verdict in decision.verdicts]
    return {
        "action": decision.action,
        "text": decision.text,
        "policy_digest": decision.policy_digest,
        "verdicts": verdicts,
    }


def _print_decision(decision: Decision) -> None:
    click.secho(f"{decision.action}: {decision.text}", bold=True)
    for verdict in decision.verdicts:
        note = " (shadow)" if verdict.mode == "shadow" else ""
        click.echo(
            f"  {verdict.policy} {verdict.policy_version}: {verdict.action}{note} in {verdict.latency_ns / 1e6:.2f} ms"
        )
        if verdict.failure:
            click.secho(f"    failed: {verdict.failure}", fg="red")
        for found in verdict.findings:
            where = f"{found.start}-{found.end}"
            score = f"score {found.score:.2f}, counts from {found.threshold:.2f}"
            click.echo(f"    {found.entity} at {where} by {found.rule}: {score}; {found.explanation}")


@policy.command("eval")
@click.argument("data", type=_FILE)
@click.option("--rule", "name", help="Policy of the file to measure; by default the first that fits the data.")
@click.option("--picture", type=_FILE, help="Write bars as SVG here.")
@_config
@_json
def evaluate(data: Path, name: str | None, picture: Path | None, policy_config: Path, as_json: bool) -> None:
    """Measure a detector on labelled lines: ``spans`` for personal data, ``label`` for injections."""
    rows = _rows(data)
    labelled = "spans" if "spans" in rows[0] else "label"
    engine = _engine(policy_config)
    wanted = {"spans": "pii-detector", "label": "prompt-injection"}[labelled]
    link = engine.link(name) if name else next((link for link in engine.links if link.kind == wanted), None)
    if link is None:
        raise click.UsageError(f"the policy file has no {name or wanted!r}")
    report = _evaluate_spans(rows, link.rule) if labelled == "spans" else _evaluate_labels(rows, link.rule)
    if picture is not None:
        from wandb_governance.policy.picture import bars

        picture.write_text(bars(f"{link.name} on {data.name}", report["bars"], ["precision", "recall", "F1"]), "utf-8")
    if as_json:
        click.echo(json.dumps({key: value for key, value in report.items() if key != "bars"}))
        return
    for label, (precision, recall, f1) in report["bars"].items():
        click.echo(f"{label:24} precision {precision:.3f}  recall {recall:.3f}  F1 {f1:.3f}")
    for key, value in report.items():
        if isinstance(value, int | float):
            click.echo(f"{key:24} {value}")


def _rows(path: Path) -> list[dict[str, Any]]:
    from wandb_governance.errors import ConfigError

    rows = []
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"can't be read: {error.strerror}", file=path) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"is not JSON: {error}", file=path, line=number) from error
        if not isinstance(row, dict) or not isinstance(row.get("text"), str) or not {"spans", "label"} & row.keys():
            raise ConfigError("needs text, and spans or label", file=path, line=number)
        rows.append(row)
    if not rows:
        raise ConfigError("holds no line", file=path)
    return rows


def _evaluate_spans(rows: Sequence[dict[str, Any]], rule: Any) -> dict[str, Any]:
    from wandb_governance.policy.evaluate import evaluate_pii

    report = evaluate_pii(rows, rule)
    scores = {"all": report.overall, **report.by_entity}
    return {**report.to_json(), "bars": {key: (s.precision, s.recall, s.f(1)) for key, s in scores.items()}}


def _evaluate_labels(rows: Sequence[dict[str, Any]], rule: Any) -> dict[str, Any]:
    from wandb_governance.policy.classifier_report import evaluate_labels

    report = evaluate_labels(rows, rule)
    return {**report, "bars": {"all": (report["precision"], report["recall"], report["f1"])}}


@policy.command()
@click.option("--template", default="governed", show_default=True, help="Which starter; --list shows them.")
@click.option("--list", "show", is_flag=True, help="List the starters.")
@click.option("--output", "-o", type=_FILE, default=Path("policy-config.yaml"), show_default=True, help="The new file.")
@_json
def init(template: str, show: bool, output: Path, as_json: bool) -> None:
    """Write a policy file to start from."""
    folder = resources.files("wandb_governance.policy") / "starters"
    starters = {Path(item.name).stem: item for item in folder.iterdir() if item.name.endswith(".yaml")}
    if show:
        heads = {name: starters[name].read_text("utf-8").splitlines()[0].lstrip("# ") for name in sorted(starters)}
        click.echo(json.dumps(heads) if as_json else "\n".join(f"{name:10} {head}" for name, head in heads.items()))
        return
    if template not in starters:
        raise click.UsageError(f"there is no starter {template!r}; there are {', '.join(sorted(starters))}")
    if output.exists():
        raise click.UsageError(f"{output} is there already; name another with --output")
    output.write_text(starters[template].read_text("utf-8"), "utf-8")
    click.echo(
        json.dumps({"written": str(output)})
        if as_json
        else f"wrote {output}; check it with: wandb-governance policy check"
    )
