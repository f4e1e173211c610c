"""Committed records of open shards, kept until these become parts, so that no journal need be read again."""

from __future__ import annotations

from collections.abc import Sequence

from qfbatch.checkpoint.interface import Key
from qfbatch.records import Record

ROOM_BYTES = 16_000_000  # of journal lines


class Kept:
    """What the journals of open shards hold, as far as there is room and all of it was written here.

    Args:
        room_bytes: as many bytes of journal lines at most are kept; shards beyond that are not.
    """

    def __init__(self, room_bytes: int = ROOM_BYTES) -> None:
        self._room_bytes = room_bytes
        self._shards: dict[Key, tuple[list[Record], int]] = {}
        self._not_kept: set[Key] = set()

    def add(self, key: Key, records: Sequence[Record], size: int) -> None:
        """Records were committed to the shard's journal, as lines of so many bytes in all."""
        if key in self._not_kept:
            return
        if size > self._room_bytes:
            self.drop(key)
            return
        self._room_bytes -= size
        held, before = self._shards.get(key, ([], 0))
        held.extend(records)
        self._shards[key] = held, before + size

    def drop(self, key: Key) -> None:
        """The shard's journal holds what is not known here, or too much."""
        _, size = self._shards.pop(key, ([], 0))
        self._room_bytes += size
        self._not_kept.add(key)

    def take(self, key: Key) -> list[Record] | None:
        """All that the shard's journal holds, in its order; None where it has to be read. Kept no longer."""
        records, size = self._shards.pop(key, (None, 0))
        self._room_bytes += size
        self._not_kept.discard(key)
        return records


__all__ = ["ROOM_BYTES", "Kept"]
