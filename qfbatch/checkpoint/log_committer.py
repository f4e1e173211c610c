"""Group commit to a commit log: records become durable by shard, off the loop, several shards at once."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from qfbatch.checkpoint.interface import LOG_GROUP_ROWS, Key, OnClosed, OnCommit
from qfbatch.checkpoint.log_checkpoint import LogCheckpoint
from qfbatch.checkpoint.waiting import Waiting
from qfbatch.errors import Fenced
from qfbatch.records import Record

GROUP_SECONDS = 5.0
_WRITERS = 8
_LOOK_OUT_S = 1.0


class LogCommitter:
    """The write side of a running commit log; see `interface.Commits`.

    A shard's rows become a part when half a group of all shards is full, `group_seconds` after the shard's
    first, or when the shard is finished. Rows not durable are at most `group_rows` plus those whose calls
    were in flight when `crowded` turned true.

    Args:
        checkpoint: whose shards are opened.
        on_commit: called on the loop with records once they are durable.
        on_closed: called on the loop with a shard's totals once it is closed.
        group_rows: how many rows may be undurable before `crowded`.
        group_seconds: how long an appended row waits for company at most.
        closing_shards: how many finished shards may wait for being closed before `crowded`.
        stop: set by another thread when another process has taken the whole run over.
    """

    def __init__(
        self,
        checkpoint: LogCheckpoint,
        *,
        on_commit: OnCommit = lambda _: None,
        on_closed: OnClosed = lambda _model, _shard, _summary: None,
        group_rows: int = LOG_GROUP_ROWS,
        group_seconds: float = GROUP_SECONDS,
        closing_shards: int = 16,
        stop: threading.Event | None = None,
    ) -> None:
        self._checkpoint = checkpoint
        self._on_commit = on_commit
        self._on_closed = on_closed
        self._group_rows = group_rows
        self._write_at = max(1, group_rows // 2)
        self._group_seconds = group_seconds
        self._closing_shards = closing_shards
        self._pending: defaultdict[Key, list[Record]] = defaultdict(list)
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._gathering = 0  # rows in `_pending`
        self._undurable = 0  # those, and those being written
        self._due: set[Key] = set()  # to be written as soon as the shard's writer is free
        self._sealed: set[Key] = set()  # from `finish` until closed
        self._tasks: dict[Key, asyncio.Task[None]] = {}  # one writer a shard at a time
        self._waiting = Waiting(lambda: self.crowded)
        self._ending = False
        self._stop = stop
        self._watch: asyncio.TimerHandle | None = None
        self._pool = ThreadPoolExecutor(_WRITERS, "qfbatch-log-commit")

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._look_out()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def undurable(self) -> int:
        """Rows appended and not committed yet."""
        return self._undurable

    @property
    def crowded(self) -> bool:
        """See `Commits.crowded`."""
        return self._undurable >= self._group_rows or len(self._sealed) >= self._closing_shards

    def append(self, record: Record) -> None:
        """See `Commits.append`."""
        self._waiting.check()
        key = record.model, record.shard
        if self._ending or key in self._sealed:
            raise ValueError(f"append to {record.model}, shard {record.shard} after its end")
        pending = self._pending[key]
        pending.append(record)
        self._gathering += 1
        self._undurable += 1
        if len(pending) == 1:
            self._timers[key] = self._loop.call_later(self._group_seconds, self._write_soon, key)
        if self._gathering >= self._write_at:
            for waiting in list(self._pending):
                self._write_soon(waiting)

    def finish(self, model: str, shard: int) -> None:
        """See `Commits.finish`."""
        self._waiting.check()
        if self._ending:
            raise ValueError("finish after close")
        key = model, shard
        if key not in self._sealed:
            self._sealed.add(key)
            self._write_soon(key)

    async def wait_for_room(self) -> None:
        """See `Commits.wait_for_room`."""
        await self._waiting.for_room()

    async def failure(self) -> None:
        """See `Commits.failure`."""
        await self._waiting.for_failure()

    async def close(self) -> None:
        """Commit everything, end the threads. A second call does nothing.

        Raises:
            Fenced: another writer has taken over a shard.
            StorageError: a commit failed, now or earlier.
        """
        if not self._ending:
            self._ending = True
            try:
                for key in list(self._pending):
                    self._write_soon(key)
                while self._tasks:
                    await asyncio.gather(*self._tasks.values())
            finally:
                for timer in (*self._timers.values(), *([self._watch] if self._watch else [])):
                    timer.cancel()
                # Waits for what its threads are in: an entry must not appear after this has returned.
                self._pool.shutdown(cancel_futures=True)
        self._waiting.check()

    def _look_out(self) -> None:
        """Ask every second, for the event is set by a thread that knows no loop."""
        if self._stop is None:
            return
        if self._stop.is_set():
            self._waiting.fail(
                Fenced(
                    "another process has taken this run over.",
                    hint="Nothing is lost or doubled; the other process goes on with the run.",
                )
            )
        else:
            self._watch = self._loop.call_later(_LOOK_OUT_S, self._look_out)

    def _write_soon(self, key: Key) -> None:
        self._due.add(key)
        if key not in self._tasks and self._waiting.error is None:
            self._tasks[key] = self._loop.create_task(self._guarded(key))

    async def _guarded(self, key: Key) -> None:
        try:
            await self._write(key)
        except Exception as error:  # noqa: BLE001 - kept, and raised to every caller from here on
            self._waiting.fail(error)
        finally:
            del self._tasks[key]
            self._waiting.settle()

    async def _write(self, key: Key) -> None:
        while key in self._due and self._waiting.error is None:
            self._due.discard(key)
            records = self._pending.pop(key, [])
            if timer := self._timers.pop(key, None):
                timer.cancel()
            if records:
                self._gathering -= len(records)
                await self._loop.run_in_executor(self._pool, self._checkpoint.commit, *key, records)
                self._undurable -= len(records)
                self._on_commit(records)
            if key in self._sealed and key not in self._pending:
                summary = await self._loop.run_in_executor(self._pool, self._checkpoint.close_shard, *key)
                self._sealed.discard(key)
                self._on_closed(*key, summary)
            self._waiting.settle()


__all__ = ["GROUP_SECONDS", "LogCommitter"]
