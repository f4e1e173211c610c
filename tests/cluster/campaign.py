"""Long runs on a cluster with kills, counted from files and at the server: `python -m cluster.campaign`.

Prints figures; ends with 1 if a row is lost or doubled, too much is paid twice, or a limit is exceeded.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
from scripted import ScriptedServer

from .runs import Driver, Machines, kill, most_in, write_job

GROUP_ROWS, GROUP_S = 2048, 5.0


class Count:
    """Answers paid so far, from the server's ledger."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self) -> int:
        """How many."""
        return self._path.read_bytes().count(b"\n") if self._path.exists() else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both parts; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--paced-rows", type=int, default=12_000, help="of the part at 200 calls a second")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="qfbatch-campaign-"))
    troubles: list[str] = []
    try:
        with Machines(5) as machines:
            for name, rows, limits in (
                ("fast", options.rows, {"concurrency": options.concurrency}),
                ("paced", options.paced_rows, {"concurrency": options.concurrency, "qps": 200}),
            ):
                if rows:
                    troubles += part(folder / name, machines, rows, rows // options.shards, limits)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for trouble in troubles:
        say(f"WRONG: {trouble}")
    return 1 if troubles else 0


def part(folder: Path, machines: Machines, rows: int, shard_rows: int, limits: dict[str, int]) -> list[str]:
    """One job, with a worker, the limiter, the driver and a machine killed at its fifths; what is wrong."""
    name = folder.name
    folder.mkdir()
    paid_so_far = Count(folder / "ledger")
    with ScriptedServer(ledger=folder / "ledger") as server:
        endpoint = server.endpoint("echo,delay=0.02")
        job = write_job(folder, server.base_url, endpoint, rows=rows, shard_rows=shard_rows, limits=limits)
        began = time.monotonic()

        def due(share: float) -> Callable[[], bool]:
            return lambda: paid_so_far() >= share * rows

        with Driver(job, machines.address, "--ray-nodes", "3") as driver:
            driver.until(due(0.2), 1800)
            kill(machines.workers("Node")[0])
            driver.until(due(0.4), 1800)
            kill(machines.workers("LimiterActor")[0])
            driver.until(due(0.6), 1800)
            driver.process.send_signal(signal.SIGKILL)
            driver.end()
        with Driver(job, machines.address, "--ray-nodes", "3") as driver:
            driver.until(due(0.85), 1800)
            kill(machines.machine_of(machines.workers("Node")[0]))
            code = driver.end(1800)
        took_s = time.monotonic() - began
        paid = Counter({prompt: answered for prompt, (_, answered) in server.calls(endpoint).items()})
        arrivals = sorted(server.traffic(endpoint)["arrivals"])
    results = pl.read_parquet(folder / "run" / "results" / "*.parquet")
    again = paid.total() - len(paid)
    per_kill = limits["concurrency"] + 3 * GROUP_ROWS
    if "qps" in limits:
        per_kill = min(per_kill, round(limits["concurrency"] + limits["qps"] * GROUP_S))
    figures = {
        "part": name,
        "rows": rows,
        "took_s": round(took_s, 1),
        "lost": rows - results["row_id"].n_unique(),
        "doubled": results.height - results["row_id"].n_unique(),
        "paid_twice": again,
        "paid_twice_bound": 3 * per_kill,
        "most_in_1_s": most_in(arrivals, 1.0),
        "most_in_10_s": most_in(arrivals, 10.0),
        "exit_code": code,
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()
    wrong = [
        f"{name}: {what} = {figures[what]}" for what in ("lost", "doubled", "exit_code") if figures[what]
    ]
    if again > 3 * per_kill:
        wrong.append(f"{name}: {again} answers paid twice")
    if "qps" in limits:
        for window_s, room in ((1.0, 1.05), (10.0, 1.01)):
            if (most := most_in(arrivals, window_s)) > limits["qps"] * window_s * room:
                wrong.append(f"{name}: {most} calls in {window_s:g} s")
    return wrong


def say(text: str) -> None:
    """A line on stderr."""
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
