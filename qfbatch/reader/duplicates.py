"""Which ids occur twice, in memory that does not grow with the input.

A 64-bit hash of every id is kept: in memory up to a quarter of a million, beyond that in files by its lowest
bits, so that equal ids meet in one file and each file can be looked at alone. Equal hashes are only a
suspicion; the caller proves it with the ids themselves in a second pass.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

from qfbatch.errors import InputError

_MEMORY_IDS = 250_000  # some 15 MB, and as much again while they are looked at
_BUCKETS = 256  # a billion ids make files of 32 MB, which are looked at in parts
_SUSPECTS = 10_000  # far more than are ever shown


class DuplicateFinder:
    """Collects ids and names those that probably occur twice. A context manager: it may hold temporary files.

    Args:
        memory_ids: how many hashes are held in memory before they go to files.
    """

    def __init__(self, *, memory_ids: int = _MEMORY_IDS) -> None:
        self._memory_ids = memory_ids
        self._hashes: list[int] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder:
            self._folder.cleanup()

    def add(self, ids: Iterable[str]) -> None:
        """Takes ids.

        Raises:
            InputError: there is no room for temporary files.
        """
        self._hashes.extend(map(hash, ids))
        if len(self._hashes) >= self._memory_ids:
            self._spill()

    def suspects(self) -> frozenset[int]:
        """Hashes (Python's, of this process) that occurred more than once; at most some thousands of them."""
        if self._folder:
            self._spill()
        found: set[int] = set()
        for hashes in self._buckets():
            found.update(_repeated(hashes))
            if len(found) >= _SUSPECTS:
                break
        return frozenset(found)

    def _buckets(self) -> Iterator[Sequence[int]]:
        """All hashes, equal ones together, and not many more at a time than may be held in memory."""
        if not self._folder:
            yield self._hashes
            return
        for path in sorted(Path(self._folder.name).iterdir()):
            hashes = array("q")
            hashes.frombytes(path.read_bytes())
            parts = -(-len(hashes) // self._memory_ids)
            if parts <= 1:
                yield hashes
                continue
            for part in range(parts):  # by other bits than those that chose the bucket
                yield array("q", (value for value in hashes if value // _BUCKETS % parts == part))

    def _spill(self) -> None:
        """Appends the hashes in memory to the files of their buckets."""
        buckets = [array("q") for _ in range(_BUCKETS)]
        for value in self._hashes:
            buckets[value % _BUCKETS].append(value)
        try:
            if not self._folder:
                self._folder = tempfile.TemporaryDirectory(prefix="qfbatch-ids-")
            for index, bucket in enumerate(buckets):
                with (Path(self._folder.name) / str(index)).open("ab") as file:
                    bucket.tofile(file)
        except OSError as error:
            raise InputError(
                f"no room for temporary files while looking for duplicate ids: {error.strerror}",
                hint="Set TMPDIR to a folder with 8 bytes of room for every row.",
            ) from error
        self._hashes = []


def _repeated(hashes: Sequence[int]) -> set[int]:
    """At most `_SUSPECTS` of the hashes that are there more than once."""
    if len(set(hashes)) == len(hashes):
        return set()
    repeated = (one for one, following in pairwise(sorted(hashes)) if one == following)
    return set(islice(repeated, _SUSPECTS))
