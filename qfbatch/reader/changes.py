"""Whether the input is still what the survey saw."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from qfbatch.errors import InputError
from qfbatch.job.settings import InputSettings
from qfbatch.reader.bytestream import file_bytes
from qfbatch.reader.files import find_files
from qfbatch.reader.sources import Stamp, source_at
from qfbatch.records import SourceFile
from qfbatch.storage.access import StorageAccess


@dataclass(frozen=True, slots=True)
class InputChange:
    """How the input differs from what was surveyed; false where it does not.

    Attributes:
        added, removed, modified: names of files.
        moved: the same files, in another order.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    moved: bool = False

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.modified or self.moved)


def changed_files(files: Sequence[SourceFile], settings: InputSettings) -> InputChange:
    """Compares what the job's paths find now with a survey's files.

    Costs one look at each file's size and time; contents are read only where the time differs and the size
    does not.

    Raises:
        InputError: a path of the job finds nothing any more, or a file cannot be read.
    """
    found = {file.name: file for file in find_files(settings.paths, settings.access)}
    known = {file.name: file for file in files}
    return InputChange(
        added=tuple(name for name in found if name not in known),
        removed=tuple(name for name in known if name not in found),
        modified=tuple(
            name
            for name in found
            if name in known and not is_same(known[name], found[name].path, settings.access)
        ),
        moved=found.keys() == known.keys() and list(found) != list(known),
    )


def is_same(file: SourceFile, path: str, access: StorageAccess) -> bool:
    """Whether the file at `path` still has the contents that were surveyed.

    Args:
        file: as it was surveyed.
        path: where it is now.
        access: to object storage.

    Raises:
        InputError: it cannot be read.
    """
    try:
        now = source_at(path, access).stamp()
        if now.size != file.size:
            return False
        known = Stamp(file.size, file.mtime_ns, file.etag)
        return now == known or _digest(path, now, access) == file.digest
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", source_file=file.name) from error


@lru_cache(maxsize=1024)
def _digest(path: str, stamp: Stamp, access: StorageAccess) -> str:  # noqa: ARG001 - part of the cache's key
    """SHA-256 of a file; read once for each stamp it has, however often it is asked for."""
    digest = hashlib.sha256()
    for piece in file_bytes(source_at(path, access)):
        digest.update(piece)
    return digest.hexdigest()
