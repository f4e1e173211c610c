"""How far a mean of scores can be trusted: 95 % confidence intervals, from counts and sums alone.

The rows of a run are taken as a sample of the rows one might have asked, independent of each other (Miller,
"Adding Error Bars to Evals", arXiv 2411.00640, 2024). Rows that belong together (several questions on one
text) make the true interval wider than the one stated here.

No interval is drawn by resampling: sums of one pass are enough, and the same results give the same digits.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from msgspec import Struct

CONFIDENCE = 0.95
FEWEST = 3  # rows below which a mean that is no proportion has no interval

_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


class Interval(Struct, frozen=True):
    """From `low` to `high`, in the unit of what it is about."""

    low: float
    high: float


def of_proportion(successes: float, trials: int) -> Interval | None:
    """Wilson's score interval of a proportion; None without a trial.

    It stays within 0 to 1 and does not shrink to nothing where all or none succeeded.
    Source: Wilson 1927, JASA 22 (158), p. 209; recommended by Brown, Cai, DasGupta 2001.
    """
    if not trials:
        return None
    share, z2 = successes / trials, _Z**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    # At the ends the formula gives exactly the share; rounding must not put the share outside.
    return Interval(max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))


def of_mean(mean: float, deviation: float | None, rows: int) -> Interval | None:
    """Student's interval of a mean: mean ± t · s / √n; None of fewer than `FEWEST` rows.

    Args:
        mean: of the scores.
        deviation: their standard deviation s, over n - 1; None where it is not known.
        rows: how many scores, n.
    """
    if deviation is None or rows < FEWEST:
        return None
    half = _student_t(rows - 1) * deviation / math.sqrt(rows)
    return Interval(mean - half, mean + half)


def of_paired_proportions(better: int, worse: int, rows: int) -> Interval | None:
    """The interval of a difference of two proportions over the same rows; None without a row.

    Wald's interval with one row added to each of the two counts, so that it holds in small samples, too.
    Source: Bonett and Price 2012, J. Educational and Behavioral Statistics 37 (4), p. 479.

    Args:
        better: rows that succeed on the first side alone.
        worse: on the second side alone.
        rows: all rows of both sides.
    """
    if not rows:
        return None
    one, other = (better + 1) / (rows + 2), (worse + 1) / (rows + 2)
    difference = one - other
    half = _Z * math.sqrt((one + other - difference**2) / (rows + 2))
    return Interval(max(-1.0, difference - half), min(1.0, difference + half))


def _student_t(freedom: int) -> float:
    """Student's t that a symmetric interval of `CONFIDENCE` needs, for at least 2 degrees of freedom.

    The normal quantile and four terms of its expansion (Abramowitz and Stegun 1964, 26.7.5): 0.8 % too
    small at 2 degrees, less than 0.2 % from 3 on.
    """
    z = _Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + math.fsum(term / math.pow(freedom, power) for power, term in enumerate(terms, start=1))


__all__ = ["CONFIDENCE", "FEWEST", "Interval", "of_mean", "of_paired_proportions", "of_proportion"]
