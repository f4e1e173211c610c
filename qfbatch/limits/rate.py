"""How many per time: a rate spent evenly.

The generic cell rate algorithm (ITU-T I.371) over a given now: one number, the theoretical arrival time, says
when everything admitted so far is paid for. A request is admitted when that time is not ahead of now; it then
moves ahead by cost / rate. Spending evenly fits every way a service may count: fixed windows, sliding windows
and token buckets. At rates where a timer firing late would lose much of the spacing, lateness up to `CATCH_UP_S`
is made good; more than that is gone, so that a pause is never followed by a burst.
"""

from __future__ import annotations

CATCH_UP_S = 0.05


class Rate:
    """One limit of so many units a second.

    Args:
        per_second: units a second, above 0.
        now: seconds on the caller's monotonic clock. It starts with nothing saved up.
    """

    def __init__(self, per_second: float, now: float) -> None:
        self._per_second = per_second
        self._paid_until = now

    @property
    def per_second(self) -> float:
        """Units a second."""
        return self._per_second

    def opens_at(self) -> float:
        """When the next request may go: a time on the caller's clock, perhaps past."""
        return self._paid_until

    def take(self, units: float, now: float) -> None:
        """Spend `units` at `now`; the caller has waited for `opens_at`."""
        # Below 20 a second the spacing dwarfs a timer's lateness, and a service that counts single calls in
        # a window would take a call made early, to catch up, for one too many.
        catch_up_s = CATCH_UP_S if self._per_second * CATCH_UP_S >= 1.0 else 0.0
        self._paid_until = max(self._paid_until, now - catch_up_s) + units / self._per_second

    def settle(self, units: float) -> None:
        """Correct what an earlier `take` spent by `units`, which may be negative."""
        self._paid_until += units / self._per_second

    def change(self, per_second: float) -> None:
        """Go on at another rate; what is paid for stays paid for."""
        self._per_second = per_second
