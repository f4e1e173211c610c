"""Log lines on stderr, as text or JSON: for terminals without a bar, files and log collectors."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from qfbatch.progress.events import (
    AttemptFailed,
    Event,
    RowsCommitted,
    RunStarted,
    Stopping,
    Throttled,
    TokenRenewed,
)

EVERY_S = 10.0


class LogLines:
    """An observer that writes a line when something happened, and one of progress every so often.

    Args:
        now: wall clock, seconds since the epoch.
        stream: where the lines go.
        as_json: one JSON object a line instead of text.
        progress: whether to write progress lines.
        every_s: between two progress lines, and between two lines about failed attempts.
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        stream: TextIO | None = None,
        as_json: bool = False,
        progress: bool = True,
        every_s: float = EVERY_S,
    ) -> None:
        self._now = now
        self._stream = stream or sys.stderr
        self._as_json = as_json
        self._progress = progress
        self._every_s = every_s
        self._rows = 0
        self._done = 0
        self._failed = 0
        self._began = 0.0
        self._new = 0
        self._tokens = 0
        self._last = float("-inf")
        self._last_trouble = float("-inf")
        self._held_back = 0

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case RunStarted():
                self._rows, self._done = event.rows, event.done
                self._began = self._last = self._now()
                for note in event.notes:
                    self._write("warning", note)
                if event.done < event.rows:
                    self._write("info", f"run {event.run}: {event.rows} rows, {event.done} done before")
            case RowsCommitted():
                self._count(event)
            case Throttled() if event.pause_s > 0:
                self._write(
                    "warning", f"{event.model}: throttled ({event.message}); pausing {event.pause_s:.1f} s"
                )
            case AttemptFailed():
                self._trouble(event)
            case TokenRenewed():
                self._write("info", "the access token was renewed")
            case Stopping() if event.in_flight:
                self._write("warning", f"stopping, {event.in_flight} calls on their way: {event.reason}")
            case _:
                pass

    def _count(self, event: RowsCommitted) -> None:
        self._new += len(event.records)
        self._failed += sum(1 for record in event.records if record.error_kind is not None)
        self._tokens += sum(record.total_tokens or 0 for record in event.records)
        now = self._now()
        if not self._progress or now - self._last < self._every_s:
            return
        self._last = now
        seconds = max(now - self._began, 1e-9)
        rate = max(self._new / seconds, 1e-9)
        left = self._rows - self._done - self._new
        self._write(
            "info",
            f"{self._done + self._new}/{self._rows} rows, {rate:.1f} rows/s, "
            f"{self._tokens / seconds:.0f} tokens/s, {self._failed} failed, "
            f"about {_duration(left / rate)} left",
        )

    def _trouble(self, event: AttemptFailed) -> None:
        now = self._now()
        if now - self._last_trouble < self._every_s:
            self._held_back += 1
            return
        self._last_trouble = now
        more = f" (and {self._held_back} more since the last such line)" if self._held_back else ""
        self._held_back = 0
        self._write(
            "warning",
            f"{event.model}: row {event.row_id}: attempt {event.attempt} failed: {event.message}; "
            f"will be retried{more}",
        )

    def _write(self, level: str, text: str) -> None:
        moment = datetime.fromtimestamp(self._now(), UTC)
        if self._as_json:
            line = json.dumps(
                {"time": moment.isoformat(timespec="milliseconds"), "level": level, "message": text},
                ensure_ascii=False,
            )
        else:
            line = f"{moment.astimezone():%H:%M:%S} {text}"
        print(line, file=self._stream, flush=True)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
