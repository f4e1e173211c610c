"""Whether the input is still what the survey saw."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from qfbatch.errors import InputError
from qfbatch.job.settings import InputSettings
from qfbatch.reader.bytestream import file_bytes
from qfbatch.reader.files import find_files
from qfbatch.records import SourceFile


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
    found = {file.name: file for file in find_files(settings.paths)}
    known = {file.name: file for file in files}
    return InputChange(
        added=tuple(name for name in found if name not in known),
        removed=tuple(name for name in known if name not in found),
        modified=tuple(
            name for name in found if name in known and not is_same(known[name], found[name].path)
        ),
        moved=found.keys() == known.keys() and list(found) != list(known),
    )


def is_same(file: SourceFile, path: str) -> bool:
    """Whether the file at `path` still has the contents that were surveyed.

    Raises:
        InputError: it cannot be read.
    """
    try:
        now = Path(path).stat()
        if now.st_size != file.size:
            return False
        return now.st_mtime_ns == file.mtime_ns or _digest(path, now.st_size, now.st_mtime_ns) == file.digest
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", source_file=file.name) from error


@lru_cache(maxsize=1024)
def _digest(path: str, size: int, mtime_ns: int) -> str:  # noqa: ARG001 - size and time make the cache's key
    """SHA-256 of a file; read once for each size and time it has, however often it is asked for."""
    digest = hashlib.sha256()
    for piece in file_bytes(path):
        digest.update(piece)
    return digest.hexdigest()
