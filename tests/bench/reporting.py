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
    text = 0  # bytes of all rows as JSON lines: what either export has to carry
    for ending in ("jsonl", "parquet"):
        rates, shares, disk = [], [], []
        for number in range(bench.repeats):
            target = place / f"out{number}.{ending}"
            took = run([*QFBATCH, "export", "run", target.name], cwd=place)
            text = text or target.stat().st_size
            target.unlink()
            rates.append(text / took.wall_s / 1e6)
            disk.append(text / _disk_s(place / "raw", text) / 1e6)
            shares.append(rates[-1] / disk[-1])
            bench.say(
                f"export {ending}: {took.wall_s:.2f} s for {text / 1e6:,.0f} MB, disk {disk[-1]:,.0f} MB/s"
            )
        note = f"{text / 1e6:,.0f} MB of JSON lines; the disk, fsync included: {median(disk):,.0f} MB/s"
        figures += [
            Figure(f"export to {ending} : disk speed", median(shares), at_least=1.0, note=note),
            Figure(f"export to {ending}", median(rates), "MB/s", note="whole process"),
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
