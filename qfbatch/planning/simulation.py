"""How long calls take under limits: the limits themselves, tried over simulated time. Pure.

Calls pass the same gates as in a run (`limits.gate`), in the same turn over the models; only their answers
are made up: they take as long, and have as many tokens, as is expected of them. So whatever the gates do
(spend a little less than the limit, spread calls evenly, charge tokens before they are known and correct that
later) is in the forecast without being described a second time.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping, Sequence
from math import ceil

import msgspec
from msgspec import Struct

from qfbatch.limits.gate import SHARE, Gate
from qfbatch.limits.quota import Quota
from qfbatch.planning.plans import ENDPOINTS, SHARED, LimitTime
from qfbatch.tokens import FIRST_EXPECTED_COMPLETION, SMOOTHING

SIMULATED_CALLS = 4000  # more are not tried one by one: time then grows evenly with calls
ROUNDS = 8  # so many calls for each place are tried at least: fewer would show a round of answers, no rate
MOST_SIMULATED_CALLS = 40_000
MINUTE_S = 60.0


class Way(Struct, frozen=True):
    """One of several endpoints that a model is asked at.

    Attributes:
        quota: its own limits.
        shared: the name of the quota it shares with others.
        weight: its part of the model's calls.
    """

    quota: Quota
    shared: str | None = None
    weight: float = 1.0


class Load(Struct, frozen=True):
    """What one model has to do.

    Attributes:
        name: the model's.
        quota: its own limits.
        calls: rows to be asked.
        estimated_tokens: of a prompt, as they are counted before a call.
        prompt_tokens, completion_tokens: of a call, as the service will report them.
        latencies_s: how long a call takes: drawn from these.
        ways: its endpoints; empty for one whose limits are `quota` and that shares none.
    """

    name: str
    quota: Quota
    calls: int
    estimated_tokens: float
    prompt_tokens: float
    completion_tokens: float
    latencies_s: tuple[float, ...]
    ways: tuple[Way, ...] = ()

    @property
    def tokens(self) -> float:
        """Of all its calls, as they will be reported."""
        return self.calls * (self.prompt_tokens + self.completion_tokens)

    @property
    def busy_s(self) -> float:
        """Of all its calls, one after the other."""
        return self.calls * sum(self.latencies_s) / len(self.latencies_s)


class Times(Struct, frozen=True):
    """How long it takes.

    Attributes:
        finished_s: when each model's last answer comes, seconds from the start; 0 for one with nothing to do.
        limits: every limit, with how long it would take alone; the slowest first.
    """

    finished_s: dict[str, float]
    limits: tuple[LimitTime, ...]

    @property
    def time_s(self) -> float:
        """When the last answer comes."""
        return max(self.finished_s.values(), default=0.0)

    @property
    def binding(self) -> LimitTime | None:
        """The limit that decides; None where there is nothing to do."""
        return self.limits[0] if self.limits and self.limits[0].time_s > 0 else None


def simulated_times(run: Quota, loads: Sequence[Load], shared: Mapping[str, Quota] | None = None) -> Times:
    """How long these calls take.

    Args:
        run: the limits of all models together.
        loads: what each model has to do.
        shared: quotas that endpoints share, by name.
    """
    shared = shared or {}
    calls = sum(load.calls for load in loads)
    rounds_s = _rounds_s(run, [load for load in loads if load.calls])
    tried = min(max(SIMULATED_CALLS, ROUNDS * run.concurrency), MOST_SIMULATED_CALLS)
    if rounds_s is not None:
        finished_s = [rounds_s if load.calls else 0.0 for load in loads]
    elif calls <= tried:
        finished_s = _simulate(run, shared, loads, [load.calls for load in loads])
    else:
        finished_s = _extrapolate(run, shared, loads, tried / calls)
    named = dict(zip((load.name for load in loads), finished_s, strict=True))
    limits = _limit_times(None, run, loads)
    for load in loads:
        limits += _limit_times(load.name, load.quota, [load], beside=run)
        limits += _together(load, run)
    for name, quota in shared.items():
        users = [load for load in loads if load.ways and all(way.shared == name for way in load.ways)]
        limits += _limit_times(name, quota, users, beside=run, whose=SHARED)
    return Times(named, tuple(sorted(limits, key=lambda limit: -limit.time_s)))


def _rounds_s(run: Quota, busy: Sequence[Load]) -> float | None:
    """How long it takes where that needs no trying; None where it does.

    The calls of one model, all as long as each other and without a limit of rate, go in rounds. Most first
    plans are of that kind: nothing was seen yet.
    """
    if len(busy) != 1 or busy[0].ways or len(set(busy[0].latencies_s)) != 1:
        return None
    (load,) = busy
    if any(limit is not None for quota in (run, load.quota) for limit in (quota.qps, quota.rpm, quota.tpm)):
        return None
    return ceil(load.calls / min(run.concurrency, load.quota.concurrency)) * load.latencies_s[0]


def _extrapolate(run: Quota, shared: Mapping[str, Quota], loads: Sequence[Load], part: float) -> list[float]:
    """When each model ends, from two smaller runs of the same proportions.

    What is due to the start does not grow with the calls, all else does in proportion: two runs, one twice
    as long as the other, tell both.
    """
    shorter = [max(1, round(load.calls * part / 2)) if load.calls else 0 for load in loads]
    longer = [min(load.calls, 2 * calls) for load, calls in zip(loads, shorter, strict=True)]
    ends, early_ends = _simulate(run, shared, loads, longer), _simulate(run, shared, loads, shorter)
    # Each model by its own calls: one with few beside one with many is tried with more than its proportion.
    further = [
        (load.calls - done) / max(1, done - half_done)
        for load, done, half_done in zip(loads, longer, shorter, strict=True)
    ]
    return [
        end + max(0.0, end - early) * more for end, early, more in zip(ends, early_ends, further, strict=True)
    ]


def _simulate(
    run: Quota, shared: Mapping[str, Quota], loads: Sequence[Load], calls: Sequence[int]
) -> list[float]:
    """When each model's last answer comes if it makes so many calls."""
    rng = random.Random(1)  # noqa: S311 - the same plan every time
    gate = Gate(_steady(run), 0.0)
    quotas = {name: Gate(_steady(quota), 0.0) for name, quota in shared.items()}
    lanes = [_Lane(load, left, quotas) for load, left in zip(loads, calls, strict=True)]
    answers: list[
        tuple[float, int, int, int]
    ] = []  # when it comes, whose, by which door, what it was charged
    now, turn = 0.0, 0
    while True:
        opens_at = float("inf")
        blocked = 0
        while blocked < len(lanes) and not gate.full:
            turn = (turn + 1) % len(lanes)
            lane = lanes[turn]
            door, opens = lane.first_door(now) if lane.left else (None, float("inf"))
            opens = max(opens, gate.opens_at())
            if door is None or opens > now:
                opens_at = min(opens_at, opens)
                blocked += 1
                continue
            charged = lane.charge
            door.enter(charged, now)
            gate.enter(charged, now)
            lane.left -= 1
            blocked = 0
            answered_at = now + rng.choice(lane.load.latencies_s)
            heapq.heappush(answers, (answered_at, turn, door.number, charged))
        now = min(opens_at, answers[0][0]) if answers else opens_at
        if now == float("inf"):
            return [lane.finished_s for lane in lanes]
        while answers and answers[0][0] <= now:
            ended_s, number, way, charged = heapq.heappop(answers)
            lane = lanes[number]
            actual = lane.answered(ended_s)
            lane.doors[way].leave(charged, actual)
            gate.leave(estimated_tokens=charged, actual_tokens=actual)


class _Door:
    """One endpoint of a model: its gates."""

    __slots__ = ("_gates", "_in_flight", "_weight", "number")

    def __init__(self, number: int, gates: Sequence[Gate], weight: float) -> None:
        self.number = number
        self._gates = gates
        self._weight = weight
        self._in_flight = 0

    @property
    def load(self) -> float:
        """Calls in flight for its weight."""
        return self._in_flight / self._weight

    def opens_at(self) -> float:
        """When the next call may pass; infinite until one ends."""
        latest = 0.0
        for gate in self._gates:
            if gate.full:
                return float("inf")
            latest = max(latest, gate.opens_at())
        return latest

    def enter(self, charged: int, now: float) -> None:
        """A call starts."""
        self._in_flight += 1
        for gate in self._gates:
            gate.enter(charged, now)

    def leave(self, charged: int, actual: int) -> None:
        """It has been answered."""
        self._in_flight -= 1
        for gate in self._gates:
            gate.leave(estimated_tokens=charged, actual_tokens=actual)


class _Lane:
    """One model on its way through its gates."""

    __slots__ = ("doors", "expected", "finished_s", "left", "load")

    def __init__(self, load: Load, left: int, quotas: Mapping[str, Gate]) -> None:
        self.load = load
        self.left = left
        own = Gate(_steady(load.quota), 0.0)
        self.doors = [
            _Door(
                number,
                [Gate(_steady(way.quota), 0.0), own, *([quotas[way.shared]] if way.shared else [])],
                way.weight,
            )
            for number, way in enumerate(load.ways)
        ] or [_Door(0, [own], 1.0)]
        self.expected = float(FIRST_EXPECTED_COMPLETION)
        self.finished_s = 0.0

    def first_door(self, now: float) -> tuple[_Door | None, float]:
        """The door for the next call, the least busy of the open ones; or None, and when one opens."""
        if len(self.doors) == 1:
            opens_at = self.doors[0].opens_at()
            return (self.doors[0], now) if opens_at <= now else (None, opens_at)
        times = [(door.opens_at(), door) for door in self.doors]
        open_doors = [door for at, door in times if at <= now]
        if open_doors:
            return min(open_doors, key=lambda door: door.load), now
        return None, min(at for at, _ in times)

    @property
    def charge(self) -> int:
        """What the next call is charged before its tokens are known; as `worker` does."""
        return round(self.load.estimated_tokens) + int(self.expected)

    def answered(self, now: float) -> int:
        """An answer came; returns its tokens."""
        self.finished_s = now
        self.expected += SMOOTHING * (self.load.completion_tokens - self.expected)
        return round(self.load.prompt_tokens + self.load.completion_tokens)


def _steady(quota: Quota) -> Quota:
    """The quota without what only refusals would set in motion."""
    return Quota(quota.concurrency, quota.qps, quota.rpm, quota.tpm, adaptive=False)


def _together(load: Load, run: Quota) -> list[LimitTime]:
    """How long the endpoints of a model take together, each bound by the tightest of its own limits."""
    if not load.ways or not load.calls:
        return []
    many = msgspec.structs.replace(load, calls=MOST_SIMULATED_CALLS)
    tightest = [
        max(_limit_times(load.name, way.quota, [many]), key=lambda limit: limit.time_s) for way in load.ways
    ]
    names = sorted({limit.limit for limit in tightest})
    if names == ["concurrency"] and sum(limit.value for limit in tightest) >= run.concurrency:
        return []
    per_second = [many.calls / limit.time_s for limit in tightest]
    value = sum(limit.value for limit in tightest) if len(names) == 1 else round(sum(per_second), 2)
    limit = names[0] if len(names) == 1 else f"{'/'.join(names)}, calls a second"
    return [LimitTime(load.name, limit, value, load.calls / sum(per_second), ENDPOINTS)]


def _limit_times(
    model: str | None, quota: Quota, loads: Sequence[Load], beside: Quota | None = None, whose: str = ""
) -> list[LimitTime]:
    """How long each limit of a quota takes alone; a model's concurrency counts where it is the lower one."""
    calls = sum(load.calls for load in loads)
    times = []
    if beside is None or quota.concurrency < beside.concurrency:
        busy_s = sum(load.busy_s for load in loads)
        time_s = busy_s / min(quota.concurrency, max(1, calls))
        times.append(LimitTime(model, "concurrency", quota.concurrency, time_s, whose))
    tokens = sum(load.tokens for load in loads)
    for name, value, units, window_s in (
        ("qps", quota.qps, calls, 1.0),
        ("rpm", quota.rpm, calls, MINUTE_S),
        ("tpm", quota.tpm, tokens, MINUTE_S),
    ):
        if value is not None:
            times.append(LimitTime(model, name, value, units / (value * SHARE) * window_s, whose))
    return times


__all__ = ["Load", "Times", "Way", "simulated_times"]
