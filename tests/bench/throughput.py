"""As fast as the wire: whole jobs against a compiled server, beside wrk against the same one."""

from __future__ import annotations

from pathlib import Path

from .figures import Bench, Figure, median
from .jobs import JobFolder
from .nginx import EVENTS, Nginx
from .processes import Took

IN_FLIGHT = 64


def throughput(bench: Bench) -> list[Figure]:
    """JSON lines to durable Parquet, tiny answers, 64 in flight; then the same with streamed answers."""
    rows, streamed = bench.size(100_000, 2_000), bench.size(10_000, 300)
    ratios, per_second, cpu_us, calling, of_wrk, events = [], [], [], [], [], []
    with Nginx(bench.place("nginx")) as nginx:
        for number in range(bench.repeats):
            before = nginx.wrk(bench.size(5, 1))
            took, calls_s = job(bench.folder / f"tiny{number}", nginx, rows)
            after = nginx.wrk(bench.size(5, 1))
            wrk_rate = (before + after) / 2
            of_wrk.append(wrk_rate)
            per_second.append(rows / took.wall_s)
            ratios.append(rows / took.wall_s / wrk_rate)
            cpu_us.append(took.cpu_s / rows * 1e6)
            calling.append(rows / calls_s / wrk_rate)
            took, _ = job(bench.folder / f"stream{number}", nginx, streamed, stream=True)
            events.append(streamed * EVENTS / took.wall_s / per_second[-1])
            bench.say(
                f"throughput {number + 1}: {per_second[-1]:,.0f} rows/s, wrk {wrk_rate:,.0f}, "
                f"{cpu_us[-1]:.0f} µs CPU a row, events {events[-1]:.2f} of that"
            )
    ratio_note = "whole process (start, survey, calls, parts) : wrk before and after it"
    return [
        Figure("whole job, share of wrk", median(ratios), at_least=0.25, note=ratio_note),
        Figure("calls alone, share of wrk", median(calling), note="first call to end of last : wrk"),
        Figure("rows", median(per_second), "rows/s", note=f"{rows:,} rows, {IN_FLIGHT} in flight"),
        Figure("wrk", median(of_wrk), "requests/s"),
        Figure("CPU a row", median(cpu_us), "µs", at_most=60, note="all threads, start and survey included"),
        Figure(
            "streamed events : rows", median(events), at_least=1 / 3, note=f"{streamed:,} answers of {EVENTS}"
        ),
    ]


def job(path: Path, nginx: Nginx, rows: int, *, stream: bool = False) -> tuple[Took, float]:
    """One whole job in a new folder: what the process took, and seconds from first call to last answer."""
    path.mkdir()
    folder = JobFolder(path)
    folder.rows(rows)
    parameters = {"stream": True} if stream else {}
    folder.job(nginx.base_url, "stream" if stream else "tiny", concurrency=IN_FLIGHT, parameters=parameters)
    took = folder.run()
    if (found := folder.succeeded()) != rows:
        raise RuntimeError(f"{found} of {rows} rows succeeded")
    return took, folder.calls_took_s()
