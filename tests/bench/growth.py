"""Flat in memory, quick to start: a million rows against fifty thousand, and runs that are nearly done."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from .arrival import FirstArrival
from .done_rows import SHARD_ROWS
from .figures import Bench, Figure, median
from .jobs import JobFolder
from .nginx import Nginx
from .processes import PYTHON, run
from .throughput import job

MOST_MB = 250.0


def memory(bench: Bench) -> list[Figure]:
    """Peak memory of a run of 1,000,000 rows against one of 50,000."""
    few, many = bench.size(50_000, 1_000), bench.size(1_000_000, 3_000)
    with Nginx(bench.place("nginx-memory")) as nginx:
        peaks = {}
        for rows in (few, many):
            path = bench.folder / f"memory{rows}"
            took, _ = job(path, nginx, rows)
            peaks[rows] = took.peak_mb
            bench.say(f"memory: {rows:,} rows, {took.peak_mb:.0f} MB, {rows / took.wall_s:,.0f} rows/s")
            shutil.rmtree(path)
    return [
        Figure(f"peak at {many:,} : at {few:,} rows", peaks[many] / peaks[few], at_most=1.2),
        Figure(f"peak at {many:,} rows", peaks[many], "MB", at_most=MOST_MB),
        Figure(f"peak at {few:,} rows", peaks[few], "MB"),
    ]


def resume(bench: Bench) -> list[Figure]:
    """1,000,000 rows of which all but 1,000 are done: when is the first call made, and at what memory."""
    shards = bench.size(1_000, 3)
    one = JobFolder(bench.place("resume-one-file"))
    one.rows(shards * SHARD_ROWS)
    many = JobFolder(bench.place("resume-many-files"))
    many.parquet(shards, SHARD_ROWS)
    return [
        *_resumed(bench, one, f"{shards * SHARD_ROWS:,} rows in one file"),
        *_resumed(bench, many, f"the same in {shards:,} Parquet files"),
    ]


def _resumed(bench: Bench, folder: JobFolder, name: str) -> list[Figure]:
    first_s, peaks, cpu = [], [], []
    with FirstArrival() as server:
        folder.job(server.base_url, "tiny")
        fresh = folder.path.with_name(folder.path.name + "-fresh")
        run([sys.executable, "-m", "bench.done_rows", str(folder.path.resolve()), "1"])
        folder.run_path.rename(fresh)
        for number in range(bench.repeats):
            shutil.copytree(fresh, folder.run_path)
            server.forget()
            took = folder.run()
            if server.at is None or server.calls != SHARD_ROWS:
                raise RuntimeError(f"{server.calls} calls instead of {SHARD_ROWS}")
            first_s.append(server.at - took.began)
            peaks.append(took.peak_mb)
            shutil.rmtree(folder.run_path)
            cpu.append(took.cpu_s)
            bench.say(f"resume {number + 1}, {name}: {first_s[-1]:.2f} s, {peaks[-1]:.0f} MB")
    return [
        Figure(f"{name}: first call after", median(first_s), "s", at_most=2.0, note="from process start"),
        Figure(f"{name}: peak", median(peaks), "MB", at_most=MOST_MB),
        Figure(f"{name}: CPU of the whole process", median(cpu), "s", note="its 1,000 calls included"),
    ]


def start(bench: Bench) -> list[Figure]:
    """`qfbatch --help` against an empty Python process, in turn."""
    command = str(Path(PYTHON).with_name("qfbatch"))
    empty, shown = [], []
    for _ in range(bench.size(15, 3)):
        empty.append(run([PYTHON, "-c", "pass"]).wall_s)
        shown.append(run([command, "--help"]).wall_s)
    ratio = median(shown) / median(empty)
    return [
        Figure("qfbatch --help : python -c pass", ratio, at_most=5, note="medians, taken in turn"),
        Figure("qfbatch --help", median(shown) * 1000, "ms"),
    ]
