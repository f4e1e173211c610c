"""Figures with their targets, as a table and as JSON."""

from __future__ import annotations

import os
import platform
import statistics
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct


class Missing(Exception):  # noqa: N818 - reads as what it says
    """A measurement cannot be made here; the text says what is missing and what to do."""


class Figure(Struct, frozen=True):
    """One measured figure.

    Attributes:
        what: what was measured.
        value: the median of its runs.
        unit: of the value; "" for a ratio.
        at_least, at_most: the target, where there is one.
        note: what it was made from.
    """

    what: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def target(self) -> str:
        """The target in words; empty where the figure only explains others."""
        if self.at_least is not None:
            return f"≥ {amount(self.at_least)}"
        return "" if self.at_most is None else f"≤ {amount(self.at_most)}"

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most


class Measured(Struct, frozen=True):
    """What became of one measurement.

    Attributes:
        name: as `--only` takes it.
        figures: what it found; empty if it could not be made.
        missing: why it could not be made.
        took_s: how long it took.
        load: the machine's load average when it began; other work counts in it.
    """

    name: str
    figures: tuple[Figure, ...] = ()
    missing: str = ""
    took_s: float = 0.0
    load: float = 0.0


@dataclass(frozen=True)
class Bench:
    """What measurements share.

    Attributes:
        folder: scratch space, on the disk that is measured.
        quick: small sizes, to see that the measurement works; its figures mean nothing.
        say: takes a line of progress.
    """

    folder: Path
    quick: bool
    say: Callable[[str], None]

    def size(self, full: int, quick: int) -> int:
        """The size to use."""
        return quick if self.quick else full

    @property
    def repeats(self) -> int:
        """How often what is short is measured; medians are shown."""
        return self.size(3, 1)

    def place(self, name: str) -> Path:
        """A new folder."""
        path = self.folder / name
        path.mkdir(parents=True)
        return path


def amount(value: float) -> str:
    """A number with three significant digits, or whole."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def machine() -> dict[str, str | int | float]:
    """Where the figures come from."""
    return {
        "cores": os.cpu_count() or 0,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "build": f"{' '.join(platform.python_build())}, {platform.python_compiler()}",
        "interpreter_us": round(interpreter_us(), 1),
    }


def interpreter_us() -> float:
    """Microseconds for a thousand calls of a method that does nothing: how fast Python is here and now.

    Builds of one version differ, and one machine may have two speeds: figures compare where this is alike.
    """
    calls = timeit.Timer("for _ in range(1000): call()", "class A:\n def m(self): pass\ncall = A().m")
    return min(calls.repeat(repeat=5, number=100)) / 100 * 1e6


def table(measured: Sequence[Measured]) -> str:
    """All figures as one table."""
    lines = [("", "what", "figure", "target", "", "from")]
    for some in measured:
        name = some.name
        if some.missing:
            lines.append((name, "not measured", "", "", "skipped", some.missing))
        for figure in some.figures:
            reached = {None: "", True: "reached", False: "MISSED"}[figure.reached]
            shown = f"{amount(figure.value)} {figure.unit}".strip()
            lines.append((name, figure.what, shown, figure.target, reached, figure.note))
            name = ""
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    rows = []
    for line in lines:
        cells = [
            text.rjust(width) if column in (2, 3) else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=False))
        ]
        rows.append("  ".join([*cells, line[5]]).rstrip())
    rows.insert(1, "-" * sum(widths))
    return "\n".join(rows) + "\n"


def write(path: Path, measured: Sequence[Measured], *, quick: bool, began: str) -> None:
    """Everything as JSON; targets and whether they are reached included."""
    found = {
        "began": began,
        "quick": quick,
        "machine": machine(),
        "measured": [
            {
                "name": some.name,
                "missing": some.missing,
                "took_s": round(some.took_s, 1),
                "load": some.load,
                "figures": [
                    {**msgspec.to_builtins(figure), "reached": figure.reached} for figure in some.figures
                ],
            }
            for some in measured
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
