"""A user's own gate, in a process of its own: it can crash, hang or exit without taking the promotion with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import Any, ClassVar

from pydantic import Field

from wandb_governance.errors import GateError
from wandb_governance.registry.gate import Evidence, GateResult, Status
from wandb_governance.registry.gates.base import NS_PER_S, DurationNs, GateSpec

_CHILD = """
import importlib, json, sys
sys.path.insert(0, "")
module, _, name = sys.argv[1].partition(":")
answer = getattr(importlib.import_module(module), name)(json.load(sys.stdin))
sys.stdout.write("\\n\\x1e" + json.dumps(answer, allow_nan=False))
"""
_MARK = "\n\x1e"
_SHOWN = 300
_KEPT_ENV = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR", "SYSTEMROOT")


class PythonGate(GateSpec):
    """Calls ``module:function`` with the evidence as a dictionary.

    The function returns ``{"pass": true or false, "reason": "..."}``. It runs in the folder of ``governance.yaml``
    without the caller's secrets in its environment.
    """

    kind: ClassVar[str] = "python"
    call: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    timeout: DurationNs = 60 * NS_PER_S
    env: tuple[str, ...] = Field(default=(), strict=False)
    """Names of environment variables to hand on."""

    @property
    def name(self) -> str:
        """Name in reports."""
        return f"python:{self.call}"

    def evaluate(self, evidence: Evidence) -> GateResult:
        """Run the function and read its answer."""
        environ = {key: os.environ[key] for key in (*_KEPT_ENV, *self.env) if key in os.environ}
        try:
            done = subprocess.run(
                [sys.executable, "-c", _CHILD, self.call],
                input=json.dumps(asdict(evidence), default=str),
                capture_output=True,
                text=True,
                timeout=self.timeout / NS_PER_S,
                env=environ,
                cwd=evidence.folder,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise GateError(f"no answer within {self.timeout / NS_PER_S:g} s") from error
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["nothing on stderr"]
            raise GateError(f"ended with code {done.returncode}: {lines[-1][:_SHOWN]}")
        return self._answer(done.stdout)

    def _answer(self, output: str) -> GateResult:
        _, mark, text = output.rpartition(_MARK)
        try:
            answer: Any = json.loads(text) if mark else None
        except json.JSONDecodeError as error:
            raise GateError("the answer is not JSON") from error
        if not isinstance(answer, dict) or not isinstance(answer.get("pass"), bool):
            raise GateError('the function must return {"pass": true or false, "reason": "..."}')
        status = Status.PASS if answer["pass"] else Status.FAIL
        return GateResult(gate=self.name, status=status, reason=str(answer.get("reason", ""))[:_SHOWN] or status.value)
