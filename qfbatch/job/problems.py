"""What is wrong with a job file: problems with their places, collected before anything is said."""

from __future__ import annotations

from dataclasses import dataclass, field

from qfbatch.job.tree import Loc, Node, Place, place_of, spelled


@dataclass(frozen=True, slots=True)
class Problem:
    """One line of the error.

    Attributes:
        place: where to look.
        message: what is wrong, the field named.
    """

    place: Place
    message: str

    def __str__(self) -> str:
        # Messages repeat keys and names; whatever they hold, a problem stays one line.
        text = f"{self.place.label}: {self.message}"
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class NotReadable(Exception):  # noqa: N818 - reads as the state it reports
    """The text cannot be read any further; carries its one problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(slots=True)
class Findings:
    """Problems of one tree, at most one chain of them for each value.

    A value that was found wrong is *settled*: what later checks would say about it, or about what stands
    under it, only follows from the first problem and is dropped.
    """

    root: Node
    problems: list[Problem] = field(default_factory=list)
    _settled: set[Loc] = field(default_factory=set)

    def add(self, loc: Loc, message: str, *, key: bool = False, named: bool = True) -> None:
        """Record that the value at `loc` is wrong, unless that is already known.

        Args:
            loc: the way to the value.
            message: what it must be.
            key: look at the line of its key rather than of its value.
            named: start the message with the spelled way.
        """
        if any(loc[:length] in self._settled for length in range(1, len(loc) + 1)):
            return
        self._settled.add(loc)
        text = f"{spelled(loc)}: {message}" if named and loc else message
        self.problems.append(Problem(place_of(self.root, loc, key=key), text))

    def lines(self) -> list[str]:
        """All problems as lines, in the order of the file."""
        return [str(p) for p in sorted(self.problems, key=lambda p: p.place.line)]
