"""What happens in a run, as frozen values. Observers receive them; a run without observers works the same.

Nothing here is per row on the straight way: rows arrive in the groups they were committed in. Single rows
appear only where something went wrong with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

from qfbatch.limits.gate import GateStatistics
from qfbatch.records import ErrorKind, Record


class RunStarted(Struct, frozen=True, tag=True):
    """Calls are about to be made.

    Attributes:
        run: the run directory.
        rows: rows of the plan over all models, those done before included.
        done: of these, rows committed by earlier sessions.
        notes: what to tell the user first, one line each.
    """

    run: str
    rows: int
    done: int
    notes: tuple[str, ...] = ()


class Surveyed(Struct, frozen=True, tag=True):
    """The survey of the input has come so far (bytes)."""

    done_bytes: int
    total_bytes: int


class AttemptFailed(Struct, frozen=True, tag=True):
    """One attempt of one row failed and another will follow."""

    model: str
    row_id: str
    attempt: int
    kind: ErrorKind
    code: int | None
    message: str


class Throttled(Struct, frozen=True, tag=True):
    """The service refused by rate; a pause of its endpoint begins (0: it was pausing already)."""

    model: str
    row_id: str
    code: int | None
    message: str
    pause_s: float


class TokenRenewed(Struct, frozen=True, tag=True):
    """The access token went stale and was renewed, once for all rows in flight."""


class RowsCommitted(Struct, frozen=True, tag=True):
    """These rows are durable."""

    records: list[Record]


class ShardClosed(Struct, frozen=True, tag=True):
    """A shard of a model was written as a part."""

    model: str
    shard: int
    rows: int


class Pulse(Struct, frozen=True, tag=True):
    """How things stand right now, every half second.

    Attributes:
        lanes: the run's own gate under "", then each model's.
        waiting: rows waiting to be admitted.
    """

    lanes: dict[str, GateStatistics]
    waiting: int


class Stopping(Struct, frozen=True, tag=True):
    """The run ends early; calls on their way are waited for."""

    reason: str
    in_flight: int


class RunEnded(Struct, frozen=True, tag=True):
    """The run has ended; everything answered is committed."""

    exit_code: int
    succeeded: int
    failed: int
    left: int


Event = (
    RunStarted
    | Surveyed
    | AttemptFailed
    | Throttled
    | TokenRenewed
    | RowsCommitted
    | ShardClosed
    | Pulse
    | Stopping
    | RunEnded
)


class Observer(Protocol):
    """Watches a run. Called on the run's own thread: must be quick and must not raise."""

    def __call__(self, event: Event) -> None:
        """Take one event."""


def to_all(observers: Iterable[Observer]) -> Observer:
    """One observer that passes every event to each of these."""
    watching = tuple(observers)

    def pass_on(event: Event) -> None:
        for observer in watching:
            observer(event)

    return pass_on
