"""A run with a commit log in this process's hands: sessions are numbered, and the latest holds the run.

Safety never rests on this: a process that only believes it holds the run is fenced shard by shard by the log.
Sessions are for people: a second start is told who is at work, and a process that was taken over stops early.
Whether a session lives is seen by its pulse, an object that it replaces every few seconds: who wants the run
watches for a while whether it moves. No two machines' clocks are ever compared.
"""

from __future__ import annotations

import itertools
import os
import socket
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from qfbatch.checkpoint.holding import open_session
from qfbatch.checkpoint.interface import Commits, OnClosed, OnCommit, Recovery, ShardState
from qfbatch.checkpoint.lock import Holder
from qfbatch.checkpoint.log_checkpoint import LogCheckpoint
from qfbatch.checkpoint.log_committer import LogCommitter
from qfbatch.checkpoint.log_reading import LogReader, result_key
from qfbatch.checkpoint.logbook import READERS
from qfbatch.checkpoint.manifest_text import Manifest, Session, encode_manifest
from qfbatch.checkpoint.parts import decode_part_footer, encode_part
from qfbatch.checkpoint.place import RunPlace, StoredRun
from qfbatch.checkpoint.stored_manifest import (
    NAME,
    holder_key,
    last_session,
    pulse_key,
    write_end,
    write_stored_manifest,
)
from qfbatch.checkpoint.tenure import RunRows, SurveyInto
from qfbatch.errors import RunDirectoryError, RunDirectoryHeld, StorageError
from qfbatch.records import Dropped, InputColumn, Shard, Status, Survey
from qfbatch.storage.probe import FOLDER as TRIALS
from qfbatch.storage.probe import AloneStore, has_preconditions

KEYS = "input.keys"
EARLIER = "earlier/"
PULSE_S = 5.0
LISTEN_S = 3 * PULSE_S


class LogRows:
    """See `RunRows`: on a commit log."""

    def __init__(
        self, run: StoredRun, checkpoint: LogCheckpoint, run_id: str, taken: threading.Event
    ) -> None:
        self._run = run
        self._checkpoint = checkpoint
        self._run_id = run_id
        self._taken = taken

    def recover(self) -> Recovery:
        """See `RunRows.recover`: shards whose rows are all committed are published."""
        recovery = self._checkpoint.recover()
        self._remove_leftovers()
        for (model, shard), progress in recovery.shards.items():
            if progress.state is ShardState.COMPLETE and not self._checkpoint.is_done(model, shard):
                self._checkpoint.open_shard(model, shard)
                self._checkpoint.close_shard(model, shard)
        return recovery

    def open_shard(self, model: str, shard: int) -> dict[str, Status]:
        """See `OpenShards.open_shard`."""
        return self._checkpoint.open_shard(model, shard)

    def dropped(self, model: str, shard: int) -> dict[str, Dropped]:
        """See `OpenShards.dropped`."""
        return self._checkpoint.dropped(model, shard)

    def commits(self, *, on_commit: OnCommit, on_closed: OnClosed) -> Commits:
        """See `RunRows.commits`."""
        return LogCommitter(self._checkpoint, on_commit=on_commit, on_closed=on_closed, stop=self._taken)

    def _remove_leftovers(self) -> None:
        """Published shards of a run that was set aside: copied before, and in the way now."""
        # Where this run has published a shard there is none, and where no writer ever was, neither.
        logs = self._run.logbook(self._run_id).known()
        unpublished = [result_key(name) for name, log in logs.items() if not log.published]
        with ThreadPoolExecutor(READERS, "qfbatch-leftovers") as pool:
            found = list(pool.map(self._is_leftover, unpublished))
        self._run.store.delete(itertools.compress(unpublished, found))

    def _is_leftover(self, key: str) -> bool:
        content = self._run.store.get(key)
        return content is not None and decode_part_footer(content, key).run_id != self._run_id


class StoredTenure:
    """See `Tenure`: the latest session of a run with a commit log.

    Args:
        run: the run.
        number: of the session.
        now: wall clock, seconds since the epoch; for those who look only.
    """

    def __init__(self, run: StoredRun, number: int, now: Callable[[], float]) -> None:
        self._now = now
        self.place: RunPlace = run
        self.notes: list[str] = []
        self.taken = threading.Event()
        self._run = run
        self._number = number
        self._began = False
        self._opened: str | None = None

    def survey(self, survey: SurveyInto) -> Survey:
        """See `Tenure.survey`."""
        with tempfile.TemporaryDirectory(prefix="qfbatch-keys-") as folder:
            path = Path(folder) / KEYS
            found = survey(path)
            self._run.store.put(KEYS, path.read_bytes())
        return found

    def survey_afresh(self, survey: SurveyInto, before: Manifest) -> Survey:
        """See `Tenure.survey_afresh`: all committed rows are copied to `earlier/<id>/`.

        The old run ends when the new manifest is in force: entries of its logs mean nothing under another
        run's id. What it left in `results/` is removed by the new run's `recover`.
        """
        found = self.survey(survey)
        aside = copy_aside(self._run, before, EARLIER)
        self.notes.append(f"the answers of the earlier run are kept in {self._run}/{aside}")
        return found

    def begin(self, manifest: Manifest) -> None:
        """See `Tenure.begin`."""
        write_stored_manifest(self._run, self._number, manifest)
        self._began = True

    def end(self, manifest: Manifest, session: Session) -> None:  # noqa: ARG002 - what is in force stays
        """See `Tenure.end`."""
        with suppress(StorageError):
            if self._opened is not None and not self.taken.is_set():
                self._run.logbook(self._opened).write_index()
            write_end(self._run, self._number, session)

    def leave(self) -> None:
        """Give the run up; a session that began nothing says its end here, so that nobody waits for it."""
        if not self._began:
            ended = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="seconds")
            with suppress(StorageError):
                write_end(self._run, self._number, Session(started_at=ended, ended_at=ended))

    def open(
        self, models: Sequence[str], shards: Sequence[Shard], columns: Sequence[InputColumn], run_id: str
    ) -> RunRows:
        """See `Tenure.open`."""
        self._opened = run_id
        checkpoint = LogCheckpoint(
            self._run.store,
            models,
            shards,
            columns,
            run_id,
            writer=f"{self._number:06d}-{uuid.uuid4().hex[:12]}",
            logbook=self._run.logbook(run_id),
        )
        return LogRows(self._run, checkpoint, run_id, self.taken)

    def live(self, ended: threading.Event, pulse_s: float) -> None:
        """Show that this session lives, and notice when another takes over; for a thread of its own."""
        beats = 0
        while not ended.wait(pulse_s):
            beats += 1
            with suppress(StorageError):  # the run's own writes tell what is wrong with the store
                self._run.store.put(pulse_key(self._number), f"{beats} {self._now():.0f}".encode())
                if last_session(self._run) > self._number:
                    self.taken.set()
                    return

    def index(self, ended: threading.Event, pause_s: float) -> None:
        """Keep up the index of the logs while the run goes on; for a thread of its own: it may be large."""
        while not ended.wait(pause_s):
            if self._opened is not None and not self.taken.is_set():
                with suppress(StorageError):  # it saves time, no more
                    self._run.logbook(self._opened).keep_index()


def copy_aside(run: StoredRun, manifest: Manifest, folder: str) -> str:
    """Keep all committed rows of a run, and its manifest, before something else takes its place.

    Args:
        run: the run; this process holds it.
        manifest: what is in force.
        folder: below which to keep them.

    Returns:
        Where the rows are, below the run directory.

    Raises:
        StorageError: they could not be read or written.
    """
    aside = f"{folder}{manifest.log_id}/"
    logbook = run.logbook(manifest.log_id)
    reader = LogReader(run.store, logbook, manifest.survey.columns)
    for name, log in logbook.read().items():
        if log.begun:
            table = reader.shard(name, log)
            model, shard = str(table["model"][0].as_py()), int(table["shard"][0].as_py())
            content, _ = encode_part(table, run_id=manifest.log_id, model=model, shard=shard)
            run.store.put(aside + result_key(name), content)
    run.store.put(aside + NAME, encode_manifest(manifest))
    return f"{aside}results"


@contextmanager
def hold_stored(
    run: StoredRun,
    *,
    now: Callable[[], float],
    shared: bool = False,
    pulse_s: float = PULSE_S,
    listen_s: float = LISTEN_S,
) -> Iterator[StoredTenure]:
    """Hold a run with a commit log.

    Args:
        run: the run, or where it is to be.
        now: wall clock, seconds since the epoch; for the message to others only.
        shared: whether other processes will write, too; a store without preconditions is refused then.
        pulse_s: how often the session shows that it lives.
        listen_s: how long to watch for the pulse of a session that has not ended.

    Raises:
        RunDirectoryHeld: another process is at work there.
        RunDirectoryError: the place holds something else, or its store is no good for many writers.
        StorageError: the store can't be reached.
    """
    _check_empty_or_ours(run)
    notes = []
    if not has_preconditions(run.store, uuid.uuid4().hex):
        if shared:
            raise RunDirectoryError(
                f"{run}: this store ignores preconditions (a second creation of an object is not refused), "
                "so several writers would overwrite each other there.",
                hint="Use a store that honours If-None-Match, or run on one machine (without --ray).",
            )
        run = StoredRun(AloneStore(run.store))
        notes.append(
            f"{run}: this store ignores preconditions; never start a second process on this run while one "
            "is frozen or unreachable: nothing would fence it"
        )
    tenure = StoredTenure(run, _take(run, now, listen_s), now)
    tenure.notes += notes
    ended = threading.Event()
    threads = [
        threading.Thread(target=work, args=(ended, pulse_s), name=f"qfbatch-{work.__name__}", daemon=True)
        for work in (tenure.live, tenure.index)
    ]
    for thread in threads:
        thread.start()
    try:
        yield tenure
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        tenure.leave()


def _take(run: StoredRun, now: Callable[[], float], listen_s: float) -> int:
    """Become the latest session; its number."""
    while True:
        number = last_session(run)
        if (other := _alive(run, number, listen_s)) is not None:
            raise RunDirectoryHeld(
                f"{run} is in use by {other}.",
                hint="Wait for it, stop it, or give this job another output.path. "
                f"`qfbatch report {run}` shows how far it is.",
            )
        started_at = datetime.fromtimestamp(now(), UTC).isoformat(timespec="seconds")
        me = msgspec.json.encode(Holder(os.getpid(), socket.gethostname(), started_at))
        key = holder_key(number + 1)
        if run.store.put_if_absent(key, me) or run.store.get(key) == me:
            return number + 1


def _alive(run: StoredRun, number: int, listen_s: float) -> Holder | None:
    other = open_session(run, number)
    if other is None:
        return None
    before = run.store.get(pulse_key(number))
    silence = threading.Event()
    for _ in range(10):
        silence.wait(listen_s / 10)
        if run.store.get(pulse_key(number)) != before:
            return other
    return None


def _check_empty_or_ours(run: StoredRun) -> None:
    if run.store.stat(NAME) is not None or last_session(run):
        return
    first = next((info for info in run.store.list() if not info.key.startswith(TRIALS)), None)
    if first is None:
        return
    raise RunDirectoryError(
        f"{run} is not a run directory: it has no {NAME}, but holds {first.key}.",
        hint="Give the job another output.path, or move what is there away.",
    )


__all__ = ["KEYS", "LogRows", "StoredTenure", "copy_aside", "hold_stored"]
