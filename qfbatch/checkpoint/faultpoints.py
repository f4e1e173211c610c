"""Named places where a test may have this process killed, as a power cut or `kill -9` would.

Set `QFBATCH_FAULTPOINT` to a name of `NAMES` (runs on a disk) or `LOG_NAMES` (runs with a commit log), or
`name:N` for its N-th passing, and the process sends itself SIGKILL there: no exit handler, no flush, no
`finally`. Without the variable a point costs one comparison; all points stand in per-group or per-file code,
none in per-row code.
"""

from __future__ import annotations

import os
import signal
import sys

VARIABLE = "QFBATCH_FAULTPOINT"

LOG_NAMES = (
    "log.claimed",
    "log.part-put",
    "log.part-committed",
    "log.result-put",
    "log.done",
    "log.parts-deleted",
    "log.manifest-put",
)
NAMES = (
    "manifest.temp-written",
    "manifest.before-rename",
    "manifest.after-rename",
    "journal.created",
    "journal.before-write",
    "journal.half-write",
    "journal.after-write",
    "journal.after-sync",
    "part.temp-written",
    "part.before-rename",
    "part.after-rename",
    "part.before-unlink",
    "part.after-unlink",
    "recovery.before-truncate",
    "recovery.after-truncate",
    "recovery.quarantined",
    "rewrite.temp-written",
    "rewrite.before-rename",
    "rewrite.after-rename",
    "succession.ready",
    "succession.moved",
    "succession.results",
    "succession.manifest",
)


def _armed() -> tuple[str, int]:
    """The armed point and how many passings it lets live; an empty name when none is armed."""
    name, _, count = os.environ.get(VARIABLE, "").partition(":")
    if name and name not in (*NAMES, *LOG_NAMES):
        raise ValueError(f"{VARIABLE}: {name!r} is no fault point; there are {', '.join(NAMES + LOG_NAMES)}")
    return name, int(count or 1)


_name, _left = _armed()


def due(name: str) -> bool:
    """Whether the process has to die at this passing of `name`; counts the passing."""
    global _left  # noqa: PLW0603 - a countdown of the process's own death has no better home
    if name != _name:
        return False
    _left -= 1
    return _left == 0


def hit(name: str) -> None:
    """Die here if `name` is armed and its passing is due."""
    if due(name):
        die()


def die() -> None:
    """End this process the hard way."""
    # Windows has no SIGKILL; its TerminateProcess, which SIGTERM means there, is just as abrupt.
    os.kill(os.getpid(), signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)


__all__ = ["LOG_NAMES", "NAMES", "VARIABLE", "die", "due", "hit"]
