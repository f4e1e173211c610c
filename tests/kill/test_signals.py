"""SIGINT and SIGTERM: the run ends in order, nothing is paid twice, and the next session completes it."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest
from scripted import ScriptedServer

from .ledger import Ledger, calls_received, drain
from .sessions import Ended, Session, run
from .verdict import closed_rows, committed_rows
from .workload import Workload

pytestmark = pytest.mark.slow

SIGNALS = [signal.SIGINT, signal.SIGTERM]


def assert_orderly(ended: Ended, signum: signal.Signals) -> None:
    """The exit code names the signal, and the next step is said."""
    assert ended.code == 128 + signum
    assert "Traceback" not in ended.stderr
    assert "resume: qfbatch run run.yaml" in ended.stderr


def paid_more_than_once(ledger: Ledger) -> int:
    """Answers paid for beyond the first of each row."""
    ledger.read()
    return ledger.total - len(ledger.paid)


@pytest.mark.parametrize("signum", SIGNALS)
def test_signal_pays_nothing_twice(
    signum: signal.Signals, tmp_path: Path, server: ScriptedServer, ledger: Ledger
) -> None:
    """After a signal no row is begun, calls in flight are awaited, all stands in parts, 130 or 143."""
    endpoint = server.endpoint("echo,delay=0.2")
    workload = Workload(rows=90, shard_rows=20, concurrency=8, models={"one": endpoint}, kinds=())
    job = workload.write(tmp_path, server.base_url)

    def some_paid() -> bool:
        ledger.read()
        return ledger.total >= 20

    with Session(job) as session:
        assert session.watch(some_paid)
        session.send(signum)
        assert session.says("stopping")
        heard = datetime.now(UTC)
        ended = session.end()
    assert_orderly(ended, signum)
    ledger.read()
    rows = committed_rows(tmp_path / "run")
    assert not [began for began in rows["started_at"].to_list() if began > heard]
    assert ledger.total == calls_received(server, [endpoint]) == rows.height < 90
    assert closed_rows(tmp_path / "run").height == rows.height
    assert not list((tmp_path / "run/journal").iterdir())
    assert run(job).code == 0
    assert paid_more_than_once(ledger) == 0
    assert closed_rows(tmp_path / "run").height == ledger.total == 90


@pytest.mark.parametrize("signum", SIGNALS)
def test_second_signal_stops_now(
    signum: signal.Signals, tmp_path: Path, server: ScriptedServer, ledger: Ledger
) -> None:
    """A second signal waits for no call and loses nothing that was answered."""
    endpoint = server.endpoint("echo")
    workload = Workload(rows=300, shard_rows=40, concurrency=8, models={"one": endpoint}, kinds=("hanging",))
    job = workload.write(tmp_path, server.base_url)
    hanging = [workload.prompt(n) for n in range(300) if workload.kind(n) == "hanging"]

    def all_hang() -> bool:
        return len(server.calls(endpoint).keys() & set(hanging)) == 8

    with Session(job, "--grace", "600") as session:
        assert session.watch(all_hang)
        session.send(signum)
        assert session.says("stopping")
        session.send(signum)
        ended = session.end()
    assert_orderly(ended, signum)
    ledger.read()
    assert 0 < committed_rows(tmp_path / "run").height == ledger.total < 300
    assert run(job, "--set", "retry.request_timeout=1").code == 0  # rows yet to come hang too, once
    assert paid_more_than_once(ledger) == 0
    assert closed_rows(tmp_path / "run").height == ledger.total == 300


def test_grace_shorter_than_the_calls(tmp_path: Path, server: ScriptedServer, ledger: Ledger) -> None:
    """Rows whose calls outlast the grace time run again: at most those in flight are paid once more."""
    endpoint = server.endpoint("echo,delay=1.5")
    workload = Workload(rows=20, shard_rows=10, concurrency=8, models={"one": endpoint}, kinds=())
    job = workload.write(tmp_path, server.base_url)

    def second_wave() -> bool:
        return calls_received(server, [endpoint]) > 8

    with Session(job, "--grace", "0.05") as session:
        assert session.watch(second_wave)
        session.send(signal.SIGINT)
        ended = session.end()
    assert_orderly(ended, signal.SIGINT)
    drain(server, [endpoint])
    ledger.read()
    given_up = ledger.total - committed_rows(tmp_path / "run").height
    assert given_up <= 8
    assert run(job).code == 0
    assert paid_more_than_once(ledger) == given_up
    assert max(ledger.paid.values()) <= 2
    assert closed_rows(tmp_path / "run").height == 20


@pytest.mark.parametrize(
    "signum",
    [
        signal.SIGINT,
        signal.SIGTERM,
    ],
)
def test_signal_during_the_survey(
    signum: signal.Signals, tmp_path: Path, server: ScriptedServer, ledger: Ledger
) -> None:
    """A signal while a large input is surveyed ends the run without a traceback; the next one begins anew."""
    endpoint = server.endpoint("echo")
    workload = Workload(rows=300_000, shard_rows=1000, models={"one": endpoint}, kinds=())
    job = workload.write(tmp_path, server.base_url)
    lock, manifest = tmp_path / "run/run.lock", tmp_path / "run/manifest.json"
    with Session(job) as session:
        assert session.watch(lambda: lock.exists() and lock.stat().st_size > 0)
        session.send(signum)
        ended = session.end()
    assert not manifest.exists(), "the survey was over too soon for this test"
    assert "Traceback" not in ended.stderr
    assert ended.code == 128 + signum
    assert ended.stderr.count("\n") <= 3
    (tmp_path / "input.jsonl").write_text(
        "\n".join((tmp_path / "input.jsonl").read_text().splitlines()[:30]) + "\n"
    )
    assert run(job).code == 0
    ledger.read()
    assert ledger.total == 30
