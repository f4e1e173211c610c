"""What takes the place of a process's own counts, breakers, budget, shards and commits in a node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self, TypeAlias

from qfbatch.breaker import Breaker, BreakerPolicy
from qfbatch.budget import BudgetGuard
from qfbatch.checkpoint.interface import Commits
from qfbatch.cluster.messages import Key, News
from qfbatch.flow.feed import ShardWork
from qfbatch.job.settings import Budget
from qfbatch.records import Dropped, ErrorKind, Failure, Record
from qfbatch.tally import Tally

NewsOf: TypeAlias = Callable[[], News]  # what is to be told next


class TellingTally(Tally):
    """See `Tally`; failed records that are replaced are told to the driver, who counts."""

    def __init__(self, model: str, news: NewsOf) -> None:
        super().__init__()
        self._model = model
        self._news = news

    def replace_failed(self, dropped: Dropped | None = None) -> None:
        """See `Tally.replace_failed`."""
        self._news().retried.append((self._model, dropped))


class TellingBreaker(Breaker):
    """See `Breaker`; what it is told of is told to the driver, where the run has one for all nodes.

    It trips of itself where no call of this node has ever reached the service: until the driver has heard of
    it, further rows would be recorded as failed.

    Attributes:
        cut_off: whether it has tripped.
    """

    def __init__(self, model: str, news: NewsOf) -> None:
        super().__init__(BreakerPolicy(), 0.0)
        self._model = model
        self._news = news
        self.cut_off = False

    def succeeded(self) -> None:
        """See `Breaker.succeeded`."""
        self._ever_reached = True
        outcomes = self._news().outcomes
        if not outcomes or outcomes[-1] != (self._model, None, None):
            outcomes.append((self._model, None, None))

    def failed(self, failure: Failure, now: float, row_id: str) -> str | None:
        """See `Breaker.failed`."""
        del now
        self._ever_reached = self._ever_reached or failure.kind is not ErrorKind.CONNECTION
        self._news().outcomes.append((self._model, failure, row_id))
        return None

    def row_failed(self, failure: Failure) -> str | None:
        """See `Breaker.row_failed`."""
        self._news().outcomes.append((self._model, failure, None))
        if self._ever_reached:
            return None
        self.cut_off = True
        return super().row_failed(failure)


class PortionGuard(BudgetGuard):
    """See `BudgetGuard`: a portion of the budget, at first none; whether all is used up is the driver's."""

    def __init__(self, budget: Budget) -> None:
        super().__init__(
            Budget(
                max_cost=None if budget.max_cost is None else 0.0,
                max_total_tokens=None if budget.max_total_tokens is None else 0,
            )
        )

    def used_up(self) -> str | None:
        """See `BudgetGuard.used_up`."""
        return None


class Source:
    """Shards as they come from the driver."""

    def __init__(self, urgent: asyncio.Event) -> None:
        self._queue: asyncio.Queue[ShardWork | None] = asyncio.Queue()
        self._urgent = urgent
        self._waiting = False

    @property
    def waits(self) -> bool:
        """Whether work is wanted."""
        return self._waiting and self._queue.empty()

    def put(self, work: ShardWork) -> None:
        """Work has come."""
        self._queue.put_nowait(work)

    def end(self) -> None:
        """No more will come."""
        self._queue.put_nowait(None)

    async def items(self) -> AsyncIterator[ShardWork]:
        """All work, as it comes."""
        while True:
            self._waiting = True
            if self._queue.empty():
                self._urgent.set()
            item = await self._queue.get()
            self._waiting = False
            if item is None:
                return
            yield item


class Helping(Commits):
    """`Commits` of a node: records of rows that were lent to it go back to the shard's owner."""

    def __init__(self, own: Commits, news: NewsOf, urgent: asyncio.Event) -> None:
        self._own = own
        self._news = news
        self._urgent = urgent
        self._borrowed: dict[Key, list[Callable[[], None]]] = {}

    def borrow(self, key: Key) -> None:
        """Rows of this shard are another's."""
        self._borrowed.setdefault(key, [])

    def is_borrowed(self, key: Key) -> bool:
        """Whether rows of this shard are another's."""
        return key in self._borrowed

    def when_returned(self, key: Key, then: Callable[[], None]) -> None:
        """Call `then` when all rows of a borrowed shard have ended."""
        self._borrowed[key].append(then)

    @property
    def crowded(self) -> bool:
        """See `Commits.crowded`."""
        return self._own.crowded

    def append(self, record: Record) -> None:
        """See `Commits.append`."""
        if (record.model, record.shard) in self._borrowed:
            self._news().worked.append(record)
        else:
            self._own.append(record)

    def finish(self, model: str, shard: int) -> None:
        """See `Commits.finish`."""
        if (model, shard) in self._borrowed:
            self._urgent.set()
            for then in self._borrowed.pop((model, shard)):
                then()
        else:
            self._own.finish(model, shard)

    async def wait_for_room(self) -> None:
        """See `Commits.wait_for_room`."""
        await self._own.wait_for_room()

    async def failure(self) -> None:
        """See `Commits.failure`."""
        await self._own.failure()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The own one is entered and left by whoever made it."""

    async def __aenter__(self) -> Self:
        return self


__all__ = ["Helping", "NewsOf", "PortionGuard", "Source", "TellingBreaker", "TellingTally"]
