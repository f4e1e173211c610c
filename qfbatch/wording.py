"""How a number of things reads, in every message, line of the log and table: decided once."""

from __future__ import annotations


def count(number: float) -> str:
    """A number as people read it: `1,234,567`, `0.5`; never `1e+06`."""
    return f"{number:,}" if isinstance(number, int) else f"{number:,.10g}"


def things(number: int, name: str) -> str:
    """A number of things: "1 row", "2,000 rows"."""
    return f"{count(number)} {name}" + ("" if number == 1 else "s")


__all__ = ["count", "things"]
