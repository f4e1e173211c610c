"""Scores as rows of finished text, and as the columns of a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qfbatch.render import numbers
from qfbatch.render.section import Section
from qfbatch.reporting.figures import Figures
from qfbatch.scoring.intervals import CONFIDENCE, Interval
from qfbatch.scoring.scores import Score

CONFIDENCE_TEXT = f"{CONFIDENCE:.0%} interval".replace("%", " %")


def score_rows(section: Section) -> list[tuple[str, ...]]:
    """Scorer, model, mean, interval, rows scored of all, why not all; models in the job's order."""
    scores = section.scores
    found = [] if scores is None else _ordered(section, scores.models)
    return [(numbers.one_line(one.scorer), numbers.one_line(one.model), *_cells(one)) for one in found]


def group_score_rows(section: Section) -> list[tuple[str, ...]]:
    """The same by group: scorer, model, the group's values, then the figures."""
    scores = section.scores
    if scores is None:
        return []
    return [
        (
            numbers.one_line(one.scorer),
            numbers.one_line(one.model),
            *(numbers.group_value(one.group[name]) for name in scores.by),
            *_cells(one),
        )
        for one in _ordered(section, scores.groups)
    ]


def duel_rows(section: Section) -> list[tuple[str, ...]]:
    """Scorer, best model, other model, difference, its interval, rows better, rows worse, rows of both."""
    return [
        (
            numbers.one_line(duel.scorer),
            numbers.one_line(duel.left),
            numbers.one_line(duel.right),
            number(duel.difference, signed=True),
            interval(duel.interval, signed=True),
            numbers.count(duel.better),
            numbers.count(duel.worse),
            numbers.count(duel.rows),
        )
        for duel in (section.scores.duels if section.scores else ())
    ]


def scorer_failure_rows(section: Section) -> list[tuple[str, ...]]:
    """Scorer, rows, and the first of them: model, row, message. What was not run stands here, too."""
    if section.scores is None:
        return []
    failed: list[tuple[str, ...]] = [
        (
            numbers.one_line(failure.scorer),
            numbers.count(failure.rows),
            numbers.one_line(failure.model),
            numbers.one_line(failure.row_id),
            numbers.one_line(failure.message),
        )
        for failure in section.scores.failures
    ]
    not_run = "not run: own scorers need the job file, not the run directory, on the command line"
    missing = numbers.MISSING
    return failed + [
        (numbers.one_line(name), missing, missing, missing, not_run) for name in section.scores.not_run
    ]


def columns(sections: Sequence[Section]) -> list[str]:
    """The columns that scores have in a spreadsheet: four for each scorer of these runs."""
    return [f"score_{name}{end}" for name in _names(sections) for end in ("", "_low", "_high", "_rows")]


def values(sections: Sequence[Section], section: Section, figures: Figures) -> Iterator[float | None]:
    """What stands in these columns for one model or group."""
    scores = section.scores
    found = () if scores is None else (scores.groups if section.summary.by else scores.models)
    of = {one.scorer: one for one in found if one.model == figures.model and one.group == figures.group}
    for name in _names(sections):
        one = of.get(name)
        bounds = None if one is None else one.interval
        yield None if one is None else one.mean
        yield None if bounds is None else bounds.low
        yield None if bounds is None else bounds.high
        yield None if one is None else one.scored


def number(value: float | None, *, signed: bool = False) -> str:
    """A score: `0.667`, `+0.042`; three digits behind the point, more significance no run has."""
    if value is None:
        return numbers.MISSING
    return f"{value:+.3f}" if signed else f"{value:.3f}"


def interval(value: Interval | None, *, signed: bool = False) -> str:
    """`0.581 to 0.742`."""
    if value is None:
        return numbers.MISSING
    return f"{number(value.low, signed=signed)} to {number(value.high, signed=signed)}"


def scored(score: Score) -> str:
    """How many rows have a score: `59 of 60`."""
    return f"{numbers.count(score.scored)} of {numbers.count(score.rows)}"


def not_scored(score: Score) -> str:
    """How many rows have no score, and why: `7: 5 failed, 2 left out`."""
    reasons = (("failed", score.failed), ("left out", score.left_out), ("scorer failed", score.errors))
    told = ", ".join(f"{numbers.count(rows)} {reason}" for reason, rows in reasons if rows)
    return told or "0"


def _cells(score: Score) -> tuple[str, ...]:
    return number(score.mean), interval(score.interval), scored(score), not_scored(score)


def _names(sections: Sequence[Section]) -> list[str]:
    found = [note.name for section in sections if section.scores for note in section.scores.scorers]
    return list(dict.fromkeys(found))


def _ordered(section: Section, scores: Sequence[Score]) -> list[Score]:
    """Scorers as they are, models in the job's order."""
    scorers = {score.scorer: place for place, score in reversed(list(enumerate(scores)))}
    order = {coverage.model: place for place, coverage in enumerate(section.coverage)}
    return sorted(scores, key=lambda score: (scorers[score.scorer], order[score.model]))
