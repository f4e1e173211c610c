"""Files that observers keep, brought to a run in object storage, where nothing can be appended to.

events/<start of the session>-<pid>.jsonl     put anew every so often, whole
status.json
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from qfbatch.errors import StorageError
from qfbatch.progress.eventfile import EventFile
from qfbatch.progress.events import Event, RunEnded, RunStarted
from qfbatch.progress.statusfile import StatusFile
from qfbatch.storage.objects import ObjectStore

STATUS = "status.json"
_STATUS_EVERY_S = 5.0
_EVENTS_EVERY_S = 60.0


class Uploads:
    """An observer: an event file and a status file of its own, put into a store off the event loop.

    A killed process leaves out the events of its last minute.

    Args:
        store: the run directory.
        now: wall clock, seconds since the epoch.
    """

    def __init__(self, store: ObjectStore, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._folder = tempfile.TemporaryDirectory(prefix="qfbatch-events-")
        folder = Path(self._folder.name)
        moment = datetime.fromtimestamp(now(), UTC).strftime("%Y%m%dT%H%M%SZ")
        self._files = {
            f"events/{moment}-{os.getpid()}.jsonl": (folder / "events.jsonl", _EVENTS_EVERY_S),
            STATUS: (folder / STATUS, _STATUS_EVERY_S),
        }
        self._put_at: dict[str, float] = {}
        self._observers = (EventFile(folder / "events.jsonl", now), StatusFile(folder / STATUS, now))
        self._thread = ThreadPoolExecutor(1, "qfbatch-uploads")

    def __call__(self, event: Event) -> None:
        """Take one event."""
        for observe in self._observers:
            observe(event)
        now = self._now()
        ends = isinstance(event, RunStarted | RunEnded)
        for key, (path, every_s) in self._files.items():
            if ends or now - self._put_at.get(key, now) >= every_s:
                self._put_at[key] = now
                self._thread.submit(self._put, key, path)
        if isinstance(event, RunEnded):
            self._thread.shutdown()
            self._folder.cleanup()

    def _put(self, key: str, path: Path) -> None:
        # Results matter, these files do not: the run's own writes tell what is wrong with the store.
        with suppress(OSError, StorageError):
            self._store.put(key, path.read_bytes())


__all__ = ["STATUS", "Uploads"]
