"""Whether a store keeps to put-if-absent, tried out rather than believed.

Some S3-compatible stores ignore `If-None-Match: *` and let the second writer win, with status 200.
"""

from __future__ import annotations

from qfbatch.errors import StorageError
from qfbatch.storage.objects import ObjectStore

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


__all__ = ["has_preconditions"]
