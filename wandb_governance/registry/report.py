"""Gate results for people and for CI: Markdown, JUnit XML, GitHub annotations, JSON.

Names, reasons and comments come from others. They are shown, never interpreted: no markup, no link, no control
character.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from wandb_governance.registry.gate import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_governance.registry.outcome import CheckReport
    from wandb_governance.registry.promotion import Promotion

_MARK = {Status.PASS: "pass", Status.FAIL: "FAIL", Status.UNDECIDED: "UNDECIDED"}
_SHOWN = 500


def plain(text: object) -> str:
    """One line without control, format or bidirectional characters."""
    shown = "".join(" " if char in "\r\n\t" else char for char in str(text))
    return "".join(char for char in shown if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co"))[:_SHOWN]


def code(text: object) -> str:
    """Text as a Markdown code span inside a table: nothing in it is a link, markup or HTML."""
    return "`" + plain(text).replace("`", "'").replace("|", "\\|") + "`"


def report_json(report: CheckReport, promotion: Promotion | None = None) -> dict[str, Any]:
    """The report as one object."""
    candidate = report.evidence.candidate if report.evidence else None
    return {
        "thing": report.thing,
        "stage": report.stage,
        "status": report.status.value,
        "exit_code": int(report.exit_code),
        "rule": report.rule,
        "drift": report.drift,
        "candidate": None if candidate is None else {"source": candidate.source, "root": candidate.root},
        "incumbent": report.incumbent.source if report.incumbent else None,
        "gates": [result.as_json() for result in report.results],
        "promotion": None if promotion is None else promotion_json(promotion),
    }


def promotion_json(promotion: Promotion) -> dict[str, Any]:
    """A promotion as one object."""
    return {
        "id": promotion.id,
        "state": promotion.state.value,
        "thing": promotion.thing,
        "stage": promotion.stage,
        "collection": promotion.collection,
        "alias": promotion.alias,
        "source": promotion.candidate["source"],
        "root": promotion.candidate["root"],
        "rollback": promotion.rollback,
        "note": promotion.note,
        "gates": [dict(gate) for gate in promotion.gates],
        "tickets": [dict(ticket) for ticket in promotion.tickets],
    }


def markdown(title: str, gates: Sequence[Mapping[str, Any]], *, facts: Mapping[str, object]) -> str:
    """A page with the facts and a row per gate."""
    lines = [f"## {title}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {code(value)} |" for name, value in facts.items() if value not in (None, "")]
    lines += ["", "| gate | result | reason |", "|---|---|---|"]
    for gate in gates:
        lines.append(f"| {code(gate['gate'])} | {_MARK[Status(gate['status'])]} | {code(gate['reason'])} |")
    return "\n".join(lines) + "\n"


def junit(suite: str, gates: Sequence[Mapping[str, Any]]) -> bytes:
    """JUnit XML with one test case per gate. An undecided gate is an error; nothing is ever skipped."""
    failed = sum(gate["status"] == Status.FAIL for gate in gates)
    undecided = sum(gate["status"] == Status.UNDECIDED for gate in gates)
    counts = {"tests": str(len(gates)), "failures": str(failed), "errors": str(undecided), "skipped": "0"}
    root = ET.Element("testsuites", counts)
    parent = ET.SubElement(root, "testsuite", {"name": plain(suite), **counts})
    for gate in gates:
        case = ET.SubElement(parent, "testcase", {"classname": plain(suite), "name": plain(gate["gate"])})
        if gate["status"] != Status.PASS:
            kind = "failure" if gate["status"] == Status.FAIL else "error"
            ET.SubElement(case, kind, {"message": plain(gate["reason"]), "type": str(gate["status"])})
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def github_annotations(gates: Sequence[Mapping[str, Any]]) -> str:
    """Workflow commands that show failed gates on the run's page."""
    lines = [
        f"::error title={_escaped(gate['gate'])}::{_escaped(gate['reason'])}"
        for gate in gates
        if gate["status"] != Status.PASS
    ]
    return "\n".join(lines) + ("\n" if lines else "")


def _escaped(text: object) -> str:
    """Source: GitHub Actions toolkit, workflow-command escaping."""
    shown = plain(text)
    for char, escape in (("%", "%25"), (":", "%3A"), (",", "%2C")):
        shown = shown.replace(char, escape)
    return shown
