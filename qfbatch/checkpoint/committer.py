"""Group commit: records become durable together, off the event loop, and finished shards become parts.

Workers append on the loop, which encodes a whole group. One thread writes and fsyncs its journals; meanwhile
the next group fills. Another thread merges finished shards into parts, one at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from operator import attrgetter
from types import TracebackType
from typing import Any, NamedTuple, Self

from qfbatch.checkpoint.interface import JOURNAL_GROUP_ROWS, Key, OnClosed, OnCommit
from qfbatch.checkpoint.journal import JournalWriter, encode_lines
from qfbatch.checkpoint.kept import Kept
from qfbatch.checkpoint.parts import PartSummary
from qfbatch.checkpoint.store import Checkpoint
from qfbatch.checkpoint.waiting import Waiting
from qfbatch.records import Record

_key = attrgetter("model", "shard")  # a `Key`


class _Fresh(NamedTuple):
    """What a group adds to one shard's journal."""

    records: list[Record]
    lines: bytes


class Committer:
    """The write side of a running checkpoint on journals; see `interface.Commits`.

    A record counts as done when `on_commit` has received it, not before. Rows appended and not yet durable
    are at most `group_rows` plus those whose calls were in flight when `crowded` turned true: a killed
    process pays again for its rows in flight and one group. To keep the disk and the loop both busy under
    that bound, a group is written once it is half full, and its other half fills meanwhile.

    Any failure is kept, see `waiting`.

    Args:
        checkpoint: the recovered checkpoint.
        on_commit: called on the loop with each group once it is durable, in append order.
        on_closed: called on the loop with a shard's totals once its part is in place.
        group_rows: how many rows may be undurable before `crowded`.
        group_seconds: how long an appended row waits for company at most.
        closing_shards: how many finished shards may wait for their part before `crowded`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        on_commit: OnCommit = lambda _: None,
        on_closed: OnClosed = lambda _model, _shard, _summary: None,
        group_rows: int = JOURNAL_GROUP_ROWS,
        group_seconds: float = 0.05,
        closing_shards: int = 4,
    ) -> None:
        self._checkpoint = checkpoint
        self._on_commit = on_commit
        self._on_closed = on_closed
        self._group_rows = group_rows
        self._write_at = max(1, group_rows // 2)
        self._group_seconds = group_seconds
        self._closing_shards = closing_shards
        self._pending: list[Record] = []
        self._undurable = 0  # those, and those being written
        self._kept = Kept()
        self._writers: dict[Key, JournalWriter] = {}  # opened in the writing thread, closed before merging
        self._finished: set[Key] = set()  # waiting for their rows to be committed
        self._sealed: set[Key] = set()  # from `finish` until the part is in place
        self._closing: asyncio.Queue[Key | None] = asyncio.Queue()
        self._due = asyncio.Event()
        self._waiting = Waiting(lambda: self.crowded)
        self._timer: asyncio.TimerHandle | None = None
        self._ending = False
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._write_thread = ThreadPoolExecutor(1, "qfbatch-commit")
        self._merge_thread = ThreadPoolExecutor(1, "qfbatch-merge")

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._tasks = (
            self._loop.create_task(self._guarded(self._commit_groups()), name="qfbatch-commit"),
            self._loop.create_task(self._guarded(self._close_shards()), name="qfbatch-close"),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(partial=kind is None)

    @property
    def undurable(self) -> int:
        """Rows appended and not committed yet."""
        return self._undurable

    @property
    def crowded(self) -> bool:
        """Whether no new row should be started now; see `wait_for_room`."""
        return self._undurable >= self._group_rows or len(self._sealed) >= self._closing_shards

    def append(self, record: Record) -> None:
        """Take a record into the current group. Cheap, never waits; ask `crowded` before starting a new row.

        Raises:
            StorageError: an earlier commit failed.
            ValueError: the record's shard is finished and not closed yet, or the committer is closed.
        """
        if self._waiting.error is not None:
            raise self._waiting.error
        if self._ending or (self._sealed and _key(record) in self._sealed):
            raise ValueError(f"append to {record.model}, shard {record.shard} after its end")
        self._pending.append(record)
        self._undurable += 1
        count = len(self._pending)
        if count == 1:
            self._timer = self._loop.call_later(self._group_seconds, self._due.set)
        if count >= self._write_at:
            self._due.set()

    def finish(self, model: str, shard: int) -> None:
        """Have the shard closed into its part once all its rows are committed; none may follow until then.

        Raises:
            StorageError: an earlier commit or merge failed.
        """
        self._waiting.check()
        if self._ending:
            raise ValueError("finish after close")
        key = model, shard
        if key not in self._sealed:
            self._sealed.add(key)
            self._finished.add(key)
            self._due.set()

    async def wait_for_room(self) -> None:
        """Wait until not `crowded`.

        Raises:
            StorageError: a commit or merge failed, before or while waiting.
        """
        await self._waiting.for_room()

    async def failure(self) -> None:
        """Wait for the first failure and raise it; never returns. For whoever has to stop the run."""
        await self._waiting.for_failure()

    async def close(self, *, partial: bool = True) -> None:
        """Commit everything, close shards into parts, end the threads. A second call does nothing.

        Args:
            partial: also close unfinished shards, so that their rows stand in `results/`; without it their
                journals keep them, just as safely and faster.

        Raises:
            StorageError: a commit or merge failed, now or earlier.
        """
        if self._ending:
            self._waiting.check()
            return
        self._ending = True
        try:
            self._due.set()
            if self._tasks:
                commits, closings = self._tasks
                await commits
                if self._waiting.error is None:
                    for key in sorted(self._checkpoint.journalled - self._sealed) if partial else ():
                        self._closing.put_nowait(key)
                    self._closing.put_nowait(None)
                    await closings
        finally:
            await self._stop()
        self._waiting.check()

    async def _stop(self) -> None:
        self._cancel_timer()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Waits for the one write or merge a thread may be in: leaving it behind would leave the lock to
        # others.
        self._write_thread.shutdown(cancel_futures=True)
        self._merge_thread.shutdown(cancel_futures=True)
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    async def _commit_groups(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            self._cancel_timer()
            group, self._pending = self._pending, []
            if group:
                fresh = _by_journal(group)
                continued = await self._loop.run_in_executor(self._write_thread, self._write, fresh)
                for key, (records, lines) in fresh.items():
                    if key in continued:
                        self._kept.drop(key)
                    else:
                        self._kept.add(key, records, len(lines))
                self._undurable -= len(group)
                self._on_commit(group)
            if self._finished:
                # No write is under way here, so a finished shard without waiting records is committed.
                for key in self._finished.difference(map(_key, self._pending)):
                    self._finished.discard(key)
                    self._closing.put_nowait(key)
            self._waiting.settle()
            if self._ending and not self._pending:
                return

    def _write(self, fresh: dict[Key, _Fresh]) -> set[Key]:
        """In the writing thread: write all journals of the group, then fsync each.

        Returns:
            Those that turned out to hold rows of an earlier session.
        """
        writers = []
        continued = set()
        for key, (_, lines) in fresh.items():
            writer = self._writers.get(key)
            if writer is None:
                writer = self._writers[key] = self._checkpoint.begin(*key)
                if writer.committed_length:
                    continued.add(key)
            writer.append(lines)
            writers.append(writer)
        for writer in writers:
            writer.commit()
        return continued

    async def _close_shards(self) -> None:
        while (key := await self._closing.get()) is not None:
            records = self._kept.take(key)
            summary = await self._loop.run_in_executor(self._merge_thread, self._merge, key, records)
            self._sealed.discard(key)
            self._on_closed(*key, summary)
            self._waiting.settle()

    def _merge(self, key: Key, records: list[Record] | None) -> PartSummary:
        """In the merging thread: nothing is written to this shard's journal any more."""
        writer = self._writers.pop(key, None)
        if writer is not None:
            writer.close()
        return self._checkpoint.close_shard(*key, records)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - kept, and raised to every caller from here on
            self._waiting.fail(error)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _by_journal(group: list[Record]) -> dict[Key, _Fresh]:
    """A group's records and their lines, by shard.

    On the loop, whose thread has just made the records: encoded in the writing thread they go through another
    core's cache, and while it encodes this one waits for the interpreter all the same.
    """
    records: dict[Key, list[Record]] = {}
    for key, some in groupby(group, _key):
        records.setdefault(key, []).extend(some)
    return {key: _Fresh(some, encode_lines(some)) for key, some in records.items()}


__all__ = ["Committer"]
