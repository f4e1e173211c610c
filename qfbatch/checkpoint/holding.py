"""Who is at work on a run, for those who only look: nothing that a run itself needs is loaded for it."""

from __future__ import annotations

import os
import socket
import time
from datetime import datetime

import msgspec

from qfbatch.checkpoint.lock import Holder, holder
from qfbatch.checkpoint.place import RunPlace, StoredRun
from qfbatch.checkpoint.stored_manifest import end_key, holder_key, last_session, pulse_key

_SEEN_LATELY_S = 60.0


def holder_of(place: RunPlace) -> Holder | None:
    """Who is writing to a run directory right now; None if nobody is, as far as can be seen at a glance.

    Of a run in object storage on another machine the last pulse is compared with this machine's clock, which
    is good enough for looking, and for nothing else.

    Raises:
        StorageError: the run directory can't be read.
    """
    if isinstance(place, StoredRun):
        return last_seen_holder(place, time.time())
    return holder(place)


def last_seen_holder(run: StoredRun, now: float) -> Holder | None:
    """Who seems to be at work on the run: the latest session, if it has not ended and was seen lately.

    Args:
        run: the run.
        now: wall clock, seconds since the epoch.
    """
    number = last_session(run)
    other = open_session(run, number)
    if other is None or other.host == socket.gethostname():
        return other
    pulse = run.store.get(pulse_key(number))
    seen = float(pulse.split()[1]) if pulse else datetime.fromisoformat(other.started_at).timestamp()
    return other if now - seen < _SEEN_LATELY_S else None


def open_session(run: StoredRun, number: int) -> Holder | None:
    """Who session `number` is, unless it has ended or its process is gone from this machine."""
    content = run.store.get(holder_key(number)) if number else None
    if content is None or run.store.stat(end_key(number)) is not None:
        return None
    other = msgspec.json.decode(content, type=Holder)
    return None if other.host == socket.gethostname() and not _exists(other.pid) else other


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


__all__ = ["holder_of", "last_seen_holder", "open_session"]
