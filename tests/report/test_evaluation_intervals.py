"""Confidence intervals, against tables, against exact enumeration, and by what must hold of any of them."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfbatch.scoring.intervals import Interval, of_mean, of_paired_proportions, of_proportion

COUNTS = st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Published: Newcombe 1998, Statistics in Medicine 17, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_published(successes: int, trials: int, low: float, high: float) -> None:
    """The interval of a proportion is the one in the literature, to its four digits."""
    found = of_proportion(successes, trials)
    assert found is not None
    assert (low, high) == (round(found.low, 4), round(found.high, 4))


@given(COUNTS)
def test_wilson_solves_its_own_equation(counts: tuple[int, int]) -> None:
    """At each bound p the observed share lies 1.96 standard errors of p away, as Wilson defines it."""
    successes, trials = counts
    found, share = of_proportion(successes, trials), successes / trials
    assert found is not None
    assert 0 <= found.low <= share <= found.high <= 1
    for bound in (found.low, found.high):
        error = math.sqrt(bound * (1 - bound) / trials)
        assert math.isclose(abs(share - bound), 1.959963984540054 * error, rel_tol=1e-6, abs_tol=1e-9)


@given(COUNTS)
def test_wilson_is_symmetric(counts: tuple[int, int]) -> None:
    """What is said of successes is said of failures, mirrored."""
    successes, trials = counts
    one, other = of_proportion(successes, trials), of_proportion(trials - successes, trials)
    assert one is not None
    assert other is not None
    assert math.isclose(one.low, 1 - other.high, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("rows", "quantile", "tolerance"),
    [
        (3, 4.302653, 0.01),
        (4, 3.182446, 0.002),
        (6, 2.570582, 1e-3),
        (11, 2.228139, 1e-5),
        (31, 2.042272, 1e-6),
    ],
)
def test_means_have_students_interval(rows: int, quantile: float, tolerance: float) -> None:
    """The quantiles are those of Student's tables, for small samples as closely as the docstring says."""
    found = of_mean(10.0, 1.0, rows)
    assert found is not None
    assert math.isclose(quantile, (found.high - 10.0) * math.sqrt(rows), rel_tol=tolerance)
    assert math.isclose(20.0, found.low + found.high)


def test_few_rows_have_no_interval() -> None:
    """Nothing is claimed where nothing can be known."""
    assert (None, None) == (of_mean(0.5, 0.1, 2), of_mean(0.5, None, 1))
    assert (None, None) == (of_proportion(0, 0), of_paired_proportions(0, 0, 0))


def test_paired_proportions_worked_out_by_hand() -> None:
    """9 better and 3 worse of 98 rows: (10 - 4) / 100, with the error of that."""
    half = 1.959963984540054 * math.sqrt((0.10 + 0.04 - 0.06**2) / 100)
    found = of_paired_proportions(9, 3, 98)
    assert found is not None
    assert math.isclose(0.06 - half, found.low)
    assert math.isclose(0.06 + half, found.high)


@given(st.integers(0, 10**5), st.integers(0, 10**5), st.integers(0, 10**5))
def test_a_pair_turned_round_turns_its_interval(better: int, worse: int, same: int) -> None:
    """Which model stands on the left changes the sign and nothing else, and no bound is beyond 1."""
    rows = better + worse + same
    one, other = of_paired_proportions(better, worse, rows), of_paired_proportions(worse, better, rows)
    if one is None or other is None:
        assert rows == 0
        return
    assert math.isclose(one.low, -other.high, abs_tol=1e-12)
    assert -1 <= one.low < one.high <= 1


def test_paired_intervals_hold_what_they_promise() -> None:
    """Over all outcomes of 20 rows the true difference is inside at least 94 % of the time."""
    rows = 20
    for better, worse in product((0.05, 0.2, 0.4), (0.05, 0.2, 0.4)):
        covered = 0.0
        for wins, losses in product(range(rows + 1), repeat=2):
            ties = rows - wins - losses
            if ties < 0:
                continue
            ways = math.factorial(rows) // (
                math.factorial(wins) * math.factorial(losses) * math.factorial(ties)
            )
            found = of_paired_proportions(wins, losses, rows)
            assert isinstance(found, Interval)
            if found.low <= better - worse <= found.high:
                covered += ways * better**wins * worse**losses * (1 - better - worse) ** ties
        assert covered > 0.94, (better, worse, covered)
