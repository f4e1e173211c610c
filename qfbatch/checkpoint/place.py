"""Where a run is: a folder of this machine with journals, or a store of objects with a commit log."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from qfbatch.checkpoint.files import replace_file, storage_errors
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.logbook import Logbook
from qfbatch.errors import StorageError
from qfbatch.storage.access import StorageAccess
from qfbatch.storage.address import Address
from qfbatch.storage.folder import FolderStore
from qfbatch.storage.objects import ObjectStore
from qfbatch.storage.opening import open_store

SESSIONS = "sessions/"
SUPERSEDED = "superseded/"


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run directory with a commit log; see docs/storage.md for its objects.

    Args:
        store: all of its objects.
    """

    store: ObjectStore
    _logbooks: dict[str, Logbook] = field(default_factory=dict, compare=False, repr=False)

    def logbook(self, run_id: str) -> Logbook:
        """The run's commit logs; always the same, so that nothing is read twice."""
        return self._logbooks.setdefault(run_id, Logbook(self.store, run_id))

    def __str__(self) -> str:
        return self.store.place


RunPlace: TypeAlias = RunLayout | StoredRun


def run_place(path: Path | Address, access: StorageAccess, *, shared: bool = False) -> RunPlace:
    """The run directory at a path, whether there is one yet or not.

    Args:
        path: of a folder, or an address in object storage.
        access: endpoint and credentials of object storage.
        shared: whether a folder that holds no run yet is to have a commit log, for many machines.

    Raises:
        UsageError: object storage is not installed.
    """
    if isinstance(path, Address):
        return StoredRun(open_store(path, access))
    layout = RunLayout(path)
    if (path / SESSIONS).is_dir() or (shared and not layout.manifest.exists()):
        return StoredRun(FolderStore(path))
    return layout


def logbook_of(place: RunPlace, run_id: str) -> Logbook:
    """The commit logs of a run that many machines share."""
    assert isinstance(place, StoredRun), "runs of many machines have a log"  # noqa: S101
    return place.logbook(run_id)


def read_content(place: RunPlace, name: str) -> bytes | None:
    """The content of a small file of a run directory, like `plan.json`; None where there is none.

    Raises:
        StorageError: it can't be read.
    """
    if isinstance(place, StoredRun):
        return place.store.get(name)
    try:
        with storage_errors(place.path / name, "read"):
            return (place.path / name).read_bytes()
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return None
        raise


def replace_content(place: RunPlace, name: str, content: bytes) -> None:
    """Give a small file of a run directory new content, whole or not at all; of which any version does.

    Raises:
        StorageError: it can't be written.
    """
    if isinstance(place, StoredRun):
        place.store.put(name, content)
    else:
        replace_file(place.path / name, content)


__all__ = [
    "SESSIONS",
    "SUPERSEDED",
    "RunPlace",
    "StoredRun",
    "logbook_of",
    "read_content",
    "replace_content",
    "run_place",
]
