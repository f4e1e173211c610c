"""One writer per run directory.

The lock is the operating system's: it dies with its process, so a killed holder leaves nothing to clean up.
What is written inside the file is for messages only: who holds the run, and how a session ended that found
no room to say so in the manifest. It is as large as it will ever be from the start, so that it can be written
over where a disk is full. Reading a run (status, report) takes no lock.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from qfbatch.checkpoint.files import storage_error, storage_errors, sync_data
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.manifest_text import Session
from qfbatch.errors import RunDirectoryHeld

if sys.platform == "win32":
    import msvcrt

    _LOCKED_BYTE = 1 << 30  # far behind the text: Windows bars others from reading what is locked

    def _try_lock(fd: int, *, shared: bool) -> bool:  # noqa: ARG001 - Windows has exclusive locks only
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(fd: int) -> None:
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(fd: int, *, shared: bool) -> bool:
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
# `holder` asks by holding a shared lock for microseconds; a run starting just then is not to be turned away.
_PROBE_WAITS_S = (0.01, 0.02, 0.05, 0.1)
SIZE = 2048  # bytes of the file; the text is filled up with spaces
_LONGEST_NOTE = 300  # characters of a session's note that have room in it, escaped ones included


class Holder(msgspec.Struct, frozen=True):
    """The process that holds a run directory, as it introduced itself.

    Attributes:
        pid: its process id on `host`; 0 if it died or was caught before writing.
        host: the machine's name.
        started_at: when it took the lock, ISO 8601, UTC.
    """

    pid: int = 0
    host: str = ""
    started_at: str = ""

    def __str__(self) -> str:
        if not self.pid:
            return "another process"
        return f"process {self.pid} on {self.host}, since {self.started_at}"


class _Text(Holder, frozen=True):
    """What the file says: its holder, and the end of a session that the manifest does not tell."""

    ended: Session | None = None


class RunLock:
    """The exclusive lock of a run directory, held from `acquire` to `release` or the process's death.

    Attributes:
        ended: how a session ended that the manifest does not tell, kept in the file beyond the lock; to be
            set to None once the manifest tells it.
    """

    def __init__(self, path: Path, fd: int, ended: Session | None = None) -> None:
        self._path = path
        self._fd: int | None = fd
        self.ended = ended

    @classmethod
    def acquire(cls, layout: RunLayout, *, now: datetime | None = None) -> Self:
        """Take the lock of an existing run directory.

        Args:
            layout: the run directory; it must exist.
            now: what to write as start time; the current time by default.

        Raises:
            RunDirectoryHeld: another process has it; the message names it.
            StorageError: the lock file can't be written, or this file system has no locks.
        """
        path = layout.lock
        with storage_errors(path, "open the lock file"):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | _BINARY, 0o644)
        try:
            _lock_with_patience(fd, layout)
            started_at = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
            ended = _read(fd).ended
            _write(fd, _Text(os.getpid(), socket.gethostname(), started_at, ended))
        except OSError as error:
            os.close(fd)
            raise storage_error(path, "lock", error) from error
        except BaseException:
            os.close(fd)
            raise
        return cls(path, fd, ended)

    def release(self) -> None:
        """Give it up. The file stays: removing it could take a newer holder's lock away."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):  # only the message's text; the lock itself goes with the descriptor
                if self.ended is None:
                    os.ftruncate(fd, 0)
                else:
                    _write(fd, _Text(ended=self.ended))
                    sync_data(fd)
            with suppress(OSError):
                _unlock(fd)
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder(layout: RunLayout) -> Holder | None:
    """Who is writing to the run directory right now; None if nobody is."""
    try:
        fd = os.open(layout.lock, os.O_RDONLY | _BINARY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(layout.lock, "read", error) from error
    try:
        if _try_lock(fd, shared=True):
            _unlock(fd)
            return None
        return _holder(fd)
    except OSError as error:
        raise storage_error(layout.lock, "read", error) from error
    finally:
        os.close(fd)


def last_word(layout: RunLayout) -> Session | None:
    """How a session ended that the manifest could not be told of; None where there is none."""
    try:
        fd = os.open(layout.lock, os.O_RDONLY | _BINARY)
    except OSError:
        return None
    try:
        return _read(fd).ended
    except OSError:
        return None
    finally:
        os.close(fd)


def _lock_with_patience(fd: int, layout: RunLayout) -> None:
    for wait_s in _PROBE_WAITS_S:
        if _try_lock(fd, shared=False):
            return
        time.sleep(wait_s)
    raise _held(layout, _holder(fd))


def _write(fd: int, text: _Text) -> None:
    """Write over what is there, without a moment in which the file is shorter: no room is asked for."""
    if text.ended is not None:
        ended = msgspec.structs.replace(text.ended, note=text.ended.note[:_LONGEST_NOTE])
        text = msgspec.structs.replace(text, ended=ended)
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, msgspec.json.encode(text).ljust(SIZE))


def _read(fd: int) -> _Text:
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        return msgspec.json.decode(os.read(fd, 2 * SIZE), type=_Text)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # between taking the lock and writing; the lock counts
        return _Text()


def _holder(fd: int) -> Holder:
    text = _read(fd)
    return Holder(text.pid, text.host, text.started_at)


def _held(layout: RunLayout, who: Holder) -> RunDirectoryHeld:
    stop = f"stop it (kill {who.pid})" if who.pid and who.host == socket.gethostname() else "stop it"
    return RunDirectoryHeld(
        f"{layout.path} is in use by {who}.",
        hint=f"Wait for it, {stop}, or give this job another output.path. "
        f"`qfbatch status {layout.path}` shows how far it is.",
    )


__all__ = ["Holder", "RunLock", "holder", "last_word"]
