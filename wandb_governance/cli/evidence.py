"""``evidence``: a bundle that a reviewer can verify without us."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click

from wandb_governance.cli.promote import config_option, json_option


@click.command()
@click.option("--framework", required=True, type=click.Choice(["nist-ai-rmf", "eu-ai-act", "iso-42001"]), help="Which.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new folder.")
@config_option
@json_option
def evidence(framework: str, out: Path, config: Path, as_json: bool) -> None:
    """Export what the ledger holds for the controls of a framework.

    The folder holds a page, JSON, signed in-toto statements, votes, model cards, ML-BOMs, the ledger, checksums and
    verify.py, which checks all of it offline with Python's standard library and openssl.
    """
    from wandb_governance.registry.evidence import export
    from wandb_governance.registry.session import open_session

    with open_session(config, write=True) as session:
        assert session.key is not None
        controls = export(
            framework, out, document=session.document, ledger=session.ledger, key=session.key, clock=session.clock
        )
    counts = Counter(item.coverage.value for item in controls)
    value = {"folder": str(out), "framework": framework, "controls": dict(counts), "verify": f"python3 {out}/verify.py"}
    if as_json:
        click.echo(json.dumps(value))
        return
    for coverage, count in sorted(counts.items()):
        click.echo(f"{count:3} {coverage}")
    click.echo(f"wrote {out}; verify it with: {value['verify']}")
