"""Shares of one quota: never more than the limit, whoever is frozen, lost or begins anew."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfbatch.limits.leased import LeasedGate
from qfbatch.limits.quota import Quota
from qfbatch.limits.shares import LEASE_S, Lease, SharedGate, SharedQuota, Usage

GATE = "run"
STEP_S = 0.005


class Holder:
    """A node in simulated time: as many calls as its gate lets through, each taking `latency_s`."""

    def __init__(self, world: World, name: str, latency_s: float, most: float) -> None:
        self.name = name
        self.gate = LeasedGate(world.quota, lambda: world.now, lambda: None)
        self.due = world.rng.random() * 0.1
        self.frozen_until = 0.0
        self.lost = False
        self._latency_s = latency_s
        self._most = most
        self._ends: list[float] = []
        self._world = world
        self._asked: tuple[float, Usage] | None = None
        self._reached = False
        self._told: SharedQuota | None = None  # who has answered last
        self._lease = Lease()

    def step(self) -> None:
        """What happens in this moment."""
        world = self._world
        if self.lost or world.now < self.frozen_until:
            return
        while self._ends and self._ends[0] <= world.now:
            self._ends.pop(0)
            self.gate.leave(estimated_tokens=10, actual_tokens=10)
        while len(self._ends) < self._most and not self.gate.full and self.gate.opens_at() <= world.now:
            self.gate.enter(10, world.now)
            world.calls.append(world.now)
            self._ends.append(world.now + self._latency_s)
        world.in_flight[self.name] = len(self._ends)
        if world.now >= self.due:
            self._exchange(world)

    def _exchange(self, world: World) -> None:
        """Report, or go by the answer: either is on its way for a while."""
        limiter = world.limiter
        if self._asked is None:
            waiting = len(self._ends) < self._most
            everything = self._told is None or self._told is not limiter
            self._asked = world.now, self.gate.usage(world.now, waiting=waiting, everything=everything)
            self._reached = False
            self.due = world.now + world.way_s()
            return
        asked_at, usage = self._asked
        if limiter is None or (self._reached and self._told is not limiter):
            self._asked, self._told, self.due = None, None, world.now + 0.2
        elif not self._reached:
            leases = limiter.exchange(self.name, {GATE: (world.quota, usage)}, world.now, uniform=0.5)
            self._reached, self._told, self._lease = True, limiter, leases[GATE]
            self.due = world.now + world.way_s()
        else:
            self.gate.lease(self._lease, asked_at + LEASE_S, world.now)
            self._asked, self.due = None, world.now + limiter.again_s(self.name)


class World:
    """Simulated time with a limiter that may be lost."""

    def __init__(
        self, quota: Quota, holders: int, seed: int, *, latency_s: float = 0.05, slowest_s: float = 0.0
    ) -> None:
        self.rng = random.Random(seed)
        self._slowest_s = slowest_s
        self.now = 0.0
        self.quota = quota
        self.calls: list[float] = []
        self.in_flight: dict[str, int] = {}
        self.most_in_flight = 0
        self.limiter: SharedQuota | None = SharedQuota(0.0)
        self.holders = [Holder(self, f"n{n}", latency_s, math.inf) for n in range(holders)]

    def way_s(self) -> float:
        """How long a message is on its way."""
        return self._slowest_s * self.rng.random() ** 2

    def run(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            for holder in self.holders:
                holder.step()
            self.most_in_flight = max(self.most_in_flight, sum(self.in_flight.values()))

    def restart_limiter(self, after_s: float) -> None:
        """Lose the limiter; another begins."""
        self.limiter = None
        self.run(after_s)
        self.limiter = SharedQuota(self.now, again=True)

    def lose(self, number: int) -> None:
        """Lose a holder for good."""
        self.holders[number].lost = True
        self.in_flight.pop(self.holders[number].name, None)
        if self.limiter is not None:
            self.limiter.leave(self.holders[number].name)


def most_in(calls: list[float], window_s: float) -> int:
    """The most calls in any window."""
    first = most = 0
    for index, at in enumerate(calls):
        while calls[first] <= at - window_s + 1e-9:
            first += 1
        most = max(most, index - first + 1)
    return most


@given(
    qps=st.sampled_from([0.5, 3.0, 20.0, 200.0]),
    holders=st.integers(1, 6),
    seed=st.integers(0, 2**16),
    slowest_s=st.sampled_from([0.0, 0.02, 0.4]),
    happenings=st.lists(st.sampled_from(["freeze", "lose", "restart", "join", "wait"]), max_size=4),
)
@settings(max_examples=25, deadline=None)
def test_no_window_ever_holds_more_than_the_limit(
    qps: float, holders: int, seed: int, slowest_s: float, happenings: list[str]
) -> None:
    """Whatever befalls holders, limiter and messages, no window has more calls than its limit allows."""
    world = World(Quota(1000, qps=qps, adaptive=False), holders, seed, slowest_s=slowest_s)
    for happening in happenings:
        world.run(1.0 + world.rng.random())
        number = world.rng.randrange(len(world.holders))
        if happening == "freeze":
            world.holders[number].frozen_until = world.now + 3 * world.rng.random()
        elif happening == "lose":
            world.lose(number)
        elif happening == "restart":
            world.restart_limiter(world.rng.random())
        elif happening == "join":
            world.holders.append(Holder(world, f"late{number}{world.now}", 0.05, math.inf))
    world.run(3.0)
    assert most_in(world.calls, 1.0) <= math.ceil(qps * 1.0)
    assert most_in(world.calls, 10.0) <= math.ceil(qps * 10.0)


@given(
    holders=st.integers(1, 6),
    concurrency=st.integers(1, 20),
    seed=st.integers(0, 2**16),
    slowest_s=st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=15, deadline=None)
def test_no_more_at_once_than_the_limit(holders: int, concurrency: int, seed: int, slowest_s: float) -> None:
    """Places that one holder gives back are given to another only when its calls have ended."""
    world = World(Quota(concurrency, adaptive=False), holders, seed, latency_s=0.3, slowest_s=slowest_s)
    world.run(2.0)
    world.restart_limiter(0.3)
    world.run(3.0)
    assert world.most_in_flight <= concurrency
    assert len(world.calls) > concurrency


@pytest.mark.parametrize(("qps", "holders", "least"), [(200.0, 3, 0.975), (200.0, 6, 0.95), (20.0, 3, 0.95)])
def test_the_limit_is_used(qps: float, holders: int, least: float) -> None:
    """Hungry holders together use what one process does (98 %), and little less where they take turns."""
    world = World(Quota(1000, qps=qps, adaptive=False), holders, seed=1, slowest_s=0.02)
    world.run(22.0)
    used = sum(at > 2.0 for at in world.calls) / (20.0 * qps)
    assert least <= used <= 0.985


def test_a_share_that_begins_small_keeps_nothing_back_once_it_is_larger() -> None:
    """Who gets next to nothing at first, as all is on lease, calls as soon as its fair share earns it."""
    gate = LeasedGate(Quota(10, qps=200, adaptive=False), lambda: 0.1, lambda: None)
    gate.lease(Lease(10, {"qps": 0.01}), until=1.0, now=0.0)
    gate.lease(Lease(10, {"qps": 50.0}), until=1.1, now=0.1)
    assert 0.1 < gate.opens_at() <= 0.1 + 1 / 50


def test_a_call_is_paid_for_at_the_share_that_follows() -> None:
    """A share that shrinks right after a call does not let the next one pass as if it had stayed large."""
    gate = LeasedGate(Quota(10, qps=200, adaptive=False), lambda: 0.2, lambda: None)
    gate.lease(Lease(10, {"qps": 100.0}), until=1.0, now=0.0)
    for _ in range(2):
        gate.enter(1, 0.2)
    gate.lease(Lease(10, {"qps": 1.0}), until=1.2, now=0.2)
    assert gate.opens_at() >= 0.2 + 0.5


def test_who_joins_has_places_as_soon_as_it_may_call() -> None:
    """Nodes that begin one after the other leave the limit unused for a moment each, not for seconds."""
    calls = 0
    for seed in range(4):
        world = World(Quota(64, qps=200, adaptive=False), 0, seed=seed, slowest_s=0.05)
        for number, begins in enumerate((0.0, 1.7, 3.3)):
            holder = Holder(world, f"n{number}", 0.3, 64)
            holder.due = holder.frozen_until = begins
            world.holders.append(holder)
        world.run(5.0)
        calls += sum(at > 1.0 for at in world.calls)
    assert calls >= 0.92 * 196 * 4 * 4


def test_an_idle_holders_share_goes_to_the_others() -> None:
    """Where one of two holders has no rows, the other soon makes nearly all of the calls."""
    world = World(Quota(1000, qps=100, adaptive=False), 2, seed=1)
    world.run(2.0)
    world.holders[0]._most = 0
    world.run(4.0)
    assert sum(at > 4.0 for at in world.calls) >= 0.9 * 98 * 2


def test_a_throttle_anywhere_pauses_all() -> None:
    """A refusal at one holder is known to all others within an exchange."""
    world = World(Quota(1000, qps=100, adaptive=False), 3, seed=1)
    world.run(2.0)
    world.holders[0].gate.throttled(started=world.now, now=world.now, retry_after_s=2.0, uniform=0.0)
    began = world.now
    world.run(1.9)
    assert [at for at in world.calls if at > began + 0.25] == []
    world.run(2.0)
    assert world.calls[-1] > began + 2.0


def test_a_thawed_holder_catches_up_on_nothing() -> None:
    """A holder frozen beyond its lease makes no call before it has asked again, and none at once then."""
    world = World(Quota(1000, qps=200, adaptive=False), 1, seed=1)
    world.run(1.0)
    world.holders[0].frozen_until = world.now + 3.0
    world.run(3.0)
    thawed = world.now
    world.holders[0].due = thawed + 0.5
    world.run(0.5)
    assert [at for at in world.calls if at > thawed - 2.9] == []
    world.run(0.1)
    assert len([at for at in world.calls if at > thawed]) <= 0.1 * 200 + 1


def test_who_begins_no_calls_keeps_no_place_free() -> None:
    """Where calls on their way take long, the last place is for the row that waits, wherever it waits."""
    shared = SharedGate(Quota(12, adaptive=False), 0.0)
    places: dict[str, int] = {}
    for step in range(20):
        now = 0.1 * step
        for name, most in (("hanging", 5), ("waiting", 12)):
            used = min(most, places.get(name, 0))
            calls = used if step == 1 else 0
            usage = Usage(calls=calls, in_flight=used, peak=used, waiting=name == "waiting" or not step)
            places[name] = shared.exchange(name, usage, now, uniform=0.5).concurrency
    assert 12 - 5 == places["waiting"]
