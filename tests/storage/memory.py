"""A store in memory, which a test may watch and interrupt at every operation."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from hashlib import md5

from qfbatch.storage.objects import ObjectInfo


class MemoryStore:
    """See `ObjectStore`.

    Args:
        preconditions: without them, whoever puts last wins, as with stores that ignore `If-None-Match`.
        before: told of every operation and its key before it is done.
    """

    def __init__(
        self, *, preconditions: bool = True, before: Callable[[str, str], None] = lambda *_: None
    ) -> None:
        self.objects: dict[str, bytes] = {}
        self.calls: Counter[str] = Counter()
        self._preconditions = preconditions
        self._before = before
        self._lock = threading.Lock()

    @property
    def place(self) -> str:
        """See `ObjectStore.place`."""
        return "memory"

    def scan_source(self, key: str) -> tuple[str, dict[str, str]] | None:
        """See `ObjectStore.scan_source`."""
        return None

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """See `ObjectStore.put_if_absent`."""
        self._count("put", key)
        with self._lock:
            if self._preconditions and key in self.objects:
                return False
            self.objects[key] = content
            return True

    def put(self, key: str, content: bytes) -> None:
        """See `ObjectStore.put`."""
        self._count("put", key)
        self.objects[key] = content

    def get(self, key: str) -> bytes | None:
        """See `ObjectStore.get`."""
        self._count("get", key)
        return self.objects.get(key)

    def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """See `ObjectStore.get_range`."""
        self._count("get", key)
        content = self.objects.get(key)
        return None if content is None else content[start : start + length]

    def stat(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore.stat`."""
        self._count("stat", key)
        content = self.objects.get(key)
        return None if content is None else _info(key, content)

    def list(self, prefix: str = "", *, after: str = "", until: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        self._count("list", prefix)
        found = dict(self.objects)
        return (
            _info(k, found[k])
            for k in sorted(found)
            if k.startswith(prefix) and k > after and (not until or k <= until)
        )

    def delete(self, keys: Iterable[str]) -> None:
        """See `ObjectStore.delete`."""
        for key in keys:
            self._count("delete", key)
            self.objects.pop(key, None)

    def _count(self, operation: str, key: str) -> None:
        self._before(operation, key)
        self.calls[operation] += 1


def _info(key: str, content: bytes) -> ObjectInfo:
    return ObjectInfo(key, len(content), md5(content).hexdigest())


__all__ = ["MemoryStore"]
