"""How a run went over time, and how its durations spread: what charts are drawn from, bounded in size.

Both take a frame that is in memory already and group it once each, so that a report without charts does not
pay for them noticeably.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby

import polars as pl

from qfbatch.reporting.figures import Bin, Bucket, Histogram, Timeline

MAX_BUCKETS = 120
# Renard's series of preferred numbers, ten to the decade: bins look equally wide on a logarithmic axis.
EDGES_S = tuple(
    mantissa * 10.0**decade / 100
    for decade in range(-3, 4)
    for mantissa in (100, 125, 160, 200, 250, 315, 400, 500, 630, 800)
)

_SECOND_US = 1_000_000
_DAY_US = 86_400 * _SECOND_US
_WIDTHS_US = (
    *(100_000, 200_000, 500_000),
    *(s * _SECOND_US for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)),
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timeline(rows: pl.DataFrame) -> Timeline | None:
    """The rows over time.

    Args:
        rows: with `model`, `started_us`, `finished_us` (microseconds since the epoch), `failed` (bool),
            `total_tokens` and `wait_s`.

    Returns:
        None where no row has its times.
    """
    first, last = rows.select(pl.col("started_us").min(), pl.col("finished_us").max()).row(0)
    if first is None or last is None:
        return None
    wall_us = max(last - first, 0)
    width_us = _width_us(wall_us)
    count = max(1, -(-wall_us // width_us))
    stretch = ((pl.col("finished_us") - first) // width_us).clip(0, count - 1)
    found = (
        rows.lazy()
        .filter(pl.col("finished_us").is_not_null())
        .group_by("model", stretch=stretch)
        .agg(
            pl.len().alias("rows"),
            pl.col("failed", "total_tokens", "wait_s").sum(),
            pl.col("wait_s").max().fill_null(0.0).alias("wait_max_s"),
        )
        .sort("stretch", "model")
        .collect()
    )
    return Timeline(
        started_at=_EPOCH + timedelta(microseconds=first),
        width_s=width_us / _SECOND_US,
        count=count,
        buckets=tuple(
            Bucket(
                model=row["model"],
                start_s=row["stretch"] * width_us / _SECOND_US,
                rows=row["rows"],
                failed=row["failed"],
                tokens=row["total_tokens"],
                wait_s=round(row["wait_s"], 6),  # further digits depend on the order of adding
                wait_max_s=row["wait_max_s"],
            )
            for row in found.iter_rows(named=True)
        ),
    )


def active_s(rows: pl.DataFrame, sessions: Sequence[datetime]) -> float:
    """Seconds from a session's first call to its last answer, summed over the sessions.

    A row belongs to the session that it ended in.

    Args:
        rows: with `started_us` and `finished_us`.
        sessions: when they started, oldest first.
    """
    if len(sessions) <= 1:
        first, last = rows.select(pl.col("started_us").min(), pl.col("finished_us").max()).row(0)
        return 0.0 if first is None or last is None else float(max(last - first, 0)) / _SECOND_US
    starts_us = [(start - _EPOCH) // timedelta(microseconds=1) for start in sessions]
    session = pl.lit(pl.Series(starts_us, dtype=pl.Int64)).search_sorted(pl.col("finished_us"), side="right")
    spans = (
        rows.lazy()
        .filter(pl.col("finished_us").is_not_null())
        .group_by(session=session.clip(1))  # what ended before the first start known is the first session's
        .agg(span_us=pl.col("finished_us").max() - pl.col("started_us").min())
        .select(pl.col("span_us").clip(0).sum())
        .collect()
    )
    return float(spans.item()) / _SECOND_US


def histograms(rows: pl.DataFrame, duration: str) -> tuple[Histogram, ...]:
    """How a duration spreads, by model.

    Args:
        rows: with `model` and the duration's column, in seconds; rows where it is null do not count.
        duration: that column.
    """
    edges = pl.lit(pl.Series(EDGES_S))
    found = (
        rows.lazy()
        .filter(pl.col(duration).is_not_null())
        .select("model", place=edges.search_sorted(pl.col(duration), side="right"))
        .group_by("model", "place")
        .len()
        .sort("model", "place")
        .collect()
    )
    return tuple(
        Histogram(model, _bins({place: count for _, place, count in some}))
        for model, some in groupby(found.iter_rows(), key=lambda row: row[0])
    )


def _bins(counts: dict[int, int]) -> tuple[Bin, ...]:
    """Rows by place among the edges (how many are at or below the value) as bins without a gap."""
    edges = (0.0, *EDGES_S, None)
    return tuple(
        Bin(edges[place] or 0.0, edges[place + 1], counts.get(place, 0))
        for place in range(min(counts), max(counts) + 1)
    )


def _width_us(wall_us: int) -> int:
    """The smallest round width that spans so much time in at most `MAX_BUCKETS` stretches."""
    needed_us = -(-wall_us // MAX_BUCKETS)
    place = bisect_left(_WIDTHS_US, needed_us)
    return _WIDTHS_US[place] if place < len(_WIDTHS_US) else -(-needed_us // _DAY_US) * _DAY_US


__all__ = ["EDGES_S", "MAX_BUCKETS", "active_s", "histograms", "timeline"]
