"""Two processes and one run directory."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from scripted import ScriptedServer

from .ledger import Ledger
from .sessions import Session, run
from .verdict import closed_rows
from .workload import Workload

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("options", [(), ("--fresh",), ("--retry-failed",)], ids=["run", "fresh", "retry"])
def test_second_process_is_told_who_holds_it(
    options: tuple[str, ...], tmp_path: Path, server: ScriptedServer, ledger: Ledger
) -> None:
    """While a run goes on, a second process is told its pid, exits 4 and disturbs nothing."""
    endpoint = server.endpoint("echo")
    workload = Workload(rows=200, shard_rows=50, concurrency=8, models={"one": endpoint}, kinds=("hanging",))
    job = workload.write(tmp_path, server.base_url)
    second = job.with_name("second.yaml")
    second.write_bytes(job.read_bytes())
    hanging = {workload.prompt(n) for n in range(200) if workload.kind(n) == "hanging"}
    with Session(job) as holder:
        assert holder.watch(lambda: len(server.calls(endpoint).keys() & hanging) == 8)
        ended = run(second, *options)
        assert holder.process.poll() is None
        holder.send(signal.SIGINT)
        assert holder.says("stopping")
        holder.send(signal.SIGINT)
        first = holder.end()
    assert ended.code == 4
    assert f"in use by process {holder.process.pid} on " in ended.stderr
    assert "Traceback" not in ended.stderr
    assert first.code == 130
    assert run(job, "--set", "retry.request_timeout=1").code == 0
    ledger.read()
    assert closed_rows(tmp_path / "run").height == len(ledger.paid) == ledger.total == 200


def test_dead_holder_is_succeeded(tmp_path: Path, server: ScriptedServer, ledger: Ledger) -> None:
    """A holder that was killed leaves its name in the lock file and nothing else in the way."""
    workload = Workload(
        rows=120, shard_rows=50, concurrency=8, models={"one": server.endpoint("echo,delay=0.2")}, kinds=()
    )
    job = workload.write(tmp_path, server.base_url)

    def begun() -> bool:
        return bool(ledger.read())

    with Session(job) as holder:
        assert holder.watch(begun)
        holder.kill()
    assert str(holder.process.pid) in (tmp_path / "run/run.lock").read_text()
    assert run(job, "--concurrency", "60").code == 0
    assert closed_rows(tmp_path / "run").height == 120
