"""When to stop a run in which nothing succeeds any more. Pure: told of outcomes, it gives a reason or None.

A service that is down, a network that is gone or a request that is wrong in every row would otherwise burn
through the whole input. A row that fails among rows that succeed never trips it, nor does the slow last row.
"""

from __future__ import annotations

from dataclasses import dataclass

from qfbatch.records import Action, ErrorKind, Failure
from qfbatch.wording import count

ALIKE_ROWS = 100
PROVEN_ALIKE_ROWS = 1000
FAILED_ATTEMPTS = 32
FAILING_ROWS = 16
UNREACHABLE_S = 10.0


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When the breaker trips.

    Attributes:
        alike_rows: so many rows in a row failed with the same code, and none answered between.
        proven_alike_rows: so many refused ones, once rows of the run were answered: an input may have a bad
            stretch.
        failed_attempts: so many transient failures in a row, and none answered between, ...
        failing_rows: ... of so many rows: fewer may be a run's last ones, which the service cannot bear, ...
        quiet_s: ... over at least this long; a slow answer may still be on its way.
        unreachable_s: ... or of any rows over this long, when not one attempt reached the service.
        throttled_s: nothing but refusals by rate over this long.
    """

    alike_rows: int = ALIKE_ROWS
    proven_alike_rows: int = PROVEN_ALIKE_ROWS
    failed_attempts: int = FAILED_ATTEMPTS
    failing_rows: int = FAILING_ROWS
    quiet_s: float = 60.0
    unreachable_s: float = UNREACHABLE_S
    throttled_s: float = 900.0


class Breaker:
    """Watches one model's outcomes.

    Args:
        policy: when it trips.
        now: seconds on the caller's clock.
        proven: whether rows of the run were answered before.
    """

    def __init__(self, policy: BreakerPolicy, now: float, *, proven: bool = False) -> None:
        self._policy = policy
        self._proven = proven
        self._alike: tuple[ErrorKind, int | None] | None = None
        self._alike_rows = 0
        self._attempts = 0
        self._failing: set[str] = set()
        self._reached = False
        self._ever_reached = False
        self._since = now
        self._throttled_since: float | None = None

    def succeeded(self) -> None:
        """A call was answered: everything before is forgiven."""
        self._proven = True
        self._alike_rows = 0
        self._attempts = 0
        self._reached = False
        self._ever_reached = True
        self._throttled_since = None

    def failed(self, failure: Failure, now: float, row_id: str) -> str | None:
        """A call for a row failed.

        Returns:
            Why the run should stop, as a clause; None to go on.
        """
        if failure.kind is not ErrorKind.CONNECTION:
            self._ever_reached = True
        if failure.action is Action.THROTTLE:
            if self._throttled_since is None:
                self._throttled_since = now
            if now - self._throttled_since >= self._policy.throttled_s:
                return f"nothing but refusals by rate for {self._policy.throttled_s:g} s ({failure.message})"
            return None
        self._throttled_since = None
        if failure.action is Action.ROW:
            self._reached = True
            return self.row_failed(failure)
        if failure.action is Action.RETRY:
            return self._attempt_failed(failure, now, row_id)
        return None

    def row_failed(self, failure: Failure) -> str | None:
        """A row failed for good, refused or out of attempts; `failed` says so itself of refused ones.

        Returns:
            Why the run should stop, as a clause; None to go on.
        """
        if not self._ever_reached:
            return f"not one call reached the service ({failure.message})"
        alike = (failure.kind, failure.code)
        self._alike_rows = self._alike_rows + 1 if alike == self._alike else 1
        self._alike = alike
        refused_among_answered = self._proven and failure.action is Action.ROW
        policy = self._policy
        if self._alike_rows < (policy.proven_alike_rows if refused_among_answered else policy.alike_rows):
            return None
        return f"{count(self._alike_rows)} rows in a row failed alike ({failure.message})"

    def _attempt_failed(self, failure: Failure, now: float, row_id: str) -> str | None:
        if self._attempts == 0:
            self._since = now
            self._reached = False
            self._failing.clear()
        self._attempts += 1
        if len(self._failing) < self._policy.failing_rows:
            self._failing.add(row_id)
        self._reached = self._reached or failure.kind is not ErrorKind.CONNECTION
        if self._attempts < self._policy.failed_attempts:
            return None
        if self._reached and len(self._failing) < self._policy.failing_rows:
            return None
        quiet_s = now - self._since
        if quiet_s < (self._policy.quiet_s if self._reached else self._policy.unreachable_s):
            return None
        return f"{count(self._attempts)} attempts in a row failed over {quiet_s:.0f} s ({failure.message})"
