"""The lazy source of one model's rows: shard after shard read, what is done is skipped, the rest handed on.

One shard is read ahead while the current one is worked on. Shards stay open until their last row is recorded;
a straggler holds its own shard open and nothing else, up to `OPEN_SHARDS` of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable

from msgspec import Struct

from qfbatch.records import Request, Shard

OPEN_SHARDS = 64


class ShardWork(Struct, frozen=True):
    """What is to be done of one shard.

    Attributes:
        shard: the shard.
        rows: how many of its first rows belong to this run (`--limit` may cut the last one).
        left: how many of these are to be asked.
        requests: those to be asked, where somebody else has opened the shard and hands on some of its rows.
    """

    shard: Shard
    rows: int
    left: int = 0
    requests: tuple[Request, ...] = ()


class Feed:
    """Hands out one model's requests and knows when a shard's are all recorded.

    Args:
        work: the shards to do, in order; where it is asynchronous, they may come as they are given out.
        load: reads one shard and renders what is open of it; called in a thread.
        finished: told when the last open row of a shard was recorded.
    """

    def __init__(
        self,
        work: Iterable[ShardWork] | AsyncIterator[ShardWork],
        load: Callable[[ShardWork], list[Request]],
        finished: Callable[[int], None],
    ) -> None:
        self._work = work if isinstance(work, AsyncIterator) else _in_order(work)
        self._load = load
        self._finished = finished
        self._ready: deque[Request] = deque()
        self._borrowed: deque[Request] = deque()  # at hand, too, but others' and not to be handed on again
        self._left: dict[int, int] = {}
        self._guests: set[int] = set()  # of these shards, those of others
        self._ahead: asyncio.Task[tuple[ShardWork, list[Request]] | None] | None = None
        self._loading = asyncio.Lock()
        self._closed_one = asyncio.Event()
        self._stopped = False

    def at_hand(self) -> Request | None:
        """The next request, where one can be had without waiting: nearly always."""
        if self._borrowed:
            return self._borrowed.popleft()
        return self._ready.popleft() if self._ready else None

    async def take(self) -> Request | None:
        """The next request; None when all have been handed out.

        Raises:
            InputError: if the input changed under the run.
        """
        async with self._loading:
            while not self._ready and not self._borrowed:
                while len(self._left) >= OPEN_SHARDS:
                    if self._stopped:
                        return None  # rows given up are never recorded: their shards would stay open for ever
                    self._closed_one.clear()
                    await self._closed_one.wait()
                if self._ahead is None:
                    self._ahead = asyncio.create_task(self._load_next())
                # Shielded: a taker that is cancelled must not take the shard, read for all, down with it.
                loaded = await asyncio.shield(self._ahead)
                if loaded is None:
                    return None
                self._ahead = asyncio.create_task(self._load_next())
                work, requests = loaded
                number = work.shard.number
                # Rows of an own shard that is open here come back from where they were handed on to.
                if work.requests and (number in self._guests or number not in self._left):
                    self._guests.add(number)
                    self._left[number] = self._left.get(number, 0) + len(requests)
                    self._borrowed.extend(requests)
                else:
                    self._left.setdefault(number, len(requests))
                    self._ready.extend(requests)
                if not self._left[number]:
                    self._shard_done(number)
            return self.at_hand()

    def recorded(self, request: Request) -> None:
        """A handed-out request has its record."""
        self.ended(request.shard)

    def ended(self, shard: int) -> None:
        """A row of an open shard has its record, or is no longer to be worked here."""
        left = self._left[shard] - 1
        self._left[shard] = left
        if left == 0:
            self._shard_done(shard)

    def give_up(self, shard: int) -> None:
        """The rows of a borrowed shard that nobody has taken yet are no longer to be worked here."""
        given_up = sum(request.shard == shard for request in self._borrowed)
        self._borrowed = deque(request for request in self._borrowed if request.shard != shard)
        for _ in range(given_up):
            self.ended(shard)

    @property
    def ready(self) -> int:
        """Requests at hand that nobody has taken yet and that may be handed on: none that were borrowed.

        Those handed on a second time could come back to their owner, whom the first borrower then owes them.
        """
        return len(self._ready)

    def hand_on(self, rows: int) -> list[Request]:
        """The last ones of the requests at hand, at most so many and of one shard, for somebody else to work.

        They stay on this feed's account: each is either `recorded` here or comes back with the work.
        """
        given: list[Request] = []
        while self._ready and len(given) < rows:
            if given and self._ready[-1].shard != given[0].shard:
                break
            given.append(self._ready.pop())
        return given[::-1]

    def stop(self) -> None:
        """The run is ending: nobody need wait for a shard to close any more."""
        self._stopped = True
        self._closed_one.set()

    async def close(self) -> None:
        """Stop reading ahead."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.gather(self._ahead, return_exceptions=True)

    def _shard_done(self, number: int) -> None:
        del self._left[number]
        self._guests.discard(number)
        self._closed_one.set()
        self._finished(number)

    async def _load_next(self) -> tuple[ShardWork, list[Request]] | None:
        work = await anext(self._work, None)
        if work is None:
            return None
        if work.requests:
            return work, list(work.requests)
        return work, await asyncio.to_thread(self._load, work)


async def _in_order(work: Iterable[ShardWork]) -> AsyncIterator[ShardWork]:
    for item in work:
        yield item
