"""How many at once: never more than declared, never fewer than the service bears."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from qfbatch.limits.quota import Quota
from qfbatch.records import Action, ErrorKind, Failure
from qfbatch.retry import RetryPolicy

from .services import OVERLOADED, Answer, ScriptedService, answered
from .world import simulated

UNWELL = Failure(ErrorKind.SERVER, Action.RETRY, "internal error", code=336000)


@pytest.mark.parametrize(("run", "model", "expected"), [(8, 64, 8), (64, 8, 8), (8, 8, 8), (1, 5, 1)])
def test_never_more_in_flight_than_declared(run: int, model: int, expected: int) -> None:
    """Both the run's and the model's concurrency hold, and are reached."""
    service = ScriptedService(lambda _: [answered()], latency_s=lambda prompt: 0.1 + int(prompt) % 7 / 10)
    ended = simulated(service, 500, limits=Quota(run), quotas={"m": Quota(model)})
    assert (expected, 500) == (service.most_in_flight, len(ended.records))
    assert ended.admission is not None
    assert {0} == {gate.in_flight for gate in ended.admission.statistics().values()}


def test_models_share_the_runs_concurrency_evenly() -> None:
    """Two models under one run's concurrency get as many calls each, and never more at once together."""
    service = ScriptedService(lambda _: [answered()])
    ended = simulated({"a": service, "b": service}, 500, limits=Quota(10), stop_after_s=2.0)
    assert 10 == service.most_in_flight
    by_model = [sum(r.model == name for r in ended.records) for name in "ab"]
    assert abs(by_model[0] - by_model[1]) <= 10


def test_retries_wait_without_holding_a_place() -> None:
    """A fifth of the rows back off for seconds; the service is kept as busy as without them."""

    def failing(prompt: str) -> list[Answer]:
        return [UNWELL, UNWELL, answered()] if int(prompt) % 5 == 0 else [answered()]

    service = ScriptedService(failing, latency_s=0.1)
    ended = simulated(service, 5000, limits=Quota(16), retry=RetryPolicy(backoff_factor=2.0))
    calls = sum(service.calls.values())
    assert (5000, 7000, 16) == (len(ended.records), calls, service.most_in_flight)
    assert ended.duration_s <= calls * 0.1 / 16 + 8.0


def test_long_tailed_latencies_cost_nothing() -> None:
    """With lognormal latencies and 256 in flight at least 98 % of the ideal is reached, less the tail."""
    rng = random.Random(3)
    latencies = [rng.lognormvariate(-1.204, 1.0) for _ in range(40_000)]
    service = ScriptedService(lambda _: [answered()], latency_s=lambda prompt: latencies[int(prompt)])
    ended = simulated(service, 40_000, limits=Quota(256))
    busy_until = max(record.started_at for record in ended.records) / 1e6  # the tail begins
    begun = sum(latencies) / 256
    assert 40_000 == len(ended.records)
    assert begun / (busy_until - ended.began) >= 0.98


class Peaking:
    """A service that works best with so many calls at once, degrades beyond and refuses at a tenth more."""

    def __init__(self, best: Callable[[float], int]) -> None:
        self._best = best
        self._rng = random.Random(5)
        self._in_flight = 0
        self.answered: list[float] = []
        self.refused = 0
        self.began: float | None = None

    async def answer(self, prompt: str) -> Answer:
        """Refused, or answered at a speed that falls beyond the best concurrency."""
        loop = asyncio.get_running_loop()
        if self.began is None:
            self.began = loop.time()
        best = self._best(loop.time() - self.began)
        if self._in_flight >= 1.1 * best:
            self.refused += 1
            await asyncio.sleep(0.01)
            return OVERLOADED
        self._in_flight += 1
        try:
            load = max(1.0, self._in_flight / best)
            await asyncio.sleep(0.3 * load * load * self._rng.uniform(0.7, 1.3))
        finally:
            self._in_flight -= 1
        self.answered.append(loop.time() - self.began)
        return answered()

    def signals(self) -> None:
        """Nothing."""

    def per_second(self, since_s: float, until_s: float) -> float:
        """Answers a second between two moments."""
        return sum(since_s <= at < until_s for at in self.answered) / (until_s - since_s)


@pytest.mark.parametrize("best", [8, 12, 20, 50, 200])
def test_concurrency_finds_what_the_service_bears(best: int) -> None:
    """After half a minute throughput is within 10 % of the service's best, with hardly a refusal."""
    service = Peaking(lambda _: best)
    simulated(service, 200_000, limits=Quota(256), stop_after_s=60.0)
    assert service.per_second(30.0, 60.0) >= 0.9 * best / 0.3
    assert service.refused <= 0.03 * len(service.answered) + 256


def test_concurrency_follows_a_capacity_that_halves_and_doubles() -> None:
    """Ten seconds after the capacity halves, twenty after it doubles, the best is nearly reached again."""
    service = Peaking(lambda at: 30 if 40.0 <= at < 80.0 else 60)
    simulated(service, 200_000, limits=Quota(256), stop_after_s=130.0)
    assert service.per_second(30.0, 40.0) >= 0.9 * 60 / 0.3
    assert service.per_second(50.0, 80.0) >= 0.85 * 30 / 0.3
    assert service.per_second(100.0, 130.0) >= 0.85 * 60 / 0.3


def test_concurrency_stays_when_told_so() -> None:
    """Without `adaptive` the declared concurrency is kept whatever the service says."""
    service = ScriptedService(lambda _: [OVERLOADED, answered()])
    ended = simulated(service, 64, limits=Quota(16, adaptive=False))
    assert ended.admission is not None
    assert [16, 16] == [gate.concurrency for gate in ended.admission.statistics().values()]
