"""All of the concurrency: answers that take lognormal times, against what no client could beat."""

from __future__ import annotations

import heapq
import random

from .figures import Bench, Figure
from .jobs import JobFolder
from .nginx import Nginx

MEDIAN_S, SIGMA = 0.3, 1.0
IN_FLIGHT = 256


def latencies(bench: Bench) -> list[Figure]:
    """256 in flight, median 300 ms, sigma 1; each row's time is in its prompt, so the ideal is known."""
    rows, median_s = bench.size(40_000, 1_000), MEDIAN_S if not bench.quick else 0.05
    rng = random.Random(1)
    delays = [round(median_s * rng.lognormvariate(0.0, SIGMA), 3) for _ in range(rows)]
    folder = JobFolder(bench.place("latencies"))
    folder.rows(rows, lambda number: f"sleep {delays[number]} row {number}")
    with Nginx(bench.place("nginx-latencies")) as nginx:
        folder.job(nginx.base_url, "slow", concurrency=IN_FLIGHT)
        folder.run()
    best = ideal_s(delays, IN_FLIGHT)
    taken = folder.calls_took_s()
    bench.say(
        f"latencies: {taken:.2f} s, ideal {best:.2f} s, sum / concurrency {sum(delays) / IN_FLIGHT:.2f} s"
    )
    return [
        Figure(
            "share of the ideal",
            best / taken,
            at_least=0.98,
            note=f"{rows:,} rows, {IN_FLIGHT} in flight; ideal: each place takes the next row at once",
        )
    ]


def ideal_s(delays: list[float], places: int) -> float:
    """How long it takes if every place starts the next row the moment it is free, tail included."""
    free_at = [0.0] * min(places, len(delays))
    for delay in delays:
        heapq.heapreplace(free_at, free_at[0] + delay)
    return max(free_at)
