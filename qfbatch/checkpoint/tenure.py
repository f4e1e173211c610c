"""A run directory in this process's hands, for as long as it writes there: on a local disk, by its lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from qfbatch.checkpoint.committer import Committer
from qfbatch.checkpoint.directory import check_directory
from qfbatch.checkpoint.files import make_folder, storage_errors, sync_folder
from qfbatch.checkpoint.interface import Commits, OnClosed, OnCommit, OpenShards, Recovery
from qfbatch.checkpoint.layout import TEMPORARY_PREFIX, RunLayout
from qfbatch.checkpoint.lock import RunLock
from qfbatch.checkpoint.manifest import Manifest, Session, write_manifest
from qfbatch.checkpoint.place import RunPlace
from qfbatch.checkpoint.store import Checkpoint
from qfbatch.checkpoint.succession import Succession
from qfbatch.errors import StorageError
from qfbatch.records import Dropped, InputColumn, Shard, Status, Survey

SurveyInto = Callable[[Path], Survey]  # surveys the input and keeps its rows' keys in this file


class RunRows(OpenShards, Protocol):
    """The rows of an open run."""

    def recover(self) -> Recovery:
        """Find what is committed, repairing what a crash left; to be called once, first.

        Raises:
            RunDirectoryError: what is there can't be read, is damaged, or another run's.
        """

    def commits(self, *, on_commit: OnCommit, on_closed: OnClosed) -> Commits:
        """The write side; to be entered on the event loop.

        Args:
            on_commit: called on the loop with records once they are durable.
            on_closed: called on the loop with a shard's totals once it is closed.
        """


class Tenure(Protocol):
    """A run directory that this process may write to.

    Attributes:
        place: the run directory.
        notes: what the user should know of how it was found, one line each.
    """

    place: RunPlace
    notes: list[str]

    def survey(self, survey: SurveyInto) -> Survey:
        """Survey the input for a run that begins here."""

    def survey_afresh(self, survey: SurveyInto, before: Manifest) -> Survey:
        """Survey the input, then set the run that is there aside; wrong input leaves it where it is."""

    def begin(self, manifest: Manifest) -> None:
        """Have a manifest in force; its last session is this process's."""

    def end(self, manifest: Manifest, session: Session) -> None:
        """Say how this process's session ended; a full disk must not hide it, so errors are not raised."""

    def open(
        self, models: Sequence[str], shards: Sequence[Shard], columns: Sequence[InputColumn], run_id: str
    ) -> RunRows:
        """The rows of the run."""


class JournalRows:
    """See `RunRows`: on journals."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def recover(self) -> Recovery:
        """See `RunRows.recover`."""
        return self._checkpoint.recover()

    def open_shard(self, model: str, shard: int) -> dict[str, Status]:
        """See `OpenShards.open_shard`."""
        return self._checkpoint.open_shard(model, shard)

    def dropped(self, model: str, shard: int) -> dict[str, Dropped]:
        """See `OpenShards.dropped`."""
        return self._checkpoint.dropped(model, shard)

    def commits(self, *, on_commit: OnCommit, on_closed: OnClosed) -> Commits:
        """See `RunRows.commits`."""
        return Committer(self._checkpoint, on_commit=on_commit, on_closed=on_closed)


class LocalTenure:
    """See `Tenure`: a folder with journals, held by the operating system's lock.

    Args:
        layout: the folder; it exists.
        lock: its lock.
    """

    def __init__(self, layout: RunLayout, lock: RunLock) -> None:
        self.place: RunPlace = layout
        self.notes: list[str] = []
        self.lock = lock
        self._layout = layout

    def survey(self, survey: SurveyInto) -> Survey:
        """See `Tenure.survey`."""
        return survey(self._layout.keys)

    def survey_afresh(self, survey: SurveyInto, before: Manifest) -> Survey:  # noqa: ARG002 - moves as it is
        """See `Tenure.survey_afresh`: the folder gets the first free name beside it."""
        layout = self._layout
        keys = layout.path.with_name(f"{TEMPORARY_PREFIX}{layout.path.name}.keys")
        found = survey(keys)
        aside = _set_aside(layout)
        self.notes.append(f"the earlier run is kept in {aside}")
        self.lock.release()
        make_folder(layout.path)
        self.lock = RunLock.acquire(layout)
        with storage_errors(layout.keys, "write"):
            keys.replace(layout.keys)
        return found

    def begin(self, manifest: Manifest) -> None:
        """See `Tenure.begin`; what the lock told of the session before is in the manifest from here on."""
        write_manifest(self._layout, manifest)
        self.lock.ended = None

    def end(self, manifest: Manifest, session: Session) -> None:
        """See `Tenure.end`; where the manifest has no room for it the lock's file does."""
        sessions = (*manifest.sessions[:-1], session)
        try:
            write_manifest(self._layout, msgspec.structs.replace(manifest, sessions=sessions))
        except StorageError:
            self.lock.ended = session

    def open(
        self, models: Sequence[str], shards: Sequence[Shard], columns: Sequence[InputColumn], run_id: str
    ) -> RunRows:
        """See `Tenure.open`."""
        return JournalRows(Checkpoint.open(self._layout, models, shards, columns, run_id))


@contextmanager
def hold_folder(layout: RunLayout) -> Iterator[LocalTenure]:
    """Hold a folder with journals, creating it where there is none.

    Raises:
        RunDirectoryError: it is held by another process, or is something else.
        StorageError: it can't be made ready.
    """
    check_directory(layout)
    make_folder(layout.path)
    tenure = LocalTenure(layout, RunLock.acquire(layout))
    try:
        if Succession(layout).finish():
            tenure.notes.append("a change of the input that was accepted before is now complete")
        yield tenure
    finally:
        tenure.lock.release()


def _set_aside(layout: RunLayout) -> Path:
    number = 1
    while (aside := layout.path.with_name(f"{layout.path.name}.{number}")).exists():
        number += 1
    with storage_errors(layout.path, "rename the folder"):
        layout.path.rename(aside)
        sync_folder(aside.parent)
    return aside


__all__ = ["JournalRows", "LocalTenure", "RunRows", "SurveyInto", "Tenure", "hold_folder"]
