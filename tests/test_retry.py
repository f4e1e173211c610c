"""When a failed attempt is followed by another, and how long after."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfbatch.records import Action, Completion, ErrorKind, Failure
from qfbatch.retry import Outcome, RetryPolicy, further_attempts

seconds = st.floats(0, 1000, allow_nan=False)


def failed(number: int = 1, *, retry_after_s: float | None = None, action: Action = Action.RETRY) -> Failure:
    """A failed attempt."""
    return Failure(ErrorKind.SERVER, action, f"failure {number}", code=2, retry_after_s=retry_after_s)


def run(
    outcomes: list[Outcome], policy: RetryPolicy, uniform: float = 0.0
) -> tuple[Outcome, list[float], list[Failure]]:
    """The final outcome, the waits and the failures noted, the first outcome being that of attempt 1."""
    waits: list[float] = []
    noted: list[Failure] = []
    later = iter(outcomes[1:])

    async def attempt() -> Outcome:
        return next(later)

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    first = outcomes[0]
    assert isinstance(first, Failure)
    outcome = asyncio.run(
        further_attempts(
            first,
            attempt,
            policy=policy,
            uniform=lambda: uniform,
            wait=wait,
            noted=lambda failure, _wait_s: noted.append(failure),
        )
    )
    return outcome, waits, noted


@given(
    backoff=st.floats(-5, 100, allow_nan=False),
    jitter=seconds,
    cap=st.floats(-1, 1000, allow_nan=False),
    attempt=st.integers(1, 50),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_wait_is_the_documented_formula(
    backoff: float, jitter: float, cap: float, attempt: int, uniform: float
) -> None:
    """The wait after attempt n is min(backoff * 2**(n-1) + U(0, jitter), max_wait), never below 0."""
    policy = RetryPolicy(backoff_factor=backoff, jitter_s=jitter, max_wait_s=cap)
    expected = max(0.0, min(backoff * 2 ** (attempt - 1) + uniform * jitter, cap))
    assert expected == policy.wait_s(attempt, uniform)


def test_wait_stays_finite_for_absurd_attempts() -> None:
    """The cap holds however many attempts were made."""
    assert RetryPolicy().wait_s(10**6, 0.5) == 120.0


@pytest.mark.parametrize("count", [1, 0, -1])
def test_counts_up_to_one_make_one_call(count: int) -> None:
    """retry_count 1, 0 and -1 all mean one call."""
    outcome, waits, noted = run([failed(1)], RetryPolicy(retry_count=count))
    assert (failed(1), [], []) == (outcome, waits, noted)


def test_last_attempts_own_failure_is_kept() -> None:
    """A row that fails to the last is recorded with its last attempt's failure."""
    outcome, waits, _ = run([failed(n) for n in (1, 2, 3)], RetryPolicy(retry_count=3, jitter_s=0))
    assert (failed(3), [1.0, 2.0]) == (outcome, waits)


def test_only_failures_followed_by_another_attempt_are_noted() -> None:
    """Neither the last failure nor a permanent one is announced as being retried."""
    _, _, noted = run([failed(1), failed(2)], RetryPolicy(retry_count=2))
    assert [failed(1)] == noted
    permanent = failed(2, action=Action.ROW)
    outcome, _, noted = run([failed(1), permanent], RetryPolicy(retry_count=5))
    assert (permanent, [failed(1)]) == (outcome, noted)


def test_answer_ends_the_attempts() -> None:
    """The first answer is the outcome."""
    outcome, waits, _ = run([failed(1), Completion("yes"), failed(3)], RetryPolicy(), uniform=0.5)
    assert (Completion("yes"), [1.5]) == (outcome, waits)


@pytest.mark.parametrize(("asked", "waited"), [(7.0, 7.0), (0.25, 1.0), (500.0, 120.0)])
def test_retry_after_beats_the_curve_within_the_cap(asked: float, waited: float) -> None:
    """The service's own wait is kept where it is longer than the curve, up to the cap of one wait."""
    _, waits, _ = run([failed(1, retry_after_s=asked), Completion("yes")], RetryPolicy())
    assert [waited] == waits


def test_wait_that_raises_gives_the_row_up() -> None:
    """What the wait raises ends the row at once."""

    async def attempt() -> Outcome:
        raise AssertionError("no further attempt")

    async def wait(seconds: float) -> None:
        raise KeyError(seconds)

    with pytest.raises(KeyError):
        asyncio.run(further_attempts(failed(), attempt, policy=RetryPolicy(), uniform=lambda: 0.0, wait=wait))
