"""Who is at work on a run, for those who only look."""

from __future__ import annotations

import time

from qfbatch.checkpoint.lock import Holder, holder
from qfbatch.checkpoint.place import RunPlace, StoredRun
from qfbatch.checkpoint.stored_tenure import last_seen_holder


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


__all__ = ["holder_of"]
