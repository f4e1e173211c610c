"""What share of the limits may be spent: all that is safe of a right one, less of one that proves too high.

Declared limits can be wrong, the quota can be shared with others, and services count in windows nobody
knows. So a refusal lowers the share, to a little below what the service accepted lately; time without
refusals raises it again, slowly at first and faster the longer nothing happens (Jacobson's AIMD with the
growth of TCP CUBIC).
"""

from __future__ import annotations

from collections import deque

SHARE = 0.98  # of a limit: the rest is for timers and the network, which shift calls across a window's edge
BELOW_ACCEPTED = 0.97  # after a refusal: this much of what was accepted lately ...
LOWEST_STEP = 0.85  # ... but not less than this much of the share before, where a limit is declared
GROWTH_PER_S = 0.0005  # first; the first minute after a refusal gives back what the refusal took
QUIET_S = 60.0  # after this long without a refusal it has doubled, after twice as long it is five times that
MAX_STEP_S = 1.0
WINDOW_S = 60  # services count in windows up to a minute


class Accepted:
    """Calls and tokens the service took during the last minute, by the second."""

    __slots__ = ("_began", "_seconds")

    def __init__(self, now: float) -> None:
        self._began = now
        self._seconds: deque[list[float]] = deque([[now // 1.0, 0.0, 0.0]], maxlen=WINDOW_S + 1)

    def add(self, calls: int, tokens: float, now: float) -> None:
        """A call was made, or (negative) turned out not to have been accepted."""
        second = now // 1.0
        newest = self._seconds[-1]
        if newest[0] < second:
            newest = [second, 0.0, 0.0]
            self._seconds.append(newest)
        newest[1] += calls
        newest[2] += tokens

    def per_second(self, now: float) -> tuple[float, float]:
        """Calls and tokens a second over the last minute (early on: since the start, at least a second)."""
        oldest = now - WINDOW_S
        calls = tokens = 0.0
        for second, some_calls, some_tokens in self._seconds:
            if second > oldest:
                calls += some_calls
                tokens += some_tokens
        span_s = max(1.0, min(float(WINDOW_S), now - self._began))
        return max(0.0, calls / span_s), max(0.0, tokens / span_s)


class Share:
    """The share of the limits that is spent.

    Args:
        now: seconds on the caller's clock.
        ceiling: never above this.
    """

    __slots__ = ("_ceiling", "_grown_at", "_refused_at", "value")

    def __init__(self, now: float, ceiling: float = SHARE) -> None:
        self.value = ceiling
        self._ceiling = ceiling
        self._refused_at = self._grown_at = now

    @property
    def lowered(self) -> bool:
        """Whether there is anything to grow back."""
        return self.value < self._ceiling

    def refused(self, used: float, now: float) -> None:
        """The service refused although only a share of `used` had been spent lately."""
        highest, lowest = self.value * BELOW_ACCEPTED, self.value * LOWEST_STEP
        self.value = min(highest, max(lowest, used * BELOW_ACCEPTED))
        self._refused_at = self._grown_at = now

    def quiet(self, now: float) -> None:
        """A call was answered while the limits were what kept calls back."""
        elapsed_s = min(now - self._grown_at, MAX_STEP_S)
        self._grown_at = now
        quiet_for = (now - self._refused_at) / QUIET_S
        growth = GROWTH_PER_S * (1.0 + quiet_for * quiet_for)
        self.value = min(self._ceiling, self.value * (1.0 + growth * elapsed_s))
