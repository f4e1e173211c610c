"""The arithmetic of the scripted quotas, on a clock of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfbatch.server.scripted.quota import FixedWindow, SlidingWindow, TokenBucket, Window

steps = st.lists(st.floats(0, 3, allow_nan=False), min_size=1, max_size=60)


def admitted(window: Window, waits: list[float]) -> list[float]:
    """The moments at which calls were let in, one asked after each wait."""
    now, taken = 1000.0, []
    for wait in waits:
        now += wait
        if window.wait(1, now) == 0:
            window.take(1, now)
            taken.append(now)
    return taken


@given(waits=steps)
def test_sliding_window_holds_everywhere(waits: list[float]) -> None:
    """No stretch of one period, wherever it starts, holds more than the limit."""
    taken = admitted(SlidingWindow(3, 5.0), waits)
    assert all(later - earlier >= 5.0 for earlier, later in zip(taken, taken[3:], strict=False))


@given(waits=steps)
def test_fixed_window_holds_in_each_period(waits: list[float]) -> None:
    """No period of the clock holds more than the limit."""
    periods = [moment // 5.0 for moment in admitted(FixedWindow(3, 5.0), waits)]
    assert all(periods.count(period) <= 3 for period in periods)


@given(waits=steps)
def test_bucket_holds_rate_and_burst(waits: list[float]) -> None:
    """Any stretch of time holds at most the burst and what was refilled in it."""
    taken = admitted(TokenBucket(3, 5.0, burst=2), waits)
    for first, start in enumerate(taken):
        for last, end in enumerate(taken[first:], 1):
            assert last <= 2 + (end - start) * 0.6 + 1e-6


@pytest.mark.parametrize("window", [FixedWindow(2, 5.0), SlidingWindow(2, 5.0), TokenBucket(2, 5.0, None)])
def test_wait_is_enough_and_needed(window: Window) -> None:
    """A call that comes back after the wait it was told is let in, and not much earlier."""
    for _ in range(2):
        assert window.wait(1, 101.0) == 0
        window.take(1, 101.0)
    wait = window.wait(1, 101.0)
    assert 0 < wait <= 5
    assert window.wait(1, 101.0 + wait * 0.9) > 0
    assert window.wait(1, 101.0 + wait + 1e-6) == 0


def test_a_cost_beyond_the_limit_is_let_in_alone() -> None:
    """A call that costs more than the whole limit is let in when nothing else is, not starved."""
    window = SlidingWindow(10, 5.0)
    assert window.wait(50, 1.0) == 0
    window.take(50, 1.0)
    assert window.wait(1, 2.0) == pytest.approx(4.0)
