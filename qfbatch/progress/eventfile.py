"""`events.jsonl` in the run directory: what happened, one JSON object a line, appended by every session.

For people and programs that ask what went on, not for resuming: nothing is ever read back from it, so it is
flushed, not fsynced. Its fields are documented in docs/progress.md.

Its size is bounded by time, not by rows: commits of a second are one line, and of events of one kind at most
`LINES_A_SECOND` are written one by one in a second; those beyond are counted, and the counts written. A
million rows of which every tenth is retried leave a few megabytes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import IO, Any

import msgspec

from qfbatch.progress.events import (
    AttemptFailed,
    Event,
    Pulse,
    RowsCommitted,
    RunStarted,
    Surveyed,
    Throttled,
)
from qfbatch.records import Record

LINES_A_SECOND = 10  # single lines about failed attempts, refusals by rate and failed rows, each kind
PERIOD_S = 1.0
_LONGEST_LINE = 2**20  # bytes, far beyond what one has
PROGRESS_S = 60.0  # between two lines that say how the run stands


class EventFile:
    """An observer that appends to the event file.

    Args:
        path: the file; its folder must exist when the first event comes.
        now: wall clock, seconds since the epoch.
    """

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._path = path
        self._now = now
        self._encode = msgspec.json.Encoder(enc_hook=str).encode
        self._failed = False
        self._appended = False  # anything, in this session
        self._lines: list[bytes] = []
        self._period_began = float("-inf")
        self._progress_at = float("-inf")
        self._single: Counter[str] = Counter()  # lines written one by one in this period, by event
        self._more: Counter[tuple[str, ...]] = Counter()  # events beyond, by event, model, kind and code
        self._committed: Counter[tuple[str, str]] = Counter()  # rows of this period, by model and status
        self._failures: list[dict[str, Any]] = []
        self._groups = 0

    def __call__(self, event: Event) -> None:
        """Take one event; what only displays need is left out."""
        if self._failed or isinstance(event, Surveyed):
            return
        now = self._now()
        if now - self._period_began >= PERIOD_S:
            self._end_period(now)
        match event:
            case Pulse():
                self._stands(event, now)
            case RowsCommitted():
                self._count(event.records)
            case AttemptFailed():
                self._one_of_many(event, (event.model, str(event.kind), str(event.code or "")), now)
            case Throttled():
                self._one_of_many(event, (event.model, "", str(event.code or "")), now)
            case _:
                # Rare, and worth having on disk at once, after all that came before.
                self._end_period(now)
                if isinstance(event, RunStarted):
                    self._progress_at = now
                self._line(event, now)
                self._write()

    def _count(self, records: list[Record]) -> None:
        self._groups += 1
        for (model, status), group in groupby(records, attrgetter("model", "status")):
            self._committed[model, str(status)] += len(list(group))
        for record in (record for record in records if record.error_kind is not None):
            if len(self._failures) < LINES_A_SECOND:
                self._failures.append(_failure(record))
            else:
                alike = record.model, str(record.error_kind), str(record.error_code or "")
                self._more["RowFailed", *alike] += 1

    def _one_of_many(self, event: AttemptFailed | Throttled, alike: tuple[str, ...], now: float) -> None:
        name = type(event).__name__
        if self._single[name] < LINES_A_SECOND:
            self._single[name] += 1
            self._line(event, now)
        else:
            self._more[name, *alike] += 1

    def _stands(self, pulse: Pulse, now: float) -> None:
        if now - self._progress_at >= PROGRESS_S:
            self._progress_at = now
            self._line(pulse, now)

    def _end_period(self, now: float) -> None:
        """Say what was only counted, and write all lines."""
        if self._committed:
            models: dict[str, dict[str, int]] = {}
            for (model, status), rows in self._committed.items():
                models.setdefault(model, {})[status] = rows
            self._lines.append(
                self._encoded(
                    now,
                    "RowsCommitted",
                    rows=sum(self._committed.values()),
                    groups=self._groups,
                    models=models,
                    failures=self._failures,
                )
            )
        for (name, model, kind, code), count in self._more.items():
            self._lines.append(
                self._encoded(
                    now,
                    "More",
                    of=name,
                    model=model,
                    kind=kind or None,
                    code=int(code) if code else None,
                    count=count,
                )
            )
        self._write()
        self._period_began = now
        self._single.clear()
        self._more.clear()
        self._committed.clear()
        self._failures = []
        self._groups = 0

    def _line(self, event: Event, now: float) -> None:
        fields = msgspec.to_builtins(event)
        self._lines.append(self._encoded(now, fields.pop("type"), **fields))

    def _encoded(self, now: float, name: str, **fields: Any) -> bytes:
        moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        return self._encode({"time": moment, "event": name, **fields}) + b"\n"

    def _write(self) -> None:
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            with self._path.open("a+b") as file:
                if not self._appended:
                    _cut_torn_line(file)
                    self._appended = True
                file.write(b"".join(lines))
        except OSError:
            # Results matter, this file does not: the run goes on, and its own writes will meet a full disk.
            self._failed = True


def _cut_torn_line(file: IO[bytes]) -> None:
    """Cut what a full disk or a power cut left of a last line: what is appended must begin a line."""
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - _LONGEST_LINE))
    tail = file.read()
    if tail and not tail.endswith(b"\n"):
        file.truncate(start + tail.rfind(b"\n") + 1)


def _failure(record: Record) -> dict[str, Any]:
    return {
        "model": record.model,
        "row_id": record.row_id,
        "kind": record.error_kind,
        "code": record.error_code,
        "message": record.error_message,
        "attempts": record.attempts,
    }
