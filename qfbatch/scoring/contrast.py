"""Scores of two sides over the rows that both have: means, their difference and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from qfbatch.scoring.scored import SCORE_PREFIX, JudgedRows, duel, is_proportion, rounded
from qfbatch.scoring.scorers import Scorer
from qfbatch.scoring.scores import ScoreChange


def score_changes(
    pairs: pl.DataFrame, left: JudgedRows, right: JudgedRows, scorers: Sequence[Scorer]
) -> tuple[ScoreChange, ...]:
    """What the scorers make of two sides.

    Args:
        pairs: `row_id` of the left row and `row_id_right` of the right one, for each row of both sides.
        left: the left side's scores (`scored.judged_rows`).
        right: the right side's.
        scorers: what judged them, in the order of the answer.
    """
    both = pairs.select("row_id", "row_id_right").join(left.scores, on="row_id", how="left")
    both = both.join(right.scores, left_on="row_id_right", right_on="row_id", how="left", suffix="_right")
    return tuple(_change(both, left, right, scorer) for scorer in scorers)


def _change(both: pl.DataFrame, left: JudgedRows, right: JudgedRows, scorer: Scorer) -> ScoreChange:
    name = SCORE_PREFIX + scorer.name
    # A duel is about what its left has more: here that is the right side, as everywhere in a comparison.
    sides = both.select(score=f"{name}_right", score_right=name)
    scored = sides.drop_nulls()
    found = duel(
        scored,
        scorer.name,
        ("right", "left"),
        is_proportion(scorer, left.scores[name], right.scores[name]),
    )
    means = scored.select(pl.all().mean()).row(0, named=True)
    return ScoreChange(
        scorer=scorer.name,
        rows=found.rows,
        left=rounded(means["score_right"]),
        right=rounded(means["score"]),
        difference=found.difference,
        interval=found.interval,
        better=found.better,
        worse=found.worse,
        left_only=sides["score_right"].count() - found.rows,
        right_only=sides["score"].count() - found.rows,
        errors=left.errors.get(scorer.name, 0) + right.errors.get(scorer.name, 0),
    )


__all__ = ["score_changes"]
