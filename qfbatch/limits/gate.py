"""One gate for everything that limits calls in one scope (the run, or one model): rates, concurrency, pauses.

Pure: a gate says when it opens and is told what passed; who waits, and on what, is `admission`'s business.
"""

from __future__ import annotations

from msgspec import Struct

from qfbatch.limits.concurrency import Concurrency
from qfbatch.limits.quota import Quota
from qfbatch.limits.rate import Rate
from qfbatch.service.dialect import RateSignals

MINUTE_S = 60.0
MAX_PAUSE_S = 60.0  # one refusal never stalls everything for minutes, whatever it asks for
FIRST_PAUSE_S = 0.5  # without Retry-After; doubles with every episode until something succeeds


class GateStatistics(Struct, frozen=True):
    """A gate at one moment, for displays and tests.

    Attributes:
        in_flight: calls on their way.
        concurrency: how many may be, now.
        paused_s: seconds until the current pause ends, 0 if none.
        episodes: throttling episodes so far.
        binding: what keeps the next call back: pause, concurrency, qps, rpm, tpm, or "" for nothing.
    """

    in_flight: int
    concurrency: int
    paused_s: float
    episodes: int
    binding: str


class Gate:
    """Rates, concurrency and pauses of one scope.

    Args:
        quota: the declared limits.
        now: seconds on the caller's monotonic clock.
    """

    def __init__(self, quota: Quota, now: float) -> None:
        self._quota = quota
        self._requests: dict[str, Rate] = {}
        if quota.qps is not None:
            self._requests["qps"] = Rate(quota.qps, now)
        if quota.rpm is not None:
            self._requests["rpm"] = Rate(quota.rpm / MINUTE_S, now)
        self._tokens: Rate | None = None if quota.tpm is None else Rate(quota.tpm / MINUTE_S, now)
        self._concurrency = Concurrency(quota.concurrency, adaptive=quota.adaptive)
        self._paused_until = float("-inf")
        self._pause_began = float("-inf")
        self._episodes = 0
        self._episodes_since_success = 0

    @property
    def full(self) -> bool:
        """Whether concurrency forbids a further call, whatever the time."""
        return self._concurrency.full

    def opens_at(self) -> float:
        """When rates and pauses let the next call pass: a time on the caller's clock, perhaps past."""
        at = self._paused_until
        for rate in self._requests.values():
            at = max(at, rate.opens_at())
        if self._tokens is not None:
            at = max(at, self._tokens.opens_at())
        return at

    def enter(self, tokens: int, now: float) -> None:
        """A call of an estimated cost in tokens starts."""
        self._concurrency.in_flight += 1
        for rate in self._requests.values():
            rate.take(1, now)
        if self._tokens is not None:
            self._tokens.take(tokens, now)

    def leave(self, *, estimated_tokens: int, actual_tokens: int | None) -> None:
        """That call ended; the token limit is settled with what was reported, where it was."""
        self._concurrency.in_flight -= 1
        if self._tokens is not None and actual_tokens is not None:
            self._tokens.settle(actual_tokens - estimated_tokens)

    def succeeded(self) -> None:
        """A call was answered."""
        self._concurrency.succeeded()
        self._episodes_since_success = 0

    def throttled(self, *, started: float, now: float, retry_after_s: float | None, uniform: float) -> float:
        """A call that started at `started` was refused by rate.

        Refusals of calls that started before the current pause belong to its episode: they may lengthen it
        by their own Retry-After, they do not start another.

        Args:
            started: when the call started, on the caller's clock.
            now: on the caller's clock.
            retry_after_s: what the service asked for.
            uniform: a draw from [0, 1), spreads the end of the pause.

        Returns:
            Seconds this scope now pauses, 0 if the episode was known already.
        """
        known = started <= self._pause_began
        if not known:
            self._episodes += 1
            self._episodes_since_success += 1
            self._pause_began = now
            self._concurrency.throttled(now)
        elif retry_after_s is None:
            return 0.0
        if retry_after_s is None:
            retry_after_s = FIRST_PAUSE_S * 2.0 ** min(self._episodes_since_success - 1, 10)
        pause_s = min(retry_after_s * (1.0 + 0.1 * uniform), MAX_PAUSE_S)
        self._paused_until = max(self._paused_until, now + pause_s)
        return 0.0 if known else pause_s

    def heed(self, signals: RateSignals, now: float) -> None:
        """Take what the service says of its limits: learn a rate that was not declared, rest when nothing is left."""
        if self._quota.adaptive:
            if signals.limit_requests and "rpm" not in self._requests and "qps" not in self._requests:
                self._requests["rpm"] = Rate(signals.limit_requests / MINUTE_S, now)
            if signals.limit_tokens and self._tokens is None:
                self._tokens = Rate(signals.limit_tokens / MINUTE_S, now)
        if signals.reset_s and 0 in (signals.remaining_requests, signals.remaining_tokens):
            self._paused_until = max(self._paused_until, now + min(signals.reset_s, MAX_PAUSE_S))

    def statistics(self, now: float) -> GateStatistics:
        """This gate at this moment."""
        binding = ""
        latest = now
        candidates = [("pause", self._paused_until)]
        candidates += [(name, rate.opens_at()) for name, rate in self._requests.items()]
        if self._tokens is not None:
            candidates.append(("tpm", self._tokens.opens_at()))
        for name, at in candidates:
            if at > latest:
                binding, latest = name, at
        if not binding and self.full:
            binding = "concurrency"
        return GateStatistics(
            in_flight=self._concurrency.in_flight,
            concurrency=self._concurrency.limit,
            paused_s=max(0.0, self._paused_until - now),
            episodes=self._episodes,
            binding=binding,
        )
