"""What a run has to meet to pass: shares and counts a caller states, held against its figures. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from difflib import get_close_matches

from msgspec import Struct

from qfbatch.errors import UsageError
from qfbatch.reporting.figures import Figures
from qfbatch.scoring.scores import Scores
from qfbatch.wording import count, things

PERCENT = 100.0

_BOUND = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<percent>%?)")


class Bound(Struct, frozen=True):
    """At most so many rows, or so large a share of them.

    Attributes:
        text: as it was stated: `5`, `2.5%`.
        number: rows, or per cent.
        percent: whether it is a share.
    """

    text: str
    number: float
    percent: bool

    def admits(self, rows: int, of_all: int) -> bool:
        """Whether so many rows out of all are within it."""
        return rows <= (_share_of(of_all, self.number) if self.percent else self.number)


class Gates(Struct, frozen=True):
    """What a run has to meet; None where nothing is asked.

    Attributes:
        fail_under: least share of the run's rows that succeeded, per cent; a row that has not ended has not
            succeeded.
        max_failed: most rows that failed, or share of the rows that have ended.
        max_unsafe: most rows called unsafe, likewise.
    """

    fail_under: float | None = None
    max_failed: Bound | None = None
    max_unsafe: Bound | None = None


class LeastScore(Struct, frozen=True):
    """A mean that a scorer has to reach.

    Attributes:
        text: as it was stated: `exact_match=0.8`.
        scorer: its name.
        least: the mean.
    """

    text: str
    scorer: str
    least: float


def least_score(text: str) -> LeastScore:
    """A gate as a user states it: `exact_match=0.8`.

    Raises:
        ValueError: it is none.
    """
    name, equals, number = text.partition("=")
    try:
        least = float(number)
    except ValueError:
        least = math.nan
    if not name.strip() or not equals or not math.isfinite(least):
        raise ValueError(f"{text!r} is no scorer's name with a number (exact_match=0.8)")
    return LeastScore(text.strip(), name.strip(), least)


def unmet_scores(gates: Sequence[LeastScore], scores: Scores | None) -> list[str]:
    """The gates that a model of a run does not meet, each in one line with its figures.

    Args:
        gates: what each model's mean has to reach; a model without a scored row has not reached it.
        scores: the run's.
    """
    lines = []
    for gate in gates:
        name = f"--min-score {gate.text}"
        found = [] if scores is None else [one for one in scores.models if one.scorer == gate.scorer]
        if not found:
            lines.append(f"{name}: no row has ended")
        for score in found:
            if score.mean is None:
                lines.append(f"{name}: {score.model} has no row with a score")
            elif score.mean < gate.least:
                shown = f"{score.mean:.3f}"
                shown = shown if float(shown) < gate.least else _shown(score.mean, gate.least)
                lines.append(f"{name}: {score.model} has {shown} ({things(score.scored, 'row')} scored)")
    return lines


def refuse_unknown_scorers(gates: Sequence[LeastScore], known: Sequence[str], not_run: Sequence[str]) -> None:
    """Refuse gates of scorers that a run does not have.

    Args:
        gates: what is asked.
        known: the run's scorers, by name.
        not_run: further ones, which are not run for a run directory alone.

    Raises:
        UsageError: there is no such scorer, or it is not run.
    """
    for gate in gates:
        if gate.scorer in known:
            continue
        if gate.scorer in not_run:
            raise UsageError(
                f"--min-score {gate.text}: {gate.scorer} is a function of your own, which a run directory "
                "does not run",
                hint="Name the job file instead of its run directory.",
            )
        nearest = get_close_matches(gate.scorer, known, n=1)
        meant = f"Did you mean {nearest[0]}? " if nearest else ""
        has = (
            f"It has {', '.join(known)}."
            if known
            else "Its job asks for none (`evaluation` of the job file)."
        )
        raise UsageError(f"--min-score {gate.text}: the run has no such scorer", hint=meant + has)


def bound(text: str) -> Bound:
    """A bound as a user states it: `5`, or `2.5%`.

    Raises:
        ValueError: it is neither, a count with a fraction, or more than 100 %.
    """
    found = _BOUND.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is neither a number of rows (5) nor a share of them (2.5%)")
    number, percent = float(found["number"]), bool(found["percent"])
    if percent and number > PERCENT:
        raise ValueError(f"{text!r} is more than all rows")
    if not percent and number != int(number):
        raise ValueError(f"{text!r}: a number of rows is whole; a share ends in %")
    return Bound(text.strip(), number, percent)


def unmet(gates: Gates, total: Figures, expected: int) -> list[str]:
    """The gates that a run does not meet, each in one line with its figures; empty if it passes.

    Args:
        gates: what it has to meet.
        total: its figures over all models.
        expected: rows it is to answer, over all models.
    """
    lines = []
    if gates.fail_under is not None:
        of_all = max(expected, total.rows)
        share = PERCENT * total.succeeded / of_all if of_all else 0.0
        if total.succeeded < _share_of(of_all, gates.fail_under) or (gates.fail_under and not of_all):
            waiting = max(0, expected - total.rows)
            yet = f", {waiting:,} not yet ended" if waiting else ""
            lines.append(
                f"--fail-under {gates.fail_under:g}: {_shown(share, gates.fail_under)} % succeeded "
                f"({count(total.succeeded)} of {things(of_all, 'row')}{yet})"
            )
    for name, most, rows in (
        ("--max-failed", gates.max_failed, total.failed),
        ("--max-unsafe", gates.max_unsafe, total.safety.unsafe),
    ):
        if most is not None and not most.admits(rows, total.rows):
            what = name.removeprefix("--max-")
            lines.append(f"{name} {most.text}: {count(rows)} of {things(total.rows, 'row')} {what}")
    return lines


def _share_of(rows: int, percent: float) -> float:
    """So many per cent of these rows, without what binary fractions add to decimal ones."""
    return round(rows * percent / PERCENT, 6)


def _shown(share: float, least: float) -> str:
    """A share with as many digits as it takes to see that it is too small."""
    for digits in range(1, 10):
        text = f"{share:.{digits}f}"
        if float(text) < least:
            return text
    return f"{share}"


__all__ = [
    "Bound",
    "Gates",
    "LeastScore",
    "bound",
    "least_score",
    "refuse_unknown_scorers",
    "unmet",
    "unmet_scores",
]
