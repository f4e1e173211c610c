"""A run's scores: worked out again by plain Python, balanced, paired, and by any column."""

from __future__ import annotations

import math
import random
import statistics
from collections import defaultdict
from typing import Any

import polars as pl
import pytest
from report_runs import TOPIC, failed, frame, succeeded

from qfbatch.errors import UsageError
from qfbatch.job.settings import ScorerSettings
from qfbatch.records import InputColumn, Record
from qfbatch.scoring.scored import evaluate, with_scores
from qfbatch.scoring.scorers import Scorer, built_in, own
from qfbatch.scoring.scores import Score

REFERENCE = InputColumn("reference", "string")
MODELS = ("one", "three", "two")


def scorer(name: str = "exact_match", **settings: Any) -> Scorer:
    """A built-in scorer under its own name."""
    return built_in(ScorerSettings(name, name, "reference", **settings))


def records(seed: int = 1, rows: int = 90) -> list[Record]:
    """Rows of three models: right and wrong answers, failures, rows without a reference."""
    luck = random.Random(seed)
    found = []
    for model, skill in zip(MODELS, (0.9, 0.2, 0.6), strict=True):
        for n in range(rows):
            columns = {
                "topic": ("math", "history", None)[n % 3],
                "reference": None if n % 10 == 0 else f"r{n}",
            }
            if luck.random() < 0.1:
                found.append(failed(n, model, columns=columns))
            else:
                answer = f"r{n}" if luck.random() < skill else f"r{luck.randrange(rows)} or so"
                found.append(succeeded(n, model, result=answer, columns=columns))
    luck.shuffle(found)
    return found


def of(score: Score) -> tuple[Any, ...]:
    """What the second computation knows of a score."""
    return score.rows, score.scored, score.failed, score.left_out, score.errors


@pytest.mark.parametrize("name", ["exact_match", "edit_similarity"])
def test_scores_worked_out_again(name: str) -> None:
    """Counts and means by model and group are those of a loop over the rows; every row is accounted for."""
    rows, judge = records(), scorer(name)
    found = evaluate(frame(rows, (TOPIC, REFERENCE)), [judge], by=["topic"])
    expected: dict[tuple[str, ...], list[float]] = defaultdict(list)
    counts: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    for row in rows:
        for group in ((row.model,), (row.model, row.columns["topic"])):
            counts[group][0] += 1
            if row.result is None:
                counts[group][2] += 1
            elif row.columns["reference"] is None:
                counts[group][3] += 1
            else:
                counts[group][1] += 1
                value = judge.score(row.result, [row.columns["reference"]], {})
                assert value is not None
                expected[group].append(value)
    for score in (*found.models, *found.groups):
        key: tuple[Any, ...] = (score.model, *score.group.values())
        assert tuple(counts[key]) == of(score)
        assert score.rows == score.scored + score.failed + score.left_out + score.errors
        assert score.mean is not None
        assert math.isclose(statistics.fmean(expected[key]), score.mean, rel_tol=1e-11)
        assert score.interval is not None
        assert score.interval.low < score.mean < score.interval.high
        if name == "edit_similarity" and len(expected[key]) > 60:
            half = 1.99 * statistics.stdev(expected[key]) / math.sqrt(len(expected[key]))
            assert math.isclose(score.mean + half, score.interval.high, rel_tol=0.01)
    assert [*MODELS] == [score.model for score in found.models]
    assert ["history", "math", None] == [score.group["topic"] for score in found.groups[:3]]


def test_duels_worked_out_again() -> None:
    """The best model meets each other one over the rows that both have a score for."""
    rows, judge = records(), scorer()
    found = evaluate(frame(rows, (TOPIC, REFERENCE)), [judge])
    right = {
        (row.model, row.row_id): row.result == row.columns["reference"]
        for row in rows
        if row.result is not None and row.columns["reference"] is not None
    }
    ids = {row.row_id for row in rows}
    assert [("one", "three"), ("one", "two")] == [(duel.left, duel.right) for duel in found.duels]
    for duel in found.duels:
        pairs = [
            (right[duel.left, row_id], right[duel.right, row_id])
            for row_id in ids
            if (duel.left, row_id) in right and (duel.right, row_id) in right
        ]
        better, worse = (pairs.count(pair) for pair in ((True, False), (False, True)))
        assert (len(pairs), better, worse) == (duel.rows, duel.better, duel.worse)
        assert duel.difference is not None
        assert math.isclose((better - worse) / len(pairs), duel.difference, rel_tol=1e-11)
    assert found.duels[0].interval is not None
    assert found.duels[0].interval.low > 0


def test_scores_do_not_depend_on_order() -> None:
    """The same rows in any order give the same figures to the last digit."""
    rows = records()
    judges = [scorer(), scorer("chrf")]
    one = evaluate(frame(rows, (TOPIC, REFERENCE)), judges, by=["topic"])
    other = evaluate(frame(rows[::-1], (TOPIC, REFERENCE)), judges, by=["topic"])
    assert one == other


def test_own_scorers_see_the_row_and_may_fail() -> None:
    """A failing function loses its row, not the report; its first row is named with what it raised."""

    def judge(answer: str, reference: str | None, row: dict[str, Any]) -> float | None:
        if row["source_row"] in (3, 2):
            raise ValueError(f"cannot judge {row['row_id']}")
        if row["input_topic"] == "history":
            return None
        return float(answer == f"answer {row['source_row'] - 1}" and reference is None)

    rows = [succeeded(n) for n in (5, 4, 3, 2, 1, 0)] + [failed(6)]
    found = evaluate(frame(rows), [own(ScorerSettings("m:judge", "judge"), judge)])
    assert [(7, 2, 1, 2, 2)] == [of(score) for score in found.models]
    assert 1 == found.models[0].mean
    assert found.scorers[0].proportion
    (failure,) = found.failures
    assert ("judge", 2, "yi-34b", "q2", "ValueError: cannot judge q2") == (
        failure.scorer,
        failure.rows,
        failure.model,
        failure.row_id,
        failure.message,
    )


def test_own_numbers_have_their_own_range() -> None:
    """A function that counts is no proportion, and its interval may leave 0 to 1."""
    judge = own(ScorerSettings("m:length", "length"), lambda answer, _, __: len(answer))
    rows = [succeeded(n, result="x" * n) for n in range(1, 10)]
    found = evaluate(frame(rows), [judge])
    (score,) = found.models
    assert (5.0, False) == (score.mean, found.scorers[0].proportion)
    assert score.interval is not None
    assert score.interval.high > 1


def test_rows_with_their_scores() -> None:
    """Each row keeps its columns and gets its score; rows without one have null."""
    rows = [
        succeeded(0, result="a", columns={"topic": "t", "reference": ["b", "a"]}),
        succeeded(1, result="a", columns={"topic": "t", "reference": None}),
        failed(2, columns={"topic": "t", "reference": "a"}),
        succeeded(3, result="a", columns={"topic": "t", "reference": 1}),
    ]
    plain = frame(rows, (TOPIC, InputColumn("reference", "json")))
    scored = with_scores(plain, [scorer()], json_columns={"reference"}).collect()
    assert [1.0, None, None, 0.0] == scored["score_exact_match"].to_list()
    assert scored.drop("score_exact_match").equals(plain.collect())


def test_nothing_to_score() -> None:
    """A run without a row has no scores; one whose rows all failed says so for each of them."""
    empty = frame([failed(0)], (TOPIC, REFERENCE)).filter(pl.lit(value=False))
    assert () == evaluate(empty, [scorer()]).models
    (score,) = evaluate(
        frame([failed(0, columns={"topic": "t", "reference": "r"})], (TOPIC, REFERENCE)), [scorer()]
    ).models
    assert (1, 0, 1, 0, 0, None, None) == (*of(score), score.mean, score.interval)


def test_a_reference_that_is_not_carried() -> None:
    """The message names the scorer, the column, and what there is."""
    with pytest.raises(
        UsageError, match="exact_match compares with reference, which the results do not carry"
    ):
        evaluate(frame([succeeded(0)]), [scorer()])
