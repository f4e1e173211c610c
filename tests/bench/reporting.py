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
    text = 0  # bytes of all rows as JSON lines
    for ending in ("jsonl", "parquet"):
        shares, in_text, rates, disk, cpu = [], [], [], [], []
        size = 0
        for number in range(bench.repeats):
            target = place / f"out{number}.{ending}"
            took = run([*QFBATCH, "export", "run", target.name], cwd=place)
            size = target.stat().st_size
            text = text or size
            target.unlink()
            writing_s = _disk_s(place / "raw", size)
            rates.append(size / took.wall_s / 1e6)
            disk.append(size / writing_s / 1e6)
            shares.append(writing_s / took.wall_s)
            cpu.append(took.cpu_s)
            if size != text:
                in_text.append(_disk_s(place / "raw", text) / took.wall_s)
            bench.say(
                f"export {ending}: {took.wall_s:.2f} s ({took.cpu_s:.2f} s CPU) for {size / 1e6:,.0f} MB, "
                f"the disk {writing_s:.2f} s"
            )
        note = f"{size / 1e6:,.0f} MB; the disk, fsync included: {median(disk):,.0f} MB/s"
        figures += [
            Figure(f"export to {ending} : disk speed", median(shares), at_least=1.0, note=note),
            Figure(f"export to {ending}", median(rates), "MB/s", note="whole process, bytes of its file"),
            Figure(f"export to {ending}: CPU", median(cpu), "s", note="all threads"),
        ]
        if in_text:
            note = f"as if it had to carry {text / 1e6:,.0f} MB of JSON lines"
            figures.append(
                Figure(f"export to {ending} : disk speed for JSON lines", median(in_text), note=note)
            )
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
