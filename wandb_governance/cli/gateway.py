"""``gateway``: the same policies in front of any OpenAI client."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def gateway() -> None:
    """The OpenAI-compatible gateway."""


@gateway.command()
@click.option("--listen", default="127.0.0.1:41002", show_default=True, help="HOST:PORT.")
@click.option(
    "--policy-config", "-c", type=_FILE, default=Path("policy-config.yaml"), show_default=True, help="The policy file."
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
@click.option("--prices", type=_FILE, help="A price table over the public prices.")
@click.option(
    "--project", help="W&B project of the run that calls are logged to (WANDB_PROJECT).", envvar="WANDB_PROJECT"
)
@click.option("--log-level", type=click.Choice(["error", "warning", "info", "debug"]), default="warning")
@click.option("--json", "as_json", is_flag=True, help="Print what is started as JSON.")
def run(
    listen: str,
    policy_config: Path,
    workers: int,
    prices: Path | None,
    project: str | None,
    log_level: str,
    as_json: bool,
) -> None:
    """Serve until SIGTERM; calls in flight are finished. A changed policy file is taken up within a second or two."""
    import json

    from wandb_governance.gateway.server import GatewayOptions, run_gateway

    host, separator, port = listen.rpartition(":")
    if not separator or not port.isdigit() or not 0 < int(port) < 65536:
        raise click.BadParameter("use HOST:PORT, such as 0.0.0.0:41002", param_hint="--listen")
    options = GatewayOptions(policy_config=policy_config, prices=prices, project=project)
    facts = {"url": f"http://{listen}/v1", "policy_config": str(policy_config), "workers": workers, "project": project}
    click.echo(json.dumps(facts) if as_json else f"gateway at {facts['url']} with {policy_config}", err=not as_json)
    run_gateway(options, host=host.strip("[]"), port=int(port), workers=workers, log_level=log_level)
