"""The forecast of a run's time, held to what the real flow takes over simulated time."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from qfbatch.limits.quota import Quota
from qfbatch.planning.simulation import Load, Way, simulated_times

from .services import QuotaService
from .world import models_of, simulated

LATENCY_S = 2.0
TOKENS = 600
ESTIMATED = 50  # of a prompt, as the rows of `world` say


def load(name: str, calls: int, quota: Quota, **options: Any) -> Load:
    """So many calls of one kind."""
    whole = {
        "estimated_tokens": ESTIMATED,
        "prompt_tokens": TOKENS / 2,
        "completion_tokens": TOKENS / 2,
        "latencies_s": (LATENCY_S,),
        **options,
    }
    return Load(name=name, quota=quota, calls=calls, **whole)


def service(latencies_s: tuple[float, ...] = (LATENCY_S,)) -> QuotaService:
    """A service without limits of its own."""
    return QuotaService(latency_s=lambda rng: rng.choice(latencies_s), tokens_of=lambda _: TOKENS)


@pytest.mark.parametrize(
    ("limits", "binding"),
    [
        (Quota(8), "concurrency"),
        (Quota(64, qps=5), "qps"),
        (Quota(64, rpm=100), "rpm"),
        (Quota(64, tpm=120_000), "tpm"),
        (Quota(4, qps=3, rpm=200, tpm=90_000), "concurrency"),
        (Quota(64, qps=3, rpm=170, tpm=90_000), "tpm"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("rows", [1, 30, 900])
def test_as_long_as_the_run(limits: Quota, binding: str, rows: int) -> None:
    """Under each limit and all together, for few rows and many, the forecast is within 5 % of the run."""
    found = simulated_times(limits, [load("m", rows, Quota(limits.concurrency))])
    took = simulated(service(), rows, limits=limits)
    assert found.time_s == pytest.approx(took.duration_s, rel=0.05)
    if rows > 30:
        assert found.binding is not None
        assert found.binding.limit == binding


def test_models_that_share_the_limits() -> None:
    """Two models, one with a lower limit of its own: the faster one ends first, the slower one decides."""
    limits, own = Quota(32, rpm=600), Quota(32, rpm=120)
    found = simulated_times(limits, [load("fast", 400, Quota(32)), load("slow", 400, own)])
    took = simulated({"fast": service(), "slow": service()}, 400, limits=limits, quotas={"slow": own})
    assert found.time_s == pytest.approx(took.duration_s, rel=0.05)
    assert found.finished_s["fast"] < found.finished_s["slow"] / 3
    assert found.binding is not None
    assert found.binding.text == "slow's rpm (120)"


@pytest.mark.parametrize(
    ("ways", "shared", "binding"),
    [
        ([Way(Quota(32, qps=2)), Way(Quota(32, qps=3))], {}, "m's endpoints' qps (5)"),
        ([Way(Quota(3)), Way(Quota(5), weight=2.0)], {}, "m's endpoints' concurrency (8)"),
        (
            [Way(Quota(32, qps=4), "account"), Way(Quota(32), "account")],
            {"account": Quota(32, rpm=180)},
            "the quota account's rpm (180)",
        ),
    ],
)
def test_several_endpoints(ways: list[Way], shared: dict[str, Quota], binding: str) -> None:
    """Limits side by side and a quota over them: within 5 % of the run, and named for what they are."""
    found = simulated_times(Quota(32), [load("m", 400, Quota(32), ways=tuple(ways))], shared)
    services = {str(number): service() for number in range(len(ways))}
    (model,) = models_of({"m": services})
    ends = [
        replace(end, quota=way.quota, shared_quota=way.shared, weight=way.weight)
        for end, way in zip(model.endpoints, ways, strict=True)
    ]
    models = [replace(model, endpoints=tuple(ends))]
    took = simulated({"m": services}, 400, limits=Quota(32), models=models, shared=shared)
    assert found.time_s == pytest.approx(took.duration_s, rel=0.05)
    assert found.binding is not None
    assert found.binding.text == binding


def test_latencies_that_spread() -> None:
    """Calls that take as long as earlier ones did, slow ones among them: within 10 % of the run."""
    rng = random.Random(7)
    latencies = tuple(rng.lognormvariate(0.0, 1.0) for _ in range(500))
    found = simulated_times(Quota(16), [load("m", 2000, Quota(16), latencies_s=latencies)])
    took = simulated(service(latencies), 2000, limits=Quota(16))
    assert found.time_s == pytest.approx(took.duration_s, rel=0.1)


def test_many_calls_are_not_tried_one_by_one() -> None:
    """A million calls take a thousand times as long as a thousand, and no longer to tell."""
    limits = Quota(16, rpm=600)
    whole, part = (
        simulated_times(limits, [load("a", calls, Quota(16)), load("b", calls // 2, Quota(16))])
        for calls in (1_000_000, 1_000)
    )
    assert whole.time_s == pytest.approx(1000 * part.time_s, rel=0.01)
    assert whole.finished_s["a"] == pytest.approx(1000 * part.finished_s["a"], rel=0.01)


@pytest.mark.parametrize("few", [1, 2, 40])
def test_a_model_with_few_calls_beside_one_with_many(few: int) -> None:
    """What is left of an almost complete model takes as long as its own calls, however many another has."""
    times = [
        simulated_times(Quota(64), [load("few", few, Quota(64, qps=1)), load("many", many, Quota(64))])
        for many in (3_000, 300_000)
    ]
    assert times[0].finished_s["few"] == pytest.approx(times[1].finished_s["few"], rel=0.05)


def test_nothing_to_do() -> None:
    """Without calls there is no time and no limit that binds."""
    found = simulated_times(Quota(16, rpm=600), [load("m", 0, Quota(16))])
    assert (found.time_s, found.finished_s, found.binding) == (0.0, {"m": 0.0}, None)
