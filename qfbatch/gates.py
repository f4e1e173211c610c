"""What a run has to meet to pass: shares and counts a caller states, held against its figures. Pure."""

from __future__ import annotations

import re

from msgspec import Struct

from qfbatch.figures import Figures

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
                f"({total.succeeded:,} of {of_all:,} rows{yet})"
            )
    for name, most, rows in (
        ("--max-failed", gates.max_failed, total.failed),
        ("--max-unsafe", gates.max_unsafe, total.safety.unsafe),
    ):
        if most is not None and not most.admits(rows, total.rows):
            what = name.removeprefix("--max-")
            lines.append(f"{name} {most.text}: {rows:,} of {total.rows:,} rows {what}")
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


__all__ = ["Bound", "Gates", "bound", "unmet"]
