"""`qfbatch run` with its run directory in object storage: killed, resumed, frozen, taken over, retried."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from scripted import ScriptedServer
from storage import s3_servers

from qfbatch.checkpoint.faultpoints import LOG_NAMES
from qfbatch.checkpoint.log_reading import LogReader
from qfbatch.checkpoint.manifest import read_manifest

from .stored_runs import CONCURRENCY, ROWS, StoredJob

pytestmark = pytest.mark.slow


def strike(job: StoredJob, point: str) -> None:
    """A session that dies there; what was committed before it stays, and is not asked again."""
    before, paid = job.answers(), job.paid()
    with job.session(point=point) as session:
        ended = session.end()
    assert ended.killed, f"{point} was not reached: {ended.stderr}"
    now = job.answers()
    assert now.items() >= before.items()
    again = job.paid()
    assert {row: paid[row] for row in before} == {row: again[row] for row in before}


def complete(job: StoredJob) -> None:
    """The run completes with every row once, in the log's view and in any tool's."""
    with job.session() as session:
        ended = session.end()
    assert 0 == ended.code, ended.stderr
    expected = {f"row-{n}" for n in range(job.rows)}
    assert expected == set(job.answers())
    assert expected == set(job.published()["row_id"])


def test_killed_again_and_again(tmp_path: Path, service: ScriptedServer, environ: dict[str, str]) -> None:
    """Killed amid parts and amid publishing, a run loses nothing, doubles nothing, and completes."""
    job = StoredJob(tmp_path, service, environ)
    for point in ("log.part-put:2", "log.result-put:1"):
        strike(job, point)
    complete(job)
    twice = sum(job.paid().values()) - ROWS
    assert twice <= 2 * ROWS  # what was not committed, at most all of it; what was is held by `strike`


@pytest.mark.cluster
@pytest.mark.parametrize("keeper", ["moto", "seaweedfs"])
def test_killed_at_every_point(
    keeper: str,
    tmp_path: Path,
    service: ScriptedServer,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each named point of the log is reached, and a kill there costs no committed row."""
    variables = s3_servers.environment(request.getfixturevalue(keeper))
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    job = StoredJob(tmp_path, service, variables, rows=400)
    for point in LOG_NAMES:
        strike(job, point)
    complete(job)


@pytest.mark.cluster
def test_a_frozen_process_is_taken_over(
    tmp_path: Path, service: ScriptedServer, environ: dict[str, str]
) -> None:
    """A second start outwaits a frozen first one; thawed, the first commits nothing more and says so."""
    job = StoredJob(tmp_path, service, environ, script="echo,delay=0.05")
    with job.session() as frozen:
        frozen.watch(lambda: len(job.answers()) > 0)
        frozen.process.send_signal(signal.SIGSTOP)
        complete(job)
        settled = job.answers()
        frozen.process.send_signal(signal.SIGCONT)
        ended = frozen.end()
    assert 4 == ended.code
    assert "another process has taken" in ended.stderr
    assert settled == job.answers()


def test_a_second_process_is_turned_away(
    tmp_path: Path, service: ScriptedServer, environ: dict[str, str]
) -> None:
    """While a process is at work, another start is refused by name and changes nothing."""
    job = StoredJob(tmp_path, service, environ, script="echo,delay=0.6", rows=120)
    with job.session() as first:
        first.watch(lambda: bool(job.paid()))
        with job.session() as second:
            refused = second.end()
        assert 4 == refused.code
        assert f"is in use by process {first.process.pid}" in refused.stderr
        assert first.end().code == 0
    assert job.rows == len(job.answers())
    assert {1} == set(job.paid().values())


def test_stopped_by_a_signal_and_resumed(
    tmp_path: Path, service: ScriptedServer, environ: dict[str, str]
) -> None:
    """Ctrl-C commits every answered row: resumed, no row is paid twice; a complete run makes no call."""
    job = StoredJob(tmp_path, service, environ, script="echo,delay=0.05")
    with job.session("--concurrency", "2") as session:  # slowly, so that the signal comes in time
        session.watch(lambda: len(job.paid()) > 2 * CONCURRENCY)
        session.process.send_signal(signal.SIGINT)
        assert 130 == session.end().code
    assert set(job.answers()) == {row for row, answered in job.paid().items() if answered}
    complete(job)
    assert {1} == set(job.paid().values())
    complete(job)
    assert {1} == set(job.paid().values())


@pytest.mark.cluster
def test_a_store_without_preconditions_serves_one_process(
    tmp_path: Path, service: ScriptedServer, rclone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run on a store that ignores preconditions says so, survives a kill, and completes."""
    variables = s3_servers.environment(rclone)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    job = StoredJob(tmp_path, service, variables, rows=80)
    with job.session(point="log.part-committed") as session:
        assert session.end().killed
    assert "ignores preconditions" in session.stderr
    with job.session() as session:
        assert 0 == session.end().code
    # By whole objects: this server answers a range that is the whole object with 200, which polars refuses.
    manifest = read_manifest(job.run)
    assert manifest is not None
    logbook = job.run.logbook(manifest.run_id)
    tables = LogReader(job.run.store, logbook, manifest.survey.columns).read(logbook.read())
    rows = [row for table in tables.values() for row in table["row_id"].to_pylist()]
    assert sorted(f"row-{n}" for n in range(80)) == sorted(rows)
