"""What a store of objects can do: the seam between everything above it and folders, S3, or a fake.

Correctness of runs with several writers rests on one operation alone, `put_if_absent`. Nothing here knows
rows or shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from msgspec import Struct


class ObjectInfo(Struct, frozen=True):
    """What a listing says of an object.

    Attributes:
        key: its key.
        size: bytes.
        etag: changes when the content does; opaque.
    """

    key: str
    size: int
    etag: str


class ObjectStore(Protocol):
    """Objects under keys like `log/yi-34b-000001/000002.json`, all below one place.

    What a call has written is durable when it returns, and every later `get` and `list`, of any process,
    shows it. Calls block; all may be made from several threads at once. Whatever goes wrong is a
    `StorageError` that names the object; calls that are safe to repeat have been repeated before.
    """

    @property
    def place(self) -> str:
        """Where all keys are, as a user would write it."""

    def scan_source(self, key: str) -> tuple[str, dict[str, str]] | None:
        """Address and options by which polars reads an object itself; None where it cannot."""

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Create an object; whoever comes second gets False and changes nothing.

        False may also be the echo of an own success whose reply was lost: who needs to know puts something
        of its own into the content and reads it back.
        """

    def put(self, key: str, content: bytes) -> None:
        """Create or replace an object, whole; for content of which any version does."""

    def get(self, key: str) -> bytes | None:
        """An object's content; None where there is none."""

    def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """Up to `length` bytes from `start` on, fewer at the end; None where there is no such object."""

    def stat(self, key: str) -> ObjectInfo | None:
        """Size and etag of an object; None where there is none."""

    def list(self, prefix: str = "", *, after: str = "", until: str = "") -> Iterator[ObjectInfo]:
        """The objects whose keys begin with `prefix`, sort after `after` and not after `until`, in order.

        Without `until` there is no end. Parts of a long listing may be asked for at once, in several threads.
        """

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are not there do not matter."""


__all__ = ["ObjectInfo", "ObjectStore"]
