"""When a failed attempt is followed by another, and how long after.

`retry_count` and `backoff_factor` mean what the service's own documentation says: `retry_count` is the total
number of attempts (0 and -1 also make one call), and the wait after failed attempt n (from 1) is
`min(backoff_factor * 2**(n-1) + U(0, jitter), max_wait)`, never below 0.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_EXPONENT = 62  # 2**62 seconds is beyond any cap; keeps the power finite for absurd attempt numbers


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How failed attempts are retried, by the service's own names with units added.

    Attributes:
        retry_count: total attempts of a row, throttled ones not counted.
        request_timeout_s: longest duration of one attempt.
        connect_timeout_s: longest duration of connecting.
        event_timeout_s: longest silence between two events of a stream.
        backoff_factor: wait after the first failed attempt, seconds; doubles each time.
        jitter_s: upper bound of the uniform jitter added to each wait.
        max_wait_s: cap of one wait, jitter included.
        throttle_timeout_s: how long one row may be throttled in all before it is recorded as failed.
        extra_codes: service codes retried although the table calls them permanent.
    """

    retry_count: int = 5
    request_timeout_s: float = 60.0
    connect_timeout_s: float = 10.0
    event_timeout_s: float = 60.0
    backoff_factor: float = 1.0
    jitter_s: float = 1.0
    max_wait_s: float = 120.0
    throttle_timeout_s: float = 900.0
    extra_codes: frozenset[int] = frozenset()

    @property
    def attempts(self) -> int:
        """Total attempts: at least one."""
        return max(1, self.retry_count)

    def wait_s(self, attempt: int, uniform: float) -> float:
        """Seconds to wait after failed `attempt` (from 1); `uniform` is a draw from [0, 1)."""
        backoff = self.backoff_factor * 2.0 ** min(attempt - 1, MAX_EXPONENT)
        return max(0.0, min(backoff + self.jitter_s * uniform, self.max_wait_s))
