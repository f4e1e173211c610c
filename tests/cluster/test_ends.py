"""How the nodes of a run end together, without Ray: stopped, out of budget, refused; and what they ask again.

The same from outside, on a Ray cluster: `test_stops`.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted import ScriptedServer

from qfbatch.checkpoint.place import run_place
from qfbatch.checkpoint.results import scan_results
from qfbatch.errors import UsageError
from qfbatch.flow.runner import RunResult
from qfbatch.flow.session import RunOptions
from qfbatch.flow.stopping import StopButton
from qfbatch.job.load import load_job
from qfbatch.progress.events import Event, NodeEnded, Pulse, Refused, RowsCommitted, Stopping, Surveyed
from qfbatch.storage.access import StorageAccess

from .runs import write_job

pytest.importorskip("ray", reason="the extra `ray` is not installed")

from qfbatch.cluster.driver import run_on_cluster

from .in_process import LocalEngine, run_in_process

IN_FLIGHT = 6
LIMITS = {"concurrency": IN_FLIGHT}


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """The service."""
    with ScriptedServer() as running:
        yield running


class Nodes:
    """A job that three nodes work on, session after session.

    Args:
        folder: of its file.
        server: the service.
        script: of its endpoint.
        sections: further ones of the job.
    """

    def __init__(self, folder: Path, server: ScriptedServer, script: str, **sections: object) -> None:
        self._server = server
        self.endpoint = server.endpoint(script)
        sections = {"limits": LIMITS, **sections}
        self.job = write_job(folder, server.base_url, self.endpoint, rows=60, shard_rows=6, **sections)
        self.events: list[Event] = []

    def run(
        self, options: RunOptions | None = None, *, stopped: bool = False, engine: LocalEngine | None = None
    ) -> RunResult:
        """A session; perhaps with a signal when its first rows are committed."""
        self.events, button = [], StopButton()

        def observe(event: Event) -> None:
            first = not any(isinstance(earlier, RowsCommitted) for earlier in self.events)
            self.events.append(event)
            if stopped and first and isinstance(event, RowsCommitted):
                button.press(signal.SIGTERM)  # a second press would give up the calls on their way

        engine = engine or LocalEngine(3)
        return run_in_process(self.job, engine, {}, options=options, observe=observe, button=button)

    @property
    def calls(self) -> dict[str, tuple[int, int]]:
        """Calls and answers, by prompt."""
        return self._server.calls(self.endpoint)

    @property
    def committed(self) -> int:
        """Rows in the results."""
        return scan_results(run_place(self.job.parent / "run", StorageAccess())).collect().height


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_survey_is_told(tmp_path: Path) -> None:
    """Who watches a run on a cluster sees how far the input is read, before the cluster is even joined."""
    job = write_job(tmp_path, "http://127.0.0.1:9", "e", rows=3, shard_rows=3)
    events: list[Event] = []
    with pytest.raises(UsageError, match="no Ray cluster can be reached there"):
        run_on_cluster(
            load_job(job, environ={}),
            RunOptions(),
            address="nowhere",
            nodes=None,
            environ={},
            observe=events.append,
        )
    size = job.with_name("rows.jsonl").stat().st_size
    assert {Surveyed(size, size)} == set(events)


def test_a_stop_loses_nothing(tmp_path: Path, server: ScriptedServer) -> None:
    """Calls on their way on all nodes come back and are committed; the next session asks the others."""
    nodes = Nodes(tmp_path, server, "echo,delay=0.1")
    result = nodes.run(stopped=True)
    assert 143 == result.exit_code
    assert {(1, 1)} == set(nodes.calls.values())
    assert len(nodes.calls) == nodes.committed == result.succeeded == 60 - result.left < 60
    (stopping,) = [event for event in nodes.events if isinstance(event, Stopping)]
    assert not stopping.in_flight or "a second signal ends them now" in stopping.reason
    assert 0 == nodes.run().exit_code
    assert {(1, 1)} == set(nodes.calls.values())
    assert 60 == len(nodes.calls) == nodes.committed


def test_a_budget_is_all_nodes_together(tmp_path: Path, server: ScriptedServer) -> None:
    """It is exceeded by a row of six tokens a node at most; nothing more is asked within it."""
    nodes = Nodes(tmp_path, server, "echo", budget={"max_total_tokens": 120})
    result = nodes.run()
    assert 6 == result.exit_code
    assert 20 <= nodes.committed == len(nodes.calls) <= 20 + 3
    assert 6 == nodes.run().exit_code
    assert {(1, 1)} == set(nodes.calls.values())


def test_a_refusal_of_the_job_is_told_once(tmp_path: Path, server: ScriptedServer) -> None:
    """All nodes meet the end of a quota; the run ends as refused, with what was answered committed."""
    nodes = Nodes(tmp_path, server, "echo,delay=0.05,calls=20,calls_code=17")
    assert 5 == nodes.run().exit_code
    assert 1 == sum(isinstance(event, Refused) for event in nodes.events)
    assert 20 == nodes.committed == sum(answered for _, answered in nodes.calls.values())


def test_a_service_that_nobody_reaches_costs_no_row(tmp_path: Path, server: ScriptedServer) -> None:
    """Nodes end at their first row out of attempts, before the driver can tell them; none is recorded."""
    nodes = Nodes(tmp_path, server, "echo", retry={"retry_count": 1})
    job = json.loads(nodes.job.read_text())
    nodes.job.write_text(json.dumps({**job, "service": {"base_url": "http://127.0.0.1:9", "auth": "none"}}))
    result = nodes.run()
    assert (5, 0, 0, 60) == (result.exit_code, result.succeeded, result.failed, result.left)
    assert result.reason is not None
    assert "not one call reached the service" in result.reason.message


def test_a_node_that_alone_is_cut_off_is_as_good_as_lost(tmp_path: Path, server: ScriptedServer) -> None:
    """Where others reach the service, one that does not costs no row and does not end the run."""
    nodes = Nodes(tmp_path, server, "echo,delay=0.05", retry={"retry_count": 3, "backoff_factor": 0.3})
    result = nodes.run(engine=LocalEngine(3, cut_one_off=True))
    assert (0, 60, 0) == (result.exit_code, result.succeeded, result.failed)
    (lost,) = [event for event in nodes.events if isinstance(event, NodeEnded)]
    assert "not one call reached the service" in lost.message
    assert {(1, 1)} == set(nodes.calls.values())


def test_only_failed_rows_within_the_limit_are_asked_again(tmp_path: Path, server: ScriptedServer) -> None:
    """The limit cuts a shard, and is of the input; each failed row is asked once more, and no other."""
    nodes = Nodes(tmp_path, server, "echo")
    path = nodes.job.with_name("rows.jsonl")
    path.write_text(path.read_text().replace('5"}', '5 {{fault: 336003 times=1}}"}'))
    assert 1 == nodes.run(RunOptions(limit=27)).exit_code
    assert 27 == len(nodes.calls) == nodes.committed
    result = nodes.run(RunOptions(limit=27, retry_failed=True))
    assert (0, 3) == (result.exit_code, result.asked)
    last = [event for event in nodes.events if isinstance(event, Pulse)][-1]
    assert [0] == [standing.left for standing in last.models.values()]
    expected = {prompt: (2, 1) if "fault" in prompt else (1, 1) for prompt in nodes.calls}
    assert expected == nodes.calls
    assert 27 == nodes.committed
