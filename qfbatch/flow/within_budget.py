"""How a crew's rows begin where the job has a budget: one after the other, each when there is room for it.

A job without a budget has nothing of this on its rows' way.
"""

from __future__ import annotations

import asyncio

from qfbatch.budget import BudgetGuard
from qfbatch.errors import BudgetReached
from qfbatch.flow.routing import Route
from qfbatch.flow.stopping import Stop
from qfbatch.flow.surroundings import Surroundings
from qfbatch.flow.worker import work
from qfbatch.records import Record, Request


class WithinBudget:
    """One model's rows, and the run's budget.

    Only one of them at a time is between the budget and the limits. Of rows that queued there together, the
    last would start on what answers were expected to cost before the first had come.

    Args:
        guard: the budget.
        stop: ends the run when the budget is used up.
        settled: set whenever a row has ended: there may be room again.
    """

    def __init__(self, guard: BudgetGuard, stop: Stop, settled: asyncio.Event) -> None:
        self._guard = guard
        self._stop = stop
        self._settled = settled
        self._turn = asyncio.Lock()

    async def may_begin(self) -> bool:
        """Wait for a row's turn and for room; False if the run is ending.

        The row begins at once then, so that what fits now is reserved before another looks.
        """
        self._guard.waiting += 1
        try:
            await self._turn.acquire()
            if not self._stop.requested and await self._has_room():
                return True
        finally:
            self._guard.waiting -= 1
        self.begun()
        return False

    def begun(self) -> None:
        """The row whose turn it was has passed the gates, or never will: the next one's turn."""
        if self._turn.locked():
            self._turn.release()

    async def work(self, route: Route, request: Request, around: Surroundings) -> Record | None:
        """`worker.work`, with the budget knowing what is on its way and what it came to."""
        tokens = request.estimated_tokens + route.expected_completion
        asked = (request.estimated_tokens, int(route.expected_completion))
        # Which endpoint it will be is not known yet: the dearest one's price keeps what there is.
        prices = [target.price for target in route.targets]
        cost = max(0.0 if price is None else price.of_tokens(*asked) or 0.0 for price in prices)
        self._guard.reserve(tokens, cost)
        try:
            record = await work(route, request, around)
        finally:
            self._guard.release(tokens, cost)
            self._settled.set()
        if record is None:
            self.begun()  # the run is ending; the others, who wait for their turn, are to see it
        else:
            self._guard.spend(record)
        return record

    async def _has_room(self) -> bool:
        """Whether the budget lets another row start; waits while rows on their way may still leave room."""
        while not self._guard.has_room:
            used_up = self._guard.used_up()
            if used_up is not None:
                hint = "Raise the budget, then run the same command again to resume."
                self._stop.request(BudgetReached(used_up, hint=hint))
            if self._stop.requested:
                return False
            self._settled.clear()
            await self._settled.wait()
        return True


__all__ = ["WithinBudget"]
