"""Latency and throughput of the gateway beside a raw pass-through and, where it is installed, the LiteLLM proxy.

    python benchmarks/gateway.py --litellm /path/to/venv/bin/litellm --json

Everything runs on this machine in one run: nginx answers with a fixed JSON and wrk asks (both from Debian).
Added latency is the median minus the upstream's own. ``repeat`` sends one conversation again and again, as chat history
does; ``fresh`` puts a new message behind the same history each time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = "The answer is short. " * 8
ANSWER = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": TEXT}}],
        "usage": {"prompt_tokens": 200, "completion_tokens": 40, "total_tokens": 240},
    }
)
HISTORY = "Please compare the two drafts of the report and say which one is clearer to a reader in a hurry. " * 10
POLICY = """
pack: {{name: wandb-governed-experiments, version: 1.0.0, enabled: true}}
providers:
  targets:
    - id: experiment-llm
      provider: openai:chat:gpt-4o
      base_url: "http://127.0.0.1:{port}/v1"
      secret_key_ref: {{env: OPENAI_API_KEY}}
policies:
  chain: [prompt-injection, pii-detector, audit-logger]
  policy:
    prompt-injection: {{threshold: 0.8, action: block}}
    pii-detector: {{action: redact, entities: [{entities}]}}
    audit-logger: {{immutable: true, retention_days: 365, log_all_access: true}}
"""
PASS_THROUGH = """
import aiohttp, os
session = None
URL = "http://127.0.0.1:" + os.environ["UPSTREAM_PORT"]
async def app(scope, receive, send):
    global session
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    async with session.post(URL + scope["path"], data=body, headers={"content-type": "application/json"}) as response:
        data = await response.read()
    await send({"type": "http.response.start", "status": response.status,
                "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(data))]})
    await send({"type": "http.response.body", "body": data})
"""
LUA = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer sk-any"
local count = 0
local history = %s
request = function()
  count = count + 1
  local tail = %s
  local body = '{"model":"gpt-4o","messages":[{"role":"system","content":"' .. history
  body = body .. '"},{"role":"user","content":"' .. tail .. '"}]}'
  return wrk.format(nil, "/v1/chat/completions", nil, body)
end
done = function(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.status + errors.connect + errors.read + errors.timeout
  io.write(string.format("RESULT %%f %%f %%f %%d %%d\\n", latency:percentile(50), latency:percentile(99),
    summary.requests / (summary.duration / 1e6), summary.requests, failed))
end
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def process(
    command: list[str], *, ready: str, env: dict[str, str] | None = None, cwd: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server and wait until ``ready`` answers anything."""
    log = (cwd / f"{Path(command[0]).name}-{time.time_ns()}.log").open("wb")
    started = subprocess.Popen(
        command, env={**os.environ, **(env or {})}, cwd=cwd, stdout=log, stderr=log, start_new_session=True
    )
    try:
        for _ in range(900):
            if started.poll() is not None:
                raise SystemExit(f"{command[0]} ended: see {log.name}\n{Path(log.name).read_text()[-1500:]}")
            try:
                urllib.request.urlopen(ready, timeout=2)
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGTERM)
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)


def usage_of(pid: int) -> tuple[float, float]:
    """CPU seconds and resident MB of a process and its children."""
    cpu = rss = 0.0
    pids = [pid]
    for item in Path("/proc").iterdir():
        if item.name.isdigit():
            try:
                if int((item / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                    pids.append(int(item.name))
            except (OSError, IndexError):
                continue
    for one in pids:
        fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
        cpu += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        rss += int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return cpu, rss


def wrk(port: int, *, connections: int, seconds: float, fresh: bool, folder: Path) -> dict[str, float]:
    script = folder / f"{'fresh' if fresh else 'repeat'}.lua"
    tail = "'Question number ' .. count .. ': what would you change in paragraph ' .. (count % 17) .. ' and why?'"
    script.write_text(LUA % (json.dumps(HISTORY), tail if fresh else "'What would you change, and why?'"))
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "20s",
        "-s",
        str(script),
        f"http://127.0.0.1:{port}",
    ]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\S+) (\S+) (\S+) (\d+) (\d+)", output)
    assert found is not None, output
    p50, p99, rate, requests, errors = map(float, found.groups())
    return {"p50_ms": p50 / 1000, "p99_ms": p99 / 1000, "per_s": rate, "requests": requests, "errors": errors}


def measure(name: str, port: int, pid: int | None, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = {"name": name}
    for label, connections, fresh in (
        ("c1", 1, False),
        ("c1_fresh", 1, True),
        ("c32", 32, False),
        ("c32_fresh", 32, True),
    ):
        wrk(port, connections=connections, seconds=1, fresh=fresh, folder=folder)
        before = usage_of(pid)[0] if pid else 0.0
        rounds = [
            wrk(port, connections=connections, seconds=options.seconds, fresh=fresh, folder=folder)
            for _ in range(options.rounds)
        ]
        after = usage_of(pid)[0] if pid else 0.0
        median = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
        median["errors"] = sum(r["errors"] for r in rounds)
        median["cpu_ms_per_request"] = (after - before) * 1000 / max(sum(r["requests"] for r in rounds), 1)
        result[label] = median
    if pid:
        result["rss_mb"] = usage_of(pid)[1]
    print(json.dumps(result), file=sys.stderr)
    return result


def nginx_config(folder: Path, port: int) -> Path:
    path = folder / "nginx.conf"
    path.write_text(
        f"""worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 4096; }}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
 uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 10000000; client_max_body_size 10m;
 server {{ listen 127.0.0.1:{port} backlog=4096; default_type application/json;
  location / {{ return 200 '{ANSWER}'; }} }} }}
"""
    )
    return path


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    upstream, raw, ours, lite = (free_port() for _ in range(4))
    results: dict[str, Any] = {}
    uvicorn = [sys.executable, "-m", "uvicorn", "--log-level", "warning", "--no-access-log", "--host", "127.0.0.1"]
    with ExitStack() as stack:
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        stack.enter_context(
            process(
                [nginx, "-c", str(nginx_config(folder, upstream))], ready=f"http://127.0.0.1:{upstream}/", cwd=folder
            )
        )
        (folder / "passing.py").write_text(PASS_THROUGH)
        env = {"UPSTREAM_PORT": str(upstream), "PYTHONPATH": str(folder)}
        passing = stack.enter_context(
            process(
                [*uvicorn, "--port", str(raw), "passing:app"], ready=f"http://127.0.0.1:{raw}/", env=env, cwd=folder
            )
        )
        (folder / "policy.yaml").write_text(POLICY.format(port=upstream, entities=options.entities))
        command = [
            str(Path(sys.executable).with_name("wandb-governance")),
            "gateway",
            "run",
            "--listen",
            f"127.0.0.1:{ours}",
        ]
        gateway = stack.enter_context(
            process(
                [*command, "--policy-config", str(folder / "policy.yaml")],
                ready=f"http://127.0.0.1:{ours}/health",
                env={
                    "OPENAI_API_KEY": "sk-any",
                    "WANDB_GOVERNANCE_HOME": str(folder / "home"),
                    "WANDB_MODE": "offline",
                },
                cwd=folder,
            )
        )
        results["direct"] = measure("direct", upstream, None, options, folder)
        results["pass_through"] = measure("pass_through", raw, passing.pid, options, folder)
        results["wandb_governance"] = measure("wandb_governance", ours, gateway.pid, options, folder)
        if options.litellm:
            config = {
                "model_list": [
                    {
                        "model_name": "gpt-4o",
                        "litellm_params": {
                            "model": "openai/gpt-4o",
                            "api_base": f"http://127.0.0.1:{upstream}/v1",
                            "api_key": "sk-any",
                        },
                    }
                ]
            }
            (folder / "litellm.yaml").write_text(json.dumps(config))
            served = stack.enter_context(
                process(
                    [
                        options.litellm,
                        "--config",
                        str(folder / "litellm.yaml"),
                        "--port",
                        str(lite),
                        "--host",
                        "127.0.0.1",
                    ],
                    ready=f"http://127.0.0.1:{lite}/health/liveliness",
                    cwd=folder,
                    env={
                        "LITELLM_LOG": "ERROR",
                        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
                    },
                )
            )
            results["litellm"] = measure("litellm", lite, served.pid, options, folder)
    return results


def ratios(results: dict[str, Any]) -> dict[str, float]:
    """What is claimed: ratios, for absolute times are the machine's."""
    direct, raw, ours = (results[name] for name in ("direct", "pass_through", "wandb_governance"))

    def added(one: dict[str, Any], label: str) -> float:
        return max(one[label]["p50_ms"] - direct[label]["p50_ms"], 1e-3)

    found = {
        "added_over_pass_through": added(ours, "c1") / added(raw, "c1"),
        "added_over_pass_through_fresh": added(ours, "c1_fresh") / added(raw, "c1_fresh"),
        "p99_over_pass_through": ours["c32"]["p99_ms"] / raw["c32"]["p99_ms"],
        "p99_over_pass_through_c1": ours["c1"]["p99_ms"] / raw["c1"]["p99_ms"],
    }
    if "litellm" in results:
        lite = results["litellm"]
        found["litellm_added_over_ours"] = added(lite, "c1") / added(ours, "c1")
        found["litellm_added_over_ours_fresh"] = added(lite, "c1_fresh") / added(ours, "c1_fresh")
        found["rate_over_litellm"] = ours["c32"]["per_s"] / max(lite["c32"]["per_s"], 0.1)
        found["rate_over_litellm_fresh"] = ours["c32_fresh"]["per_s"] / max(lite["c32_fresh"]["per_s"], 0.1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--litellm", help="The litellm command of a virtual environment of its own.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--entities", default="PERSON, EMAIL_ADDRESS", help="Entities of pii-detector.")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = run(options, Path(folder))
    report = {"load": os.getloadavg(), "cores": os.cpu_count(), "results": results, "ratios": ratios(results)}
    if options.as_json:
        print(json.dumps(report))
        return
    for name, one in results.items():
        for label in ("c1", "c1_fresh", "c32", "c32_fresh"):
            values = "  ".join(f"{key} {value:.3f}" for key, value in one[label].items())
            print(f"{name:18} {label:10} {values}")
    for key, value in report["ratios"].items():
        print(f"{key:34} {value:.2f}")


if __name__ == "__main__":
    main()
