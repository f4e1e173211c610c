"""Where an input file's bytes come from: this machine, or object storage by ranged reads."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from qfbatch.errors import StorageError
from qfbatch.storage.access import StorageAccess
from qfbatch.storage.address import Address, is_stored, parse_address
from qfbatch.storage.objects import ObjectStore
from qfbatch.storage.opening import open_store
from qfbatch.storage.ranged import object_file, object_pieces


class Stamp(NamedTuple):
    """What tells without reading that a file is as it was.

    Attributes:
        size: bytes.
        mtime_ns: modification time, nanoseconds since the epoch; 0 in object storage.
        etag: changes with the content of an object; empty for files.
    """

    size: int
    mtime_ns: int
    etag: str = ""


class Source(Protocol):
    """One input file. Whatever goes wrong with it is an OSError whose `strerror` says what."""

    def stamp(self) -> Stamp:
        """How it is now."""

    def pieces(self, size: int, offset: int = 0) -> Iterator[bytes]:
        """Its bytes from `offset` on, in pieces of at most `size`."""

    def seekable(self) -> str | IO[bytes]:
        """What Arrow can open for reading anywhere in it."""


class LocalSource:
    """See `Source`; a file of this machine."""

    def __init__(self, path: str) -> None:
        self._path = path

    def stamp(self) -> Stamp:
        """See `Source.stamp`."""
        found = Path(self._path).stat()
        return Stamp(found.st_size, found.st_mtime_ns)

    def pieces(self, size: int, offset: int = 0) -> Iterator[bytes]:
        """See `Source.pieces`."""
        with Path(self._path).open("rb") as file:
            file.seek(offset)
            while piece := file.read(size):
                yield piece

    def seekable(self) -> str | IO[bytes]:
        """See `Source.seekable`."""
        return self._path


class StoredSource:
    """See `Source`; an object."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store = store
        self._key = key

    def stamp(self) -> Stamp:
        """See `Source.stamp`."""
        with _as_os_errors():
            found = self._store.stat(self._key)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such object", f"{self._store.place}/{self._key}")
        return Stamp(found.size, 0, found.etag)

    def pieces(self, size: int, offset: int = 0) -> Iterator[bytes]:
        """See `Source.pieces`."""
        with _as_os_errors():
            yield from object_pieces(self._store, self._key, size=size, offset=offset)

    def seekable(self) -> str | IO[bytes]:
        """See `Source.seekable`."""
        return object_file(self._store, self._key, self.stamp().size)


def source_at(path: str, access: StorageAccess) -> Source:
    """The input file at a path.

    Args:
        path: absolute, or an `s3://` address.
        access: to object storage.

    Raises:
        UsageError: object storage is not installed.
    """
    if not is_stored(path):
        return LocalSource(path)
    address = parse_address(path)
    return StoredSource(bucket_store(address.bucket, access), address.key)


@lru_cache(maxsize=16)
def bucket_store(bucket: str, access: StorageAccess) -> ObjectStore:
    """A whole bucket; one client, with its connections, for all who read there.

    Raises:
        UsageError: object storage is not installed.
    """
    return open_store(Address(bucket, ""), access)


@contextmanager
def _as_os_errors() -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise OSError(errno.EIO, error.message) from error


__all__ = ["Source", "Stamp", "bucket_store", "source_at"]
