"""Quotas and adaptive concurrency over simulated time: the real flow, services in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from flow.quota_simulation import COUNTS, LIMITS, figure
from flow.services import OVERLOADED, THROTTLED, Answer, answered
from flow.test_concurrency import Peaking
from flow.world import Ended, simulated

from qfbatch.limits.quota import Quota
from qfbatch.records import Status

from .figures import Bench, Figure

# What the job declares, and what is promised then: least share used, most refused.
CASES: tuple[tuple[str, dict[str, float | bool | int | None], float, float], ...] = (
    ("declared", {"declared": 1.0}, 0.97, 0.005),
    ("declared 20 % too high", {"declared": 1.2, "skip_s": 60.0}, 0.85, 0.03),
    ("absent, said in headers", {"declared": None, "headers": True, "skip_s": 60.0}, 0.85, 0.03),
    ("absent, learned from refusals", {"declared": None, "skip_s": 60.0}, 0.85, 0.03),
)
CALL_S = 0.3


def quota(bench: Bench) -> list[Figure]:
    """Each limit alone and all together, in fixed windows, sliding windows and token buckets."""
    found = []
    minutes = bench.size(10, 2)
    limits = LIMITS if not bench.quick else LIMITS[:1]
    for name, options, least, most in CASES:
        results = [
            (figure(counting, limit, minutes=minutes, **options), f"{limit}, {counting}")  # type: ignore[arg-type]  # options are those of `figure`
            for limit in limits
            for counting in COUNTS
        ]
        used, where_used = min((result.used, where) for result, where in results)
        refused, where_refused = max((result.refused, where) for result, where in results)
        bench.say(f"quota {name}: used {used:.1%} ({where_used}), refused {refused:.2%} ({where_refused})")
        note = f"the worst of {len(results)} ways of counting: "
        found += [
            Figure(f"{name}: used", used * 100, "%", at_least=least * 100, note=note + where_used),
            Figure(f"{name}: refused", refused * 100, "%", at_most=most * 100, note=note + where_refused),
        ]
    return found


class Refusing:
    """Answers in 0.3 s, but refuses everything for a while.

    Args:
        since_s, until_s: the while, from the first call.
        refusal: with what.
    """

    def __init__(self, since_s: float, until_s: float, refusal: Answer) -> None:
        self._since_s, self._until_s = since_s, until_s
        self._refusal = refusal
        self._began: float | None = None
        self.answered: list[float] = []
        self.refused: list[float] = []

    async def answer(self, prompt: str) -> Answer:
        """Refused within 10 ms, or answered."""
        loop = asyncio.get_running_loop()
        if self._began is None:
            self._began = loop.time()
        at = loop.time() - self._began
        if self._since_s <= at < self._until_s:
            self.refused.append(at)
            await asyncio.sleep(0.01)
            return self._refusal
        await asyncio.sleep(CALL_S)
        self.answered.append(loop.time() - self._began)
        return answered()

    def signals(self) -> None:
        """Nothing."""


def adaptive(bench: Bench) -> list[Figure]:
    """An unknown best concurrency, a capacity that halves and doubles, half a minute of refusals."""
    found = []
    shares = {}
    for best in (12, 20, 50, 200) if not bench.quick else (12,):
        service = Peaking(_constant(best))
        simulated(service, 200_000, limits=Quota(256), stop_after_s=90.0)
        shares[best] = service.per_second(30.0, 90.0) / (best / CALL_S)
    bench.say(f"adaptive: {shares}")
    worst = min(shares, key=lambda best: shares[best])
    found.append(
        Figure(
            "throughput : the service's best",
            shares[worst],
            at_least=0.9,
            note="256 allowed; best at "
            + ", ".join(f"{best}: {share:.2f}" for best, share in shares.items()),
        )
    )
    service = Peaking(lambda at: 30 if 40.0 <= at < 80.0 else 60)
    simulated(service, 200_000, limits=Quota(256), stop_after_s=130.0)
    found += [
        Figure(
            "capacity halves: back at 90 % of it after",
            _back_after(service.answered, 40.0, 80.0, 0.9 * 30 / CALL_S),
            "s",
            at_most=10,
        ),
        Figure(
            "capacity doubles: back at 90 % of it after",
            _back_after(service.answered, 80.0, 130.0, 0.9 * 60 / CALL_S),
            "s",
            at_most=20,
        ),
    ]
    for name, refusal in (("rate", THROTTLED), ("load", OVERLOADED)):
        down = Refusing(30.0, 60.0, refusal)
        ended = simulated(down, 200_000, limits=Quota(64), stop_after_s=120.0)
        found += _after_refusals(name, down, ended)
    return found


def _constant(best: int) -> Callable[[float], int]:
    return lambda _: best


def _after_refusals(name: str, service: Refusing, ended: Ended) -> list[Figure]:
    failed = sum(record.status is not Status.SUCCEEDED for record in ended.records)
    refused = service.refused
    herd = max(sum(at <= other < at + 1.0 for other in refused[n:]) for n, at in enumerate(refused))
    return [
        Figure(f"30 s of refusals ({name}): rows failed", failed, "rows", at_most=0),
        Figure(
            f"30 s of refusals ({name}): calls refused within a second",
            herd,
            "calls",
            at_most=64 / CALL_S,
            note=f"64 in flight; {len(refused)} refused in all; the target is the undisturbed rate",
        ),
        Figure(
            f"30 s of refusals ({name}): full speed again after",
            _back_after(service.answered, 60.0, 120.0, 0.9 * 64 / CALL_S),
            "s",
        ),
    ]


def _back_after(answered_at: list[float], since_s: float, until_s: float, per_second: float) -> float:
    """Seconds until throughput over five seconds first reaches a rate; the whole span if it never does.

    The first second does not count: what is answered then was asked before.
    """
    since_s += 1.0
    counts = [0] * (int(until_s - since_s) * 2)
    for at in answered_at:
        if since_s <= at < until_s:
            counts[min(len(counts) - 1, int((at - since_s) * 2))] += 1
    for half in range(len(counts) - 9):
        if sum(counts[half : half + 10]) / 5.0 >= per_second:
            return 1.0 + half / 2
    return until_s - since_s
