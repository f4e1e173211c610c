"""What stands between a row and the limits where there is a budget."""

from __future__ import annotations

import asyncio

from qfbatch.budget import BudgetGuard
from qfbatch.flow.stopping import Stop
from qfbatch.flow.within_budget import WithinBudget
from qfbatch.job.settings import Budget


def test_rows_that_wait_for_room_are_counted() -> None:
    """A cluster's node tells by it that it has rows at hand, so that it gets a portion for them."""

    async def main() -> list[int]:
        guard, settled = BudgetGuard(Budget(max_total_tokens=10)), asyncio.Event()
        guard.reserve(10, 0.0)
        budget = WithinBudget(guard, Stop(), settled)
        rows = [asyncio.create_task(budget.may_begin()) for _ in range(3)]
        await asyncio.sleep(0)
        counts = [guard.waiting]
        guard.release(10, 0.0)
        settled.set()
        assert await rows[0]
        counts.append(guard.waiting)
        for row in rows[1:]:
            budget.begun()
            assert await row
        counts.append(guard.waiting)
        return counts

    assert [3, 2, 0] == asyncio.run(main())
