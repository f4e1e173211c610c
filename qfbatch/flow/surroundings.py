"""What the rows of a run share besides their route."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from qfbatch.flow.stopping import Stop
from qfbatch.progress.events import Observer


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Time, chance, and who is told what becomes of a row.

    Attributes:
        stop: whether the run is ending.
        observe: takes what happened.
        now: wall clock, seconds since the epoch.
        clock: monotonic clock, seconds; the admission's own.
        rng: draws the jitter.
        on_idle, on_busy: told when a row starts and stops waiting between attempts, so that another may use
            its place in the meantime.
        on_begun: told when a row's first call starts, where somebody wants to know.
    """

    stop: Stop
    observe: Observer
    now: Callable[[], float]
    clock: Callable[[], float]
    rng: random.Random
    on_idle: Callable[[], None] = lambda: None
    on_busy: Callable[[], None] = lambda: None
    on_begun: Callable[[], None] | None = None
