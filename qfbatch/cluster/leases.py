"""A node's side of the shared limits: reports what its gates did, and has them go by what they are dealt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from qfbatch.cluster.limiter import Dealt
from qfbatch.errors import ClusterLost
from qfbatch.flow.admission import Admission
from qfbatch.limits.gate import Gate
from qfbatch.limits.leased import LeasedGate
from qfbatch.limits.quota import Quota
from qfbatch.limits.shares import Usage
from qfbatch.service.redaction import clean_message

Ask = Callable[[Mapping[str, tuple[Quota, Usage]]], Awaitable[Dealt]]
ANSWER_S = 10.0  # a limiter that takes longer is asked anew; leases are long over by then
LOST_AFTER_S = 120.0  # long after Ray has begun it anew elsewhere, where it can
_TRY_AGAIN_S = 0.2


class Leases:
    """All leased gates of a process.

    Args:
        ask: reports to the limiter, and returns its answer; any exception means that it was not reached.
        loop: the running loop; its clock is the gates'.
    """

    def __init__(self, ask: Ask, loop: asyncio.AbstractEventLoop) -> None:
        self._ask = ask
        self._loop = loop
        self._gates: dict[str, LeasedGate] = {}
        self._urgent = asyncio.Event()
        self._era = ""

    def open_gate(self, name: str, quota: Quota, now: float) -> Gate:
        """See `flow.routing.OpenGate`."""
        del now
        gate = self._gates[name] = LeasedGate(quota, self._loop.time, self._urgent.set)
        return gate

    async def keep(self, admitted: Callable[[], Admission | None]) -> None:
        """Report and go by the answers, for as long as this is not cancelled.

        Args:
            admitted: who waits at the gates, once there is anybody.

        Nothing that was to be reported is lost where the limiter is not reached, but counts: those of a lost
        report are as if the calls had not been made, and the leases have run out meanwhile.

        Raises:
            ClusterLost: it has not been reached for `LOST_AFTER_S`; no call is made without it.
        """
        reached_at = self._loop.time()
        while True:
            self._urgent.clear()
            asked_at = self._loop.time()
            everything = not self._era
            usages = self._usages(admitted(), asked_at, everything=everything)
            try:
                dealt = await asyncio.wait_for(self._ask(usages), ANSWER_S)
            except Exception as error:  # whatever keeps the limiter away, it is asked again, but not for ever
                if self._loop.time() - reached_at > LOST_AFTER_S:
                    raise _limiter_lost(error) from error
                self._era = ""
                await asyncio.sleep(_TRY_AGAIN_S)
                continue
            now = reached_at = self._loop.time()
            told = everything or dealt.era == self._era
            self._era = dealt.era if told else ""
            for name, lease in dealt.leases.items():
                # From when it was asked for: the way of the answer is on the holder's time.
                self._gates[name].lease(lease, asked_at + dealt.lease_s, now)
            if (admission := admitted()) is not None:
                admission.pump_if_waiting()
            if told:
                await self._sleep(dealt.again_s)

    def _usages(
        self, admission: Admission | None, now: float, *, everything: bool
    ) -> dict[str, tuple[Quota, Usage]]:
        lanes = [] if admission is None else admission.lanes
        waiting = {id(gate) for lane in lanes if lane.waiters for gate in lane.gates}
        return {
            name: (gate.quota, gate.usage(now, waiting=id(gate) in waiting, everything=everything))
            for name, gate in self._gates.items()
        }

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._urgent.wait()
        except TimeoutError:
            return


def _limiter_lost(error: Exception) -> ClusterLost:
    said = (
        clean_message(str(error).strip().rpartition("\n")[2]) or type(error).__name__
    )  # Ray's reason is last
    return ClusterLost(
        f"the limiter has not been reached for {LOST_AFTER_S:g} s: {said}",
        hint="Check the cluster (`ray status`), then run the same command again to resume.",
    )


__all__ = ["Leases"]
