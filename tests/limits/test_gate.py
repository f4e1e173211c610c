"""The gate's arithmetic over a given now."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfbatch.limits.concurrency import Concurrency
from qfbatch.limits.gate import Gate
from qfbatch.limits.learning import SHARE
from qfbatch.limits.quota import Quota
from qfbatch.limits.rate import Rate
from qfbatch.service.dialect import RateSignals


@given(
    per_second=st.floats(0.01, 1000),
    units=st.lists(st.floats(0, 50), min_size=1, max_size=60),
    idle=st.lists(st.floats(0, 5), min_size=60, max_size=60),
)
def test_rate_holds_in_every_window(per_second: float, units: list[float], idle: list[float]) -> None:
    """Between two moments no more is spent than the rate allows, the last request and catch-up aside."""
    rate, now = Rate(per_second, 0.0), 0.0
    spent: list[tuple[float, float]] = []
    for number, cost in enumerate(units):
        now = max(now + idle[number] * (number % 3 == 0), rate.opens_at())
        rate.take(cost, now)
        spent.append((now, cost))
    for first in range(len(spent)):
        for last in range(first, len(spent)):
            seconds = spent[last][0] - spent[first][0]
            within = sum(cost for _, cost in spent[first:last])
            assert within <= per_second * (seconds + 0.01) + 1e-6


def test_pause_is_never_followed_by_a_burst() -> None:
    """An hour of nothing saves up nothing but the catch-up."""
    rate = Rate(10.0, 0.0)
    rate.take(1, 3600.0)
    assert 3600.09 == pytest.approx(rate.opens_at())


def test_settled_tokens_move_the_next_opening() -> None:
    """What a call cost beyond its estimate delays the next; what it cost less is given back."""
    gate = Gate(Quota(10, tpm=60_000), 0.0)
    gate.enter(980, 0.0)
    opens_at = gate.opens_at()
    gate.leave(estimated_tokens=980, actual_tokens=1960)
    assert 1.0 == pytest.approx(gate.opens_at() - opens_at)
    gate.enter(980, gate.opens_at())
    gate.leave(estimated_tokens=980, actual_tokens=0)
    assert 1.0 == pytest.approx(gate.opens_at() - opens_at)
    gate.enter(980, gate.opens_at())
    gate.leave(estimated_tokens=980, actual_tokens=None)
    assert 2.0 == pytest.approx(gate.opens_at() - opens_at)


def test_all_limits_hold_together_and_the_binding_one_is_named() -> None:
    """The latest of qps, rpm, tpm and pause decides, and is what a display calls binding."""
    gate = Gate(Quota(2, qps=10, rpm=60, tpm=60_000), 0.0)
    assert "" == gate.statistics(0.0).binding
    gate.enter(100, 0.0)
    assert 1 / SHARE == pytest.approx(gate.opens_at())
    assert "rpm" == gate.statistics(0.0).binding
    gate.enter(10_000, gate.opens_at())
    assert "tpm" == gate.statistics(2.0).binding
    assert "concurrency" == gate.statistics(100.0).binding
    gate.throttled(started=50.0, now=100.0, retry_after_s=30.0, uniform=0.0)
    assert ("pause", 30.0, 1) == (
        gate.statistics(100.0).binding,
        gate.statistics(100.0).paused_s,
        gate.statistics(100.0).episodes,
    )


@pytest.mark.parametrize(
    ("quota", "signals", "spacing_s"),
    [
        (Quota(), RateSignals(limit_requests=600), 0.1),
        (Quota(rpm=60), RateSignals(limit_requests=600), 1.0),
        (Quota(rpm=1200), RateSignals(limit_requests=600), 0.1),
        (Quota(qps=20), RateSignals(limit_requests=600), 0.1),
        (Quota(), RateSignals(limit_tokens=60_000), 0.1),
        (Quota(rpm=1200, adaptive=False), RateSignals(limit_requests=600), 0.05),
        (Quota(rpm=600), RateSignals(limit_requests=0, limit_tokens=-1), 0.1),
    ],
)
def test_lower_of_declared_and_stated_limit_is_in_force(
    quota: Quota, signals: RateSignals, spacing_s: float
) -> None:
    """Headers add limits and lower declared ones; they never raise what the job declares."""
    gate = Gate(quota, 0.0)
    gate.heed(signals, 0.0)
    gate.enter(100, 0.0)
    assert spacing_s / SHARE == pytest.approx(gate.opens_at())


def test_limit_stated_anew_replaces_the_one_before() -> None:
    """A quota that grows during a run is used."""
    gate = Gate(Quota(), 0.0)
    gate.heed(RateSignals(limit_requests=60), 0.0)
    gate.heed(RateSignals(limit_requests=600), 0.0)
    gate.enter(1, 0.0)
    assert 0.1 / SHARE == pytest.approx(gate.opens_at())


def test_empty_window_is_waited_for() -> None:
    """Nothing remaining and a time of renewal: the gate opens then."""
    gate = Gate(Quota(), 0.0)
    gate.heed(RateSignals(remaining_requests=0, reset_s=7.0), 1.0)
    assert 8.0 == gate.opens_at()
    gate.heed(RateSignals(remaining_requests=5, reset_s=50.0), 1.0)
    assert 8.0 == gate.opens_at()


def test_refusal_lowers_the_share_once_an_episode_and_time_gives_it_back() -> None:
    """One step down for refusals that belong together; answers under the limit bring it back in minutes."""
    gate, now = Gate(Quota(1000, rpm=600), 0.0), 0.0
    for _ in range(10):
        gate.enter(1, now)
    gate.succeeded(started=0.0, now=0.5)
    for _ in range(5):
        gate.throttled(started=0.0, now=0.6, retry_after_s=None, uniform=0.0)
    lowered = gate.statistics(0.6).share
    assert SHARE * 0.85 <= lowered <= SHARE * 0.97
    now = 2.0
    while now < 300.0:
        now = max(now, gate.opens_at())
        gate.enter(1, now)
        gate.leave(estimated_tokens=1, actual_tokens=None)
        gate.succeeded(started=now, now=now)
    assert SHARE == gate.statistics(now).share


def test_limit_shrinks_once_a_cool_down_and_never_below_one() -> None:
    """Overload after overload ends at one call at a time, not at none."""
    concurrency = Concurrency(16)
    concurrency.in_flight = 16
    concurrency.overloaded(0.0, first=True)
    concurrency.overloaded(0.5, first=False)
    assert 13 == concurrency.limit
    for second in range(1, 60):
        concurrency.overloaded(float(second), first=False)
    assert 1 == concurrency.limit


def test_limit_grows_only_while_saturated_and_never_above_the_ceiling() -> None:
    """A limit that is not reached proves nothing; one that is reached grows, up to what was declared."""
    concurrency = Concurrency(16)
    concurrency.in_flight = 16
    concurrency.overloaded(0.0, first=True)
    concurrency.in_flight = 5
    for _ in range(100):
        concurrency.succeeded(10.0)
    assert 13 == concurrency.limit
    for now in range(1000):
        concurrency.in_flight = concurrency.limit
        concurrency.succeeded(float(now))
    assert 16 == concurrency.limit
