"""A disk that takes no more: the run stops with exit 4, keeps what was committed, and resumes."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.lock import SIZE, RunLock
from qfbatch.checkpoint.manifest import Manifest, Session, read_manifest, write_manifest
from qfbatch.checkpoint.results import scan_results
from qfbatch.checkpoint.tenure import hold_folder
from qfbatch.errors import StorageError
from qfbatch.records import Survey
from qfbatch.status import RunState, StatusReader

from .rows import COLUMNS, plan
from .running import run_child
from .test_kills import assert_complete, assert_nothing_paid_twice


def test_full_disk_while_a_journal_grows(tmp_path: Path) -> None:
    """A journal that can't grow stops the run; committed rows are readable and not asked again."""
    run = tmp_path / "run"
    full = run_child(run, file_limit=9_000)
    assert full.code == 4
    assert len(full.errors) == 1
    assert "journal/" in full.errors[0]
    assert "Make room" in full.errors[0]
    readable = scan_results(RunLayout(run)).select("model", "row_id").collect()
    assert set(full.committed) <= {" ".join(row) for row in readable.rows()}
    resumed = run_child(run)
    assert (resumed.code, resumed.notes) == (0, [])
    assert_complete(run)
    assert_nothing_paid_twice([full, resumed])


def test_full_disk_while_a_part_is_merged(tmp_path: Path) -> None:
    """A part that can't be written leaves the older part and the journal, and the next run merges them."""
    run = tmp_path / "run"
    assert run_child(run, first=36).code == 0
    before = {path: path.read_bytes() for path in run.glob("results/*")}
    full = run_child(run, file_limit=6_000)
    assert full.code == 4
    assert "results/part-" in full.errors[0]
    assert {path: path.read_bytes() for path in run.glob("results/*")} == before
    assert list(run.glob("journal/*.journal"))
    resumed = run_child(run)
    assert resumed.code == 0
    assert not set(full.committed) & set(resumed.asked)
    assert_complete(run)


@contextmanager
def no_room() -> Iterator[None]:
    """No file of this process may grow beyond the lock's: a disk that is full, as the system reports it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_why_a_run_ended_is_told_although_the_disk_is_full(tmp_path: Path) -> None:
    """An end that finds no room in the manifest is kept in the lock's file until a manifest has it."""
    layout = RunLayout(tmp_path / "run")
    survey = Survey((), plan(40, 3), COLUMNS, 120, 60)
    begun = Session("2026-11-22T08:00:00.000+00:00")
    ended = Session(begun.started_at, "2026-11-22T08:00:09.000+00:00", 4, "cannot write: “no space” " * 40)
    manifest = Manifest(
        "run-1", "now", "0.1", "3.11", "linux", {"models": [{"name": "m"}]}, {}, survey, (begun,)
    )
    with hold_folder(layout) as tenure:
        tenure.begin(manifest)
        with no_room():
            tenure.end(manifest, ended)

    def told() -> tuple[RunState, int | None]:
        found = StatusReader(layout, "run").read()
        assert found.session is not None
        assert found.session.note == ended.note[: len(found.session.note)]
        assert len(found.session.note) > 100
        return found.state, found.session.exit_code

    assert (RunState.STOPPED, 4) == told()
    assert SIZE == layout.lock.stat().st_size
    with hold_folder(layout) as tenure, no_room(), pytest.raises(StorageError):
        tenure.begin(manifest)  # still full: the next start changes nothing of that
    assert (RunState.STOPPED, 4) == told()
    again = read_manifest(layout)
    assert again is not None
    with hold_folder(layout) as tenure:
        tenure.begin(again)
    assert 0 == layout.lock.stat().st_size
    assert (RunState.STOPPED, 4) == told()


def test_the_lock_of_a_killed_run_tells_no_older_end(tmp_path: Path) -> None:
    """What the lock's file says of one session is never taken for the end of another."""
    layout = RunLayout(tmp_path)
    older, newer = Session("2026-11-22T08:00:00.000+00:00"), Session("2026-11-22T09:00:00.000+00:00")
    lock = RunLock.acquire(layout)
    lock.ended = Session(older.started_at, older.started_at, 4, "full")
    lock.release()
    survey = Survey((), plan(2, 3), COLUMNS, 6, 60)
    write_manifest(layout, Manifest("r", "now", "0", "3", "linux", {}, {}, survey, (older, newer)))
    found = read_manifest(layout)
    assert found is not None
    assert found.sessions == (older, newer)
