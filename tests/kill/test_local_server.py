"""Ctrl-C while the embedded server answers: it lives until the calls in flight are answered, then ends."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from qfbatch.server.weights import SMOLLM2, cache_directory, present

from .sessions import Session, run
from .verdict import closed_rows, committed_rows
from .workload import Workload

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("model")]
ENDS_S = 30.0


def children(pid: int) -> list[int]:
    """Processes that this one has started and that live."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.skipif(not present(SMOLLM2, cache_directory(os.environ)), reason="the model is not fetched")
def test_interrupt_with_the_embedded_server(tmp_path: Path) -> None:
    """The whole process group gets SIGINT; the embedded server answers what is in flight, then ends."""
    workload = Workload(
        rows=4, shard_rows=2, concurrency=2, models={"small": SMOLLM2.endpoint}, kinds=(), base_text="Hi. "
    )
    job = workload.write(tmp_path, "local")
    results = tmp_path / "run"
    with Session(job) as session:
        assert session.watch(lambda: any(results.glob("journal/*.journal")))
        servers = children(session.process.pid)
        assert servers
        session.send(signal.SIGINT)
        ended = session.end()
    assert ended.code == 130, ended.stderr
    assert "Traceback" not in ended.stderr
    deadline = time.monotonic() + ENDS_S
    while any(Path(f"/proc/{server}").exists() for server in servers):
        assert time.monotonic() < deadline, "the embedded server outlives the run"
        time.sleep(0.05)
    stopped = committed_rows(results)
    assert closed_rows(results).height == stopped.height
    events = [json.loads(line) for line in (results / "events.jsonl").read_text().splitlines()]
    assert not [event for event in events if event["event"] == "AttemptFailed"]
    assert run(job).code == 0
    assert closed_rows(results).height == 4
