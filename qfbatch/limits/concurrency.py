"""How many at once: additive increase, multiplicative decrease (Chiu and Jain, 1989) under a ceiling.

Growth only while saturated: a limit that is not reached proves nothing. A decrease answers one *episode* of
overload, not each of the refusals that arrive together, so the limit falls once and then waits for evidence.
Up to where the service was last known to cope, growth is fast (one more for every answer); beyond it is
careful, and less so the longer it goes well. So a while of nothing but refusals costs no long climb.
"""

from __future__ import annotations

DECREASE = 0.82
COOL_DOWN_S = 1.0
GROWTH = 0.15  # places a round trip, right after a decrease ...
QUIET_S = 6.0  # ... after this long without another twice as many, then three times, ...


class Concurrency:
    """How many calls may be in flight, and how many are.

    Args:
        ceiling: never above this many.
        adaptive: False keeps the limit at the ceiling.
    """

    __slots__ = ("_adaptive", "_ceiling", "_coped_with", "_limit", "_shrunk_at", "in_flight", "limit")

    def __init__(self, ceiling: int, *, adaptive: bool = True) -> None:
        self._ceiling = ceiling
        self._adaptive = adaptive
        self._limit = float(ceiling)
        self._coped_with = 0.0
        self._shrunk_at = float("-inf")
        self.limit = max(1, ceiling)
        self.in_flight = 0

    @property
    def full(self) -> bool:
        """Whether no further call may start."""
        return self.in_flight >= self.limit

    def succeeded(self, now: float) -> None:
        """A call was answered: grow while saturated."""
        if self._limit < self._ceiling and self.in_flight >= self.limit:
            step = 1.0
            if self._limit >= self._coped_with:
                step = GROWTH * (1.0 + (now - self._shrunk_at) / QUIET_S) / self._limit
            self._set(min(float(self._ceiling), self._limit + step))

    def overloaded(self, now: float, *, first: bool) -> None:
        """The service was overloaded: shrink, once a cool-down.

        Args:
            now: seconds on the caller's clock.
            first: whether it answered anything since it was last overloaded.
        """
        if not self._adaptive or now < self._shrunk_at + COOL_DOWN_S:
            return
        self._set(max(1.0, min(self._limit, float(max(1, self.in_flight + 1))) * DECREASE))
        self._shrunk_at = now
        if first:
            self._coped_with = self._limit

    def _set(self, limit: float) -> None:
        self._limit = limit
        self.limit = int(limit)
