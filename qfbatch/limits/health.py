"""Whether an endpoint is worth asking: down after failures in a row, asked again by one call after a rest.

Passing over an endpoint costs little while another one serves the same model, so few failures are enough; and
the call that tries it again is a row's own, so the rest grows while it fails, and the row is asked elsewhere
at once, without having spent an attempt. The states are those of a circuit breaker (Nygard, Release It!,
2007): closed, open, half-open. An endpoint that refuses the whole job is out for good.
"""

from __future__ import annotations

FAILURES = 5  # calls in a row that failed, and were not the service's word on a row
FIRST_REST_S = 5.0
LONGEST_REST_S = 60.0


class Health:
    """What is known of one endpoint of a model."""

    __slots__ = ("_failures", "_probing", "_rest_began", "_rest_s", "_rests_until", "_tried_at", "refused")

    def __init__(self) -> None:
        self._failures = 0
        self._rest_s = 0.0
        self._rest_began = float("-inf")
        self._rests_until: float | None = None
        self._probing = False
        self._tried_at = float("-inf")
        self.refused = False

    @property
    def up(self) -> bool:
        """Whether it takes part in the rotation as it should."""
        return self._rests_until is None and not self.refused

    @property
    def spotless(self) -> bool:
        """Whether it is up and nothing has failed there since it answered last."""
        return self.up and self._failures == 0

    def opens_at(self) -> float:
        """When it may be asked: a time on the caller's clock, perhaps past; never while a call tries it."""
        if self._rests_until is None:
            return float("-inf")
        return float("inf") if self._probing else self._rests_until

    def was_tried_by(self, *, started: float) -> bool:
        """Whether the call that started at `started` tried the endpoint after a rest, and failed."""
        return started == self._tried_at

    def start(self) -> None:
        """A call starts there."""
        self._probing = self._rests_until is not None

    def end(self, *, started: float) -> None:
        """A call that started at `started` has ended, however it ended."""
        if started > self._rest_began:
            self._probing = False

    def answered(self) -> bool:
        """The service answered a call: with an answer, or by refusing its row or its rate.

        Returns:
            Whether it was down until now.
        """
        was_down = self._rests_until is not None
        self._failures = 0
        self._rests_until = None
        return was_down

    def failed(self, *, started: float, now: float) -> float | None:
        """A call that started at `started` failed in a way that says nothing of its row.

        Returns:
            Seconds to rest where a rest begins; None where none does, or calls of before its start fail.
        """
        if started <= self._rest_began:
            return None
        self._failures += 1
        if self._rests_until is None:
            if self._failures < FAILURES:
                return None
            self._rest_s = FIRST_REST_S
        elif now < self._rests_until:
            return None  # asked although it rests, for all others rest too
        else:
            self._tried_at = started
            self._rest_s = min(2.0 * self._rest_s, LONGEST_REST_S)
        self._probing = False
        self._rest_began = now
        self._rests_until = now + self._rest_s
        return self._rest_s
