"""A gate of one process among many: open for as long, and as wide, as its lease of the shared quota says."""

from __future__ import annotations

from collections.abc import Callable

from qfbatch.limits.gate import Gate
from qfbatch.limits.quota import Quota
from qfbatch.limits.rate import CATCH_UP_S, TOKENS_CATCH_UP_S, Rate
from qfbatch.limits.shares import Lease, Refusal, Usage
from qfbatch.service.dialect import RateSignals

NEVER = float("inf")
_TOKENS = "tpm"


class LeasedGate(Gate):
    """See `Gate`; closed until the first lease, and whenever a lease is over.

    What is learned of the limits is learned where they are shared (`shares`); here a refusal only pauses.

    Args:
        quota: the declared limits, of all processes together.
        clock: seconds on the monotonic clock that all times here are of; a frozen process finds its lease
            over when it thaws.
        on_refusal: told of a refusal by rate, which the others should know of at once.
    """

    def __init__(self, quota: Quota, clock: Callable[[], float], on_refusal: Callable[[], None]) -> None:
        super().__init__(Quota(quota.concurrency, adaptive=False), clock())
        self.quota = quota
        self._clock = clock
        self._on_refusal = on_refusal
        self._until = -NEVER
        self._shut = True
        self._concurrency.limit = 0
        self._said: RateSignals | None = None
        self._calls = self._peak = self._answered = 0
        self._spent = 0.0
        self._newest = -NEVER
        self._refusals: list[Refusal] = []
        self._news: RateSignals | None = None

    def lease(self, lease: Lease, until: float, now: float) -> None:
        """Go by this lease from now on."""
        lapsed = self._shut or now >= self._until
        self._until = until
        self._shut = any(per_second <= 0 for per_second in lease.rates.values())
        self._concurrency.limit = lease.concurrency
        if lease.paused_s:
            self.pause(lease.paused_s, now)
        rates = {}
        for name, per_second in lease.rates.items():
            if per_second <= 0:
                continue
            rate = None if lapsed else self._rates.get(name)
            if rate is None:
                # The first call of a share comes when it is earned: many that begin together are no burst.
                begins = now if name == _TOKENS else now + 1.0 / per_second
                rate = Rate(per_second, begins, TOKENS_CATCH_UP_S if name == _TOKENS else CATCH_UP_S)
            rate.follow(per_second, now)
            rates[name] = rate
        self._rates = rates
        self._requests = tuple(rate for name, rate in rates.items() if name != _TOKENS)
        self._tokens = rates.get(_TOKENS)

    def usage(self, now: float, *, waiting: bool, everything: bool) -> Usage:
        """What happened since this was asked last.

        Args:
            now: on the gate's clock.
            waiting: whether rows wait here.
            everything: also what was said before, for a quota that knows nothing yet; whether an answer to
                what was said last has come is not known either.
        """
        usage = Usage(
            calls=self._calls,
            tokens=self._spent,
            in_flight=self._concurrency.in_flight,
            peak=self._peak,
            waiting=waiting,
            succeeded=self._answered,
            newest_s=max(0.0, now - self._newest),
            paused_s=self.paused_s(now) if everything else 0.0,
            refusals=tuple(self._refusals),
            signals=self._said if everything else self._news,
            unsure=everything,
        )
        self._forget()
        return usage

    def opens_at(self) -> float:
        """See `Gate.opens_at`: never, without a lease that lets anything pass."""
        if self._shut or self._clock() >= self._until:
            return NEVER
        return super().opens_at()

    def admits(self, now: float) -> bool:
        """See `Gate.admits`."""
        return not self.full and self.opens_at() <= now

    def enter(self, tokens: int, now: float) -> None:
        """See `Gate.enter`."""
        super().enter(tokens, now)
        self._calls += 1
        self._spent += tokens
        self._peak = max(self._peak, self._concurrency.in_flight)

    def leave(self, *, estimated_tokens: int, actual_tokens: int | None) -> None:
        """See `Gate.leave`."""
        super().leave(estimated_tokens=estimated_tokens, actual_tokens=actual_tokens)
        if actual_tokens is not None:
            self._spent += actual_tokens - estimated_tokens

    def succeeded(self, *, started: float, now: float) -> None:
        """See `Gate.succeeded`."""
        super().succeeded(started=started, now=now)
        self._answered += 1
        self._newest = max(self._newest, started)

    def throttled(
        self,
        *,
        started: float,
        now: float,
        retry_after_s: float | None,
        uniform: float,
        tokens: int = 0,
        overloaded: bool = False,
    ) -> float:
        """See `Gate.throttled`."""
        self._refusals.append(Refusal(now - started, retry_after_s, tokens, overloaded))
        self._on_refusal()
        return super().throttled(
            started=started,
            now=now,
            retry_after_s=retry_after_s,
            uniform=uniform,
            tokens=tokens,
            overloaded=overloaded,
        )

    def heed(self, signals: RateSignals, now: float) -> float:
        """See `Gate.heed`."""
        if signals != self._said:
            self._said = self._news = signals
        return super().heed(signals, now)

    def _forget(self) -> None:
        self._calls = 0
        self._spent = 0.0
        self._peak = self._concurrency.in_flight
        self._answered = 0
        self._newest = -NEVER
        self._refusals = []
        self._news = None


__all__ = ["LeasedGate"]
