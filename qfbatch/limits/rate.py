"""How many per time: a rate spent evenly.

The generic cell rate algorithm (ITU-T I.371) over a given now: one number, the theoretical arrival time,
says when everything admitted so far is paid for. A request is admitted when that time is not ahead of now;
it then moves ahead by cost / rate. Spending evenly fits every way a service may count: fixed windows,
sliding windows and token buckets. Lateness up to `catch_up_s` is made good; more than that is gone, so that
a pause is never followed by a burst. It is a part of what `learning.SHARE` leaves free of a window; the rest
is for calls that the network brings closer together than they were sent, and for estimates that prove wrong.
"""

from __future__ import annotations

CATCH_UP_S = 0.01  # calls, which may be counted by the second: half of the free 2 %
TOKENS_CATCH_UP_S = 0.8  # tokens, counted by the minute: two thirds of it; refunds come late and in lumps


class Rate:
    """One limit of so many units a second.

    Args:
        per_second: units a second, above 0.
        now: seconds on the caller's monotonic clock. It starts with nothing saved up.
        catch_up_s: so much lateness is made good.
    """

    __slots__ = ("_catch_up_s", "_paid_until", "_per_second")

    def __init__(self, per_second: float, now: float, catch_up_s: float = CATCH_UP_S) -> None:
        self._catch_up_s = catch_up_s
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
        self._paid_until = max(self._paid_until, now - self._catch_up_s) + units / self._per_second

    def settle(self, units: float) -> None:
        """Correct what an earlier `take` spent by `units`, which may be negative."""
        self._paid_until += units / self._per_second

    def change(self, per_second: float) -> None:
        """Go on at another rate; what is paid for stays paid for."""
        self._per_second = per_second

    def follow(self, per_second: float, now: float) -> None:
        """Go on at another rate, at which what is still to be earned is earned from now on.

        So over any time no more is spent than the changing rate has come to, and one unit; and a rate that
        was next to nothing for a moment keeps nothing back afterwards.
        """
        owed_s = self._paid_until - now
        if owed_s > 0:
            self._paid_until = now + owed_s * self._per_second / per_second
        self._per_second = per_second
