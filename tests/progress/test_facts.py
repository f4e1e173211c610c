"""Figures in few words, cut to the room there is."""

from __future__ import annotations

import pytest

from qfbatch.progress.facts import Fact, compact, duration, fitting, money, rate

FACTS = [Fact("3 failed", "3 failed"), Fact("1,234 tokens/s", "1.2k tok/s"), Fact("16 in flight", "16 fly")]


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (38, "3 failed, 1,234 tokens/s, 16 in flight"),
        (37, "3 failed, 1.2k tok/s, 16 fly"),
        (27, "3 failed, 1.2k tok/s"),
        (8, "3 failed"),
        (7, ""),
    ],
)
def test_facts_are_shortened_then_dropped_from_the_end(width: int, shown: str) -> None:
    """A line never outgrows its room, and loses what matters least first."""
    assert shown == ", ".join(fact.text for fact in fitting(FACTS, width))


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (34_567, "35k"), (1_250_000, "1.2M"), (7.2e12, "7200G")],
)
def test_counts_are_compact(number: float, text: str) -> None:
    """Large counts have a unit instead of digits."""
    assert text == compact(number)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (90_061, "1 d 1:01:01")]
)
def test_durations(seconds: float, text: str) -> None:
    """Hours, minutes, seconds, and days where there are any."""
    assert text == duration(seconds)


def test_slow_rates_and_small_amounts_keep_their_digits() -> None:
    """What is less than one a second is told by the minute, what is less than a cent in full."""
    assert ["0.0 rows/s", "12.0 rows/min", "3.5 rows/s"] == [rate(0), rate(0.2), rate(3.5)]
    assert ["0.00", "0.0012", "0.05", "1,234.50"] == [money(0), money(0.0012345), money(0.05), money(1234.5)]
