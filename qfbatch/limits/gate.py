"""One gate for everything that limits calls in one scope (the run, or one model): rates, concurrency, pauses.

Pure: a gate says when it opens and is told what passed; who waits, and on what, is `admission`'s business.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct, field

from qfbatch.limits.concurrency import Concurrency
from qfbatch.limits.learning import BELOW_ACCEPTED, SHARE, Accepted, Share
from qfbatch.limits.quota import Quota
from qfbatch.limits.rate import CATCH_UP_S, TOKENS_CATCH_UP_S, Rate
from qfbatch.service.dialect import RateSignals

MINUTE_S = 60.0
MAX_PAUSE_S = 60.0  # one refusal never stalls everything for minutes, whatever it asks for
FIRST_PAUSE_S = 0.5  # without Retry-After; doubles with every episode until something succeeds
LONGEST_OWN_PAUSE_S = 8.0  # then: a window that opens again is not slept through
FIRST_OVERLOAD_PAUSE_S = 0.1  # the same when fewer at once will help: what is in flight goes on meanwhile
FREE_SHARE = 0.05  # of an empty limit that fills evenly: so much of it is waited for
RAMP_S = 1.0  # after a pause calls start over this long (or as fast as lately), not all at once
LEARNED = "learned"  # name of a request rate that nobody stated: it comes from refusals alone


class GateStatistics(Struct, frozen=True):
    """A gate at one moment, for displays and tests.

    Attributes:
        in_flight: calls on their way.
        concurrency: how many may be, now.
        paused_s: seconds until the current pause ends, 0 if none.
        episodes: throttling episodes so far.
        binding: what keeps the next call back: pause, concurrency, qps, rpm, tpm, learned, or "" for nothing.
        share: of the known limits, what is spent; 0 where no limit is known.
        limits: the rates in force, per second: qps, rpm and learned in calls, tpm in tokens.
    """

    in_flight: int
    concurrency: int
    paused_s: float
    episodes: int
    binding: str
    share: float = 0.0
    limits: dict[str, float] = field(default_factory=dict)


class Gate:
    """Rates, concurrency and pauses of one scope.

    Args:
        quota: the declared limits.
        now: seconds on the caller's monotonic clock.
    """

    def __init__(self, quota: Quota, now: float) -> None:
        self._adaptive = quota.adaptive
        self._declared: dict[str, float] = {}
        if quota.qps is not None:
            self._declared["qps"] = quota.qps
        if quota.rpm is not None:
            self._declared["rpm"] = quota.rpm / MINUTE_S
        if quota.tpm is not None:
            self._declared["tpm"] = quota.tpm / MINUTE_S
        self._limits = dict(self._declared)  # per second, declared or learned; the share is not in them
        self._rates: dict[str, Rate] = {}
        self._requests: tuple[Rate, ...] = ()
        self._tokens: Rate | None = None
        self._share = Share(now)
        self._accepted = Accepted(now)
        self._heeded: RateSignals | None = None
        self._concurrency = Concurrency(quota.concurrency, adaptive=quota.adaptive)
        self._ramp: Rate | None = None
        self._paused_until = float("-inf")
        self._refills = True  # whether a limit that is said to fill evenly does so, until it is seen not to
        self._short_until = float("inf")  # end of a pause cut short for that, and when the limit is whole
        self._whole_at = float("-inf")
        self._pause_began = float("-inf")
        self._episodes = 0
        self._unanswered: deque[float] = deque(maxlen=12)  # starts of episodes not followed by an answer yet
        self._learned_at = float("-inf")
        self._fresh = False  # whether a call begun after that was answered: before, nothing new is learned
        self._apply(now)

    @property
    def full(self) -> bool:
        """Whether concurrency forbids a further call, whatever the time."""
        return self._concurrency.in_flight >= self._concurrency.limit

    def opens_at(self) -> float:
        """When rates and pauses let the next call pass: a time on the caller's clock, perhaps past."""
        at = self._paused_until
        for rate in self._rates.values():
            opens_at = rate.opens_at()
            if opens_at > at:  # noqa: PLR1730 - on the way of every row; max() costs twice as much
                at = opens_at
        if self._ramp is not None:
            at = max(at, self._ramp.opens_at())
        return at

    def admits(self, now: float) -> bool:
        """Whether a call may start now: neither `full` nor still to open."""
        concurrency = self._concurrency
        if concurrency.in_flight >= concurrency.limit or self._paused_until > now:
            return False
        return (not self._rates and self._ramp is None) or self.opens_at() <= now

    def enter(self, tokens: int, now: float) -> None:
        """A call of an estimated cost in tokens starts."""
        self._concurrency.in_flight += 1
        for rate in self._requests:
            rate.take(1, now)
        if self._tokens is not None:
            self._tokens.take(tokens, now)
        if self._adaptive:
            self._accepted.add(1, tokens, now)
        if self._ramp is not None:
            self._ramp.take(1, now)
            if now >= self._paused_until + RAMP_S:
                self._ramp = None

    def leave(self, *, estimated_tokens: int, actual_tokens: int | None) -> None:
        """That call ended; the token limit is settled with what was reported, where it was."""
        self._concurrency.in_flight -= 1
        if self._tokens is not None and actual_tokens is not None:
            self._tokens.settle(actual_tokens - estimated_tokens)

    def succeeded(self, *, started: float, now: float) -> None:
        """A call that started at `started` was answered."""
        self._concurrency.succeeded(now)
        if started >= self._short_until:
            self._short_until = float("inf")
        unanswered = self._unanswered
        while unanswered and unanswered[0] < started:
            unanswered.popleft()
        if started > self._learned_at:
            self._fresh = True
        if self._share.lowered and self._rates and self.opens_at() >= now:
            self._share.quiet(now)
            self._spend()

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
        """A call that started at `started` was refused by rate.

        Refusals of calls that started before the current pause belong to its episode: they may lengthen it
        by their own Retry-After, they do not start another.

        Args:
            started: when the call started, on the caller's clock.
            now: on the caller's clock.
            retry_after_s: what the service asked for.
            uniform: a draw from [0, 1), spreads the end of the pause.
            tokens: what the call had been estimated at.
            overloaded: the service speaks of its load, not of a rate: fewer at once will help, not slower.

        Returns:
            Seconds this scope now pauses, 0 if the episode was known already.
        """
        if started >= self._short_until:  # nothing had come back: it was a window after all
            self._refills = False
            self._short_until = float("inf")
            self._paused_until = max(self._paused_until, min(self._whole_at, now + MAX_PAUSE_S))
        known = started <= self._pause_began
        first = not known and self._fresh
        if not known:
            self._episodes += 1
            self._unanswered.append(now)
            self._pause_began = now
        if first:
            self._learned_at = now
            self._fresh = False
        if self._adaptive:
            self._accepted.add(-1, -tokens, now)
            if overloaded:
                if not known:
                    self._concurrency.overloaded(now, first=first)
            elif first or self._learned_at == self._pause_began:
                self._learn(now, first=first)
        if retry_after_s is None:
            if known:
                return 0.0
            first_s = FIRST_OVERLOAD_PAUSE_S if overloaded else FIRST_PAUSE_S
            retry_after_s = min(first_s * 2.0 ** (len(self._unanswered) - 1), LONGEST_OWN_PAUSE_S)
        pause_s = min(retry_after_s * (1.0 + 0.1 * uniform), MAX_PAUSE_S)
        self._paused_until = max(self._paused_until, now + pause_s)
        lately = self._accepted.per_second(now)[0] if self._adaptive else 0.0
        self._ramp = Rate(max(lately, 1.0, self._concurrency.limit / RAMP_S), self._paused_until)
        return 0.0 if known else pause_s

    def heed(self, signals: RateSignals, now: float) -> float:
        """Take what the service says of its limits.

        The lower of that and the declared is in force; when nothing is left of a window, it is waited for.
        Of a limit that fills evenly only a part is, where calls then go at its own rate.

        Returns:
            The length of the pause that begins with it, in seconds; 0 without one, or while one lasts.
        """
        if self._adaptive and signals != self._heeded:
            self._heeded = signals
            changed = self._stated("rpm", signals.limit_requests)
            if self._stated("tpm", signals.limit_tokens) or changed:
                if self._limits.pop(LEARNED, None) is not None:
                    self._share = Share(now)
                self._apply(now)
        if signals.reset_s and 0 in (signals.remaining_requests, signals.remaining_tokens):
            begins = self._paused_until <= now
            pause_s = min(signals.reset_s, MAX_PAUSE_S)
            if self._paced(signals):
                pause_s *= FREE_SHARE
                self._whole_at = now + signals.reset_s
                if now < self._short_until:  # else calls that prove it or not are on their way
                    self._short_until = now + pause_s
            self._paused_until = max(self._paused_until, now + pause_s)
            return pause_s if begins else 0.0
        return 0.0

    def _paced(self, signals: RateSignals) -> bool:
        """Whether an empty limit fills evenly, a minute at most, and calls are made at its rate."""
        assert signals.reset_s is not None, "asked where the limit is whole again"  # noqa: S101
        if not (signals.refills and self._refills and self._adaptive and signals.reset_s <= MINUTE_S):
            return False
        empty = (
            (signals.remaining_requests, signals.limit_requests),
            (signals.remaining_tokens, signals.limit_tokens),
        )
        return all(limit is not None for remaining, limit in empty if remaining == 0)

    @property
    def concurrency(self) -> int:
        """How many calls may be in flight now."""
        return self._concurrency.limit

    def rates(self, now: float) -> dict[str, float]:
        """The rates in force, per second, by name; after a pause with the one that calls begin again at."""
        rates = {name: rate.per_second for name, rate in self._rates.items()}
        if self._ramp is not None and now < self._paused_until + RAMP_S:
            rates["ramp"] = self._ramp.per_second
        return rates

    def paused_s(self, now: float) -> float:
        """Seconds until the current pause ends, 0 if none."""
        return max(0.0, self._paused_until - now)

    def account(self, *, calls: int, tokens: float, in_flight: int, now: float) -> None:
        """Calls were made elsewhere, under shares of these limits.

        Args:
            calls: how many since the last account.
            tokens: of these, with what earlier estimates have proved wrong by.
            in_flight: calls on their way, everywhere.
            now: on the caller's clock.
        """
        self._concurrency.in_flight = in_flight
        if calls:
            for rate in self._requests:
                rate.take(calls, now)
        if self._tokens is not None and tokens:
            self._tokens.take(tokens, now)
        if self._adaptive and calls:
            self._accepted.add(calls, tokens, now)

    def pause(self, seconds: float, now: float) -> None:
        """Let nothing pass for so long, or for as long as it rests already, whichever is longer."""
        self._paused_until = max(self._paused_until, now + seconds)

    def statistics(self, now: float) -> GateStatistics:
        """This gate at this moment."""
        binding = ""
        latest = now
        candidates = [("pause", self._paused_until)]
        candidates += [(name, rate.opens_at()) for name, rate in self._rates.items()]
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
            share=self._share.value if self._limits else 0.0,
            limits={name: rate.per_second for name, rate in self._rates.items()},
        )

    def _learn(self, now: float, *, first: bool) -> None:
        calls, tokens = self._accepted.per_second(now)
        if not self._limits or LEARNED in self._limits:
            # Nobody stated a limit: it is what was accepted lately, known better with every refusal.
            before = self._limits.get(LEARNED, float("inf")) * self._share.value
            if calls > 0 and (first or calls < before):
                self._limits[LEARNED] = min(before, calls) * BELOW_ACCEPTED
                self._share = Share(now, ceiling=float("inf"))
                self._share.value = 1.0
                self._apply(now)
            return
        if first:
            used = max((tokens if name == "tpm" else calls) / limit for name, limit in self._limits.items())
            self._share.refused(used, now)
            self._spend()

    def _stated(self, name: str, per_minute: float | None) -> bool:
        """Whether a limit stated by the service changes the one in force."""
        if not per_minute or per_minute < 0:
            return False
        limit = min(per_minute / MINUTE_S, self._declared.get(name, float("inf")))
        if self._limits.get(name) == limit:
            return False
        self._limits[name] = limit
        return True

    def _apply(self, now: float) -> None:
        """Make the rates those of the limits; what is paid for stays paid for."""
        self._rates = {
            name: self._rates.get(name)
            or Rate(limit, now, TOKENS_CATCH_UP_S if name == "tpm" else CATCH_UP_S)
            for name, limit in self._limits.items()
        }
        self._requests = tuple(rate for name, rate in self._rates.items() if name != "tpm")
        self._tokens = self._rates.get("tpm")
        self._spend()

    def _spend(self) -> None:
        share = self._share.value
        for name, rate in self._rates.items():
            rate.change(self._limits[name] * share)


__all__ = ["SHARE", "Gate", "GateStatistics"]
