"""The few file operations everything durable is made of, and the one place that translates their errors."""

from __future__ import annotations

import errno
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from qfbatch.checkpoint import faultpoints
from qfbatch.checkpoint.layout import TEMPORARY_PREFIX
from qfbatch.errors import StorageError

if sys.platform == "darwin":
    import fcntl

    def sync_data(fd: int) -> None:
        """Have the file's bytes on the medium; macOS's own fsync stops at the drive's cache."""
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)

elif sys.platform == "win32":

    def sync_data(fd: int) -> None:
        """Have the file's bytes on the medium."""
        os.fsync(fd)

else:

    def sync_data(fd: int) -> None:
        """Have the file's bytes, and the length needed to read them, on the medium."""
        os.fdatasync(fd)


_NO_ROOM = {errno.ENOSPC, errno.EFBIG, *({errno.EDQUOT} if hasattr(errno, "EDQUOT") else ())}
_NOT_SUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
SYNC_PAUSE_S = 0.2  # between two syncs while a long content is written; a short one never sees any
_LONG_BUFFER = 1 << 20  # for a long content: what comes in small pieces goes to the system in large ones
_temporaries = itertools.count()


def storage_error(path: Path, doing: str, error: OSError) -> StorageError:
    """An operating system's error as the user meets it.

    Args:
        path: the file it happened to.
        doing: what was being done, as a verb ("write", "read").
        error: the system's own.
    """
    reason = error.strerror or str(error)
    if error.errno in _NO_ROOM:
        hint = "Make room on that disk (or raise the limit), then run the same command again: it continues."
    elif error.errno in _NOT_ALLOWED:
        hint = "Make it writable for this user, then run the same command again: it continues."
    elif error.errno in _NOT_SUPPORTED:
        hint = (
            "That file system lacks what a run directory needs; give the job an output.path on another one."
        )
    else:
        hint = "Check that disk, then run the same command again: it continues from what was committed."
    return StorageError(f"{path}: cannot {doing}: {reason}", hint=hint)


@contextmanager
def storage_errors(path: Path, doing: str) -> Iterator[None]:
    """Raise the block's OSError as a StorageError about `path`."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, doing, error) from error


def sync_folder(folder: Path) -> None:
    """Have the folder's entries (created, renamed and removed files) on the medium."""
    if sys.platform != "win32":  # Windows can't open a folder; NTFS journals its entries itself
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:  # some network file systems keep entries durable unasked
                raise
        finally:
            os.close(fd)


def make_folder(folder: Path) -> None:
    """Create a folder and what is missing above it, durably.

    Raises:
        StorageError: it could not be created.
    """
    if folder.is_dir():
        return
    with storage_errors(folder, "create the folder"):
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def replace_file(
    path: Path,
    content: bytes | Callable[[IO[bytes]], None],
    *,
    points: str = "",
    writer: str = "",
    long: bool = False,
) -> None:
    """Give `path` new content, whole or not at all, and durably.

    Temporary file in the same folder, fsync, rename over `path`, fsync of the folder. At any moment, a power
    cut included, `path` is either the old file or the new one; when this returns, the new one. Who had the
    old file open goes on reading the old one.

    What it costs: two fsyncs (milliseconds, so nothing per row), the old and new file both on disk for a
    moment, and on Windows it fails while another process has `path` open. A crash can leave a temporary file,
    which the next holder of the run directory removes (`sweep`). A symlink at `path` is replaced, not
    followed.

    Args:
        path: the file; its folder must exist.
        content: the bytes, or what writes them to the binary file it is given.
        points: prefix of the fault points passed on the way ("part", "manifest", "rewrite"); none if empty.
        writer: names this process where those of several machines share the folder.
        long: writing the content takes a while; the medium is given its work meanwhile, not at the end.

    Raises:
        StorageError: it failed; `path` is untouched, or already new if only the folder's fsync failed.
    """
    # Process id and counter: two writers never share one. Not ending in `.parquet`: no glob of parts has it.
    writer = writer or str(os.getpid())
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}.{writer}-{next(_temporaries)}")
    try:
        with temporary.open("wb", buffering=_LONG_BUFFER if long else -1) as file:
            if isinstance(content, bytes):
                file.write(content)
            elif long:
                with _synced_meanwhile(file.fileno()):
                    content(file)
            else:
                content(file)
            file.flush()
            _pass(points, "temp-written")
            os.fsync(file.fileno())
        _pass(points, "before-rename")
        temporary.replace(path)
        _pass(points, "after-rename")
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise storage_error(path, "write", error) from error
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def _synced_meanwhile(fd: int) -> Iterator[None]:
    """While the block writes, have the medium take what is written so far.

    A disk that begins only at the end makes its whole time come on top.

    Raises:
        OSError: the medium failed; it says so once, so that a sync after the block might not hear of it.
    """
    ended = threading.Event()
    failed: list[OSError] = []

    def sync() -> None:
        try:
            while not ended.wait(SYNC_PAUSE_S):
                sync_data(fd)
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=sync, name="sync", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if failed:
        raise failed[0]


def sweep(folder: Path, prefix: str = "") -> None:
    """Remove what crashed writers left in `folder`; only for the holder of the run directory's lock.

    Args:
        folder: where to look; not below.
        prefix: only temporaries of files whose name begins so.
    """
    with storage_errors(folder, "clear temporary files"):
        for leftover in folder.glob(f"{TEMPORARY_PREFIX}{prefix}*"):
            leftover.unlink(missing_ok=True)


def _pass(points: str, point: str) -> None:
    if points:
        faultpoints.hit(f"{points}.{point}")


__all__ = [
    "make_folder",
    "replace_file",
    "storage_error",
    "storage_errors",
    "sweep",
    "sync_data",
    "sync_folder",
]
