"""What logging through the embedded server costs against ``WANDB_MODE=offline``.

Each measurement is one process of the unmodified SDK that logs 10,000 rows of scalars and one table of 10,000 rows,
then finishes; the wall time is that of the whole process, uploads included. Both modes alternate in one run, so
that load of the machine hits both alike. The target is a ratio of at most 1.2. On a busy machine the wall times swing;
``cpu_ratio`` (processor seconds of client and server together) swings less.

    python benchmarks/server.py --rounds 3 --json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from wandb_governance.server.process import RunningServer, start_in_background, stop
from wandb_governance.server.settings import ServerSettings

SCRIPT = """
import sys, wandb
rows = int(sys.argv[1])
with wandb.init(project="bench", settings=wandb.Settings(console="off")) as run:
    for i in range(rows):
        run.log({"loss": 1 / (i + 1), "tokens": i % 700, "cost_usd": i * 1e-6, "latency_s": 0.25, "verdict": i % 2})
    table = wandb.Table(columns=["id", "prompt", "answer", "cost_usd"])
    for i in range(rows):
        table.add_data(i, f"question number {i} of the benchmark", f"answer number {i}, a little longer", i * 1e-6)
    run.log({"calls": table})
"""


def measure(env: dict[str, str], folder: Path, rows: int) -> tuple[float, float]:
    """Wall seconds and processor seconds of one process and its children."""
    script = folder / "bench.py"
    script.write_text(SCRIPT)
    started, before = time.perf_counter(), children_cpu_s()
    subprocess.run(
        [sys.executable, str(script), str(rows)], env=env, cwd=folder, check=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - started, children_cpu_s() - before


def children_cpu_s() -> float:
    """Processor seconds of processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def process_cpu_s(pid: int) -> float:
    """Processor seconds of a live process (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def environment(folder: Path, more: dict[str, str]) -> dict[str, str]:
    """The process environment with folders of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    own = {
        "WANDB_DIR": str(folder), "WANDB_CACHE_DIR": str(folder / "cache"), "WANDB_DATA_DIR": str(folder / "data"),
        "WANDB_CONFIG_DIR": str(folder / "config"), "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false",
    }  # fmt: skip
    return {**kept, **own, **more}


def stored_rows(server: RunningServer) -> int:
    """History rows that reached the server."""
    import sqlite3

    store = sqlite3.connect(Path(server.data_dir) / "store.sqlite3")
    try:
        return int(store.execute("SELECT count(*) FROM history").fetchone()[0])
    finally:
        store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Logging through the embedded server against offline mode.")
    parser.add_argument("--rounds", type=int, default=3, help="Measurements of each mode.")
    parser.add_argument("--rows", type=int, default=10_000, help="Scalar rows, and rows of the table.")
    parser.add_argument("--json", action="store_true", dest="as_json", help="Print one JSON object.")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data_dir = folder / "server"
        server = start_in_background(
            ServerSettings(data_dir=data_dir, port=0), ["--port", "0", "--data-dir", str(data_dir)]
        )
        try:
            modes = {"offline": {"WANDB_MODE": "offline"}, "server": server.env}
            measure(environment(folder, modes["offline"]), folder, 10)  # the disk cache holds the SDK from here on
            seconds: dict[str, list[float]] = {name: [] for name in modes}
            cpu: dict[str, list[float]] = {name: [] for name in modes}
            for _ in range(args.rounds):
                for name, more in modes.items():
                    before = process_cpu_s(server.pid)
                    wall, client = measure(environment(folder, more), folder, args.rows)
                    seconds[name].append(wall)
                    cpu[name].append(client + (process_cpu_s(server.pid) - before if name == "server" else 0.0))
            rows = stored_rows(server)
        finally:
            stop(data_dir)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    result = {
        "rows": args.rows,
        "rounds": args.rounds,
        "seconds": {name: [round(value, 2) for value in values] for name, values in seconds.items()},
        "median_s": {name: round(value, 2) for name, value in medians.items()},
        "ratio": round(medians["server"] / medians["offline"], 3),
        "cpu_s": {name: [round(value, 2) for value in values] for name, values in cpu.items()},
        "cpu_ratio": round(statistics.median(cpu["server"]) / statistics.median(cpu["offline"]), 3),
        "history_rows_on_server": rows,
        "history_rows_expected": args.rounds * (args.rows + 1),
        "load_average": [round(value, 1) for value in os.getloadavg()],
    }
    if args.as_json:
        print(json.dumps(result))
        return
    print(f"offline {medians['offline']:.2f} s, server {medians['server']:.2f} s, median of {args.rounds}")
    print(f"ratio of wall time {result['ratio']}, of processor time {result['cpu_ratio']}")


if __name__ == "__main__":
    main()
