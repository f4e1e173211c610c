"""A disk that takes no more, or takes nothing: exit 4, committed rows stay readable, the run resumes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from scripted import ScriptedServer

from .ledger import Ledger, drain
from .sessions import Ended, Session, run
from .verdict import closed_rows, committed_rows
from .workload import Workload

pytestmark = pytest.mark.slow
ROWS, CONCURRENCY = 300, 8
SLOWLY = ("--concurrency", "2")  # so that a busy machine acts before the run is over
# Root may write anywhere; without these two capabilities it is a user like any other.
DROP_AND_RUN = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.argv[1], sys.argv[1:])
"""
AS_A_USER = (sys.executable, "-c", DROP_AND_RUN) if os.geteuid() == 0 else ()


def small_job(folder: Path, server: ScriptedServer) -> tuple[Workload, Path]:
    """A job of 300 rows in the folder, at an endpoint of its own."""
    models = {"one": server.endpoint("echo,delay=0.02")}
    workload = Workload(rows=ROWS, shard_rows=60, concurrency=CONCURRENCY, models=models, kinds=())
    return workload, workload.write(folder, server.base_url)


def assert_stopped(ended: Ended, *words: str) -> None:
    """Exit 4 with one message that holds these words, and no traceback."""
    assert ended.code == 4, ended.stderr
    assert "Traceback" not in ended.stderr
    for word in words:
        assert ended.stderr.count(word) >= 1, ended.stderr
    assert ended.stderr.count("cannot ") <= 2, ended.stderr  # in the log line and in the message


def assert_resumes(job: Path, workload: Workload, server: ScriptedServer, ledger: Ledger) -> None:
    """What is committed is readable; the run completes; paid twice is what the fault threw away."""
    drain(server, workload.models.values())
    ledger.read()
    thrown_away = ledger.total - committed_rows(job.parent / "run").height
    assert 0 <= thrown_away <= CONCURRENCY + 256
    assert run(job).code == 0
    ledger.read()
    assert closed_rows(job.parent / "run").height == workload.rows
    assert len(ledger.paid) == workload.rows
    assert ledger.total - workload.rows == thrown_away


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
@pytest.mark.parametrize(
    "limit",
    [
        pytest.param(2_000, id="manifest too"),
        pytest.param(12_000, id="journal"),
    ],
)
def test_full_disk_in_the_middle(limit: int, tmp_path: Path, server: ScriptedServer, ledger: Ledger) -> None:
    """Files that cannot grow any more stop the run with exit 4; it resumes once they can."""
    workload, job = small_job(tmp_path, server)

    def some_paid() -> bool:
        ledger.read()
        return ledger.total >= 100

    with Session(job, *SLOWLY) as session:
        assert session.watch(some_paid)
        resource.prlimit(session.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        ended = session.end()
    assert_stopped(ended, "Make room", "resume: qfbatch run run.yaml")
    assert_resumes(job, workload, server, ledger)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own size at `folder`; skips where it may not be mounted."""
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("no permission to mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root mounts file systems")
def test_disk_without_room(tmp_path: Path, server: ScriptedServer, ledger: Ledger) -> None:
    """A disk that is full to the last byte stops the run with exit 4; it resumes once there is room."""
    with small_disk(tmp_path / "disk", "1m"):
        workload, job = small_job(tmp_path / "disk", server)
        ballast = tmp_path / "disk/ballast"
        free = os.statvfs(tmp_path / "disk")
        ballast.write_bytes(bytes(free.f_bavail * free.f_bsize - 50_000))
        assert_stopped(run(job), "Make room")
        ballast.unlink()
        assert_resumes(job, workload, server, ledger)


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
@pytest.mark.parametrize("which", ["run", "run/results", "run/journal"])
def test_folder_that_may_not_be_written(
    which: str, tmp_path: Path, server: ScriptedServer, ledger: Ledger
) -> None:
    """A run directory, or a folder in it, without permission to write is exit 4 before anything is lost."""
    workload, job = small_job(tmp_path, server)
    assert run(job, "--limit", "70").code == 0
    ledger.read()
    folder = tmp_path / which
    folder.chmod(0o555)
    try:
        ended = run(job, launcher=AS_A_USER)
    finally:
        folder.chmod(0o755)
    assert_stopped(ended, "Make it writable")
    assert_resumes(job, workload, server, ledger)


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
def test_folder_that_becomes_unwritable(tmp_path: Path, server: ScriptedServer, ledger: Ledger) -> None:
    """A folder whose permission is taken away in the middle stops the run with exit 4; it resumes."""
    workload, job = small_job(tmp_path, server)
    results = tmp_path / "run/results"
    with Session(job, *SLOWLY, launcher=AS_A_USER) as session:
        assert session.watch(lambda: any(results.glob("*.parquet")))
        results.chmod(0o555)
        ended = session.end()
    results.chmod(0o755)
    assert_stopped(ended, "Make it writable", "resume: qfbatch run run.yaml")
    assert_resumes(job, workload, server, ledger)
