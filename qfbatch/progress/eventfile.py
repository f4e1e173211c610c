"""`events.jsonl` in the run directory: what happened, one JSON object a line, appended by every session.

For people and programs that ask what went on, not for resuming: nothing is ever read back from it, so it is
flushed, not fsynced. Rows are counted here, not listed; they are in the results.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from qfbatch.progress.events import Event, Pulse, RowsCommitted, Surveyed


class EventFile:
    """An observer that appends to the event file.

    Args:
        path: the file; its folder must exist when the first event comes.
        now: wall clock, seconds since the epoch.
    """

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._path = path
        self._now = now
        self._encode = msgspec.json.Encoder().encode
        self._failed = False

    def __call__(self, event: Event) -> None:
        """Append one event; what only displays need is left out."""
        if self._failed or isinstance(event, Pulse | Surveyed):
            return
        moment = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds")
        fields = msgspec.to_builtins(event) if not isinstance(event, RowsCommitted) else _counted(event)
        line = self._encode({"time": moment, "event": fields.pop("type"), **fields}) + b"\n"
        try:
            with self._path.open("ab") as file:
                file.write(line)
        except OSError:
            # Results matter, this file does not: the run goes on, and its own writes will meet a full disk.
            self._failed = True


def _counted(event: RowsCommitted) -> dict[str, object]:
    failed = [record for record in event.records if record.error_kind is not None]
    return {
        "type": "RowsCommitted",
        "rows": len(event.records),
        "failed": len(failed),
        "failures": [
            {
                "model": record.model,
                "row_id": record.row_id,
                "kind": record.error_kind,
                "code": record.error_code,
                "message": record.error_message,
            }
            for record in failed
        ],
    }
