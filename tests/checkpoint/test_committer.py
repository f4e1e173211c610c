"""Group commit: order, bounds, closing, and failures that wake everybody."""

from __future__ import annotations

import asyncio
import errno
import threading
from pathlib import Path

import pytest

from qfbatch.checkpoint import journal as journal_module
from qfbatch.checkpoint.committer import Committer
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.parts import PartSummary
from qfbatch.checkpoint.store import Checkpoint
from qfbatch.errors import StorageError
from qfbatch.records import Record

from .rows import COLUMNS, RUN_ID, plan, record


def opened(path: Path, shards: int = 4, rows: int = 50) -> Checkpoint:
    """A recovered checkpoint of one model."""
    checkpoint = Checkpoint.open(RunLayout(path), ["m"], plan(shards, rows), COLUMNS, RUN_ID)
    checkpoint.recover()
    return checkpoint


def fail_sync(fd: int) -> None:
    """An fsync on a sick disk."""
    raise OSError(errno.EIO, "Input/output error")


def test_groups_are_committed_in_order_and_shards_closed(tmp_path: Path) -> None:
    """Every record is reported once, durable, in append order; finished shards become parts."""
    committed: list[Record] = []
    closed: list[tuple[str, int, PartSummary]] = []
    rows = [record(n, shard=n // 50) for n in range(200)]

    async def main() -> None:
        async with Committer(
            opened(tmp_path),
            on_commit=committed.extend,
            on_closed=lambda *args: closed.append(args),
            group_rows=16,
        ) as committer:
            for row in rows:
                await committer.wait_for_room()
                committer.append(row)
                assert committer.undurable <= 16
                if row.source_row % 50 == 0:
                    committer.finish("m", row.shard)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert committed == rows
    assert [(m, n, s.rows) for m, n, s in closed] == [("m", n, 50) for n in range(4)]
    assert list((tmp_path / "journal").iterdir()) == []


def test_a_lonely_row_is_committed_after_the_deadline(tmp_path: Path) -> None:
    """A group that never fills is committed after `group_seconds` all the same."""

    async def main() -> None:
        done = asyncio.Event()
        committer = Committer(opened(tmp_path), on_commit=lambda _: done.set(), group_seconds=0.01)
        async with committer:
            committer.append(record(1))
            await asyncio.wait_for(done.wait(), 10)
            assert committer.undurable == 0

    asyncio.run(main())


def test_crowded_bounds_what_is_not_durable(tmp_path: Path) -> None:
    """Workers that ask before each row wait, and all go on, with at most a group and their rows undurable."""

    async def main() -> int:
        worst = 0
        numbers = iter(range(200))
        async with Committer(opened(tmp_path), group_rows=8, group_seconds=0.001) as committer:

            async def worker() -> None:
                nonlocal worst
                for number in numbers:
                    await committer.wait_for_room()
                    await asyncio.sleep(0)
                    committer.append(record(number, shard=number // 50))
                    worst = max(worst, committer.undurable)

            await asyncio.wait_for(asyncio.gather(*(worker() for _ in range(5))), 30)
        return worst

    assert asyncio.run(main()) <= 8 + 5
    assert opened(tmp_path).recover().summary.rows == 200


def test_partial_shards_are_closed_on_close(tmp_path: Path) -> None:
    """A clean stop leaves every committed row in results, journals of earlier sessions included."""

    async def session(shard: int, *, partial: bool) -> None:
        committer = Committer(opened(tmp_path))
        await committer.__aenter__()
        committer.append(record(shard * 50, shard=shard))
        await committer.close(partial=partial)
        await committer.close()

    asyncio.run(session(0, partial=False))
    assert [p.name for p in (tmp_path / "journal").iterdir()] == ["m-000000.journal"]
    asyncio.run(session(1, partial=True))
    assert list((tmp_path / "journal").iterdir()) == []
    assert sorted(p.name for p in (tmp_path / "results").iterdir()) == [
        "part-m-000000.parquet",
        "part-m-000001.parquet",
    ]


def test_a_finished_shard_takes_no_more_rows_until_closed(tmp_path: Path) -> None:
    """A row behind `finish` is a mistake of the caller, told at once; after closing the shard may go on."""

    async def main() -> None:
        closed = asyncio.Event()
        async with Committer(opened(tmp_path), on_closed=lambda *_: closed.set()) as committer:
            committer.append(record(1))
            committer.finish("m", 0)
            committer.finish("m", 0)
            with pytest.raises(ValueError, match="after its end"):
                committer.append(record(2))
            await asyncio.wait_for(closed.wait(), 10)
            committer.append(record(2))
        with pytest.raises(ValueError, match="after its end"):
            committer.append(record(3))

    asyncio.run(main())
    assert opened(tmp_path).recover().summary.rows == 2


def test_a_failed_commit_wakes_everybody_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed fsync every waiting and later call raises it, nothing is reported, nothing hangs."""
    committed: list[Record] = []

    async def main() -> None:
        committer = Committer(opened(tmp_path), on_commit=committed.extend, group_rows=4)
        await committer.__aenter__()
        watch = asyncio.create_task(committer.failure())
        for number in range(4):
            committer.append(record(number))
        waiting = [asyncio.create_task(committer.wait_for_room()) for _ in range(3)]
        results = await asyncio.wait_for(asyncio.gather(watch, *waiting, return_exceptions=True), 10)
        assert [type(r) for r in results] == [StorageError] * 4
        with pytest.raises(StorageError):
            committer.append(record(9))
        with pytest.raises(StorageError):
            committer.finish("m", 0)
        for _ in range(2):
            with pytest.raises(StorageError, match="Input/output error"):
                await committer.close()
        assert len(asyncio.all_tasks()) == 1

    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "sync_data", fail_sync)
        asyncio.run(main())
    assert committed == []
    assert opened(tmp_path).recover().summary.rows == 0


def test_a_failed_merge_still_commits_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a part can't be written the run fails, but rows already appended are committed to their journals."""
    checkpoint = opened(tmp_path)
    go = threading.Event()

    def fail_merge(model: str, shard: int, records: list[Record] | None) -> PartSummary:
        go.wait(10)
        raise StorageError("no room for the part")

    async def main() -> None:
        committed = asyncio.Event()
        committer = Committer(checkpoint, on_commit=lambda _: committed.set(), group_seconds=60)
        await committer.__aenter__()
        committer.append(record(1))
        committer.finish("m", 0)
        await asyncio.wait_for(committed.wait(), 10)
        committer.append(record(50, shard=1))
        go.set()
        with pytest.raises(StorageError, match="no room"):
            await asyncio.wait_for(committer.failure(), 10)
        with pytest.raises(StorageError, match="no room"):
            await committer.close()

    monkeypatch.setattr(checkpoint, "close_shard", fail_merge)
    asyncio.run(main())
    again = opened(tmp_path)
    assert again.open_shard("m", 0).keys() == {"row-1"}
    assert again.open_shard("m", 1).keys() == {"row-50"}


def test_a_failing_callback_is_kept_too(tmp_path: Path) -> None:
    """An error in `on_commit` stops the run like a storage error, instead of being lost in a task."""

    def fail(_: list[Record]) -> None:
        raise RuntimeError("observer")

    async def main() -> None:
        async with Committer(opened(tmp_path), on_commit=fail) as committer:
            committer.append(record(1))

    with pytest.raises(RuntimeError, match="observer"):
        asyncio.run(main())
