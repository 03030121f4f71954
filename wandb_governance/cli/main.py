"""The ``wandb-governance`` command: a table of commands, each imported only when it is called."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any

import click

from wandb_governance.errors import ConfigError, GovernanceError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    target: str
    """``module:attribute`` of a click command or group."""

    summary: str


_COMMANDS: dict[str, _Command] = {
    "demo": _Command(target="wandb_governance.cli.demo:demo", summary="Run the main job on real input, with no key."),
    "server": _Command(target="wandb_governance.cli.server:server", summary="The embedded W&B server."),
    "sweep": _Command(target="wandb_governance.cli.sweep:sweep", summary="RAG sweeps: init, config, run, select."),
    "policy": _Command(
        target="wandb_governance.cli.policy:policy", summary="Check, test, explain and measure policies."
    ),
    "gateway": _Command(target="wandb_governance.cli.gateway:gateway", summary="The OpenAI-compatible gateway."),
    "events": _Command(target="wandb_governance.cli.events:events", summary="List what the gateway decided."),
    "prices": _Command(target="wandb_governance.cli.prices:prices", summary="Look a price up; check a price table."),
    "promote": _Command(target="wandb_governance.cli.promote:promote", summary="Promote a version through its gates."),
    "approve": _Command(
        target="wandb_governance.cli.approve:approve", summary="Approve, reject or revoke a promotion."
    ),
    "rollback": _Command(target="wandb_governance.cli.promote:rollback", summary="Go back to the last good version."),
    "watch": _Command(
        target="wandb_governance.cli.promote:watch", summary="Promote runs that are tagged as candidates."
    ),
    "lineage": _Command(target="wandb_governance.cli.lineage:lineage", summary="Trace a prediction or an artifact."),
    "audit": _Command(target="wandb_governance.cli.audit:audit", summary="Verify, list and prove audit records."),
    "evidence": _Command(target="wandb_governance.cli.evidence:evidence", summary="Export an evidence bundle."),
    "status": _Command(target="wandb_governance.cli.delivery:status", summary="What is not delivered to W&B yet."),
    "recover": _Command(target="wandb_governance.cli.delivery:recover", summary="Deliver what a crash left behind."),
}


class _LazyGroup(click.Group):
    """A group that imports a command's module only when that command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wandb-governance", prog_name="wandb-governance")
def app() -> None:
    """Traces, cost, policy and governed releases of LLM applications, in Weights & Biases."""


def main(argv: list[str] | None = None) -> Any:
    """Run the command line.

    Exit codes: 0 done, 1 the answer is no (a check failed), 2 wrong usage or a wrong file. A command may define more.
    """
    try:
        return app.main(args=argv, prog_name="wandb-governance")
    except ConfigError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(2)
    except GovernanceError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
