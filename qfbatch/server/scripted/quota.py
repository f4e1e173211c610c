"""Quotas as services count them. Pure: `now` is an argument, seconds on any steady clock."""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

from qfbatch.server.scripted.grammar import Rules


class Window(Protocol):
    """How one quota is counted."""

    limit: float

    def wait(self, cost: float, now: float) -> float:
        """Seconds until `cost` fits; 0 where it fits now. More than the limit is let in when it is empty."""

    def take(self, cost: float, now: float) -> None:
        """Count `cost`."""

    def remaining(self, now: float) -> float:
        """What is left."""

    def reset(self, now: float) -> float:
        """Seconds until all of it is there again."""


class FixedWindow:
    """So much in each period, counted from the period's start on the clock."""

    def __init__(self, limit: float, period_s: float) -> None:
        self.limit = limit
        self._period_s = period_s
        self._number = -1
        self._used = 0.0

    def _roll(self, now: float) -> None:
        number = int(now // self._period_s)
        if number != self._number:
            self._number = number
            self._used = 0.0

    def wait(self, cost: float, now: float) -> float:
        """Until the next period, where this one is used up."""
        self._roll(now)
        if self._used + cost <= self.limit or self._used == 0:
            return 0.0
        return max((self._number + 1) * self._period_s - now, 1e-6)

    def take(self, cost: float, now: float) -> None:
        """Count in this period."""
        self._roll(now)
        self._used += cost

    def remaining(self, now: float) -> float:
        """Of this period."""
        self._roll(now)
        return max(self.limit - self._used, 0.0)

    def reset(self, now: float) -> float:
        """Until the next period, where some of this one is used."""
        self._roll(now)
        return (self._number + 1) * self._period_s - now if self._used else 0.0


class SlidingWindow:
    """So much in any period, wherever it starts."""

    def __init__(self, limit: float, period_s: float) -> None:
        self.limit = limit
        self._period_s = period_s
        self._taken: deque[tuple[float, float]] = deque()
        self._used = 0.0

    def _roll(self, now: float) -> None:
        while self._taken and self._taken[0][0] <= now - self._period_s:
            self._used -= self._taken.popleft()[1]

    def wait(self, cost: float, now: float) -> float:
        """Until enough of the oldest has left the window."""
        self._roll(now)
        excess = self._used + cost - self.limit
        for moment, taken in self._taken:
            if excess <= 0:
                break
            excess -= taken
            wait = moment + self._period_s - now
            if excess <= 0:
                return max(wait, 1e-6)
        if excess <= 0 or not self._taken:
            return 0.0
        return max(self._taken[-1][0] + self._period_s - now, 1e-6)

    def take(self, cost: float, now: float) -> None:
        """Count from now on for one period."""
        self._roll(now)
        self._taken.append((now, cost))
        self._used += cost

    def remaining(self, now: float) -> float:
        """Of the period that ends now."""
        self._roll(now)
        return max(self.limit - self._used, 0.0)

    def reset(self, now: float) -> float:
        """Until the youngest has left the window."""
        self._roll(now)
        return self._taken[-1][0] + self._period_s - now if self._taken else 0.0


class TokenBucket:
    """Refilled evenly, holds a burst."""

    def __init__(self, limit: float, period_s: float, burst: float | None) -> None:
        self.limit = limit
        self._rate = limit / period_s
        self._burst = limit if burst is None else burst
        self._level = self._burst
        self._at: float | None = None

    def _roll(self, now: float) -> None:
        if self._at is not None:
            self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now

    def wait(self, cost: float, now: float) -> float:
        """Until the bucket holds the cost, or is full."""
        self._roll(now)
        missing = min(cost, self._burst) - self._level
        return missing / self._rate if missing > 1e-9 else 0.0  # noqa: PLR2004 - float dust

    def take(self, cost: float, now: float) -> None:
        """Take out; a cost beyond the burst leaves a debt."""
        self._roll(now)
        self._level -= cost

    def remaining(self, now: float) -> float:
        """In the bucket."""
        self._roll(now)
        return max(self._level, 0.0)

    def reset(self, now: float) -> float:
        """Until the bucket is full."""
        self._roll(now)
        return (self._burst - self._level) / self._rate


class Quotas:
    """All quotas of one endpoint, granted together or not at all."""

    def __init__(self, rules: Rules) -> None:
        self._requests: list[tuple[Window, int]] = []
        self._tokens: Window | None = None
        if rules.qps is not None:
            self._requests.append((_window(rules, rules.qps, 1.0, rules.burst), 18))
        if rules.rpm is not None:
            self._requests.append((_window(rules, rules.rpm, rules.minute, rules.burst), 336501))
        if rules.tpm is not None:
            self._tokens = _window(rules, rules.tpm, rules.minute, None)

    def ask(self, tokens: int, now: float) -> tuple[int, float]:
        """Let a call in, or say why not.

        Args:
            tokens: prompt and completion tokens of the call.
            now: seconds.

        Returns:
            (0, 0) where it was let in and counted; else the service's code and the seconds until it would be.
        """
        waits = [(window.wait(1, now), code) for window, code in self._requests]
        if self._tokens is not None:
            waits.append((self._tokens.wait(tokens, now), 336502))
        wait, code = max(waits, default=(0.0, 0))
        if wait > 0:
            return code, wait
        for window, _ in self._requests:
            window.take(1, now)
        if self._tokens is not None:
            self._tokens.take(tokens, now)
        return 0, 0.0

    def headers(self, now: float, *, resets: bool) -> list[tuple[bytes, bytes]]:
        """`X-Ratelimit-*` for what is limited; requests a minute, also where the quota is a qps.

        Args:
            now: seconds.
            resets: tell also when the quota is whole again.
        """
        headers = []
        if self._requests:
            window, code = self._requests[-1]
            per_minute = 60 if code == 18 else 1  # noqa: PLR2004 - 18 is qps
            headers += _told(b"requests", window, now, per_minute, resets=resets)
        if self._tokens is not None:
            headers += _told(b"tokens", self._tokens, now, 1, resets=resets)
        return headers


def duration_text(seconds: float) -> str:
    """A duration as such headers write it: `350ms`, `17.5s`, `6m0s`; rounded up, so that waiting is enough.

    Args:
        seconds: from 0.
    """
    milliseconds = math.ceil(max(seconds, 0.0) * 1000)
    if milliseconds < 1000:  # noqa: PLR2004 - a second
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes}m{rest / 1000:g}s" if minutes else f"{rest / 1000:g}s"


def _told(
    what: bytes, window: Window, now: float, per_minute: int, *, resets: bool
) -> list[tuple[bytes, bytes]]:
    told = [
        (b"x-ratelimit-limit-" + what, b"%d" % (window.limit * per_minute)),
        (b"x-ratelimit-remaining-" + what, b"%d" % (window.remaining(now) * per_minute)),
    ]
    if resets:
        told.append((b"x-ratelimit-reset-" + what, duration_text(window.reset(now)).encode()))
    return told


def _window(rules: Rules, limit: float, period_s: float, burst: float | None) -> Window:
    if rules.window == "sliding":
        return SlidingWindow(limit, period_s)
    if rules.window == "bucket":
        return TokenBucket(limit, period_s, burst)
    return FixedWindow(limit, period_s)


__all__ = ["FixedWindow", "Quotas", "SlidingWindow", "TokenBucket", "Window", "duration_text"]
