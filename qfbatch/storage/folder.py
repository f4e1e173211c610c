"""Objects as files below a folder, local or shared; put-if-absent is `link(2)`."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from qfbatch.checkpoint.files import make_folder, replace_file, storage_errors, sync_folder
from qfbatch.checkpoint.layout import TEMPORARY_PREFIX
from qfbatch.storage.objects import ObjectInfo

_temporaries = itertools.count()


class FolderStore:
    """See `ObjectStore`; keys are paths below a folder, with `/` between their steps.

    An object appears by linking a finished, fsynced temporary file to its name, which fails if the name is
    there: atomic on local file systems and on NFS (where a lost reply is told by the file's link count).

    Args:
        folder: the folder; created when something is put.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def place(self) -> str:
        """See `ObjectStore.place`."""
        return str(self._folder)

    def scan_source(self, key: str) -> tuple[str, dict[str, str]] | None:
        """See `ObjectStore.scan_source`."""
        return str(self._path(key)), {}

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """See `ObjectStore.put_if_absent`."""
        path = self._path(key)
        with storage_errors(path, "create"):
            if path.exists():
                return False
        make_folder(path.parent)
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}.{_writer()}-{next(_temporaries)}")
        with storage_errors(path, "create"):
            try:
                with temporary.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                created = _link(temporary, path)
                sync_folder(path.parent)
            finally:
                with suppress(OSError):
                    temporary.unlink()
        return created

    def put(self, key: str, content: bytes) -> None:
        """See `ObjectStore.put`."""
        path = self._path(key)
        make_folder(path.parent)
        replace_file(path, content, writer=_writer())

    def get(self, key: str) -> bytes | None:
        """See `ObjectStore.get`."""
        path = self._path(key)
        with storage_errors(path, "read"):
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """See `ObjectStore.get_range`."""
        path = self._path(key)
        with storage_errors(path, "read"):
            try:
                with path.open("rb") as file:
                    file.seek(start)
                    return file.read(length)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def stat(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore.stat`."""
        path = self._path(key)
        with storage_errors(path, "read"):
            try:
                return _info(key, path.stat())
            except (FileNotFoundError, NotADirectoryError):
                return None

    def list(self, prefix: str = "", *, after: str = "", until: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`; temporary files are none of the objects."""
        top = self._folder / prefix.rpartition("/")[0]
        found = _files(self._folder, top, temporary=False, after=after, until=until)
        listed = (info for info in found if info.key.startswith(prefix))
        return iter(sorted(listed, key=lambda info: info.key))

    def temporaries(self) -> tuple[ObjectInfo, ...]:
        """Temporary files, everywhere: of writers at work, and what writers that were killed have left.

        A writer whose temporary file is removed fails in what it was about to put, and has put nothing.
        """
        found = _files(self._folder, self._folder, temporary=True)
        return tuple(sorted(found, key=lambda info: info.key))

    def delete(self, keys: Iterable[str]) -> None:
        """See `ObjectStore.delete`."""
        folders = set()
        for key in keys:
            path = self._path(key)
            with storage_errors(path, "remove"), suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
                folders.add(path.parent)
        for folder in folders:
            with storage_errors(folder, "remove files of the folder"):
                sync_folder(folder)

    def _path(self, key: str) -> Path:
        return self._folder / key


def _files(folder: Path, top: Path, *, temporary: bool, after: str = "", until: str = "") -> list[ObjectInfo]:
    """Temporary files, or all others, in `top` and below, bounded as in `list`; keys are below `folder`."""
    found = []
    with storage_errors(top, "read the folder"):
        for parent, folders, names in os.walk(top, onerror=_raise_unless_missing):
            below = Path(parent).relative_to(folder).as_posix()
            start = "" if below == "." else f"{below}/"
            folders[:] = [name for name in folders if _reaches_into(f"{start}{name}/", after, until)]
            for name in names:
                key = start + name
                if name.startswith(TEMPORARY_PREFIX) is not temporary or key <= after:
                    continue
                if not until or key <= until:
                    with suppress(FileNotFoundError):  # gone since it was listed
                        found.append(_info(key, (Path(parent) / name).stat()))
    return found


def _raise_unless_missing(error: OSError) -> None:
    """What `os.walk` would pass over in silence: a folder that cannot be read is not an empty one."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _link(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except OSError as error:
        if temporary.stat().st_nlink > 1:  # over NFS: done, and the reply was lost
            return True
        if isinstance(error, FileExistsError):
            return False
        raise
    return True


def _reaches_into(start: str, after: str, until: str) -> bool:
    """Whether any key that begins with `start` can be in a listing from `after` to `until`."""
    return (start > after or after.startswith(start)) and (not until or start <= until)


def _writer() -> str:
    """Names this process among those of all machines that share the folder."""
    return f"{socket.gethostname()}-{os.getpid()}"


def _info(key: str, found: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, found.st_size, f"{found.st_mtime_ns:x}-{found.st_size:x}")


__all__ = ["FolderStore"]
