"""What a command need not load, although it is installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

import pyarrow as pa

PANDAS = "pandas"


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
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)


__all__ = ["without_pandas"]
