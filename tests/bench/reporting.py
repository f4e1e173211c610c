"""The report and the export of a million results."""

from __future__ import annotations

import os
import time
from pathlib import Path

from .done_rows import write_results
from .figures import Bench, Figure, median
from .processes import QFBATCH, run

BLOCK = 1 << 20


def report(bench: Bench) -> list[Figure]:
    """`qfbatch report` and `qfbatch export` as whole processes, over a run of 1,000,000 results."""
    rows = bench.size(1_000_000, 4_000)
    place = bench.place("report")
    write_results(place / "run", rows)
    seconds, peaks, cpu = [], [], []
    for number in range(bench.repeats):
        took = run([*QFBATCH, "report", "run", "--format", "json"], cwd=place)
        seconds.append(took.wall_s)
        peaks.append(took.peak_mb)
        cpu.append(took.cpu_s)
        bench.say(f"report {number + 1}: {took.wall_s:.2f} s, {took.cpu_s:.2f} s CPU, {took.peak_mb:.0f} MB")
    figures = [
        Figure(f"report over {rows:,} results", median(seconds), "s", at_most=2.0, note="whole process"),
        Figure("its peak", median(peaks), "MB"),
        Figure("its CPU", median(cpu), "s", note="all threads"),
    ]
    for ending in ("parquet", "jsonl"):
        shares, rates = [], []
        for number in range(bench.repeats):
            target = place / f"out{number}.{ending}"
            took = run([*QFBATCH, "export", "run", target.name], cwd=place)
            size = target.stat().st_size
            disk = size / _disk_s(place / "raw", size)
            rates.append(size / took.wall_s / 1e6)
            shares.append(size / took.wall_s / disk)
            bench.say(
                f"export {ending}: {took.wall_s:.2f} s for {size / 1e6:,.0f} MB, disk {disk / 1e6:,.0f} MB/s"
            )
            target.unlink()
        note = f"whole process; the disk: {median(rates) / median(shares):,.0f} MB/s, fsync included"
        figures += [
            Figure(f"export to {ending}, share of disk speed", median(shares), at_least=1.0, note=note),
            Figure(f"export to {ending}", median(rates), "MB/s"),
        ]
    return figures


def _disk_s(path: Path, size: int) -> float:
    """Seconds to write so many bytes that do not compress, and to have them on the disk."""
    block = os.urandom(BLOCK)
    began = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(max(1, size // BLOCK)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    took = time.perf_counter() - began
    path.unlink()
    return took
