"""One quota for many processes: each has shares of it on lease, dealt out anew several times a second. Pure.

A process paces its own calls within its shares and reports what it did, so that no call waits for a message.
At every moment the shares on lease add up to no more than the limit: a larger share is given when the others
are known to go by smaller ones, or when their leases have run out. Whoever is frozen or cut off holds nothing
once its lease is over, by its own clock; a quota that begins anew waits one lease before it deals. A report
costs the same however many holders there are (`pool`).

Everybody spends evenly, and calls of different holders may still fall together. So where a limit allows few
calls a window, few hold shares of it at a time, and they take turns: `ROOM` of a window's calls is for that.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

from msgspec import Struct, field

from qfbatch.limits.gate import Gate
from qfbatch.limits.pool import Pool, Turns
from qfbatch.limits.quota import Quota
from qfbatch.service.dialect import RateSignals

LEASE_S = 1.0
NODES_OF_SHORT_LEASES = 500  # with more of them leases are longer, so that reports stay few enough
AGAIN_S = 0.1
SHORTEST_S = 0.05  # what happened in less says nothing of what is wanted
CONFIRM_S = 0.005  # where others wait for what is given back
REPORTS_PER_S = 1000.0  # each is a message, which costs far more than what is worked out for it
ROOM = 0.02
_WINDOWS_S = {"rpm": 60.0, "tpm": 60.0}
_TOKENS = "tpm"
_HUNGRY = 0.8  # of a share used, while rows wait: it is too small
_MARGIN = 1.25  # above what was used lately, for whoever has enough
_CALLS_A_TURN = 4
_TURN_S = 8.0  # handing a turn over costs up to a tenth of a second
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
        unsure: whether the answer to the last report may be lost, so that this is not what it goes by.
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
    unsure: bool = False


class Lease(Struct, frozen=True):
    """A holder's shares of one gate, for the length of a lease from when it asked.

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


class SharedGate:
    """One gate's limits, shared.

    Args:
        quota: the declared limits.
        now: seconds on the caller's monotonic clock.
        lease_s: how long a lease lasts.
    """

    def __init__(self, quota: Quota, now: float, lease_s: float = LEASE_S) -> None:
        self._lease_s = lease_s
        self.gate = Gate(quota, now)
        self._holders: dict[str, _Holder] = {}
        self._in_flight = 0
        self._places = Pool(whole=True)
        self._rates: dict[str, tuple[Pool, Turns]] = {}
        self._leases: deque[tuple[float, str]] = deque()  # by their ends, renewed ones as well
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
        self._take_back(now)
        holder = self._holders.get(name)
        if holder is None:
            holder = self._holders[name] = _Holder(now)
        limits = self.gate.rates(now)
        self._want(holder, usage, limits, now)
        self._in_flight += usage.in_flight - holder.in_flight
        holder.in_flight = usage.in_flight
        if self._learn(usage, now, uniform):
            limits = self.gate.rates(now)
        if not dealing:
            holder.concurrency, holder.rates = 0, {}
            self._places.end(name, in_use=usage.in_flight, unsure=usage.unsure)
            return Lease(0, dict.fromkeys(limits, 0.0), self.gate.paused_s(now))
        places = self._places.deal(
            name,
            holder.places_wanted,
            self.gate.concurrency,
            now,
            in_use=usage.in_flight,
            unsure=usage.unsure,
        )
        holder.concurrency = int(places)
        if self._rates.keys() != limits.keys():
            self._rates = {
                limit: self._rates.get(limit) or (Pool(), Turns(self._lease_s)) for limit in limits
            }
        holder.rates = {
            limit: self._rate(limit, per_second, name, now, unsure=usage.unsure)
            for limit, per_second in limits.items()
        }
        holder.until = now + self._lease_s
        self._leases.append((holder.until, name))
        return Lease(holder.concurrency, dict(holder.rates), self.gate.paused_s(now))

    def leave(self, name: str) -> None:
        """A holder is gone for good, and so are its calls."""
        holder = self._holders.pop(name, None)
        if holder is None:
            return
        self._in_flight -= holder.in_flight
        self._places.forget(name)
        for pool, turns in self._rates.values():
            pool.forget(name)
            turns.leave(name)

    def awaits(self, name: str) -> bool:
        """Whether others want what a holder is to give back, and can have it once it has reported again."""
        return self._places.awaits(name) or any(pool.awaits(name) for pool, _ in self._rates.values())

    def _take_back(self, now: float) -> None:
        """Whose lease is over holds nothing, and has no turn."""
        leases = self._leases
        while leases and leases[0][0] <= now:
            until, name = leases.popleft()
            holder = self._holders.get(name)
            if holder is None or holder.until != until:
                continue
            holder.rates = {}
            self._places.lapse(name)
            for pool, turns in self._rates.values():
                pool.lapse(name)
                turns.lapse(name)

    def _want(self, holder: _Holder, usage: Usage, limits: Mapping[str, float], now: float) -> None:
        elapsed_s = max(1e-3, now - holder.seen_at)
        if elapsed_s < SHORTEST_S and holder.rates_wanted.keys() >= limits.keys() and holder.until > now:
            holder.seen_at = now
            return  # a report out of turn
        holder.seen_at = now
        full = usage.peak >= holder.concurrency
        if usage.waiting:
            # Calls on their way become more for as long as one takes: room for that comes before they do.
            holder.places_wanted = math.inf if full else 2.0 * usage.peak + 2.0
        else:
            # One more than it uses, so that its next call need not wait; but none for who begins no calls:
            # while those on their way take long, others' rows would wait for a place that nobody uses.
            holder.places_wanted = usage.peak + 1.0 if usage.calls else float(usage.peak)
        if usage.calls:
            self._tokens_a_call += SMOOTHING * (max(1.0, usage.tokens / usage.calls) - self._tokens_a_call)
        for limit in limits:
            used = (usage.tokens if limit == _TOKENS else usage.calls) / elapsed_s
            share = holder.rates.get(limit, 0.0)
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

    def _learn(self, usage: Usage, now: float, uniform: float) -> bool:
        """Have the gate know what happened; whether that may have changed the limits."""
        gate = self.gate
        gate.account(calls=usage.calls, tokens=usage.tokens, in_flight=self._in_flight, now=now)
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
        return bool(usage.succeeded or usage.refusals or usage.signals is not None)

    def _rate(self, limit: str, per_second: float, name: str, now: float, *, unsure: bool) -> float:
        pool, turns = self._rates[limit]
        wanted = self._holders[name].rates_wanted.get(limit, math.inf)
        if not wanted:
            turns.leave(name)
            pool.end(name, unsure=unsure)
            return 0.0
        calls = per_second / self._tokens_a_call if limit == _TOKENS else per_second
        most = max(1, math.floor(ROOM * calls * _WINDOWS_S.get(limit, 1.0)))
        turn_s = max(_TURN_S, _CALLS_A_TURN * most / calls)
        if successor := turns.hand_over(name, most=most, turn_s=turn_s, now=now):
            pool.end(name, unsure=unsure)
            pool.expect(successor, self._holders[successor].rates_wanted.get(limit, math.inf))
            return 0.0
        if not turns.ask(name, most=most, now=now):
            pool.end(name, unsure=unsure)
            return 0.0
        share = pool.deal(name, wanted, per_second, now, unsure=unsure)
        return share if share > per_second * 1e-6 else 0.0


class SharedQuota:
    """All gates of a run, for all its processes.

    Args:
        now: seconds on the caller's monotonic clock.
        again: whether there was one before, of which leases may last.
        lease_s: how long a lease lasts, the same for all quotas of a run.
    """

    def __init__(self, now: float, *, again: bool = False, lease_s: float = LEASE_S) -> None:
        self.lease_s = lease_s
        self._deals_from = now + lease_s if again else now
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
                self._gates[gate] = SharedGate(quota, now, self.lease_s)
            leases[gate] = self._gates[gate].exchange(
                name, usage, now, uniform=uniform, dealing=now >= self._deals_from
            )
        return leases

    def leave(self, name: str) -> None:
        """A holder is gone for good."""
        self._seen.discard(name)
        for gate in self._gates.values():
            gate.leave(name)

    def again_s(self, name: str) -> float:
        """How soon a holder should report again: ten times a second, less often where they are many.

        At once, where others wait for what it is to give back.
        """
        if any(gate.awaits(name) for gate in self._gates.values()):
            return CONFIRM_S
        return min(self.lease_s / 2, max(AGAIN_S, len(self._seen) / REPORTS_PER_S))


def lease_length_s(nodes: int) -> float:
    """How long leases of a quota for so many last: two reports fit into one."""
    return LEASE_S * max(1.0, nodes / NODES_OF_SHORT_LEASES)


__all__ = ["LEASE_S", "Lease", "Refusal", "SharedGate", "SharedQuota", "Usage", "lease_length_s"]
