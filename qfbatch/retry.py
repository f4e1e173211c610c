"""When a failed attempt is followed by another, and how long after.

`retry_count` and `backoff_factor` mean what the service's own documentation says: `retry_count` is the total
number of attempts (0 and -1 also make one call), and the wait after failed attempt n (from 1) is
`min(backoff_factor * 2**(n-1) + U(0, jitter), max_wait)`, never below 0.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt

from qfbatch.records import Action, Completion, Failure

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


Outcome = Completion | Failure


def tokens_of(outcome: Outcome | None) -> int | None:
    """What a call cost in tokens; None where that is not known."""
    if outcome is None:
        return None
    if outcome.usage is not None:
        return outcome.usage.total_tokens
    # What was turned down was not counted by the service; what broke off may have been.
    return 0 if isinstance(outcome, Failure) and outcome.action is not Action.RETRY else None


class Waiting(Protocol):
    """Sleeps between two attempts."""

    async def __call__(self, seconds: float) -> None:
        """Return after so many seconds, or raise to give the row up."""


async def further_attempts(
    first: Failure,
    attempt: Callable[[], Awaitable[Outcome]],
    *,
    policy: RetryPolicy,
    uniform: Callable[[], float],
    wait: Waiting,
    noted: Callable[[Failure, float], None] = lambda _failure, _wait_s: None,
) -> Outcome:
    """What a row comes to after its first attempt failed.

    Entered only then: a row answered at once never meets this machinery, which costs more than its call.

    Args:
        first: how the first attempt failed.
        attempt: makes one more.
        policy: how many, how long between.
        uniform: draws from [0, 1) for the jitter.
        wait: sleeps between attempts; what it raises ends the row.
        noted: told of each failure that another attempt will follow, and after how many seconds.

    Returns:
        The first outcome that is not to be retried, or the last attempt's own failure.
    """
    pending: list[Outcome] = [first]

    async def next_outcome() -> Outcome:
        """The attempt that was made before tenacity was entered, then real ones."""
        # tenacity counts this call as attempt 1, which has been made already.
        return pending.pop() if pending else await attempt()

    def wait_s(state: RetryCallState) -> float:
        """Seconds until the next attempt: the service's word where it gave one, else the policy's curve."""
        own = policy.wait_s(state.attempt_number, uniform())
        asked = _failure_of(state).retry_after_s
        # The service's wait beats the curve, within the cap of one wait.
        return own if asked is None else min(max(own, asked), policy.max_wait_s)

    retrying = AsyncRetrying(
        stop=stop_after_attempt(policy.attempts),
        wait=wait_s,
        retry=retry_if_result(
            lambda outcome: isinstance(outcome, Failure) and outcome.action is Action.RETRY
        ),
        retry_error_callback=_failure_of,
        before_sleep=lambda state: noted(_failure_of(state), state.upcoming_sleep),
        sleep=wait,
    )
    outcome: Outcome = await retrying(next_outcome)
    return outcome


def _failure_of(state: RetryCallState) -> Failure:
    assert state.outcome is not None, "tenacity asks only after an attempt"  # noqa: S101
    failure: Failure = state.outcome.result()
    return failure
