"""``docs/tables.md``, from the schema: ``python -m wandb_governance.export.schema_docs``."""

from __future__ import annotations

from pathlib import Path

from wandb_governance.export.schema import TABLES


def render() -> str:
    """The page."""
    lines = [
        "# Tables in W&B",
        "",
        "Every cell may be null. A table has up to 10,000 rows, as many as W&B shows in a run; what follows is in",
        "`<name>_2` and so on. Of several processes that share a run, each worker's tables end in `.<label>`.",
        "While a run goes on, `live/<name>` grows with the first of them; the plain names are the record.",
    ]
    for table in TABLES:
        lines += ["", f"## `{table.name}`", "", table.about, "", "| column | type | meaning |", "|---|---|---|"]
        lines += [f"| `{column.name}` | {column.type} | {column.about} |" for column in table.columns]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path("docs/tables.md").write_text(render(), encoding="utf-8")
