"""How a run stands, seen from another process: whether it runs, how far it is, what became of it.

What a running process says of itself (`status.json`) counts only while that very process holds the run's
lock. Otherwise everything comes from what is committed, so a killed run's status is right, too. Looking
writes nothing and keeps no lock.
"""

from __future__ import annotations

import signal
from enum import StrEnum

from msgspec import Struct, field

from qfbatch.checkpoint.committed import CommittedRows
from qfbatch.checkpoint.holding import holder_of
from qfbatch.checkpoint.lock import Holder
from qfbatch.checkpoint.manifest import Manifest, Session, read_manifest
from qfbatch.checkpoint.place import RunPlace, read_content
from qfbatch.errors import BudgetReached, RunDirectoryError, ServiceRefused, StorageError
from qfbatch.limits.gate import GateStatistics
from qfbatch.outlook import Outlook
from qfbatch.progress.statusfile import Happened, LiveStatus, decode_status
from qfbatch.progress.uploading import STATUS
from qfbatch.tally import Standing, total


class RunState(StrEnum):
    """What a run is doing, or how its last session ended."""

    STARTING = "starting"  # a process holds it and has made no call yet
    RUNNING = "running"
    COMPLETE = "complete"  # every row has a record; some may have failed
    INTERRUPTED = "interrupted"  # by a signal, in order
    KILLED = "killed"  # its process is gone without a word
    BUDGET = "budget_reached"
    REFUSED = "refused"  # by the service
    STOPPED = "stopped"  # by an error of another kind
    UNFINISHED = "unfinished"  # a session with --limit did its part, or nothing has run yet


class RunStatus(Struct, frozen=True):
    """How a run stands.

    Attributes:
        name: the job's.
        directory: the run directory.
        state: see `RunState`.
        rows: of the input, times the models.
        done, failed: of these, with a record; and of those, failed.
        models: where each model stands; `left` is what the running session has still to do, else all that
            has no record.
        holder: who holds the run, None if nobody does.
        sessions: how many there were.
        session: the last one: start, end, exit code, why it ended.
        outlook: of the running session; None without one.
        in_flight, waiting: calls on their way, rows waiting to be admitted.
        throttled, retried: in the running session, or the last one that said so.
        lanes: limits in force, pauses and calls in flight: the run's own under "", then each model's.
        recent: the last events of that session, oldest first.
        updated_at: when its process last said so, ISO 8601, UTC; empty where the figures are those on disk.
    """

    name: str
    directory: str
    state: RunState
    rows: int
    done: int
    failed: int
    models: dict[str, Standing]
    holder: Holder | None = None
    sessions: int = 0
    session: Session | None = None
    outlook: Outlook | None = None
    in_flight: int = 0
    waiting: int = 0
    throttled: int = 0
    retried: int = 0
    lanes: dict[str, GateStatistics] = field(default_factory=dict)
    recent: tuple[Happened, ...] = ()
    updated_at: str = ""

    @property
    def held(self) -> bool:
        """Whether a process is at work on it."""
        return self.holder is not None


class StatusReader:
    """Looks at one run, again and again if need be.

    Args:
        place: the run directory.
        directory: as the user named it.
    """

    def __init__(self, place: RunPlace, directory: str) -> None:
        self._place = place
        self._directory = directory
        self._committed = CommittedRows(place)

    def read(self) -> RunStatus:
        """How the run stands now.

        Raises:
            RunDirectoryError: it is no run any more, or a newer qfbatch's.
            StorageError: it cannot be read.
        """
        held_by = holder_of(self._place)
        manifest = read_manifest(self._place)
        if manifest is None:
            raise RunDirectoryError(f"{self._place} is no run any more: its manifest.json is gone")
        said = decode_status(self._said())
        live = said if held_by is not None and said is not None and _wrote(held_by, said) else None
        models = self._committed.read(manifest) if live is None else live.models
        whole = total(models.values())
        session = manifest.sessions[-1] if manifest.sessions else None
        current = live or (said if said is not None and _is_of(said, session) else None)
        run_lane = live.lanes.get("") if live is not None else None
        return RunStatus(
            name=str(manifest.job.get("name") or self._directory.rstrip("/").rpartition("/")[2]),
            directory=self._directory,
            state=_state(manifest, held_by, live, whole, self._rows(manifest)),
            rows=self._rows(manifest),
            done=whole.rows,
            failed=whole.failed,
            models=models,
            holder=held_by,
            sessions=len(manifest.sessions),
            session=session,
            outlook=None if live is None else live.outlook,
            in_flight=0 if run_lane is None else run_lane.in_flight,
            waiting=0 if live is None else live.waiting,
            throttled=0 if current is None else current.throttled,
            retried=0 if current is None else current.retried,
            lanes={} if live is None else live.lanes,
            recent=() if current is None else current.recent,
            updated_at="" if live is None else live.updated_at,
        )

    def _said(self) -> bytes | None:
        try:
            return read_content(self._place, STATUS)
        except StorageError:  # what is committed tells enough
            return None

    def _rows(self, manifest: Manifest) -> int:
        return manifest.survey.rows * len(manifest.job.get("models", ()))


def _wrote(held_by: Holder, said: LiveStatus) -> bool:
    """Whether the present holder wrote it: another process could have had its id before, on this host."""
    same = (held_by.pid, held_by.host) == (said.pid, said.host)
    return same and said.started_at >= held_by.started_at and said.exit_code is None


def _is_of(said: LiveStatus, session: Session | None) -> bool:
    return session is not None and said.started_at >= session.started_at


def _state(
    manifest: Manifest, held_by: Holder | None, live: LiveStatus | None, whole: Standing, rows: int
) -> RunState:
    if held_by is not None:
        return RunState.STARTING if live is None else RunState.RUNNING
    if whole.rows >= rows:
        return RunState.COMPLETE
    if not manifest.sessions:
        return RunState.UNFINISHED
    last = manifest.sessions[-1]
    if last.ended_at is None:
        return RunState.KILLED
    return {
        0: RunState.UNFINISHED,
        1: RunState.UNFINISHED,
        ServiceRefused.exit_code: RunState.REFUSED,
        BudgetReached.exit_code: RunState.BUDGET,
        128 + signal.SIGINT: RunState.INTERRUPTED,
        128 + signal.SIGTERM: RunState.INTERRUPTED,
    }.get(-1 if last.exit_code is None else last.exit_code, RunState.STOPPED)


__all__ = ["RunState", "RunStatus", "StatusReader"]
