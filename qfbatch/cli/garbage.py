"""When this process looks for cyclic garbage: not while loading, never in what was loaded, seldom in a run.

Python looks after every few hundred new objects, and once more at the end. Here that finds next to nothing:

- Importing makes no garbage, and what it makes stays to the end. To look there took a seventh of
  `qfbatch --help`, and in every other command a tenth of a second of the processor, most of it at the end.
- A row leaves no cycles behind unless its call fails. To look after every few took a tenth of a run's time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

COLLECT_AFTER = 50_000  # objects made and not yet gone; Python's own 700 are those of some rows in flight


@contextmanager
def loading() -> Iterator[None]:
    """Import without looking for garbage, and keep what is there afterwards out of every later look."""
    looking = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looking:
            gc.enable()
    keep_loaded()


def keep_loaded() -> None:
    """Never look among what is there by now: it stays to the end."""
    gc.freeze()


def collect_seldom() -> None:
    """Look seldom from now on, as suits a run; and never among what is there by now."""
    keep_loaded()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


__all__ = ["collect_seldom", "keep_loaded", "loading"]
