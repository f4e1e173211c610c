"""One writer per run directory.

The lock is the operating system's: it dies with its process, so a killed holder leaves nothing to clean up.
What is written inside the file is for the message only. Reading a run (status, report) takes no lock.
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

from qfbatch.checkpoint.files import storage_error, storage_errors
from qfbatch.checkpoint.layout import RunLayout
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


class RunLock:
    """The exclusive lock of a run directory, held from `acquire` to `release` or the process's death."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path = path
        self._fd: int | None = fd

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
            _introduce(fd, Holder(os.getpid(), socket.gethostname(), started_at))
        except OSError as error:
            os.close(fd)
            raise storage_error(path, "lock", error) from error
        except BaseException:
            os.close(fd)
            raise
        return cls(path, fd)

    def release(self) -> None:
        """Give it up. The file stays: removing it could take a newer holder's lock away."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):  # only the message's text; the lock itself goes with the descriptor
                os.ftruncate(fd, 0)
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
        return _introduction(fd)
    except OSError as error:
        raise storage_error(layout.lock, "read", error) from error
    finally:
        os.close(fd)


def _lock_with_patience(fd: int, layout: RunLayout) -> None:
    for wait_s in _PROBE_WAITS_S:
        if _try_lock(fd, shared=False):
            return
        time.sleep(wait_s)
    raise _held(layout, _introduction(fd))


def _introduce(fd: int, who: Holder) -> None:
    text = msgspec.json.encode(who)
    os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, text)


def _introduction(fd: int) -> Holder:
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        return msgspec.json.decode(os.read(fd, 4096), type=Holder)
    except msgspec.MsgspecError:  # between taking the lock and writing; the lock counts, not the text
        return Holder()


def _held(layout: RunLayout, who: Holder) -> RunDirectoryHeld:
    stop = f"stop it (kill {who.pid})" if who.pid and who.host == socket.gethostname() else "stop it"
    return RunDirectoryHeld(
        f"{layout.path} is in use by {who}.",
        hint=f"Wait for it, {stop}, or give this job another output.path. "
        f"`qfbatch status {layout.path}` shows how far it is.",
    )


__all__ = ["Holder", "RunLock", "holder"]
