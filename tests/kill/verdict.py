"""What must hold after a kill and at the end, counted from files alone."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.results import scan_results

KEY = ["model", "row_id"]
# Different in every run, and what depends on how often a row was asked.
OF_THE_MOMENT = [
    "attempts",
    "discarded_tokens",
    "discarded_cost",
    "latency_s",
    "time_to_first_token_s",
    "wait_s",
    "started_at",
    "finished_at",
    "created",
]
Key = tuple[str, str]  # model and row_id
Answers = dict[Key, str | None]


class DamageError(AssertionError):
    """The run directory says something that no run may leave behind."""


def closed_rows(run: Path) -> pl.DataFrame:
    """The rows of the closed shards, as any tool reads them; each must be there once."""
    parts = sorted((run / "results").glob("*.parquet"))
    frame = (
        pl.read_parquet(parts) if parts else pl.DataFrame(schema={"model": pl.String, "row_id": pl.String})
    )
    doubled = frame.height - frame.select(KEY).unique().height
    if doubled:
        raise DamageError(f"{doubled} rows stand twice in results/")
    return frame


def committed_rows(run: Path) -> pl.DataFrame:
    """All committed rows, open shards included; each once, each whole, none with text for an error."""
    closed_rows(run)
    frame = scan_results(RunLayout(run)).collect()
    if frame.height != frame.select(KEY).unique().height:
        raise DamageError("scan_results has a row twice")
    succeeded = pl.col("status") == "succeeded"
    failed = pl.col("status") == "failed"
    whole = (succeeded & pl.col("result").is_not_null() & pl.col("error_kind").is_null()) | (
        failed & pl.col("result").is_null() & pl.col("error_kind").is_not_null()
    )
    wrong = frame.filter(~whole)
    if wrong.height:
        raise DamageError(f"neither answer nor failure: {wrong.select(*KEY, 'status', 'result').rows()[:3]}")
    return frame


def answers(frame: pl.DataFrame) -> Answers:
    """The answers of succeeded rows."""
    rows = frame.filter(pl.col("status") == "succeeded").select(*KEY, "result").iter_rows()
    return {(model, row_id): result for model, row_id, result in rows}


def lost_since(before: Answers, now: Answers) -> int:
    """Answers that were committed and are no longer, or differ."""
    return sum(key not in now or now[key] != answer for key, answer in before.items())


def final_rows(run: Path) -> pl.DataFrame:
    """What a reader sees of a complete run: `results/` holds everything, sorted and without moments."""
    layout = RunLayout(run)
    left = [path.name for path in run.rglob("*") if path.name.startswith(".tmp-")]
    left += [path.name for path in layout.journals.glob("*.journal")]
    if left:
        raise DamageError(f"left lying about: {left}")
    return closed_rows(run).drop(OF_THE_MOMENT).sort(KEY)


def differences(found: pl.DataFrame, expected: pl.DataFrame) -> list[str]:
    """How the final rows differ from the reference's; empty if in nothing."""
    if found.schema != expected.schema:
        return [f"schema {found.schema}, expected {expected.schema}"]
    keys, wanted = set(found.select(KEY).rows()), set(expected.select(KEY).rows())
    if keys != wanted:
        return [f"{len(wanted - keys)} rows lost, {len(keys - wanted)} unknown: {sorted(wanted ^ keys)[:3]}"]
    return [
        f"{name}: {(found[name].eq_missing(expected[name])).not_().sum()} rows differ"
        for name in found.columns
        if not found[name].eq_missing(expected[name]).all()
    ]


__all__ = [
    "Answers",
    "DamageError",
    "answers",
    "closed_rows",
    "committed_rows",
    "differences",
    "final_rows",
    "lost_since",
]
