"""Reading a large object by ranges: as a stream of pieces, or as a file that can be sought."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, cast

from qfbatch.storage.objects import ObjectStore

_FIRST_RANGE = 1024 * 1024  # a shard of ordinary rows fits; larger reads grow to the last
_LARGEST_RANGE = 8 * 1024 * 1024


def object_pieces(store: ObjectStore, key: str, *, size: int, offset: int = 0) -> Iterator[bytes]:
    """An object's bytes from `offset` on, in pieces of at most `size`; holds one range at a time.

    Raises:
        FileNotFoundError: there is no such object, or no longer.
        StorageError: it can't be read.
    """
    length = _FIRST_RANGE
    while True:
        content = store.get_range(key, offset, length)
        if content is None:
            raise FileNotFoundError(2, "no such object", f"{store.place}/{key}")
        for begin in range(0, len(content), size):
            yield content[begin : begin + size]
        if len(content) < length:
            return
        offset += length
        length = min(2 * length, _LARGEST_RANGE)


def object_file(store: ObjectStore, key: str, size: int) -> IO[bytes]:
    """An object as a file for reading and seeking.

    Args:
        store: where it is.
        key: its key.
        size: its bytes.
    """
    return cast("IO[bytes]", io.BufferedReader(_RangedFile(store, key, size), _FIRST_RANGE))


class _RangedFile(io.RawIOBase):
    def __init__(self, store: ObjectStore, key: str, size: int) -> None:
        self._store = store
        self._key = key
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """It is read from, and nothing else."""
        return True

    def seekable(self) -> bool:
        """Any place can be read next: each read asks the store for a range."""
        return True

    def tell(self) -> int:
        """Where the next read begins, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, as files do; beyond the end there is nothing to read."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: object) -> int:
        """Fill the buffer from here on; returns how many bytes it was, 0 at the end."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type] # what RawIOBase promises to give
        length = min(len(view), self._size - self._position)
        if length <= 0:
            return 0
        content = self._store.get_range(self._key, self._position, length)
        if content is None:
            raise FileNotFoundError(2, "no such object", f"{self._store.place}/{self._key}")
        view[: len(content)] = content
        self._position += len(content)
        return len(content)


__all__ = ["object_file", "object_pieces"]
