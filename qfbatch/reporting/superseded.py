"""Answers that a change of the input set aside: paid for, and no longer among the results."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import polars as pl

from qfbatch.errors import StorageError
from qfbatch.reporting.accounting import Superseded
from qfbatch.reporting.figures import Cost

DIGITS = 12  # significant, as everywhere where amounts are added up

# An answer that found its row again has these as they were; no two answers of a model have them in common.
_ANSWER = ("model", "started_at", "finished_at", "asked")
_COUNTED = ("currency", "cost", "discarded_cost", "total_tokens", "discarded_tokens")


def superseded(old: pl.LazyFrame, results: pl.LazyFrame) -> Superseded:
    """What was paid for answers set aside that no row of the results has taken over.

    Args:
        old: rows of the results schema from all generations before the present one.
        results: the present ones.

    Raises:
        StorageError: they cannot be read.
    """
    asked = pl.col("prompt").hash()
    try:
        lost = (
            old.select(*_ANSWER[:3], *_COUNTED, asked=asked)
            .unique(_ANSWER)  # an answer may have been carried through several generations
            .join(results.select(*_ANSWER[:3], asked=asked), on=_ANSWER, how="anti")
            .group_by("currency")
            .agg(pl.len().alias("rows"), pl.col(*_COUNTED[1:]).sum())
            .collect()
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise StorageError(
            f"the results set aside cannot be read: {reason}",
            hint="Run the same command again; if it fails again, check that disk.",
        ) from error
    rows = lost.rows(named=True)
    amounts: defaultdict[str, list[float]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for row in rows:
        if row["currency"] is not None:
            amounts[row["currency"]] += [row["cost"], row["discarded_cost"]]
            counts[row["currency"]] += row["rows"]
    return Superseded(
        rows=sum(row["rows"] for row in rows),
        tokens=sum(row["total_tokens"] + row["discarded_tokens"] for row in rows),
        cost=tuple(
            Cost(currency, float(f"{math.fsum(parts):.{DIGITS}g}"), counts[currency])
            for currency, parts in sorted(amounts.items())
        ),
    )
