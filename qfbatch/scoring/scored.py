"""The answers of a run, scored: each row by each scorer, and what that comes to by model, group and pair.

Rows are scored in stretches as they are read, so that the long texts are never held together; what is kept
of a row is its identity and one number a scorer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import polars as pl
from msgspec import Struct

from qfbatch.errors import StorageError
from qfbatch.records import Status
from qfbatch.reporting.summary import group_order, plain_value, resolve_columns
from qfbatch.schema import INPUT_PREFIX
from qfbatch.scoring.intervals import Interval, of_mean, of_paired_proportions, of_proportion
from qfbatch.scoring.scorers import Scorer, ScorerError, reference_texts, refuse_missing
from qfbatch.scoring.scores import Duel, Score, ScorerFailure, ScorerNote, Scores

SCORE_PREFIX = "score_"  # of a scorer's column beside the results' own

_FAILURE_PREFIX = "scorer_failure_"
_DIGITS = 12  # significant; further ones depend on the order of adding, and reports must not


class JudgedRows(Struct, frozen=True):
    """Scores row by row.

    Attributes:
        scores: `row_id` and, for each scorer, `score_<name>`: null where the row has no score.
        errors: rows on which an own scorer failed, by its name; without those that failed on none.
    """

    scores: pl.DataFrame
    errors: dict[str, int]


def with_scores(
    results: pl.LazyFrame, scorers: Sequence[Scorer], *, json_columns: Collection[str] = ()
) -> pl.LazyFrame:
    """The rows with a column `score_<name>` for each scorer: null where the row has no score.

    Args:
        results: rows of the results schema, with all columns that the scorers look at.
        scorers: what judges them.
        json_columns: carried columns whose values are JSON text (`InputColumn.kind`), by their own names.

    Raises:
        UsageError: a reference is no carried column.
    """
    refuse_missing(_carried(results.collect_schema().names()), scorers)
    return _scored(results, scorers, frozenset(json_columns)).drop(
        [_FAILURE_PREFIX + scorer.name for scorer in scorers]
    )


def judged_rows(
    results: pl.LazyFrame, scorers: Sequence[Scorer], *, json_columns: Collection[str] = ()
) -> JudgedRows:
    """Each row's scores alone, without its texts.

    Args:
        results: rows of the results schema, of one model.
        scorers: what judges them.
        json_columns: carried columns whose values are JSON text, by their own names.

    Raises:
        UsageError: a reference is no carried column.
    """
    existing = results.collect_schema().names()
    refuse_missing(_carried(existing), scorers)
    rows = (
        _scored(results.select(_looked_at(existing, scorers)), scorers, frozenset(json_columns))
        .select(
            "row_id",
            *(pl.col(SCORE_PREFIX + scorer.name) for scorer in scorers),
            *(pl.col(_FAILURE_PREFIX + scorer.name) for scorer in scorers),
        )
        .collect(engine="streaming")
    )
    errors = {scorer.name: rows[_FAILURE_PREFIX + scorer.name].count() for scorer in scorers}
    scores = rows.select("row_id", *(SCORE_PREFIX + scorer.name for scorer in scorers))
    return JudgedRows(scores, {name: count for name, count in errors.items() if count})


def evaluate(
    results: pl.LazyFrame,
    scorers: Sequence[Scorer],
    *,
    by: Sequence[str] = (),
    json_columns: Collection[str] = (),
) -> Scores:
    """What the scorers make of these results.

    Args:
        results: rows of the results schema, in any order.
        scorers: what judges them.
        by: columns to group by within each model, as in `summary.summarise`.
        json_columns: carried columns whose values are JSON text, by their own names.

    Raises:
        UsageError: a column does not exist.
        StorageError: the rows cannot be read.
    """
    existing = results.collect_schema().names()
    refuse_missing(_carried(existing), scorers)
    columns = resolve_columns(existing, by)
    keys = {f"by{n}": column for n, column in enumerate(columns.values())}
    needed = _looked_at(existing, scorers)
    try:
        rows = (
            _scored(results.select(needed | set(keys.values())), scorers, frozenset(json_columns))
            .select(
                "model",
                "row_id",
                pl.struct("shard", "source_row").alias("place"),
                *(pl.col(column).alias(key) for key, column in keys.items()),
                *(
                    pl.col(name + scorer.name)
                    for scorer in scorers
                    for name in (SCORE_PREFIX, _FAILURE_PREFIX)
                ),
                answered=_ANSWERED,
            )
            .collect(engine="streaming")
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise StorageError(
            f"the results cannot be read: {reason}",
            hint="Run the same command again; if it fails again, check that disk.",
        ) from error
    proportions = {s.name: is_proportion(s, rows[SCORE_PREFIX + s.name]) for s in scorers}
    models = tuple(score for scorer in scorers for score in _scores(rows, scorer.name, proportions, {}))
    named = dict(zip(columns, keys, strict=True))
    return Scores(
        scorers=tuple(
            ScorerNote(s.name, s.settings.scorer, s.settings.reference, proportions[s.name]) for s in scorers
        ),
        by=tuple(columns),
        models=models,
        groups=tuple(score for s in scorers for score in _scores(rows, s.name, proportions, named))
        if named
        else (),
        duels=tuple(duel for s in scorers for duel in _duels(rows, models, s.name, proportions)),
        failures=tuple(failure for s in scorers for failure in _failures(rows, s.name)),
    )


_ANSWERED = (pl.col("status") == Status.SUCCEEDED.value) & pl.col("result").is_not_null()


def _carried(existing: Sequence[str]) -> list[str]:
    return [name.removeprefix(INPUT_PREFIX) for name in existing if name.startswith(INPUT_PREFIX)]


def _looked_at(existing: Sequence[str], scorers: Sequence[Scorer]) -> set[str]:
    """The columns that scoring needs: everything where a scorer takes the whole row."""
    if any(scorer.needs_row for scorer in scorers):
        return set(existing)
    references = {INPUT_PREFIX + s.settings.reference for s in scorers if s.settings.reference is not None}
    return {"model", "row_id", "shard", "source_row", "status", "result", *references}


def _scored(rows: pl.LazyFrame, scorers: Sequence[Scorer], json_columns: frozenset[str]) -> pl.LazyFrame:
    """The rows with a score and a failure for each scorer."""
    schema = rows.collect_schema()
    added = {
        name: kind
        for scorer in scorers
        for name, kind in (
            (SCORE_PREFIX + scorer.name, pl.Float64),
            (_FAILURE_PREFIX + scorer.name, pl.String),
        )
    }

    def score(stretch: pl.DataFrame) -> pl.DataFrame:
        """A stretch of rows with the score and the failure of each scorer beside them."""
        judged = [column for scorer in scorers for column in _judged(stretch, scorer, json_columns)]
        return stretch.with_columns(judged)

    return rows.map_batches(score, schema={**schema, **added}, streamable=True)


def _judged(
    stretch: pl.DataFrame, scorer: Scorer, json_columns: frozenset[str]
) -> tuple[pl.Series, pl.Series]:
    """One scorer's scores and failures of a stretch of rows."""
    scores: list[float | None] = []
    failures: list[str | None] = []
    reference = scorer.settings.reference
    as_json = reference in json_columns and not scorer.needs_row
    answers = stretch.select(answer=pl.when(_ANSWERED).then("result"))["answer"].to_list()
    given = [None] * len(answers) if reference is None else stretch[INPUT_PREFIX + reference].to_list()
    rows: Iterator[dict[str, Any]] = (
        stretch.iter_rows(named=True) if scorer.needs_row else ({} for _ in answers)
    )
    for answer, right, row in zip(answers, given, rows, strict=True):
        score = failure = None
        if answer is not None:
            try:
                score = scorer.score(answer, reference_texts(right, as_json=as_json), row)
            except ScorerError as error:
                failure = str(error)
        scores.append(score)
        failures.append(failure)
    return (
        pl.Series(SCORE_PREFIX + scorer.name, scores, pl.Float64),
        pl.Series(_FAILURE_PREFIX + scorer.name, failures, pl.String),
    )


def is_proportion(scorer: Scorer, *scores: pl.Series) -> bool:
    """Whether all scores are 0 or 1: because the scorer has no others, or because these happen to be."""
    if scorer.proportion is not None:
        return scorer.proportion
    return all(some.drop_nulls().is_in([0.0, 1.0]).all() for some in scores)


def _scores(
    rows: pl.DataFrame, scorer: str, proportions: dict[str, bool], named: dict[str, str]
) -> Iterator[Score]:
    """By model, and by group where there are any: `named` is each `by` column's key."""
    score, failure = pl.col(SCORE_PREFIX + scorer), pl.col(_FAILURE_PREFIX + scorer)
    counted = rows.group_by("model", *named.values()).agg(
        rows=pl.len(),
        scored=score.count(),
        failed=(~pl.col("answered")).sum(),
        errors=failure.count(),
        mean=score.mean(),
        deviation=score.std(),
    )
    found = []
    for count in counted.iter_rows(named=True):
        group = {name: plain_value(count[key]) for name, key in named.items()}
        mean, scored = count["mean"], count["scored"]
        interval = None
        if mean is not None and proportions[scorer]:
            interval = of_proportion(mean * scored, scored)
        elif mean is not None:
            interval = of_mean(mean, count["deviation"], scored)
        found.append(
            Score(
                scorer=scorer,
                model=count["model"],
                group=group,
                rows=count["rows"],
                scored=scored,
                failed=count["failed"],
                left_out=count["rows"] - scored - count["failed"] - count["errors"],
                errors=count["errors"],
                mean=rounded(mean),
                interval=_rounded_interval(interval),
            )
        )
    yield from sorted(found, key=lambda one: group_order(one.model, one.group))


def _duels(
    rows: pl.DataFrame, scores: Sequence[Score], scorer: str, proportions: dict[str, bool]
) -> Iterator[Duel]:
    """The model with the highest mean (the first by name of several) against each other one."""
    means = {score.model: score.mean for score in scores if score.scorer == scorer and score.mean is not None}
    if not means:
        return
    best = max(means, key=means.__getitem__)
    score = pl.col(SCORE_PREFIX + scorer).alias("score")
    sides = {
        model: rows.filter(pl.col("model") == model).select("row_id", score).drop_nulls() for model in means
    }
    for model in means:
        if model != best:
            yield duel(
                sides[best].join(sides[model], on="row_id"), scorer, (best, model), proportions[scorer]
            )


def duel(both: pl.DataFrame, scorer: str, models: tuple[str, str], proportion: bool) -> Duel:  # noqa: FBT001
    """Two models' scores of the same rows, in `score` and `score_right`, set against each other.

    Args:
        both: a row for each row that both have a score for.
        scorer: its name.
        models: left and right.
        proportion: every score is 0 or 1.
    """
    gap = pl.col("score") - pl.col("score_right")
    found = both.select(
        better=(gap > 0).sum(), worse=(gap < 0).sum(), difference=gap.mean(), deviation=gap.std()
    ).row(0, named=True)
    difference = found["difference"]
    interval = None
    if difference is not None and proportion:
        interval = of_paired_proportions(found["better"], found["worse"], both.height)
    elif difference is not None:
        interval = of_mean(difference, found["deviation"], both.height)
    return Duel(
        scorer=scorer,
        left=models[0],
        right=models[1],
        rows=both.height,
        better=found["better"],
        worse=found["worse"],
        difference=rounded(difference),
        interval=_rounded_interval(interval),
    )


def _failures(rows: pl.DataFrame, scorer: str) -> Iterator[ScorerFailure]:
    failed = rows.filter(pl.col(_FAILURE_PREFIX + scorer).is_not_null())
    if failed.height:
        first = failed.sort("place", "model").row(0, named=True)
        yield ScorerFailure(
            scorer, failed.height, first["model"], first["row_id"], first[_FAILURE_PREFIX + scorer]
        )


def rounded(value: float | None) -> float | None:
    """A figure without the digits that depend on the order of adding."""
    return None if value is None else float(f"{value:.{_DIGITS}g}")


def _rounded_interval(interval: Interval | None) -> Interval | None:
    if interval is None:
        return None
    return Interval(float(f"{interval.low:.{_DIGITS}g}"), float(f"{interval.high:.{_DIGITS}g}"))


__all__ = [
    "SCORE_PREFIX",
    "JudgedRows",
    "duel",
    "evaluate",
    "is_proportion",
    "judged_rows",
    "rounded",
    "with_scores",
]
