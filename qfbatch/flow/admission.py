"""Who may call now, and where: rows wait here, holding nothing, until all gates of an endpoint are open.

A lane is one model's line of rows; its doors are the model's endpoints. One pump serves all lanes: it runs
when a call ends, when a gate's time comes, and when a row arrives, and admits whoever may go, in turn over
the lanes. A call takes from all gates of its door in one step, so no row holds one limit while it waits for
another; and since a row takes whichever door is open, none waits behind a door that is shut while another has
room. Nothing polls: the pump is woken by events and by one timer.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from qfbatch.limits.combined import in_parallel, in_series
from qfbatch.limits.fairness import Load
from qfbatch.limits.gate import Gate, GateStatistics
from qfbatch.limits.health import Health
from qfbatch.service.dialect import RateSignals

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Passage:
    """What a call to one endpoint passes beside the run's gate. Gates may be shared with other passages.

    Attributes:
        endpoint: the endpoint's limits, pauses and what is learned of them.
        quota: a quota that it shares with others: what the service says of rates is then said of that.
        model: the model's limits over all its endpoints, where it has several.
        weight: the endpoint's part of the model's calls.
    """

    endpoint: Gate
    quota: Gate | None = None
    model: Gate | None = None
    weight: float = 1.0


class Admission:
    """The run's limits, shared by its lanes.

    Args:
        gate: the run's own limits.
        loop: the running loop; its clock is the clock of all gates.
        rng: spreads the ends of pauses.
    """

    def __init__(self, gate: Gate, loop: asyncio.AbstractEventLoop, rng: random.Random) -> None:
        self.gate = gate
        self.loop = loop
        self.rng = rng
        self.lanes: list[Lane] = []
        self._turn = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def lane(self, name: str, passages: Sequence[Passage]) -> Lane:
        """A further lane, with a door for each of its passages."""
        lane = Lane(self, name, passages)
        self.lanes.append(lane)
        return lane

    @property
    def waiting(self) -> int:
        """Rows waiting to be admitted."""
        return sum(len(lane.waiters) for lane in self.lanes)

    @property
    def in_flight(self) -> int:
        """Calls on their way."""
        return self.gate.statistics(self.loop.time()).in_flight

    def statistics(self) -> dict[str, GateStatistics]:
        """All limits at this moment: the run's under "", then each lane's under its name."""
        now = self.loop.time()
        return {"": self.gate.statistics(now)} | {lane.name: lane.statistics(now) for lane in self.lanes}

    def close(self) -> None:
        """Admit nobody any more: whoever waits is turned away."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for lane in self.lanes:
            lane.turn_away()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def pump_if_waiting(self) -> None:
        """`pump`, unless nobody waits."""
        for lane in self.lanes:
            if lane.waiters:
                self.pump()
                return

    def pump(self) -> None:
        """Admit whoever may go now, and arrange to be woken when the next one may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake_at = NEVER
        lanes = self.lanes
        blocked = 0
        while blocked < len(lanes) and not self.gate.full:
            self._turn = (self._turn + 1) % len(lanes)
            lane = lanes[self._turn]
            if not lane.waiters:
                blocked += 1
                continue
            opens_at = lane.admit_first(self.loop.time())
            if opens_at is None:
                blocked = 0
            else:
                wake_at = min(wake_at, opens_at)
                blocked += 1
        if wake_at < NEVER:
            self._timer = self.loop.call_at(wake_at, self.pump)


class Lane:
    """One model's line of rows, and the doors they may leave it by.

    Args:
        admission: the run's.
        name: the model's.
        passages: one a door.

    Attributes:
        several: whether the model has more than one endpoint, whatever became of them.
    """

    def __init__(self, admission: Admission, name: str, passages: Sequence[Passage]) -> None:
        self.name = name
        self.waiters: deque[tuple[asyncio.Future[Door | None], int, Door | None]] = deque()
        several = len(passages) > 1
        self.doors = tuple(
            Door(admission, number, passage, several=several) for number, passage in enumerate(passages)
        )
        self._admission = admission
        self._loop = admission.loop
        self._model = passages[0].model
        self.several = several
        self._only = None if several else self.doors[0]
        self._used_s = 0.0  # the most that the least used of the open doors has been, for its weight

    def enter_now(self, tokens: int, avoided: Door | None, now: float) -> Door | None:
        """Start a call of so many estimated tokens, if it may start now; see `enter`.

        Args:
            tokens: estimated.
            avoided: not by this door if another one is open.
            now: on the loop's clock.

        Returns:
            The door it takes; None if it has to `enter`.
        """
        if self.waiters or self._admission.closed:
            return None
        door = self._only
        if door is None:
            door, _ = self._open_door(now, avoided)
        elif not door.open(now):
            return None
        if door is not None:
            door.enter(tokens, now)
        return door

    async def enter(self, tokens: int, avoided: Door | None = None) -> Door | None:
        """Wait until a call of so many estimated tokens may start; it then has started.

        Args:
            tokens: estimated.
            avoided: not by this door if another one is open.

        Returns:
            The door it takes; None if the run admits nobody any more.
        """
        admission = self._admission
        if admission.closed:
            return None
        future: asyncio.Future[Door | None] = self._loop.create_future()
        self.waiters.append((future, tokens, avoided))
        admission.pump()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and (door := future.result()) is not None:
                door.leave(started=self._loop.time(), estimated_tokens=tokens, actual_tokens=0)
            raise

    @property
    def gates(self) -> list[Gate]:
        """All gates that a row may have to pass, the run's included; shared ones more than once."""
        return [gate for door in self.doors for gate in door.all_gates]

    @property
    def doors_left(self) -> int:
        """Endpoints that have not refused the job."""
        return sum(not door.health.refused for door in self.doors)

    @property
    def some_up(self) -> bool:
        """Whether an endpoint takes part in the rotation as it should."""
        return any(door.health.up for door in self.doors)

    @property
    def spotless(self) -> bool:
        """Whether there is an endpoint where nothing failed since it answered last."""
        return any(door.health.spotless for door in self.doors)

    def admit_first(self, now: float) -> float | None:
        """Let the first waiter pass if a door is open.

        Returns:
            None if it passed; else when a door opens, infinite where only the end of a call can tell.
        """
        future, tokens, avoided = self.waiters[0]
        if future.cancelled():
            self.waiters.popleft()
            return None
        door, opens_at = self._open_door(now, avoided)
        if door is None:
            return opens_at
        self.waiters.popleft()
        door.enter(tokens, now)
        future.set_result(door)
        return None

    def turn_away(self) -> None:
        """Tell all waiters that nobody is admitted any more."""
        while self.waiters:
            future, _, _ = self.waiters.popleft()
            if not future.done():
                future.set_result(None)

    def statistics(self, now: float) -> GateStatistics:
        """This lane's limits at this moment, the run's aside; named binds what binds all doors."""
        own = [] if self._model is None else [self._model.statistics(now)]
        if self._only is not None:
            return in_series([gate.statistics(now) for gate in self._only.gates] + own)
        # A quota that several doors share is one limit, however many doors lead through it.
        ways = {
            door.rate: [gate.statistics(now) for gate in door.gates] for door in self._doors_taking_part()
        }
        in_flight = sum(door.load.in_flight for door in self.doors)
        return in_series([in_parallel([in_series(way) for way in ways.values()], in_flight), *own])

    def _doors_taking_part(self) -> Sequence[Door]:
        return [door for door in self.doors if not door.health.refused] or self.doors

    def _open_door(self, now: float, avoided: Door | None) -> tuple[Door | None, float]:
        """The door to take now; or None, and when one opens."""
        only = self._only
        if only is not None:
            opens_at = NEVER if only.full else only.opens_at()
            return (only, now) if opens_at <= now else (None, opens_at)
        first_opens_at = NEVER
        # Where every endpoint is down, all are asked as if none were: the breaker then decides for the run.
        some_up = self.some_up
        least_used_s = NEVER
        best: tuple[bool, float, float] | None = None
        found: Door | None = None
        for door in self.doors:
            if door.health.refused or door.full:
                continue
            opens_at = max(door.opens_at(), door.health.opens_at()) if some_up else door.opens_at()
            if opens_at > now:
                first_opens_at = min(first_opens_at, opens_at)
                continue
            used_s = door.load.used_s(now)
            least_used_s = min(least_used_s, used_s)
            # The one least used; at first, when none has been, the one with least in flight for its weight.
            place = (door is avoided, used_s, door.load.next_in_flight)
            if best is None or place < best:
                best, found = place, door
        if found is not None:
            found.load.catch_up(self._used_s, now)
            self._used_s = max(self._used_s, least_used_s)
        return found, first_opens_at


class Door:
    """One endpoint of a model: the gates on the way, and how it has fared.

    Args:
        admission: the run's.
        number: its place among the lane's doors.
        passage: its gates.
        several: whether the lane has others; only then does it matter how this one fares.
    """

    def __init__(self, admission: Admission, number: int, passage: Passage, *, several: bool) -> None:
        self.number = number
        self._several = several
        self.load = Load(passage.weight, admission.loop.time())
        self.health = Health()
        self.gates = (passage.endpoint,) if passage.quota is None else (passage.endpoint, passage.quota)
        self.rate = self.gates[-1]  # what a refusal by rate is a refusal of
        own = () if passage.model is None else (passage.model,)
        self.all_gates = (*self.gates, *own, admission.gate)
        self._endpoint = passage.endpoint
        self._admission = admission

    @property
    def full(self) -> bool:
        """Whether concurrency forbids a further call, whatever the time."""
        for gate in self.all_gates:  # noqa: SIM110 - on the way of every row; any() costs three times as much
            if gate.full:
                return True
        return False

    def opens_at(self) -> float:
        """When rates and pauses let the next call pass: a time on the loop's clock, perhaps past."""
        at = float("-inf")
        for gate in self.all_gates:
            opens_at = gate.opens_at()
            if opens_at > at:  # noqa: PLR1730 - on the way of every row; max() costs twice as much
                at = opens_at
        return at

    def open(self, now: float) -> bool:
        """Whether a call may pass now."""
        for gate in self.all_gates:  # noqa: SIM110 - as above
            if not gate.admits(now):
                return False
        return True

    def enter(self, tokens: int, now: float) -> None:
        """A call starts: it takes from all gates."""
        for gate in self.all_gates:
            gate.enter(tokens, now)
        if self._several:
            self.load.start(now)
            self.health.start()

    def leave(
        self, *, started: float, estimated_tokens: int, actual_tokens: int | None, answered: bool = False
    ) -> None:
        """The call that started at `started` has ended, however it ended; whoever waits may go."""
        for gate in self.all_gates:
            gate.leave(estimated_tokens=estimated_tokens, actual_tokens=actual_tokens)
        if self._several:
            now = self._admission.loop.time()
            self.load.end(took_s=now - started, now=now, answered=answered)
            self.health.end(started=started)
        self._admission.pump_if_waiting()

    def succeeded(self, *, started: float) -> None:
        """A call that started at `started` (loop time) was answered."""
        now = self._admission.loop.time()
        self._endpoint.succeeded(started=started, now=now)
        if self.rate is not self._endpoint:
            self.rate.succeeded(started=started, now=now)

    def throttled(
        self, *, started: float, retry_after_s: float | None, tokens: int = 0, overloaded: bool = False
    ) -> float:
        """A call that started at `started` (loop time) was refused by rate; see `Gate.throttled`.

        A refusal for the service's load is its endpoint's own; one by rate is of the quota it shares.
        """
        gate = self._endpoint if overloaded else self.rate
        return gate.throttled(
            started=started,
            now=self._admission.loop.time(),
            retry_after_s=retry_after_s,
            uniform=self._admission.rng.random(),
            tokens=tokens,
            overloaded=overloaded,
        )

    def heed(self, signals: RateSignals) -> float:
        """Take what the service says of its limits; see `Gate.heed`."""
        return self.rate.heed(signals, self._admission.loop.time())

    def refused(self) -> None:
        """The service refuses the job here: nobody goes this way any more."""
        self.health.refused = True
        self._admission.pump_if_waiting()
