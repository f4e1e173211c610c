"""Whether a store keeps to put-if-absent, tried out rather than believed.

Some S3-compatible stores ignore `If-None-Match: *` and let the second writer win, with status 200.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qfbatch.errors import StorageError
from qfbatch.storage.objects import ObjectInfo, ObjectStore

FOLDER = "probe/"


def has_preconditions(store: ObjectStore, name: str) -> bool:
    """Whether creating the same key twice is refused the second time.

    Args:
        store: where objects are to go; one is put and removed again.
        name: of this try; no other has it.

    Raises:
        StorageError: the store cannot be written to or read at all.
    """
    key = FOLDER + name
    first, second = f"first {name}".encode(), f"second {name}".encode()
    try:
        store.put_if_absent(key, first)
        if store.get(key) != first:
            raise StorageError(
                f"{store.place}: what was just written cannot be read back",
                hint="Give the job an output.path in another store.",
            )
        return not store.put_if_absent(key, second) and store.get(key) == first
    finally:
        store.delete([key])


class AloneStore:
    """A store without preconditions, for one process at a time: it looks before it creates.

    Safety rests on that process being the only one: between looking and creating nobody else may create.

    Args:
        store: the store.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @property
    def place(self) -> str:
        """See `ObjectStore.place`."""
        return self._store.place

    def scan_source(self, key: str) -> tuple[str, dict[str, str]] | None:
        """See `ObjectStore.scan_source`."""
        return self._store.scan_source(key)

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """See `ObjectStore.put_if_absent`."""
        if self._store.stat(key) is not None:
            return False
        self._store.put(key, content)
        return True

    def put(self, key: str, content: bytes) -> None:
        """See `ObjectStore.put`."""
        self._store.put(key, content)

    def get(self, key: str) -> bytes | None:
        """See `ObjectStore.get`."""
        return self._store.get(key)

    def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """See `ObjectStore.get_range`."""
        return self._store.get_range(key, start, length)

    def stat(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore.stat`."""
        return self._store.stat(key)

    def list(self, prefix: str = "", *, after: str = "", until: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        return self._store.list(prefix, after=after, until=until)

    def delete(self, keys: Iterable[str]) -> None:
        """See `ObjectStore.delete`."""
        self._store.delete(keys)


__all__ = ["AloneStore", "has_preconditions"]
