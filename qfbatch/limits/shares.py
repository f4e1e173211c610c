"""One quota for many processes: each has shares of it on lease, dealt out anew several times a second. Pure.

A process paces its own calls within its shares and reports what it did, so that no call waits for a message.
At every moment the shares on lease add up to no more than the limit: a larger share is given when the others
have come back for smaller ones, or when their leases have run out. Whoever is frozen or cut off holds nothing
once its lease is over, by its own clock; a quota that begins anew waits one lease before it deals.

Everybody spends evenly, and calls of different holders may still fall together. So where a limit allows few
calls a window, few hold shares of it at a time, and they take turns: `ROOM` of a window's calls is for that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec import Struct, field

from qfbatch.limits.gate import Gate
from qfbatch.limits.quota import Quota
from qfbatch.service.dialect import RateSignals

LEASE_S = 1.0
ROOM = 0.02
_WINDOWS_S = {"rpm": 60.0, "tpm": 60.0}
_TOKENS = "tpm"
_HUNGRY = 0.8  # of a share used, while rows wait: it is too small
_MARGIN = 1.25  # above what was used lately, for whoever has enough
_CALLS_A_TURN = 4
_TURN_S = 4.0  # handing a turn over costs a tenth of a second
FIRST_TOKENS = 500.0
SMOOTHING = 0.2


class Refusal(Struct, frozen=True):
    """A call that was refused by rate.

    Attributes:
        age_s: how long ago it started.
        retry_after_s, tokens, overloaded: as in `Gate.throttled`.
    """

    age_s: float
    retry_after_s: float | None
    tokens: int
    overloaded: bool


class Usage(Struct, frozen=True):
    """What a holder did at one gate since it last reported.

    Attributes:
        calls: started.
        tokens: estimated of these, with what estimates have proved wrong by since.
        in_flight: calls on their way now.
        peak: the most that were on their way.
        waiting: whether rows wait there.
        succeeded: calls answered.
        newest_s: how long ago the newest of these had started.
        paused_s: how long its own pause still lasts.
        refusals: by rate.
        signals: what the service says of its limits, where that is news.
    """

    calls: int = 0
    tokens: float = 0.0
    in_flight: int = 0
    peak: int = 0
    waiting: bool = False
    succeeded: int = 0
    newest_s: float = 0.0
    paused_s: float = 0.0
    refusals: tuple[Refusal, ...] = ()
    signals: RateSignals | None = None


class Lease(Struct, frozen=True):
    """A holder's shares of one gate, for `LEASE_S` from when it asked.

    Attributes:
        concurrency: calls that it may have on their way.
        rates: by name, units a second; 0 lets nothing pass, a name that is missing limits nothing.
        paused_s: how long nothing may pass.
    """

    concurrency: int = 0
    rates: dict[str, float] = field(default_factory=dict)
    paused_s: float = 0.0


class _Holder(Struct):
    """What one process holds and wants."""

    seen_at: float
    until: float = -math.inf
    concurrency: int = 0
    rates: dict[str, float] = field(default_factory=dict)
    in_flight: int = 0
    places_wanted: float = 0.0
    rates_wanted: dict[str, float] = field(default_factory=dict)
    turns: dict[str, float] = field(default_factory=dict)  # since when it holds a share of this rate
    served: dict[str, float] = field(default_factory=dict)  # when it last did

    def places(self, now: float) -> int:
        """Calls that it has on its way or may start: those in flight, and all of a lease that still holds."""
        return max(self.in_flight, self.concurrency if self.until > now else 0)

    def rate(self, name: str, now: float) -> float:
        """What it may spend of this rate, units a second; 0 once its lease is over."""
        return self.rates.get(name, 0.0) if self.until > now else 0.0


class SharedGate:
    """One gate's limits, shared.

    Args:
        quota: the declared limits.
        now: seconds on the caller's monotonic clock.
    """

    def __init__(self, quota: Quota, now: float) -> None:
        self.gate = Gate(quota, now)
        self._holders: dict[str, _Holder] = {}
        self._tokens_a_call = FIRST_TOKENS

    def exchange(self, name: str, usage: Usage, now: float, *, uniform: float, dealing: bool = True) -> Lease:
        """Take a holder's report; its shares from now on, in place of all it had.

        Args:
            name: of the holder.
            usage: what it reports.
            now: on the caller's clock.
            uniform: a draw from [0, 1), spreads the end of a pause.
            dealing: False for as long as leases of a quota before this one may last.
        """
        holder = self._holders.get(name)
        if holder is None:
            holder = self._holders[name] = _Holder(now)
        limits = self.gate.rates(now)
        self._want(holder, usage, limits, now)
        self._learn(usage, now, uniform)
        limits = self.gate.rates(now)
        if not dealing:
            holder.concurrency, holder.rates, holder.until = 0, {}, now
            return Lease(0, dict.fromkeys(limits, 0.0), self.gate.paused_s(now))
        holder.concurrency = self._places(name, now)
        holder.rates = {
            limit: self._rate(limit, per_second, name, now) for limit, per_second in limits.items()
        }
        holder.until = now + LEASE_S
        return Lease(holder.concurrency, dict(holder.rates), self.gate.paused_s(now))

    def leave(self, name: str) -> None:
        """A holder is gone for good, and so are its calls."""
        self._holders.pop(name, None)

    def _want(self, holder: _Holder, usage: Usage, limits: Mapping[str, float], now: float) -> None:
        elapsed_s = max(1e-3, now - holder.seen_at)
        holder.seen_at = now
        holder.in_flight = usage.in_flight
        full = usage.peak >= holder.concurrency
        if usage.waiting and full:
            holder.places_wanted = math.inf
        else:
            holder.places_wanted = usage.peak + 1.0 if usage.peak or usage.waiting else 0.0
        if usage.calls:
            self._tokens_a_call += SMOOTHING * (max(1.0, usage.tokens / usage.calls) - self._tokens_a_call)
        for limit in limits:
            used = (usage.tokens if limit == _TOKENS else usage.calls) / elapsed_s
            share = holder.rate(limit, now)
            # Where places keep rows back, more calls a second would not be made.
            hungry = usage.waiting and (used >= _HUNGRY * share or not full)
            idle = not usage.waiting and not usage.calls
            least = self._tokens_a_call if limit == _TOKENS else 1.0
            wanted = math.inf if hungry else 0.0 if idle else max(least, _MARGIN * used)
            before = holder.rates_wanted.get(limit, wanted)
            # Falls by halves: the counts of one short interval say little.
            holder.rates_wanted[limit] = (
                wanted if idle or wanted > before else max(wanted, min(before, limits[limit]) / 2)
            )

    def _learn(self, usage: Usage, now: float, uniform: float) -> None:
        gate = self.gate
        in_flight = sum(holder.in_flight for holder in self._holders.values())
        gate.account(calls=usage.calls, tokens=usage.tokens, in_flight=in_flight, now=now)
        if usage.paused_s:
            gate.pause(usage.paused_s, now)
        if usage.signals is not None:
            gate.heed(usage.signals, now)
        for _ in range(usage.succeeded):
            gate.succeeded(started=now - usage.newest_s, now=now)
        for refusal in usage.refusals:
            gate.throttled(
                started=now - refusal.age_s,
                now=now,
                retry_after_s=refusal.retry_after_s,
                uniform=uniform,
                tokens=refusal.tokens,
                overloaded=refusal.overloaded,
            )

    def _places(self, name: str, now: float) -> int:
        limit = self.gate.concurrency
        wanted = {other: held.places_wanted for other, held in self._holders.items()}
        others = sum(held.places(now) for other, held in self._holders.items() if other != name)
        fair = deal(limit, wanted)[name]
        # Whole places: what rounding leaves over goes to whoever asks first.
        return max(0, min(math.ceil(fair - 1e-9), limit - others))

    def _rate(self, limit: str, per_second: float, name: str, now: float) -> float:
        members = self._turns(limit, per_second, name, now)
        holder = self._holders[name]
        if name not in members:
            return 0.0
        holder.served[limit] = now
        wanted = {member: self._holders[member].rates_wanted.get(limit, math.inf) for member in members}
        others = sum(held.rate(limit, now) for other, held in self._holders.items() if other != name)
        share = min(deal(per_second, wanted)[name], per_second - others)
        return share if share > per_second * 1e-6 else 0.0

    def _turns(self, limit: str, per_second: float, name: str, now: float) -> list[str]:
        """Who holds a share of a rate now; the asking holder joins or leaves where it is its turn to."""
        calls = per_second / self._tokens_a_call if limit == _TOKENS else per_second
        most = max(1, math.floor(ROOM * calls * _WINDOWS_S.get(limit, 1.0)))
        turn_s = max(_TURN_S, _CALLS_A_TURN * most / calls)
        wanting = [other for other, held in self._holders.items() if held.rates_wanted.get(limit)]
        members = [other for other in wanting if limit in self._holders[other].turns]
        own = self._holders[name].turns
        if name not in wanting:
            own.pop(limit, None)
        elif limit in own:
            if len(wanting) > len(members) and len(members) >= most and now >= own[limit] + turn_s:
                del own[limit]
        else:
            waiting = [other for other in wanting if other not in members]
            waiting.sort(key=lambda other: self._holders[other].served.get(limit, -math.inf))
            if name in waiting[: max(0, most - len(members))]:
                own[limit] = now
        return [other for other in wanting if limit in self._holders[other].turns]


def deal(amount: float, wanted: Mapping[str, float]) -> dict[str, float]:
    """Divide an amount so that nobody gets more than is wanted, and who gets less gets as much as any other.

    Max-min fairness (Bertsekas and Gallager, Data Networks, 6.5.2); what nobody wants stays undealt.

    Args:
        amount: to be dealt, not below 0.
        wanted: by name; may be infinite.
    """
    dealt: dict[str, float] = {}
    left = amount
    waiting = sorted(wanted, key=lambda name: wanted[name])
    while waiting:
        fair = left / len(waiting)
        name = waiting.pop(0)
        dealt[name] = min(fair, wanted[name])
        left -= dealt[name]
    return dealt


class SharedQuota:
    """All gates of a run, for all its processes.

    Args:
        now: seconds on the caller's monotonic clock.
        again: whether there was one before, of which leases may last.
    """

    def __init__(self, now: float, *, again: bool = False) -> None:
        self._deals_from = now + LEASE_S if again else now
        self._gates: dict[str, SharedGate] = {}
        self._seen: set[str] = set()

    def exchange(
        self, name: str, usages: Mapping[str, tuple[Quota, Usage]], now: float, *, uniform: float
    ) -> dict[str, Lease]:
        """A holder's report of every gate, and its shares; see `SharedGate.exchange`."""
        self._seen.add(name)
        leases = {}
        for gate, (quota, usage) in usages.items():
            if gate not in self._gates:
                self._gates[gate] = SharedGate(quota, now)
            leases[gate] = self._gates[gate].exchange(
                name, usage, now, uniform=uniform, dealing=now >= self._deals_from
            )
        return leases

    def leave(self, name: str) -> None:
        """A holder is gone for good."""
        self._seen.discard(name)
        for gate in self._gates.values():
            gate.leave(name)

    @property
    def again_s(self) -> float:
        """How soon a holder should report again: ten times a second, less often where they are many."""
        return min(LEASE_S / 2, max(LEASE_S / 10, len(self._seen) * LEASE_S / 2000))


__all__ = ["LEASE_S", "Lease", "Refusal", "SharedGate", "SharedQuota", "Usage", "deal"]
