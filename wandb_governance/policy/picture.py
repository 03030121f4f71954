"""An evaluation as a picture: one bar for each measure, as SVG that needs no library."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROW, _BAR, _LABEL, _WIDTH = 46, 14, 190, 720
_COLORS = ("#3b6ea5", "#d98c2b", "#4f9d69")


def bars(title: str, rows: Mapping[str, Sequence[float]], measures: Sequence[str]) -> str:
    """Grouped horizontal bars.

    Args:
        title: Above the picture.
        rows: Label to values in [0, 1], one for each of ``measures``.
        measures: Names of at most three measures.

    Returns:
        An SVG document.
    """
    height = 70 + len(rows) * _ROW
    scale = _WIDTH - _LABEL - 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="100%" fill="white"/><text x="10" y="22" font-size="15">{escape(title)}</text>',
    ]
    for index, measure in enumerate(measures):
        x = _LABEL + index * 110
        parts.append(f'<rect x="{x}" y="34" width="10" height="10" fill="{_COLORS[index]}"/>')
        parts.append(f'<text x="{x + 15}" y="43">{escape(measure)}</text>')
    for row, (label, values) in enumerate(rows.items()):
        top = 56 + row * _ROW
        parts.append(f'<text x="10" y="{top + 24}">{escape(label)}</text>')
        for index, value in enumerate(values):
            y = top + index * _BAR
            parts.append(
                f'<rect x="{_LABEL}" y="{y}" width="{value * scale:.1f}" height="{_BAR - 2}" fill="{_COLORS[index]}"/>'
            )
            parts.append(f'<text x="{_LABEL + value * scale + 5:.1f}" y="{y + 11}">{value:.3f}</text>')
    return "\n".join([*parts, "</svg>\n"])
