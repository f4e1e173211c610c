"""Everything wrong with an input at once, as far as anyone wants to read it."""

from __future__ import annotations

from qfbatch.errors import InputError
from qfbatch.wording import things

MAX_PROBLEMS = 20
MANY = 3  # rows alike beside the first: no longer one line each


class Problems:
    """Collects problems and raises them together."""

    def __init__(self) -> None:
        self._found: list[InputError] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, problem: InputError) -> None:
        """Takes a problem.

        Raises:
            InputError: all of them, once there are `MAX_PROBLEMS`.
        """
        self._found.append(problem)
        if len(self._found) >= MAX_PROBLEMS:
            raise InputError(
                f"{MAX_PROBLEMS} problems in the input, and what follows was not looked at:\n"
                f"{self._listed()}",
                hint=self._hint(),
            )

    def raise_found(self) -> None:
        """Raises what was found, if anything.

        Raises:
            InputError: the one problem itself, or one error that lists them.
        """
        if len(self._found) == 1:
            raise self._found[0]
        if self._found:
            raise InputError(
                f"{things(len(self._found), 'problem')} in the input:\n{self._listed()}", hint=self._hint()
            )

    def _listed(self) -> str:
        """One line each; of many rows with the same problem the first, and where the last one is."""
        alike: dict[tuple[str, str], list[InputError]] = {}
        for found in self._found:
            alike.setdefault((found.source_file, found.what), []).append(found)
        lines = []
        for first, *more in alike.values():
            lines.append(f"  {first.message}")
            if len(more) >= MANY:
                last = f"{first.source_file}:{more[-1].source_row}"
                lines.append(f"    and {things(len(more), 'more row')} alike, up to {last}")
            else:
                lines += [f"  {found.message}" for found in more]
        return "\n".join(lines)

    def _hint(self) -> str:
        """The next steps, each once."""
        return " ".join(dict.fromkeys(found.hint for found in self._found if found.hint))
