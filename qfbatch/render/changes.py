"""What changed between the sides of a comparison, figure by figure: the report's own, in its order."""

from __future__ import annotations

from msgspec import Struct

from qfbatch.render.lines import Raw, currencies_of, failure_name, lines
from qfbatch.reporting.compared import Comparison, Side
from qfbatch.reporting.figures import FailureCount

DIGITS = 12  # significant, as amounts have


class Change(Struct, frozen=True):
    """One figure on both sides.

    Attributes:
        figure: its key, as in the report's CSV.
        label: what tables call it.
        left, right: for programs; None where there is none.
        left_text, right_text: for people.
        difference: right less left; None where one is missing, and for moments.
        relative: the difference as a share of the left (0.1: a tenth more); None where the left is 0.
    """

    figure: str
    label: str
    left: Raw
    right: Raw
    left_text: str
    right_text: str
    difference: float | None
    relative: float | None


def changes(comparison: Comparison) -> list[Change]:
    """Every figure that one side has or both."""
    left, right = comparison.left.figures, comparison.right.figures
    found = []
    for line in lines(currencies_of([left, right])):
        one, other = line.value(left), line.value(right)
        if one is None and other is None:
            continue
        difference = relative = None
        if isinstance(one, int | float) and isinstance(other, int | float):
            difference = _rounded(other - one)
            relative = difference / one if one else None
        found.append(
            Change(line.key, line.label, one, other, line.text(left), line.text(right), difference, relative)
        )
    return found


class Fate(Struct, frozen=True):
    """How many rows fared so, on the left and on the right; the same number twice where it is about both."""

    figure: str
    label: str
    left: int
    right: int


def fates(comparison: Comparison) -> list[Fate]:
    """How the rows of both sides fared, and the rows of one side alone."""
    rows = comparison.rows
    return [
        Fate("matched_rows", "rows compared", rows.matched, rows.matched),
        Fate("rows_here_only", "rows on this side only", rows.left_only, rows.right_only),
        Fate("other_prompt", "asked with another prompt", rows.other_prompt, rows.other_prompt),
        Fate("same_answers", "same answer", rows.same, rows.same),
        Fate("differing_answers", "other answer", rows.differing, rows.differing),
        Fate("succeeded_here_only", "succeeded on this side only", rows.broken, rows.mended),
        Fate("succeeded_nowhere", "succeeded on neither side", rows.neither, rows.neither),
        Fate("unsafe_here_only", "unsafe on this side only", rows.unsafe_left, rows.unsafe_right),
    ]


def failure_changes(comparison: Comparison) -> list[tuple[str, int, int]]:
    """Failed rows by kind and code on the left and on the right, the most frequent first."""
    left, right = (
        {failure_name(failure): failure for failure in side.figures.failures}
        for side in (comparison.left, comparison.right)
    )
    found = [(name, _rows(left.get(name)), _rows(right.get(name))) for name in {**left, **right}]
    return sorted(found, key=lambda entry: (-max(entry[1:]), entry[0]))


def side_names(comparison: Comparison) -> tuple[str, str]:
    """What to call the sides: by their models, their runs, or both, whatever tells them apart."""
    left, right = comparison.left, comparison.right
    if left.directory == right.directory:
        return left.model, right.model
    if left.model == right.model:
        return left.directory, right.directory
    return _full_name(left), _full_name(right)


def _rounded(difference: float) -> float:
    """Without the digits that subtracting makes up."""
    return difference if isinstance(difference, int) else float(f"{difference:.{DIGITS}g}")


def _full_name(side: Side) -> str:
    return f"{side.directory}: {side.model}"


def _rows(failure: FailureCount | None) -> int:
    return 0 if failure is None else failure.rows
