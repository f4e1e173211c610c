"""Two sides of a comparison and how they differ, as frozen values: two runs, or two models of one.

Nothing here needs polars; `comparison` works it out, `render` shows it.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from qfbatch.reporting.figures import Figures
from qfbatch.scoring.scores import ScoreChange


class Matching(StrEnum):
    """What makes a row of one side and a row of the other the same row."""

    ROW_ID = "row_id"
    PROMPT = "prompt"


class Kind(StrEnum):
    """Why a row of both sides is shown as an example."""

    BROKEN = "broken"  # succeeded on the left, failed or skipped on the right
    MENDED = "mended"  # the other way round
    DIFFERS = "differs"  # both succeeded, and not with the same answer, to the letter


class Side(Struct, frozen=True):
    """One side.

    Attributes:
        name: the job's.
        directory: the run directory, as the user named it.
        model: whose answers.
        rows: its rows that have ended.
        figures: of those that the other side has too.
    """

    name: str
    directory: str
    model: str
    rows: int
    figures: Figures


class Rows(Struct, frozen=True):
    """How rows fared on both sides, in rows of both.

    Attributes:
        matched: rows of both sides; all others here are parts of them.
        left_only, right_only: rows of one side alone; in no other figure of the comparison.
        other_prompt: asked with another prompt on the right.
        both_succeeded: they are `same` and `differing`.
        same, differing: the answers are the same to the letter, or not.
        broken: succeeded on the left, failed or skipped on the right.
        mended: failed or skipped on the left, succeeded on the right.
        neither: succeeded on neither side.
        unsafe_left, unsafe_right: called unsafe on that side and not on the other.
    """

    matched: int = 0
    left_only: int = 0
    right_only: int = 0
    other_prompt: int = 0
    both_succeeded: int = 0
    same: int = 0
    differing: int = 0
    broken: int = 0
    mended: int = 0
    neither: int = 0
    unsafe_left: int = 0
    unsafe_right: int = 0


class Shown(Struct, frozen=True):
    """One side of an example.

    Attributes:
        row_id: its identity there.
        prompt: as sent, cut after `comparison.LONGEST_TEXT` characters.
        status: as in the results.
        answer: cut likewise; None unless succeeded.
        error: kind, code and message where it failed; empty otherwise.
    """

    row_id: str
    prompt: str
    status: str
    answer: str | None
    error: str


class Example(Struct, frozen=True):
    """A row on both sides."""

    kind: Kind
    left: Shown
    right: Shown


class Comparison(Struct, frozen=True):
    """A model of one run beside a model of another, or of the same.

    Attributes:
        left, right: the sides; what changed is what the right has more or less.
        matched_by: what made rows the same.
        rows: how they fared.
        examples: the first of each kind in the left side's order, as many of each as asked.
        scores: what changed in the scores; empty where nothing scores both sides.
    """

    left: Side
    right: Side
    matched_by: Matching
    rows: Rows
    examples: tuple[Example, ...] = ()
    scores: tuple[ScoreChange, ...] = ()


__all__ = ["Comparison", "Example", "Kind", "Matching", "Rows", "Shown", "Side"]
