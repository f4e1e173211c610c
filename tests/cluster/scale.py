"""Prints what a run of many nodes and rows costs limiter, log and driver: `python -m cluster.scale`.

The limiter is the real one over simulated time, its processor time measured. For the log see `log_scale`.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import random
import sys
import time

from qfbatch.limits.quota import Quota
from qfbatch.limits.shares import LEASE_S, SharedQuota, Usage, lease_length_s

from .log_scale import log, repeated


def limiter(nodes: int, qps: float, seconds: float) -> tuple[float, float, float]:
    """Share of the limit that is on lease after the start, messages and processor seconds a second.

    Every node reports two gates, the run's and its only model's; both are limited.
    """
    quota = Quota(concurrency=nodes * 16, qps=qps, adaptive=True)
    shared, rng = SharedQuota(0.0, lease_s=lease_length_s(nodes)), random.Random(1)
    due = [(rng.random() * LEASE_S / 2, f"n{number}") for number in range(nodes)]
    heapq.heapify(due)
    held: dict[str, tuple[float, float]] = {}  # by node: since when, and what rate
    rates = until_now = cpu = 0.0
    messages = 0
    now = 0.0
    while now < seconds:
        now, name = heapq.heappop(due)
        since, rate = held.get(name, (now, 0.0))
        calls = round(rate * (now - since))
        usage = Usage(
            calls=calls, tokens=calls * 500, in_flight=4, peak=16, waiting=True, succeeded=calls, newest_s=0.5
        )
        began = time.process_time()
        leases = shared.exchange(name, {"run": (quota, usage), "model": (quota, usage)}, now, uniform=0.5)
        cpu += time.process_time() - began
        messages += 1
        granted = min(lease.rates.get("qps", 0.0) for lease in leases.values())
        rates += granted - rate
        held[name] = now, granted
        if now > seconds / 2:
            until_now += rates
        else:
            counted_from = messages
        heapq.heappush(due, (now + shared.again_s(name), name))
    return until_now / (messages - counted_from) / (qps * 0.98), messages / seconds, cpu / seconds


def message_cost(nodes: int, seconds: float) -> tuple[float, float, float]:
    """What reports of so many nodes cost the limiter as an actor of Ray's, with all that Ray does for them.

    Returns:
        Messages a second, its processor seconds a second, and the 99th percentile of the answers' times.
    """
    import ray  # noqa: PLC0415 - the extra is needed for this alone

    from qfbatch.cluster.limiter_actor import LimiterActor  # noqa: PLC0415

    class Measured(LimiterActor):
        """The limiter, which also tells what it costs."""

        def cpu_s(self) -> float:
            """Processor time of its process so far."""
            return time.process_time()

    options = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", "log_to_driver": False}
    ray.init(address="local", num_cpus=1, object_store_memory=100 * 2**20, **options)
    limiter = ray.remote(Measured).options(num_cpus=0).remote(nodes)
    quota, took_s = Quota(concurrency=nodes * 16, qps=10_000, adaptive=False), []

    async def report(name: str, until: float) -> None:
        again_s = random.random()
        while time.monotonic() < until:
            await asyncio.sleep(again_s)
            usage = Usage(calls=10, tokens=5000, in_flight=4, peak=16, waiting=True, succeeded=10)
            asked_at = time.monotonic()
            dealt = await limiter.exchange.remote(name, {"run": (quota, usage), "model": (quota, usage)})
            took_s.append(time.monotonic() - asked_at)
            again_s = dealt.again_s

    async def all_report(seconds: float) -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(*(report(f"n{number}", until) for number in range(nodes)))

    try:
        asyncio.run(all_report(seconds / 2))
        took_s.clear()
        began_s, began = ray.get(limiter.cpu_s.remote()), time.monotonic()
        asyncio.run(all_report(seconds))
        cpu_s, passed_s = ray.get(limiter.cpu_s.remote()) - began_s, time.monotonic() - began
    finally:
        ray.shutdown()
    return len(took_s) / passed_s, cpu_s / passed_s, sorted(took_s)[len(took_s) * 99 // 100]


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--messages", action="store_true", help="what messages to the limiter cost, by Ray")
    options = parser.parse_args()
    if options.messages:
        for nodes in (30, 100, 1000):
            sent, cpu, slow_s = message_cost(nodes, 8.0)
            sys.stdout.write(
                f"messages: {nodes:5,} nodes: {sent:5,.0f} messages/s, {cpu:5.1%} of a core "
                f"({cpu / sent * 1000:.2f} ms each), 99 % answered within {slow_s * 1000:.0f} ms\n"
            )
            sys.stdout.flush()
        return
    for nodes in (3, 30, 100, 300, 1000):
        for qps in (200.0, 10_000.0):
            used, messages, cpu = limiter(nodes, qps, 4.0)
            sys.stdout.write(
                f"limiter: {nodes:5,} nodes, {qps:6,.0f}/s: {used:6.1%} on lease, "
                f"{messages:6,.0f} messages/s, {cpu:6.1%} of a core\n"
            )
            sys.stdout.flush()
    for what, figure in log(options.rows):
        sys.stdout.write(f"log: {what}: {figure}\n")
        sys.stdout.flush()
    for what, figure in repeated():
        sys.stdout.write(f"paid twice: {what}: {figure}\n")


if __name__ == "__main__":
    main()
