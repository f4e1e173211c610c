"""What a command need not load, although it is installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

OWN_PROCESS = "a process of its own"  # the context's object of a command that need spare nobody else
ARROW, NUMPY, PANDAS = "pyarrow", "numpy", "pandas"


def without_numpy() -> None:
    """Let this process be as if numpy were not installed, unless that or Arrow is loaded already.

    qfbatch does not need numpy, but pyarrow loads it where it is installed, for conversions that no command
    asks for: 60 ms, a seventh of what a run loads, and threads that numpy starts. It stays away to the end:
    a pyarrow that has come up without numpy and meets it later on crashes the process. So this is for
    processes of their own (`OWN_PROCESS`) in which nobody's code runs but ours.
    """
    if ARROW not in sys.modules and NUMPY not in sys.modules:
        sys.modules[NUMPY] = None  # type: ignore[assignment]  # as documented: importing it fails


class _NotNow:
    """Finds no pandas."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Leaves every other name to the next finder."""
        del path, target
        if name == PANDAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def without_pandas() -> None:
    """Let pyarrow make its first array without pandas, which it would load to know its values from others.

    That takes a third of a second of the processor where pandas is installed, and no command hands on such
    values. pyarrow asks once. A job's own scorer may still import pandas and turn tables into its frames and
    back; but a plain list that holds its `NA` is no array to pyarrow from then on.
    """
    if PANDAS in sys.modules:
        return
    finder = _NotNow()
    sys.meta_path.insert(0, finder)
    try:
        importlib.import_module(ARROW).array([0])
    finally:
        sys.meta_path.remove(finder)


__all__ = ["OWN_PROCESS", "without_numpy", "without_pandas"]
