"""Who may call now: rows wait here, holding nothing, until the run's gate and their model's gate are open.

One pump serves all lanes: it runs when a call ends, when a gate's time comes, and when a row arrives, and
admits whoever may go, in turn over the lanes. A call takes from both gates in one step, so no row holds one
limit while it waits for another. Nothing polls: the pump is woken by events and by one timer.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque

from qfbatch.limits.gate import Gate, GateStatistics
from qfbatch.service.dialect import RateSignals


class Admission:
    """The run's limits, shared by its lanes.

    Args:
        gate: the run's own limits.
        loop: the running loop; its clock is the clock of all gates.
        rng: spreads the ends of pauses.
    """

    def __init__(self, gate: Gate, loop: asyncio.AbstractEventLoop, rng: random.Random) -> None:
        self.gate = gate
        self._loop = loop
        self._rng = rng
        self.lanes: list[Lane] = []
        self._turn = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def lane(self, name: str, gate: Gate) -> Lane:
        """A further lane, with its own limits beside the run's."""
        lane = Lane(self, name, gate, self._loop, self._rng)
        self.lanes.append(lane)
        return lane

    @property
    def waiting(self) -> int:
        """Rows waiting to be admitted."""
        return sum(len(lane.waiters) for lane in self.lanes)

    @property
    def in_flight(self) -> int:
        """Calls on their way."""
        return self.gate.statistics(self._loop.time()).in_flight

    def statistics(self) -> dict[str, GateStatistics]:
        """All gates at this moment: the run's under "", then each lane's under its name."""
        now = self._loop.time()
        return {"": self.gate.statistics(now)} | {lane.name: lane.gate.statistics(now) for lane in self.lanes}

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

    def pump(self) -> None:
        """Admit whoever may go now, and arrange to be woken when the next one may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake_at = float("inf")
        lanes = self.lanes
        blocked = 0
        while blocked < len(lanes) and not self.gate.full:
            self._turn = (self._turn + 1) % len(lanes)
            lane = lanes[self._turn]
            if not lane.waiters or lane.gate.full:
                blocked += 1
                continue
            now = self._loop.time()
            opens_at = max(lane.gate.opens_at(), self.gate.opens_at())
            if opens_at > now:
                wake_at = min(wake_at, opens_at)
                blocked += 1
                continue
            lane.admit_first(now)
            blocked = 0
        if wake_at < float("inf"):
            self._timer = self._loop.call_at(wake_at, self.pump)


class Lane:
    """One model's way through its own gate and the run's."""

    def __init__(
        self,
        admission: Admission,
        name: str,
        gate: Gate,
        loop: asyncio.AbstractEventLoop,
        rng: random.Random,
    ) -> None:
        self.name = name
        self.gate = gate
        self.waiters: deque[tuple[asyncio.Future[bool], int]] = deque()
        self._admission = admission
        self._loop = loop
        self._rng = rng

    async def enter(self, tokens: int) -> bool:
        """Wait until a call of so many estimated tokens may start; it then has started.

        Returns:
            False if the run admits nobody any more.
        """
        admission = self._admission
        if admission.closed:
            return False
        if not self.waiters and not self.gate.full and not admission.gate.full:
            now = self._loop.time()
            if self.gate.opens_at() <= now and admission.gate.opens_at() <= now:
                self._pass(tokens, now)
                return True
        future: asyncio.Future[bool] = self._loop.create_future()
        self.waiters.append((future, tokens))
        admission.pump()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.result():
                self.leave(estimated_tokens=tokens, actual_tokens=0)
            raise

    def leave(self, *, estimated_tokens: int, actual_tokens: int | None) -> None:
        """The call has ended, however it ended."""
        self.gate.leave(estimated_tokens=estimated_tokens, actual_tokens=actual_tokens)
        self._admission.gate.leave(estimated_tokens=estimated_tokens, actual_tokens=actual_tokens)
        for lane in self._admission.lanes:
            if lane.waiters:
                self._admission.pump()
                return

    def succeeded(self, *, started: float) -> None:
        """A call that started at `started` (loop time) was answered."""
        self.gate.succeeded(started=started, now=self._loop.time())

    def throttled(
        self, *, started: float, retry_after_s: float | None, tokens: int = 0, overloaded: bool = False
    ) -> float:
        """A call that started at `started` (loop time) was refused by rate; see `Gate.throttled`."""
        return self.gate.throttled(
            started=started,
            now=self._loop.time(),
            retry_after_s=retry_after_s,
            uniform=self._rng.random(),
            tokens=tokens,
            overloaded=overloaded,
        )

    def heed(self, signals: RateSignals) -> float:
        """Take what the service says of its limits; see `Gate.heed`."""
        return self.gate.heed(signals, self._loop.time())

    def admit_first(self, now: float) -> None:
        """Let the first waiter pass; for `Admission.pump`, which has checked the gates."""
        future, tokens = self.waiters.popleft()
        if not future.cancelled():
            self._pass(tokens, now)
            future.set_result(True)

    def turn_away(self) -> None:
        """Tell all waiters that nobody is admitted any more."""
        while self.waiters:
            future, _ = self.waiters.popleft()
            if not future.done():
                future.set_result(False)

    def _pass(self, tokens: int, now: float) -> None:
        self.gate.enter(tokens, now)
        self._admission.gate.enter(tokens, now)
