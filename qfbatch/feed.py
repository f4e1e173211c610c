"""The lazy source of one model's rows: shard after shard read, what is done is skipped, the rest handed on.

One shard is read ahead while the current one is worked on. Shards stay open until their last row is recorded;
a straggler holds its own shard open and nothing else, up to `OPEN_SHARDS` of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from qfbatch.records import Request, Shard

OPEN_SHARDS = 64


class ShardWork(Struct, frozen=True):
    """What is to be done of one shard.

    Attributes:
        shard: the shard.
        rows: how many of its first rows belong to this run (`--limit` may cut the last one).
        left: how many of these are to be asked.
    """

    shard: Shard
    rows: int
    left: int = 0


class Feed:
    """Hands out one model's requests and knows when a shard's are all recorded.

    Args:
        work: the shards to do, in order.
        load: reads one shard and renders what is open of it; called in a thread.
        finished: told when the last open row of a shard was recorded.
    """

    def __init__(
        self,
        work: Iterable[ShardWork],
        load: Callable[[ShardWork], list[Request]],
        finished: Callable[[int], None],
    ) -> None:
        self._work: Iterator[ShardWork] = iter(work)
        self._load = load
        self._finished = finished
        self._ready: deque[Request] = deque()
        self._left: dict[int, int] = {}
        self._ahead: asyncio.Task[tuple[int, list[Request]] | None] | None = None
        self._loading = asyncio.Lock()
        self._closed_one = asyncio.Event()
        self._stopped = False

    async def take(self) -> Request | None:
        """The next request; None when all have been handed out.

        Raises:
            InputError: if the input changed under the run.
        """
        if self._ready:
            return self._ready.popleft()
        async with self._loading:
            while not self._ready:
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
                number, requests = loaded
                self._left[number] = len(requests)
                self._ready.extend(requests)
                if not requests:
                    self._shard_done(number)
            return self._ready.popleft()

    def recorded(self, request: Request) -> None:
        """A handed-out request has its record."""
        left = self._left[request.shard] - 1
        self._left[request.shard] = left
        if left == 0:
            self._shard_done(request.shard)

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
        self._closed_one.set()
        self._finished(number)

    async def _load_next(self) -> tuple[int, list[Request]] | None:
        work = next(self._work, None)
        if work is None:
            return None
        return work.shard.number, await asyncio.to_thread(self._load, work)
