"""Whose turn it is: calls shared out over endpoints by weight, in the time that they keep each one busy.

Weights divide *busy time* (calls in flight, added up over time), not calls: among endpoints of one speed
that is the same, and one that is slower than another gets fewer calls instead of piling them up (start-time
fair queueing, Goyal, Vin and Cheng, 1996, with time as the cost). Calls in flight are taken to have half of
their time ahead of them, so that calls which start together spread; that time is what the last ones took, or
what has passed without an answer, if that is longer. A failed call is charged no less than an answered one,
or an endpoint that fails at once would draw all calls.
"""

from __future__ import annotations

SMOOTHING = 0.2  # weight of the newest answer in how long a call is expected to take


class Load:
    """How busy one endpoint has been kept.

    Args:
        weight: its part, above 0.
        now: seconds on the caller's clock.
    """

    __slots__ = ("_busy_s", "_call_s", "_silent_since", "_until", "_weight", "in_flight")

    def __init__(self, weight: float, now: float) -> None:
        self._weight = weight
        self._busy_s = 0.0
        self._until = now
        self._call_s = 0.0
        self._silent_since = now
        self.in_flight = 0

    def start(self, now: float) -> None:
        """A call starts."""
        self._advance(now)
        if self.in_flight == 0:
            self._silent_since = now
        self.in_flight += 1

    def end(self, *, took_s: float, now: float, answered: bool) -> None:
        """A call ended after so many seconds."""
        self._advance(now)
        self.in_flight -= 1
        if not answered:
            self._busy_s += max(0.0, self._call_s - took_s)
            return
        self._silent_since = now
        self._call_s += (SMOOTHING if self._call_s else 1.0) * (took_s - self._call_s)

    def used_s(self, now: float) -> float:
        """Busy seconds for each unit of weight, with what is to be expected of the calls in flight."""
        expected_s = max(self._call_s, now - self._silent_since)
        pending_s = self.in_flight * (now - self._until + 0.5 * expected_s)
        return (self._busy_s + pending_s) / self._weight

    @property
    def next_in_flight(self) -> float:
        """Calls in flight for each unit of weight, if one more starts."""
        return (self.in_flight + 1) / self._weight

    def catch_up(self, used_s: float, now: float) -> None:
        """Be charged at least `used_s`: what was not used while it could not be is not made up for."""
        missing_s = used_s - self.used_s(now)
        if missing_s > 0:
            self._busy_s += missing_s * self._weight

    def _advance(self, now: float) -> None:
        self._busy_s += self.in_flight * (now - self._until)
        self._until = now
