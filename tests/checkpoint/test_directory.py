"""Names, lock, manifest and the refusal of folders that are not ours."""

from __future__ import annotations

import errno
import os
import signal
import threading
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfbatch.checkpoint import files
from qfbatch.checkpoint.directory import check_directory, prepare_directory
from qfbatch.checkpoint.files import replace_file
from qfbatch.checkpoint.layout import RunLayout, shard_of_journal, shard_of_part, slug
from qfbatch.checkpoint.lock import RunLock, holder
from qfbatch.checkpoint.manifest import Manifest, Session, read_manifest, write_manifest
from qfbatch.errors import RunDirectoryError, RunDirectoryHeld, StorageError
from qfbatch.records import Survey

from .rows import COLUMNS, plan
from .running import HANG_S, start

MANIFEST = Manifest("run-1", "now", "0.1", "3.11", "linux", {}, {}, Survey((), plan(2, 3), COLUMNS, 6, 60))


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    """An existing empty run directory."""
    (tmp_path / "run").mkdir()
    return RunLayout(tmp_path / "run")


@given(st.text(max_size=90), st.text(max_size=90))
@settings(deadline=None)
def test_slugs_are_safe_and_never_meet(one: str, other: str) -> None:
    """Different models have different file names, also where case is folded, and stay in theirs."""
    assert (slug(one).lower() == slug(other).lower()) == (one == other)
    assert set(slug(one)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-~")
    assert len(slug(one)) <= 64
    part = RunLayout(Path("run")).part(one, 7)
    assert part.parent == Path("run/results")
    assert shard_of_part(part.name) == (slug(one), 7)


def test_plain_names_stay_readable() -> None:
    """Ordinary model names stand in file names as they are; a forged hash is no way around."""
    assert slug("yi-34b") == "yi-34b"
    assert slug("Yi/34B").startswith("Yi-34B~")
    assert slug(slug("Yi/34B")) != slug("Yi/34B")
    assert shard_of_journal("yi-34b-000012.journal") == ("yi-34b", 12)
    assert shard_of_journal("yi-34b-000012.journal.damaged-1") is None


def test_second_process_is_told_who_holds_the_lock(layout: RunLayout) -> None:
    """While a process holds the run, another is refused with its id, and takes over once it is killed."""
    process = start(layout.path, hold=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline().split()[1])
    with pytest.raises(RunDirectoryHeld, match=f"process {pid} on") as refused:
        RunLock.acquire(layout)
    assert f"kill {pid}" in refused.value.hint
    found = holder(layout)
    assert found is not None
    assert found.pid == pid
    os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=HANG_S)
    assert holder(layout) is None
    with RunLock.acquire(layout):
        assert (holder(layout) or found).pid == os.getpid()
    assert holder(layout) is None


def test_lock_is_free_after_release(layout: RunLayout) -> None:
    """A released lock can be taken again; releasing twice does no harm."""
    lock = RunLock.acquire(layout)
    lock.release()
    lock.release()
    RunLock.acquire(layout).release()


def test_nobody_holds_a_folder_without_a_lock_file(tmp_path: Path) -> None:
    """Asking for the holder creates nothing."""
    assert holder(RunLayout(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []


def test_manifest_round_trip(layout: RunLayout) -> None:
    """What was written is read; an older one is replaced."""
    assert read_manifest(layout) is None
    write_manifest(layout, MANIFEST)
    assert read_manifest(layout) == MANIFEST
    ended = Manifest(**{f: getattr(MANIFEST, f) for f in MANIFEST.__struct_fields__} | {"run_id": "x"})
    write_manifest(layout, ended)
    assert read_manifest(layout) == ended
    assert Session("now").exit_code is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format_version": 1}', b"\xff\xfe"])
def test_damaged_manifest_is_refused(layout: RunLayout, content: bytes) -> None:
    """A manifest that can't be read stops the command with the next step, and is not replaced."""
    layout.manifest.write_bytes(content)
    with pytest.raises(StorageError, match=r"manifest\.json: damaged") as refused:
        read_manifest(layout)
    assert "--fresh" in refused.value.hint
    assert layout.manifest.read_bytes() == content


def test_newer_manifest_is_refused(layout: RunLayout) -> None:
    """A run directory of a newer format is left alone."""
    layout.manifest.write_bytes(b'{"format_version": 2, "shape": "unknown"}')
    with pytest.raises(RunDirectoryError, match="newer qfbatch"):
        read_manifest(layout)


def test_foreign_folder_is_refused(layout: RunLayout) -> None:
    """A folder that holds something and no manifest is refused, and nothing in it changes."""
    for name in ("thesis.txt", "results.csv"):
        (layout.path / name).write_text("mine")
    with pytest.raises(RunDirectoryError, match=r"holds results\.csv and 1 more") as refused:
        check_directory(layout)
    assert "output.path" in refused.value.hint
    assert len(list(layout.path.iterdir())) == 2


def test_results_without_a_manifest_are_refused(layout: RunLayout) -> None:
    """Parts whose manifest is gone are not taken for a fresh start."""
    prepare_directory(layout)
    check_directory(layout)
    layout.part("m", 0).write_bytes(b"x")
    with pytest.raises(RunDirectoryError):
        check_directory(layout)


def test_first_start_killed_early_is_ours(layout: RunLayout) -> None:
    """Lock, empty folders and a half-written manifest are a first start that was cut short."""
    check_directory(RunLayout(layout.path / "none"))
    RunLock.acquire(layout).release()
    prepare_directory(layout)
    (layout.path / ".tmp-manifest.json.77-0").write_bytes(b"{")
    check_directory(layout)
    prepare_directory(layout)
    assert sorted(p.name for p in layout.path.iterdir()) == ["journal", "results", "run.lock"]


def test_folder_is_no_file(tmp_path: Path) -> None:
    """A file in the run directory's place is called a file, and the job is to name another place."""
    (tmp_path / "run").write_text("x")
    with pytest.raises(RunDirectoryError, match="run is a file, not a folder"):
        check_directory(RunLayout(tmp_path / "run"))


def test_failed_replacement_leaves_the_old_file(tmp_path: Path) -> None:
    """If writing the new content fails, the old file stands and no temporary file stays."""
    path = tmp_path / "file"
    replace_file(path, b"old")

    def fail(file: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left") as failed:
        replace_file(path, fail)
    assert "Make room" in failed.value.hint
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_a_long_content_goes_to_the_medium_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync comes before the content has ended; one that fails is heard of, and the old file stands."""
    path = tmp_path / "file"
    replace_file(path, b"old")
    synced = threading.Event()

    def sync(fd: int) -> None:
        assert os.fstat(fd).st_size == 3
        synced.set()

    def write(file: IO[bytes]) -> None:
        file.write(b"new")
        file.flush()
        assert synced.wait(HANG_S)

    monkeypatch.setattr(files, "sync_data", sync)
    replace_file(path, write, long=True)
    assert path.read_bytes() == b"new"

    def fail(_: int) -> None:
        synced.set()
        raise OSError(errno.EIO, "Input/output error")

    synced.clear()
    monkeypatch.setattr(files, "sync_data", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        replace_file(path, write, long=True)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"new"
