"""What happens in a run, as frozen values, and who watches it.

An observer is anything that can be called with an event: a function, or an object with state. It is called on
the run's own thread between two steps of its work, so it must be quick: no network, no waiting. The order is
always the same: `Surveyed` while the input is read; `RunStarted`; then all others; `RunEnded` last, also when
the run is interrupted (but not when an error ends it before the first call). One that raises is left out from
then on, and the others are told (`ObserverFailed`): watching a run never ends it.

Nothing here is per row on the straight way: rows arrive in the groups they were committed in, and sums and
rates in a `Pulse` every half second. Single rows appear only where something went wrong with them. No event
holds a URL, a header or a credential.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct, field

from qfbatch.limits.gate import GateStatistics
from qfbatch.outlook import Outlook
from qfbatch.records import ErrorKind, Record
from qfbatch.service.redaction import clean_message
from qfbatch.tally import Standing


class RunStarted(Struct, frozen=True, tag=True):
    """Calls are about to be made.

    Attributes:
        run: the run directory.
        rows: rows of the plan over all models, those done before included.
        done: of these, rows committed by earlier sessions.
        notes: what to tell the user first, one line each.
        models: where each model stands.
    """

    run: str
    rows: int
    done: int
    notes: tuple[str, ...] = ()
    models: dict[str, Standing] = field(default_factory=dict)


class Surveyed(Struct, frozen=True, tag=True):
    """The survey of the input has come so far (bytes)."""

    done_bytes: int
    total_bytes: int


class AttemptFailed(Struct, frozen=True, tag=True):
    """One attempt of one row failed and another will follow.

    Attributes:
        attempt: calls made for the row so far.
        kind, code, message: what failed, as in the results.
        wait_s: how long the row waits before the next attempt.
    """

    model: str
    row_id: str
    attempt: int
    kind: ErrorKind
    code: int | None
    message: str
    wait_s: float = 0.0
    endpoint: str = ""


class Throttled(Struct, frozen=True, tag=True):
    """The service refused by rate; a pause of its endpoint begins (0: it was pausing already)."""

    model: str
    row_id: str
    code: int | None
    message: str
    pause_s: float
    endpoint: str = ""


class Paused(Struct, frozen=True, tag=True):
    """The service said that nothing is left of its limit: the endpoint pauses until its window opens."""

    model: str
    pause_s: float
    endpoint: str = ""


class Refused(Struct, frozen=True, tag=True):
    """The service refuses the whole job (credentials, permission, endpoint, quota): the run will stop."""

    model: str
    row_id: str
    kind: ErrorKind
    code: int | None
    message: str
    endpoint: str = ""


class EndpointLeft(Struct, frozen=True, tag=True):
    """An endpoint of a model is passed over from now on, while the model has others.

    Attributes:
        model: whose.
        endpoint: as the job calls it.
        kind, code, message: the failure that decided it.
        again_in_s: when it is tried again; None if it refuses the job, and is not.
        left: endpoints of the model that still take part.
    """

    model: str
    endpoint: str
    kind: ErrorKind
    code: int | None
    message: str
    again_in_s: float | None
    left: int


class EndpointBack(Struct, frozen=True, tag=True):
    """An endpoint that was down answers again."""

    model: str
    endpoint: str


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
    """How things stand right now, every half second, and once more at the end.

    Attributes:
        lanes: the run's own gate under "", then each model's.
        waiting: rows waiting to be admitted.
        models: where each model stands, in the job's order; `tally.total` adds them up.
        outlook: rates, time left, what binds.
        throttled: refusals by rate so far, in this session.
        retried: failed attempts that another followed, likewise.
    """

    lanes: dict[str, GateStatistics]
    waiting: int
    models: dict[str, Standing] = field(default_factory=dict)
    outlook: Outlook = Outlook()
    throttled: int = 0
    retried: int = 0


class NodeEnded(Struct, frozen=True, tag=True):
    """A node of a run on a cluster is lost; another takes its place and goes on with its shards."""

    node: str
    message: str
    shards: int


class Stopping(Struct, frozen=True, tag=True):
    """The run ends early; calls on their way are waited for."""

    reason: str
    in_flight: int


class ObserverFailed(Struct, frozen=True, tag=True):
    """An observer raised an exception and is not called any more; the run goes on."""

    observer: str
    message: str


class RunEnded(Struct, frozen=True, tag=True):
    """The run has ended; everything answered is committed.

    Attributes:
        exit_code: as documented for `qfbatch run`.
        succeeded, failed, left: rows of the run, earlier sessions included.
        reason: what ended it early, one line; empty if nothing did.
    """

    exit_code: int
    succeeded: int
    failed: int
    left: int
    reason: str = ""


Event = (
    RunStarted
    | Surveyed
    | AttemptFailed
    | Throttled
    | Paused
    | Refused
    | EndpointLeft
    | EndpointBack
    | TokenRenewed
    | RowsCommitted
    | ShardClosed
    | Pulse
    | NodeEnded
    | Stopping
    | ObserverFailed
    | RunEnded
)


class Observer(Protocol):
    """Watches a run; see the top of this module."""

    def __call__(self, event: Event, /) -> None:
        """Take one event."""


def to_all(observers: Iterable[Observer]) -> Observer:
    """One observer that passes every event to each of these; one that raises is left out from then on."""
    watching = tuple(observers)

    def pass_on(event: Event) -> None:
        """Hand an event to all that still watch, and to these that one of them has failed."""
        nonlocal watching
        for observer in watching:
            try:
                observer(event)
            except Exception as error:  # noqa: BLE001 - whoever watches must not end what is watched
                watching = tuple(other for other in watching if other is not observer)
                name = getattr(observer, "__qualname__", type(observer).__qualname__)
                failed = ObserverFailed(name, clean_message(f"{type(error).__name__}: {error}"))
                if not watching:
                    warnings.warn(f"the observer {name} failed: {failed.message}", stacklevel=2)
                pass_on(failed)

    return pass_on
