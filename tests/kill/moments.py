"""When a session is killed: seeded, and spread over the whole life of a run.

A moment is told by what the run has come to, not by the clock alone: so it means the same on a slow machine.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .ledger import Ledger

START_UP_S = 1.2  # interpreter, imports, survey, recovery: about so long
DITHER_S = 0.06  # what follows a sign is spread over so long: group commits, merges, fsyncs


@dataclass(frozen=True)
class Moment:
    """A sign to wait for, and how long after it to strike.

    Attributes:
        sign: `start` (at once), `lock` (the run directory is taken), `paid` (so many answers more), `merging`
            (a part is being written), `parts` (so many parts more), `last` (all answers are paid).
        count: for the signs that count.
        after_s: seconds after the sign.
    """

    sign: str
    count: int = 0
    after_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.sign} {self.count or ''}+{self.after_s * 1000:.0f}ms"


def draw(rng: random.Random, left: int) -> Moment:
    """A random moment of a run that has `left` answers to get."""
    sign = rng.choice(["start", "lock", "paid", "paid", "paid", "merging", "parts", "last"])
    if sign == "start":
        return Moment(sign, after_s=rng.uniform(0, START_UP_S))
    counts = {"paid": max(1, left // 2), "parts": 3}
    return Moment(sign, rng.randint(1, counts.get(sign, 1)), rng.uniform(0, DITHER_S))


def due(moment: Moment, run: Path, ledger: Ledger, left: int) -> Callable[[], bool]:
    """The question to ask again and again until it is time to strike."""
    results = run / "results"
    paid, parts = ledger.total, _parts(results)
    lock = run / "run.lock"
    holder = _text(lock)

    def sign() -> bool:
        match moment.sign:
            case "lock":
                return _text(lock) not in {holder, ""}
            case "paid" | "last":
                ledger.read()
                return ledger.total - paid >= (left if moment.sign == "last" else moment.count)
            case "merging":
                return any(results.glob(".tmp-*"))
            case "parts":
                return _parts(results) - parts >= moment.count
            case _:
                return True

    seen_at: float | None = None

    def struck() -> bool:
        nonlocal seen_at
        if seen_at is None and sign():
            seen_at = time.monotonic()
        return seen_at is not None and time.monotonic() - seen_at >= moment.after_s

    return struck


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _parts(results: Path) -> int:
    return sum(1 for _ in results.glob("*.parquet"))


__all__ = ["Moment", "draw", "due"]
