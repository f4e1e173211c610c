"""Everything wrong with an input at once, as far as anyone wants to read it."""

from __future__ import annotations

from qfbatch.errors import InputError
from qfbatch.wording import things

MAX_PROBLEMS = 20


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
            lines = "\n".join(f"  {found.message}" for found in self._found)
            raise InputError(
                f"{MAX_PROBLEMS} problems in the input, and what follows was not looked at:\n{lines}",
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
            lines = "\n".join(f"  {found.message}" for found in self._found)
            raise InputError(
                f"{things(len(self._found), 'problem')} in the input:\n{lines}", hint=self._hint()
            )

    def _hint(self) -> str:
        """The next steps, each once."""
        return " ".join(dict.fromkeys(found.hint for found in self._found if found.hint))
