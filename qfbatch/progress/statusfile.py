"""`status.json` in the run directory: how the running process sees the run, replaced whole every two seconds.

For `qfbatch status`, which believes it only while the process that wrote it holds the run; what is done is
always told by the files of the results. It is not fsynced: after a crash it is of no use to anybody.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct, field

from qfbatch.checkpoint.layout import TEMPORARY_PREFIX
from qfbatch.limits.gate import GateStatistics
from qfbatch.outlook import Outlook
from qfbatch.progress.events import Event, Pulse, RunEnded, RunStarted
from qfbatch.progress.telling import Telling
from qfbatch.tally import Standing

EVERY_S = 2.0
RECENT = 10  # events that are kept
FORMAT_VERSION = 1


class Happened(Struct, frozen=True):
    """What happened, for people: when (ISO 8601, UTC), and a sentence."""

    time: str
    text: str


class LiveStatus(Struct, frozen=True):
    """A session as its process sees it.

    Attributes:
        pid, host: of the process.
        started_at: when it was ready to make calls, ISO 8601, UTC.
        updated_at: when this was written, likewise.
        rows, done: of this session's plan, over all models; rows done before included.
        models: where each model stands.
        outlook: rates, time left, what binds, cost in the end.
        lanes: the run's gate under "", then each model's.
        waiting: rows waiting to be admitted.
        throttled, retried: refusals by rate and retries in this session.
        recent: the last events, oldest first.
        exit_code: None while it runs.
        format_version: of this file.
    """

    pid: int
    host: str
    started_at: str
    updated_at: str
    rows: int
    done: int
    models: dict[str, Standing] = field(default_factory=dict)
    outlook: Outlook = Outlook()
    lanes: dict[str, GateStatistics] = field(default_factory=dict)
    waiting: int = 0
    throttled: int = 0
    retried: int = 0
    recent: tuple[Happened, ...] = ()
    exit_code: int | None = None
    format_version: int = FORMAT_VERSION


class StatusFile:
    """An observer that keeps the status file.

    Args:
        path: the file; its folder must exist when the first event comes.
        now: wall clock, seconds since the epoch.
        every_s: between two writes.
    """

    def __init__(self, path: Path, now: Callable[[], float], every_s: float = EVERY_S) -> None:
        self._path = path
        self._temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}")
        self._now = now
        self._every_s = every_s
        self._written_at = float("-inf")
        self._telling = Telling(now)
        self._recent: deque[Happened] = deque(maxlen=RECENT)
        self._started_at = ""
        self._rows = 0
        self._done = 0
        self._pulse: Pulse | None = None

    def __call__(self, event: Event) -> None:
        """Take one event."""
        now = self._now()
        match event:
            case RunStarted():
                self._started_at = _iso(now)
                self._rows, self._done = event.rows, event.done
                self._pulse = Pulse(lanes={}, waiting=0, models=event.models)
                self._write(now)
            case Pulse():
                self._pulse = event
                self._done = self._rows - sum(model.left for model in event.models.values())
                if now - self._written_at >= self._every_s:
                    self._write(now)
            case RunEnded():
                self._write(now, exit_code=event.exit_code)
            case _:
                news = self._telling(event)
                if news is not None:
                    self._recent.append(Happened(_iso(now), news.text))

    def _write(self, now: float, exit_code: int | None = None) -> None:
        pulse = self._pulse
        if pulse is None:
            return
        self._written_at = now
        status = LiveStatus(
            pid=os.getpid(),
            host=socket.gethostname(),
            started_at=self._started_at,
            updated_at=_iso(now),
            rows=self._rows,
            done=self._done,
            models=pulse.models,
            outlook=pulse.outlook,
            lanes=pulse.lanes,
            waiting=pulse.waiting,
            throttled=pulse.throttled,
            retried=pulse.retried,
            recent=tuple(self._recent),
            exit_code=exit_code,
        )
        with suppress(OSError):  # a full disk is met, and told, by what matters more than this file
            self._temporary.write_bytes(msgspec.json.encode(status) + b"\n")
            self._temporary.replace(self._path)


def decode_status(content: bytes | None) -> LiveStatus | None:
    """What a process last wrote; None where there is nothing, or nothing this qfbatch can read."""
    try:
        return None if content is None else msgspec.json.decode(content, type=LiveStatus)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _iso(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")


__all__ = ["Happened", "LiveStatus", "StatusFile", "decode_status"]
