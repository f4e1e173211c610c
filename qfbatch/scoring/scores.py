"""What scoring a run's answers came to, as frozen values: what `scored` works out and every report shows."""

from __future__ import annotations

from msgspec import Struct, field

from qfbatch.reporting.figures import Value
from qfbatch.scoring.intervals import CONFIDENCE, Interval


class ScorerNote(Struct, frozen=True):
    """A scorer as the job asks for it.

    Attributes:
        name: how reports call it.
        scorer: the built-in scorer, or `module:function`.
        reference: the carried column it compares with; None where it needs none.
        proportion: every score is 0 or 1, so that the mean is a share of rows.
    """

    name: str
    scorer: str
    reference: str | None
    proportion: bool


class Score(Struct, frozen=True):
    """One scorer's scores of one model's rows, or of a group of them.

    `scored + failed + left_out + errors == rows`: no row is dropped in silence.

    Attributes:
        scorer: its name.
        model: whose answers.
        group: value of each `by` column; empty where the score is over all of the model's rows.
        rows: rows that have ended.
        scored: rows with a score; `mean` is over these.
        failed: rows without an answer (failed or skipped).
        left_out: answered rows that cannot be scored: no reference, or the own scorer returned None.
        errors: answered rows on which the own scorer failed.
        mean: None where no row has a score.
        interval: of the mean, at `intervals.CONFIDENCE`; None where there are too few rows for one.
    """

    scorer: str
    model: str
    group: dict[str, Value] = field(default_factory=dict)
    rows: int = 0
    scored: int = 0
    failed: int = 0
    left_out: int = 0
    errors: int = 0
    mean: float | None = None
    interval: Interval | None = None


class Duel(Struct, frozen=True):
    """Two models by one scorer, over the rows that both have a score for.

    Attributes:
        scorer: its name.
        left, right: the models.
        rows: rows scored for both.
        better, worse: rows on which the left one's score is higher, or lower; equal on all others.
        difference: mean of the left one's scores less the right one's, over these rows; None without one.
        interval: of the difference; the models can be told apart where it does not hold 0.
    """

    scorer: str
    left: str
    right: str
    rows: int
    better: int
    worse: int
    difference: float | None = None
    interval: Interval | None = None


class ScoreChange(Struct, frozen=True):
    """One scorer's scores on both sides, over the rows that have a score on both.

    Attributes:
        scorer: its name.
        rows: rows scored on both sides; all figures are of these.
        left, right: the means; None without such a row.
        difference: mean of the right scores less the left ones, row by row.
        interval: of the difference, at `intervals.CONFIDENCE`; the sides can be told apart where it does
            not hold 0. None where there are too few rows for one.
        better, worse: rows on which the right score is higher, or lower.
        left_only, right_only: rows of both sides that are scored on that one alone.
        errors: answers, of either side, on which an own scorer failed.
    """

    scorer: str
    rows: int
    left: float | None = None
    right: float | None = None
    difference: float | None = None
    interval: Interval | None = None
    better: int = 0
    worse: int = 0
    left_only: int = 0
    right_only: int = 0
    errors: int = 0


class ScorerFailure(Struct, frozen=True):
    """Rows on which an own scorer failed, with the first of them (by shard, then source row) as the example.

    Attributes:
        scorer: its name.
        rows: how many.
        model, row_id, message: of the example.
    """

    scorer: str
    rows: int
    model: str
    row_id: str
    message: str


class Scores(Struct, frozen=True):
    """All scores of a run.

    Attributes:
        scorers: in the job's order.
        by: the columns grouped by, as the user named them.
        models: one entry a scorer and model.
        groups: one entry a scorer, model and value of the `by` columns; empty without `by`.
        duels: of every scorer, the model with the highest mean against each other one.
        failures: of own scorers.
        not_run: own scorers that were not run, since only a run directory was named.
        confidence: of every interval.
    """

    scorers: tuple[ScorerNote, ...]
    by: tuple[str, ...] = ()
    models: tuple[Score, ...] = ()
    groups: tuple[Score, ...] = ()
    duels: tuple[Duel, ...] = ()
    failures: tuple[ScorerFailure, ...] = ()
    not_run: tuple[str, ...] = ()
    confidence: float = CONFIDENCE


__all__ = ["Duel", "Score", "ScoreChange", "ScorerFailure", "ScorerNote", "Scores"]
