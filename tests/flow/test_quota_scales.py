"""Quotas of other sizes, other latencies, and limits said in headers."""

from __future__ import annotations

import pytest

from .quota_simulation import COUNTS, figure


@pytest.mark.parametrize("counting", COUNTS)
@pytest.mark.parametrize("limit", ["rpm", "all/tpm"])
def test_limit_in_the_headers_is_used_up_without_refusals(counting: str, limit: str) -> None:
    """A limit that only the headers state is found with the first answers, and kept from then on."""
    found = figure(counting, limit, declared=None, headers=True, minutes=4, skip_s=60.0)
    assert found.used >= 0.93
    assert found.refused <= 0.005


@pytest.mark.parametrize("counting", COUNTS)
def test_headers_correct_a_limit_declared_too_high(counting: str) -> None:
    """Where job and headers disagree, the lower limit is in force, and nothing is refused."""
    found = figure(counting, "rpm", declared=1.2, per_model=True, headers=True, minutes=4, skip_s=60.0)
    assert found.used >= 0.97
    assert found.refused <= 0.005


@pytest.mark.parametrize("counting", COUNTS)
@pytest.mark.parametrize(("scale", "minutes", "declared"), [(0.1, 20, 1.0), (0.1, 20, 1.2), (8.0, 2, 1.0)])
def test_small_and_large_quotas(counting: str, scale: float, minutes: int, declared: float) -> None:
    """One call a second and eighty, as declared or 20 % too high."""
    found = figure(
        counting, "qps", declared=declared, minutes=minutes, skip_s=60.0, scale=scale, concurrency=256
    )
    assert found.used >= (0.97 if declared == 1.0 else 0.85)
    assert found.refused <= (0.005 if declared == 1.0 else 0.03)


@pytest.mark.parametrize("declared", [1.0, 1.2, None])
@pytest.mark.parametrize("limit", ["rpm", "tpm"])
def test_slow_answers(limit: str, declared: float | None) -> None:
    """Answers that take ten seconds, long after many more calls were made, change nothing."""
    found = figure(
        "sliding",
        limit,
        declared=declared,
        minutes=6,
        skip_s=60.0,
        latency_s=lambda rng: rng.lognormvariate(2.3, 0.3),
        concurrency=256,
    )
    assert found.used >= (0.97 if declared == 1.0 else 0.85)
    assert found.refused <= (0.005 if declared == 1.0 else 0.03)
