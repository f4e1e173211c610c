"""What a run needs of where its rows are kept, whoever keeps them.

Two keepers: journals on a local disk (`store.Checkpoint`, `committer.Committer`: the fastest, with the
smallest loss bound) and the commit log in a store of objects (`log_checkpoint.LogCheckpoint`,
`log_committer.LogCommitter`: many writers, on many machines).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Protocol

import msgspec

from qfbatch.checkpoint.parts import PartSummary
from qfbatch.records import Dropped, Record, Status

Key = tuple[str, int]  # model, shard
# Rows that may be answered and not yet durable, in journals and in a commit log.
JOURNAL_GROUP_ROWS = 256
LOG_GROUP_ROWS = 2048
OnCommit = Callable[[list[Record]], None]
OnClosed = Callable[[str, int, PartSummary], None]


class ShardState(StrEnum):
    """How much of a shard of a model is committed."""

    COMPLETE = "complete"  # every row has a record, of whatever status
    PARTIAL = "partial"
    UNTOUCHED = "untouched"


class ShardProgress(msgspec.Struct, frozen=True):
    """What is committed of one shard of one model."""

    state: ShardState
    summary: PartSummary


class Recovery(msgspec.Struct, frozen=True):
    """What a run starts from.

    Attributes:
        notes: what had to be repaired, one line each.
        shards: progress by (model, shard number), for every model and shard of the plan.
    """

    notes: tuple[str, ...]
    shards: Mapping[Key, ShardProgress]

    @property
    def summary(self) -> PartSummary:
        """Totals of all that is committed of the plan."""
        return sum((progress.summary for progress in self.shards.values()), PartSummary())


def progress_of(summary: PartSummary | None, rows: int) -> ShardProgress:
    """The progress of a shard of so many rows with these totals."""
    if summary is None or not summary.rows:
        return ShardProgress(ShardState.UNTOUCHED, PartSummary())
    return ShardProgress(ShardState.COMPLETE if summary.rows >= rows else ShardState.PARTIAL, summary)


class OpenShards(Protocol):
    """Gives out shards to be worked on."""

    def open_shard(self, model: str, shard: int) -> dict[str, Status]:
        """Make the shard this writer's, and tell the latest status of every committed row, by row_id.

        With a commit log this claims the shard: who had it before can commit nothing more to it. Blocks.

        Raises:
            StorageError: what is committed of it can't be read.
        """

    def dropped(self, model: str, shard: int) -> dict[str, Dropped]:
        """What an opened shard's failed rows had to drop, by row_id, where it was anything. Blocks.

        Raises:
            StorageError: what is committed of it can't be read.
        """


class Commits(AbstractAsyncContextManager["Commits"], Protocol):
    """The write side of a run; a row counts as done when `on_commit` has received its record, not before.

    Leaving the context commits everything that was appended, unless it is left by an error. Any failure is
    kept: every later call raises it, who waits is woken, nothing more is accepted.
    """

    @property
    def crowded(self) -> bool:
        """Whether no new row should be started now: too many are not durable yet."""

    def append(self, record: Record) -> None:
        """Take a record. Cheap, never waits; ask `crowded` before starting a new row.

        Raises:
            RunDirectoryError: an earlier commit failed, or another process has taken over.
            ValueError: the record's shard is finished, or the context is left.
        """

    def finish(self, model: str, shard: int) -> None:
        """Have the shard closed once all its rows are committed; none may follow until then.

        Raises:
            RunDirectoryError: an earlier commit failed, or another process has taken over.
        """

    async def wait_for_room(self) -> None:
        """Wait until not `crowded`; raises as `append` does."""

    async def failure(self) -> None:
        """Wait for the first failure and raise it; never returns."""


__all__ = [
    "JOURNAL_GROUP_ROWS",
    "LOG_GROUP_ROWS",
    "Commits",
    "Key",
    "OnClosed",
    "OnCommit",
    "OpenShards",
    "Recovery",
    "ShardProgress",
    "ShardState",
    "progress_of",
]
