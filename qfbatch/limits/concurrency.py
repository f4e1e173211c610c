"""How many at once: additive increase, multiplicative decrease (Chiu and Jain, 1989) below a declared ceiling.

Growth only while saturated: a limit that is not reached proves nothing. A decrease answers one *episode* of
throttling, not each of the refusals that arrive together, so the limit falls once and then waits for evidence.
"""

from __future__ import annotations

DECREASE = 0.7
COOL_DOWN_S = 1.0


class Concurrency:
    """How many calls may be in flight, and how many are.

    Args:
        ceiling: never above this many.
        adaptive: False keeps the limit at the ceiling.
    """

    def __init__(self, ceiling: int, *, adaptive: bool = True) -> None:
        self._ceiling = ceiling
        self._adaptive = adaptive
        self._limit = float(ceiling)
        self._cool_until = float("-inf")
        self.in_flight = 0

    @property
    def limit(self) -> int:
        """Calls that may be in flight now, at least 1."""
        return max(1, int(self._limit))

    @property
    def full(self) -> bool:
        """Whether no further call may start."""
        return self.in_flight >= self.limit

    def succeeded(self) -> None:
        """A call was answered: grow by one a round trip while saturated."""
        if self._limit < self._ceiling and self.in_flight >= self.limit:
            self._limit = min(float(self._ceiling), self._limit + 1.0 / self._limit)

    def throttled(self, now: float) -> None:
        """The service refused by rate: shrink, once a cool-down."""
        if self._adaptive and now >= self._cool_until:
            self._limit = max(1.0, min(self._limit, float(max(1, self.in_flight))) * DECREASE)
            self._cool_until = now + COOL_DOWN_S
