"""The commit log of one shard of one model: what its entries mean, and what may follow; no I/O.

    0001 claim · 0002 part · 0003 part · 0004 claim (taken over) · 0005 part · 0006 done

Entries are numbered without gaps and put only where there is none of that number, so a log has one history
and every reader of n entries reads the same. The next number is the fence: whoever takes a shard over appends
a claim, and the next entry of the writer before, alive or thawed, meets a number that is taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from msgspec import Struct

from qfbatch.checkpoint.parts import PartSummary


class Claim(Struct, frozen=True, tag="claim", tag_field="entry"):
    """A writer takes the shard, from whoever has it.

    Attributes:
        run_id: whose answers are to follow; entries under another run's claim mean nothing to this one.
        writer: names the writer among all that ever were.
    """

    run_id: str
    writer: str


class Part(Struct, frozen=True, tag="part", tag_field="entry"):
    """Rows are committed: those of the object `key`, over earlier ones of the same rows."""

    writer: str
    key: str
    rows: int


class Done(Struct, frozen=True, tag="done", tag_field="entry"):
    """Every row of the shard has a record, and `results/` holds them; `summary` is their totals.

    Attributes:
        writer: who says so.
        summary: totals.
        run_id: the claim's, so that a log which ends so need not be read from its beginning; empty in entries
            of an earlier qfbatch.
        parts: those that count beside `results/`.
    """

    writer: str
    summary: PartSummary
    run_id: str = ""
    parts: tuple[str, ...] = ()


Entry: TypeAlias = Claim | Part | Done


class DamagedLog(ValueError):  # noqa: N818 - reads as the state it reports
    """The entries are none that writers who keep to the rules can have left."""


class ShardLog(Struct, frozen=True):
    """What the entries so far come to, for one run.

    Attributes:
        entries: how many there are; the next one's number is one more.
        owner: writer of the latest claim; only its entries can follow.
        ours: whether that claim is of this run.
        published: whether `results/` holds the shard, all rows of it, as of the first `Done`.
        parts: objects whose rows count, oldest first: all of them until published, then those since, whose
            rows overrule the published ones.
        summary: totals as of the latest `Done`; None while there is none, and once a part has followed.
    """

    entries: int = 0
    owner: str = ""
    ours: bool = False
    published: bool = False
    parts: tuple[str, ...] = ()
    summary: PartSummary | None = None

    @property
    def begun(self) -> bool:
        """Whether any row is committed."""
        return self.published or bool(self.parts)

    def next_claim(self) -> int:
        """The number of the next claim, which is its attempt: no two claims of a shard have the same."""
        return self.entries + 1


def follow(log: ShardLog, entry: Entry, run_id: str) -> ShardLog:
    """The log with one more entry.

    Args:
        log: before it.
        entry: number `log.entries + 1`.
        run_id: of the run that reads.

    Raises:
        DamagedLog: the entry is of a writer that does not own the shard.
    """
    entries = log.entries + 1
    if isinstance(entry, Claim):
        return ShardLog(entries, entry.writer, entry.run_id == run_id, log.published, log.parts, log.summary)
    if entry.writer != log.owner:
        raise DamagedLog(f"entry {entries} is by {entry.writer}, but {log.owner or 'nobody'} owns the shard")
    if not log.ours:
        return ShardLog(entries, log.owner, log.ours, log.published, log.parts, log.summary)
    if isinstance(entry, Part):
        return ShardLog(entries, log.owner, log.ours, log.published, (*log.parts, entry.key))
    # Parts of the time before the first `Done` are in `results/`. Later ones stay beside it: `results/` is
    # replaced in place then, and a process frozen in the middle of that may put the older file back.
    parts = log.parts if log.published else ()
    return ShardLog(entries, log.owner, log.ours, published=True, parts=parts, summary=entry.summary)


def concluded(entries: int, last: Entry, run_id: str) -> ShardLog | None:
    """What a log comes to by its last entry alone; None where that does not tell.

    The writer of a `Done` has owned the shard up to it, so what it repeats of the entries before is final.

    Args:
        entries: how many the log has.
        last: the last of them.
        run_id: of the run that reads.
    """
    if isinstance(last, Done) and last.run_id == run_id:
        return ShardLog(
            entries, last.writer, ours=True, published=True, parts=last.parts, summary=last.summary
        )
    return None


def fold(entries: Iterable[Entry], run_id: str) -> ShardLog:
    """What a log's entries, from number 1 on, come to.

    Raises:
        DamagedLog: as `follow`.
    """
    log = ShardLog()
    for entry in entries:
        log = follow(log, entry, run_id)
    return log


__all__ = ["Claim", "DamagedLog", "Done", "Entry", "Part", "ShardLog", "concluded", "fold", "follow"]
