"""The source of rows and the workers: order, bounds, errors, and who takes a waiting row's place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from qfbatch.errors import InputError
from qfbatch.flow.crew import SPARE_WORKERS, Crew
from qfbatch.flow.feed import OPEN_SHARDS, Feed, ShardWork
from qfbatch.records import Request, Shard

from .simulated_time import simulate
from .world import request


class Source:
    """Shards of a given number of open rows each; rows are numbered through."""

    def __init__(self, sizes: list[int], *, broken: int | None = None) -> None:
        self.sizes = sizes
        self.broken = broken
        self.loaded: list[int] = []
        self.finished: list[int] = []
        self.feed = Feed(
            [ShardWork(Shard(n, "in.jsonl", 1, size, 0), size) for n, size in enumerate(sizes)],
            self._load,
            self.finished.append,
        )

    def _load(self, item: ShardWork) -> list[Request]:
        number = item.shard.number
        if number == self.broken:
            raise InputError("changed")
        self.loaded.append(number)
        return [request(sum(self.sizes[:number]) + n, shard=number) for n in range(self.sizes[number])]


def test_rows_come_in_order_and_one_shard_is_read_ahead() -> None:
    """While rows of one shard are handed out the next is read, and no more."""

    async def main() -> None:
        source = Source([3, 2, 4, 1])
        rows = []
        while (row := await source.feed.take()) is not None:
            await asyncio.sleep(0)
            rows.append(row.row_id)
            assert source.loaded == list(range(min(row.shard + 2, 4)))
        assert [f"r{n}" for n in range(10)] == rows
        assert await source.feed.take() is None
        await source.feed.close()

    simulate(main())


def test_each_shard_is_finished_once_with_its_last_row() -> None:
    """A shard is finished when its last open row is recorded; one without open rows at once."""

    async def main() -> None:
        source = Source([2, 0, 0, 1, 0])
        rows = []
        while (row := await source.feed.take()) is not None:
            rows.append(row)
        assert [1, 2, 4] == source.finished
        source.feed.recorded(rows[2])
        source.feed.recorded(rows[1])
        assert [1, 2, 4, 3] == source.finished
        source.feed.recorded(rows[0])
        assert [1, 2, 4, 3, 0] == source.finished
        await source.feed.close()

    simulate(main())


def test_borrowed_rows_are_not_handed_on_again() -> None:
    """Rows of others' shards are taken first and stay; own ones may go, and come back."""

    async def main() -> None:
        own, lent = Shard(0, "in.jsonl", 1, 3, 0), Shard(1, "in.jsonl", 4, 2, 0)
        back = asyncio.Event()

        async def work() -> AsyncIterator[ShardWork]:
            yield ShardWork(own, 3)
            yield ShardWork(lent, 2, 2, tuple(request(n, shard=1) for n in (3, 4)))
            await back.wait()
            yield ShardWork(own, 3, 1, (request(2, shard=0),))

        finished: list[int] = []
        feed = Feed(work(), lambda _: [request(n, shard=0) for n in range(3)], finished.append)
        taken = [await feed.take()]
        assert ["r2"] == [row.row_id for row in feed.hand_on(1)]
        taken += [await feed.take(), await feed.take()]
        assert 0 == feed.ready
        assert [] == feed.hand_on(2)
        back.set()
        taken += [await feed.take(), await feed.take()]
        assert ["r0", "r1", "r3", "r4", "r2"] == [row.row_id for row in taken if row is not None]
        for row in taken:
            assert row is not None
            feed.recorded(row)
        assert [1, 0] == finished
        await feed.close()

    simulate(main())


def test_a_shard_may_be_borrowed_twice() -> None:
    """Rows lent while earlier ones of their shard are still on their way count with these, to the last."""

    async def main() -> None:
        again = asyncio.Event()

        async def work() -> AsyncIterator[ShardWork]:
            lent = Shard(1, "in.jsonl", 4, 3, 0)
            yield ShardWork(lent, 3, 1, (request(3, shard=1),))
            await again.wait()
            yield ShardWork(lent, 3, 2, (request(4, shard=1), request(5, shard=1)))

        finished: list[int] = []
        feed = Feed(work(), lambda _: [], finished.append)
        first = await feed.take()
        again.set()
        taken = [first, await feed.take(), await feed.take()]
        assert [] == feed.hand_on(2)
        for row in taken:
            assert [] == finished
            assert row is not None
            feed.recorded(row)
        assert [1] == finished
        await feed.close()

    simulate(main())


def test_open_shards_are_bounded() -> None:
    """Stragglers hold at most so many shards open; the next is handed out when one of them is done."""

    async def main() -> None:
        source = Source([1] * (OPEN_SHARDS + 10))
        rows = [await source.feed.take() for _ in range(OPEN_SHARDS)]
        blocked = asyncio.ensure_future(source.feed.take())
        await asyncio.sleep(100.0)
        assert not blocked.done()
        assert len(source.loaded) <= OPEN_SHARDS + 1
        straggler = rows[17]
        assert straggler is not None
        source.feed.recorded(straggler)
        row = await blocked
        assert row is not None
        assert OPEN_SHARDS == row.shard
        await source.feed.close()

    simulate(main())


def test_input_error_reaches_all_takers() -> None:
    """When the input cannot be read every taker is told, now and later; nobody waits for ever."""

    async def main() -> None:
        source = Source([2, 5], broken=1)
        takers = await asyncio.gather(*(source.feed.take() for _ in range(6)), return_exceptions=True)
        assert [Request, Request] + [InputError] * 4 == [type(outcome) for outcome in takers]
        with pytest.raises(InputError):
            await source.feed.take()
        await source.feed.close()

    simulate(main())


def test_cancelled_taker_loses_no_rows() -> None:
    """A taker that is cancelled while a shard is being read leaves its rows to the others."""

    async def main() -> None:
        source = Source([0] * 50 + [2])
        first = asyncio.ensure_future(source.feed.take())
        second = asyncio.ensure_future(source.feed.take())
        await asyncio.sleep(0)
        first.cancel()
        row = await second
        assert row is not None
        assert ["r0", 50] == [row.row_id, row.shard]
        assert list(range(50)) == source.finished
        await source.feed.close()

    simulate(main())


class Bench:
    """A crew over rows that work for a second; some wait in between."""

    def __init__(self, size: int, rows: int, waits: dict[int, float]) -> None:
        self.left = rows
        self.size = size
        self.waits = waits
        self.at_work = self.waiting = self.most_at_work = self.workers = self.most_workers = 0
        self.crew = Crew(size, self.work_next)

    async def work_next(self) -> bool:
        """One row."""
        if not self.left:
            return False
        self.left -= 1
        number = self.left
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        self.workers = self.at_work + self.waiting
        self.most_workers = max(self.most_workers, self.workers)
        if number in self.waits:
            self.at_work -= 1
            self.waiting += 1
            self.crew.row_waits()
            await asyncio.sleep(self.waits[number])
            self.crew.row_returns()
            self.waiting -= 1
            self.at_work += 1
        await asyncio.sleep(1.0)
        self.at_work -= 1
        return True

    async def run(self) -> float:
        """Seconds it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self.crew.run()
        return loop.time() - began


def test_waiting_rows_cost_no_throughput_and_the_crew_returns_to_its_size() -> None:
    """Forty rows wait for long; the others take their places, and when all are back the surplus leaves."""
    bench = Bench(8, 800, dict.fromkeys(range(700, 740), 30.0))
    assert simulate(bench.run()) <= 800 / 8 + 2.0
    assert 8 + 40 >= bench.most_at_work
    assert (0, 0) == (bench.crew._busy, bench.crew._all)


def test_workers_are_bounded() -> None:
    """However many rows wait, there are never more workers than the size and the spare."""
    bench = Bench(4, 3000, dict.fromkeys(range(3000), 100.0))
    simulate(bench.run())
    assert bench.most_workers <= 4 + SPARE_WORKERS


def test_crew_without_rows_ends() -> None:
    """Nothing to do is done at once."""
    assert 0.0 == simulate(Bench(16, 0, {}).run())
