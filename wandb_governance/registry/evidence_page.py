"""The page of an evidence bundle."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from wandb_governance.registry.controls import Coverage
from wandb_governance.registry.report import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

_COLOURS = {Coverage.EVIDENCED: "#15803d", Coverage.PARTLY: "#b45309", Coverage.NOT_COVERED: "#b91c1c"}
_STYLE = """
body { font: 15px system-ui, sans-serif; margin: 2rem; max-width: 80rem }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { border-bottom: 1px solid #d6d3d1; padding: .3rem .6rem; text-align: left; vertical-align: top }
td { word-break: break-word }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_POINTERS = 5


def page(summary: Mapping[str, Any]) -> str:
    """Self-contained HTML; nothing in it is loaded or executed."""
    title = f"Evidence for {escaped(summary['framework'])}"
    controls = "".join(_control(control) for control in summary["controls"])
    promotions = "".join(_promotion(promotion) for promotion in summary["promotions"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><style>{_STYLE}</style></head><body>'
        f"<h1>{title}</h1><p>Exported {escaped(summary['exported'])}. {escaped(summary['disclaimer'])} "
        "Verify this folder with <code>python3 verify.py</code>.</p><h2>Controls</h2><table>"
        "<tr><th>control</th><th>about</th><th>evidence</th><th>found</th><th>missing</th></tr>"
        f"{controls}</table><h2>Promotions</h2><table>"
        "<tr><th>id</th><th>version</th><th>stage</th><th>state</th><th>content SHA-256</th></tr>"
        f"{promotions}</table></body></html>\n"
    )


def escaped(text: object) -> str:
    """Text for HTML: one line, no markup, no control character."""
    return html.escape(plain(text), quote=True)


def _control(control: Mapping[str, Any]) -> str:
    found = [f"{kind}: {', '.join(pointers[:_POINTERS])}" for kind, pointers in control["found"].items()]
    colour = _COLOURS[Coverage(control["coverage"])]
    return (
        f"<tr><td>{escaped(control['id'])}</td><td>{escaped(control['about'])}</td>"
        f'<td style="color:{colour}">{escaped(control["coverage"])}</td>'
        f"<td>{escaped('; '.join(found))}</td><td>{escaped(', '.join(control['missing']))}</td></tr>"
    )


def _promotion(promotion: Mapping[str, Any]) -> str:
    cells = (promotion["id"][:12], promotion["source"], promotion["stage"], promotion["state"], promotion["root"])
    return "<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in cells) + "</tr>"
