"""What a run's rows come to in numbers: a frame of a few rows for each group, counted while files are read.

Two passes over the files, because together they are cheaper than one that keeps what both need: `counts`
reads nearly every column, the answers' texts included, and holds none of it; `durations` keeps a few narrow
columns of every row, as percentiles need all values at once. A run that goes on between the passes may have
more rows in the second; counts balance, for they are all of the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from qfbatch.errors import StorageError
from qfbatch.records import Status, UsageSource

DURATIONS = ("latency_s", "time_to_first_token_s", "wait_s")
QUANTILES = (0.50, 0.95, 0.99)

# A group's rows are counted apart by these columns; every figure is a sum over some of them.
_APART = ("status", "usage_source", "currency", "error_kind", "error_code")
_COUNTED = {
    "rows": pl.len(),
    "prompt_tokens": pl.col("prompt_tokens").sum(),
    "completion_tokens": pl.col("completion_tokens").sum(),
    "total_tokens": pl.col("total_tokens").sum(),
    "discarded_tokens": pl.col("discarded_tokens").sum(),
    "with_usage": pl.col("total_tokens").count(),
    "with_cost": pl.col("cost").count(),
    "safe": pl.col("is_safe").sum(),
    "with_safety": pl.col("is_safe").count(),
    "need_clear_history": pl.col("need_clear_history").sum(),
    "banned": pl.col("ban_round").count(),
    "truncated": pl.col("is_truncated").sum(),
    "blank": (pl.col("result").fill_null("").str.strip_chars().str.len_bytes() == 0).sum(),
    "attempts": pl.col("attempts").cast(pl.Int64).sum(),
    "repeated": (pl.col("attempts") > 1).sum(),
}
_ROW_BITS = 40  # of the row's place: shard above, source_row below


def counts(results: pl.LazyFrame, keys: Mapping[str, str]) -> pl.DataFrame:
    """Everything about the rows that can be added up, by model, group, status, currency and kind of failure.

    Args:
        results: rows of the results schema.
        keys: columns to group by beside the model, by the names they get here.

    Returns:
        `model`, the keys and the columns of `_APART`; the counts and sums of `_COUNTED`; `cost` and
        `discarded_cost` with `cost.rows` and `discarded_cost.rows`, not-a-number being none; `started_us` and
        `finished_us`, the first and the last; `place` (by shard, then source row), `row_id` and
        `error_message` of the first row.

    Raises:
        StorageError: the rows cannot be read.
    """
    amounts = {name: pl.col(name).fill_nan(None) for name in ("cost", "discarded_cost")}
    place = pl.col("shard").cast(pl.Int64) * 2**_ROW_BITS + pl.col("source_row")
    return collected(
        results.group_by("model", *(pl.col(column).alias(key) for key, column in keys.items()), *_APART).agg(
            **_COUNTED,
            **{name: amount.sum() for name, amount in amounts.items()},
            **{f"{name}.rows": amount.count() for name, amount in amounts.items()},
            started_us=_microseconds("started_at").min(),
            finished_us=_microseconds("finished_at").max(),
            place=place.min(),
            row_id=pl.col("row_id").min_by(place),
            error_message=pl.col("error_message").min_by(place),
        )
    )


def level(counted: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The figures of `counts` that are one number: a row for each group, one in all without keys."""

    def total(name: str, where: pl.Expr | None = None) -> pl.Expr:
        """The sum of a column of `counted` over a group, or over those of its rows that `where` holds for."""
        return (pl.col(name) if where is None else pl.col(name).filter(where)).sum()

    succeeded = pl.col("status") == Status.SUCCEEDED.value
    figures = {
        "rows": total("rows"),
        "succeeded": total("rows", succeeded),
        "failed": total("rows", pl.col("status") == Status.FAILED.value),
        "skipped": total("rows", pl.col("status") == Status.SKIPPED.value),
        "prompt_tokens": total("prompt_tokens"),
        "completion_tokens": total("completion_tokens"),
        "total_tokens": total("total_tokens"),
        "reported": total("total_tokens", pl.col("usage_source") == UsageSource.REPORTED.value),
        "estimated": total("total_tokens", pl.col("usage_source") == UsageSource.ESTIMATED.value),
        "discarded_tokens": total("discarded_tokens"),
        "without_usage": total("rows", succeeded) - total("with_usage", succeeded),
        "without_cost": total("rows", succeeded) - total("with_cost", succeeded),
        "safe": total("safe"),
        "unsafe": total("with_safety") - total("safe"),
        "unknown": total("rows") - total("with_safety"),
        "need_clear_history": total("need_clear_history"),
        "banned": total("banned"),
        "truncated": total("truncated"),
        "empty": total("blank", succeeded),
        "attempts": total("attempts"),
        "repeated": total("repeated"),
        "started_us": pl.col("started_us").min(),
        "finished_us": pl.col("finished_us").max(),
    }
    return counted.group_by(keys).agg(**figures) if keys else counted.select(**figures)


def failures(counted: pl.DataFrame) -> pl.DataFrame:
    """The failed rows of `counts`, by model, group and kind of failure, with the first one's identity."""
    return counted.filter(pl.col("status") == Status.FAILED.value)


def costs(counted: pl.DataFrame, keys: Sequence[str], column: str) -> pl.DataFrame:
    """An amount of `counts` by group and currency, as `cost`, with its `rows`."""
    return (
        counted.filter(pl.col(f"{column}.rows") > 0)
        .group_by(*keys, "currency")
        .agg(pl.col(f"{column}.rows").sum().alias("rows"), pl.col(column).sum().alias("cost"))
    )


def durations(results: pl.LazyFrame, keys: Mapping[str, str]) -> pl.DataFrame:
    """What percentiles and a timeline need of every row.

    Args:
        results: rows of the results schema.
        keys: as for `counts`.

    Returns:
        `model`, the keys, `DURATIONS`, `started_us`, `finished_us`, `failed`, `total_tokens`.

    Raises:
        StorageError: the rows cannot be read.
    """
    return collected(
        results.select(
            "model",
            *(pl.col(column).alias(key) for key, column in keys.items()),
            *(pl.col(name).fill_nan(None) for name in DURATIONS),
            _microseconds("started_at").alias("started_us"),
            _microseconds("finished_at").alias("finished_us"),
            "total_tokens",
            failed=pl.col("status") == Status.FAILED.value,
        )
    )


def spreads(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """How many rows of `durations` have each duration, its maximum, its `QUANTILES` as a list; by group."""
    expressions = [
        expression
        for name in DURATIONS
        for expression in (
            pl.col(name).count().alias(f"{name}.rows"),
            pl.col(name).max().alias(f"{name}.max"),
            _quantiles(name, by_group=bool(keys)).alias(f"{name}.quantiles"),
        )
    ]
    frame = rows.lazy()
    return (frame.group_by(keys).agg(expressions) if keys else frame.select(expressions)).collect()


def collected(frame: pl.LazyFrame) -> pl.DataFrame:
    """A frame's rows, read file by file; the only place where the files behind a report's figures are read.

    Raises:
        StorageError: the rows cannot be read.
    """
    try:
        return frame.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise StorageError(
            f"the results cannot be read: {reason}",
            hint="Run the same command again; if it fails again, check that disk.",
        ) from error


def _microseconds(moment: str) -> pl.Expr:
    return pl.col(moment).dt.timestamp("us")


def _quantiles(name: str, *, by_group: bool) -> pl.Expr:
    """All of them at once, which sorts but once; group-by knows only one at a time."""
    if not by_group:
        return pl.col(name).quantile(list(QUANTILES), "linear")
    return pl.concat_list(pl.col(name).quantile(quantile, "linear") for quantile in QUANTILES)


__all__ = [
    "DURATIONS",
    "QUANTILES",
    "collected",
    "costs",
    "counts",
    "durations",
    "failures",
    "level",
    "spreads",
]
