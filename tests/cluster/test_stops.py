"""How a run on a cluster ends, and what it asks: signals, budget, breaker, limits, failed rows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from scripted import ScriptedServer

from qfbatch.checkpoint.place import run_place
from qfbatch.checkpoint.results import scan_results
from qfbatch.storage.access import StorageAccess

from .runs import START_S, Driver, Machines, write_job

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600), pytest.mark.xdist_group("cluster")]

IN_FLIGHT = 12
NODES = 3
LIMITS = {"concurrency": IN_FLIGHT}


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """The service."""
    with ScriptedServer() as running:
        yield running


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    """A cluster of three machines; nothing here does it any harm."""
    with Machines(NODES) as running:
        yield running


class Asked:
    """What a model's endpoint was asked.

    Args:
        server: where it is.
        script: of the endpoint.
    """

    def __init__(self, server: ScriptedServer, script: str) -> None:
        self._server = server
        self.endpoint = server.endpoint(script)

    @property
    def calls(self) -> Counter[str]:
        """Calls received, by prompt."""
        return Counter({prompt: calls for prompt, (calls, _) in self._server.calls(self.endpoint).items()})

    @property
    def paid(self) -> Counter[str]:
        """Answers completed, by prompt."""
        return Counter({prompt: paid for prompt, (_, paid) in self._server.calls(self.endpoint).items()})

    @property
    def in_flight(self) -> int:
        """Calls on their way now."""
        return int(self._server.traffic(self.endpoint).get("in_flight", 0))

    @property
    def arrivals(self) -> list[float]:
        """When calls came, in seconds."""
        return sorted(self._server.traffic(self.endpoint)["arrivals"])


def results(job: Path) -> pl.DataFrame:
    """What is committed of a job's run."""
    return scan_results(run_place(job.parent / "run", StorageAccess())).collect()


def run(job: Path, machines: Machines, *options: str) -> tuple[int, str]:
    """A whole session: its exit code, and what it said in it."""
    with Driver(job, machines.address, "--ray-nodes", str(NODES), *options) as driver:
        before = len(driver.said)
        code = driver.end()
        return code, driver.said[before:]


def status(job: Path) -> dict[str, Any]:
    """What `qfbatch status` says in another shell."""
    command = [sys.executable, "-m", "qfbatch", "status", "run", "--format", "json"]
    done = subprocess.run(command, cwd=job.parent, capture_output=True, check=True, timeout=60)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def events(job: Path, name: str) -> list[dict[str, Any]]:
    """Events of a kind, of all sessions."""
    path = job.parent / "run" / "events.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [event for event in found if event["event"] == name]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_pays_nothing_twice(
    signum: signal.Signals, tmp_path: Path, server: ScriptedServer, machines: Machines
) -> None:
    """All calls on their way are waited for and committed on all nodes; the next session asks the rest."""
    asked = Asked(server, "echo,delay=0.7")
    job = write_job(tmp_path, server.base_url, asked.endpoint, rows=200, shard_rows=20, limits=LIMITS)
    with Driver(job, machines.address, "--ray-nodes", str(NODES)) as driver:
        driver.until(lambda: asked.calls.total() >= 3 * IN_FLIGHT)
        driver.until(lambda: status(job)["in_flight"] == IN_FLIGHT)  # of all nodes together
        driver.process.send_signal(signum)
        assert 128 + signum == driver.end(), driver.said
        said = driver.said
    assert f"stopped: interrupted by {signum.name}\n" in said
    assert f"resume: qfbatch run job.yaml --ray {machines.address} --ray-nodes 3\n" in said
    (stopping,) = events(job, "Stopping")
    assert "they have 30 s, a second signal ends them now" in stopping["reason"]
    assert asked.calls.total() == asked.paid.total() == results(job).height < 200
    assert {"state": "interrupted", "done": asked.paid.total()}.items() <= status(job).items()
    if signum == signal.SIGINT:
        assert 0 == run(job, machines)[0]
    else:  # what was begun on a cluster is finished by one machine as well
        command = [sys.executable, "-m", "qfbatch", "run", job.name, "--quiet"]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=START_S)
    assert 200 == len(asked.paid) == asked.paid.total() == results(job)["row_id"].n_unique()


def test_ctrl_c_at_a_terminal_leaves_the_own_cluster_alone(tmp_path: Path, server: ScriptedServer) -> None:
    """A terminal signals all processes of the command: calls come back and are committed all the same."""
    asked = Asked(server, "echo,delay=0.7")
    job = write_job(tmp_path, server.base_url, asked.endpoint, rows=200, shard_rows=20, limits=LIMITS)
    with Driver(job, "local", "--ray-nodes", "2") as driver:
        driver.until(lambda: asked.calls.total() >= 3 * IN_FLIGHT)
        os.killpg(driver.process.pid, signal.SIGINT)
        assert 130 == driver.end(), driver.said
        assert "resume: qfbatch run job.yaml --ray local --ray-nodes 2\n" in driver.said
    assert asked.calls.total() == asked.paid.total() == results(job).height < 200


def test_a_second_signal_waits_for_no_call(
    tmp_path: Path, server: ScriptedServer, machines: Machines
) -> None:
    """What was answered before is committed, what hangs is given up everywhere and asked again later."""
    asked = Asked(server, "echo")
    job = write_job(tmp_path, server.base_url, asked.endpoint, rows=120, shard_rows=10, limits=LIMITS)
    lines = job.with_name("rows.jsonl").read_text().splitlines(keepends=True)
    hanging = "".join(lines[40 : 40 + IN_FLIGHT]).replace('"}', ' {{fault: hang times=1}}"}')
    job.with_name("rows.jsonl").write_text("".join(lines[:40]) + hanging + "".join(lines[40 + IN_FLIGHT :]))
    with Driver(job, machines.address, "--ray-nodes", str(NODES), "--grace", "600") as driver:
        driver.until(lambda: asked.in_flight == IN_FLIGHT and asked.calls.total() - asked.paid.total() == 12)
        driver.process.send_signal(signal.SIGINT)
        driver.until(lambda: bool(events(job, "Stopping")))
        driver.process.send_signal(signal.SIGINT)
        assert 130 == driver.end(), driver.said
    assert 0 < asked.paid.total() == results(job).height < 120
    assert 0 == run(job, machines)[0]
    assert 120 == len(asked.paid) == asked.paid.total() == results(job).height


def test_a_budget_is_the_clusters(tmp_path: Path, server: ScriptedServer, machines: Machines) -> None:
    """All nodes together spend it, but for a row each; status names it, and a larger one goes on."""
    asked = Asked(server, "echo,delay=0.05")
    sections = {"limits": LIMITS, "budget": {"max_total_tokens": 1200}}
    job = write_job(tmp_path, server.base_url, asked.endpoint, rows=400, shard_rows=20, **sections)
    code, said = run(job, machines)
    assert 6 == code, said
    assert "stopped: budget.max_total_tokens (1,200) is used up" in said
    assert "Raise the budget, then run the same command again to resume.\n" in said
    tokens = results(job)["total_tokens"]
    assert 1200 <= tokens.sum() <= 1200 + NODES * tokens.max()  # type: ignore[operator]  # they are integers
    assert asked.paid.total() == asked.calls.total() == tokens.len()
    assert "budget_reached" == status(job)["state"]
    calls = asked.calls
    assert 6 == run(job, machines)[0]  # nothing is asked without a larger one
    assert calls == asked.calls
    assert 0 == run(job, machines, "--set", "budget.max_total_tokens=100000")[0]
    assert 400 == len(asked.paid) == asked.paid.total()


def test_a_refusal_of_the_job_ends_all_nodes_once(
    tmp_path: Path, server: ScriptedServer, machines: Machines
) -> None:
    """The day's quota ends in the middle: exit 5, told once, few calls wasted; the next day goes on."""
    asked = Asked(server, "echo,delay=0.1,calls=60,calls_code=17")
    job = write_job(tmp_path, server.base_url, asked.endpoint, rows=150, shard_rows=10, limits=LIMITS)
    code, said = run(job, machines)
    assert 5 == code, said
    assert 1 == len(events(job, "Refused")) == said.count("stopped: ")
    assert "the service refuses the job: error 17" in said
    assert "Wait for the quota to be renewed" in said
    assert 60 == asked.paid.total() == results(job).height
    assert asked.calls.total() <= 60 + 3 * IN_FLIGHT
    assert "refused" == status(job)["state"]
    server.reset()
    assert 5 == run(job, machines)[0]
    assert 120 == results(job).height


def test_a_service_that_answers_nobody_trips_one_breaker(
    tmp_path: Path, server: ScriptedServer, machines: Machines
) -> None:
    """Rows that fail alike on all nodes are counted together: exit 5 soon after a hundred."""
    asked = Asked(server, "echo,delay=1,fault=336003")
    job = write_job(tmp_path, server.base_url, asked.endpoint, rows=2000, shard_rows=50, limits=LIMITS)
    code, said = run(job, machines)
    assert 5 == code, said
    assert f"model m (endpoint {asked.endpoint}) at 127.0.0.1:" in said
    assert "100 rows in a row failed alike" in said
    assert 1 == said.count("stopped: ")
    # More than a hundred is what begins in the seconds until all have heard.
    assert 100 <= asked.calls.total() <= 100 + 5 * IN_FLIGHT
    assert asked.calls.total() == results(job).height


def test_limit_and_failed_rows_of_several_models(
    tmp_path: Path, server: ScriptedServer, machines: Machines
) -> None:
    """`--limit` is of the input, not of each node; `--retry-failed` asks what failed, and nothing else."""
    plain, streamed = Asked(server, "echo,delay=0.02"), Asked(server, "echo,delay=0.02,gap=0.01")
    models = [
        {"name": "plain", "endpoint": plain.endpoint},
        {"name": "streamed", "endpoint": streamed.endpoint, "parameters": {"stream": True}},
    ]
    job = write_job(tmp_path, server.base_url, "", rows=150, shard_rows=20, limits=LIMITS, models=models)
    path = job.with_name("rows.jsonl")
    fault = " {{fault: 336003 times=1}}"
    path.write_text(path.read_text().replace('5"}', f'5{fault}"}}'))  # every tenth row
    assert 1 == run(job, machines, "--limit", "75")[0]
    for asked in (plain, streamed):
        assert 75 == len(asked.calls) == asked.calls.total()
        assert {int(prompt.split()[2]) for prompt in asked.calls} == set(range(75))
    code, said = run(job, machines, "--limit", "75", "--retry-failed")
    assert 0 == code, said
    assert "the first 75 rows are done; in all 150 succeeded, 0 failed" in said
    for asked in (plain, streamed):
        assert {prompt: 1 + (fault in prompt) for prompt in asked.calls} == asked.calls
    assert 1 == run(job, machines)[0]
    assert 0 == run(job, machines, "--retry-failed")[0]
    for asked in (plain, streamed):
        assert {prompt: 1 + (fault in prompt) for prompt in asked.calls} == asked.calls
        assert 150 == len(asked.paid) == asked.paid.total()
    table = results(job)
    assert {("plain", 150), ("streamed", 150)} == set(table["model"].value_counts().rows())
    assert 150 == table.filter(pl.col("time_to_first_token_s").is_not_null(), model="streamed").height


def test_a_refusal_by_rate_rests_all_nodes(
    tmp_path: Path, server: ScriptedServer, machines: Machines
) -> None:
    """One row is refused once with Retry-After: nobody calls meanwhile; its one attempt is not used up."""
    asked = Asked(server, "echo,delay=0.05")
    sections = {"limits": LIMITS, "retry": {"retry_count": 1}}
    job = write_job(tmp_path, server.base_url, asked.endpoint, rows=600, shard_rows=50, **sections)
    path = job.with_name("rows.jsonl")
    path.write_text(path.read_text().replace('r 200"}', 'r 200 {{fault: 429 times=1 retry_after=4}}"}'))
    code, said = run(job, machines)
    assert 0 == code, said
    assert 1 == len(events(job, "Throttled"))
    assert 601 == asked.calls.total()
    longest_s = max(later - earlier for earlier, later in pairwise(asked.arrivals))
    assert longest_s >= 3.0  # four, less the time until all have heard


def test_a_limit_learned_on_one_node_holds_on_all(
    tmp_path: Path, server: ScriptedServer, machines: Machines
) -> None:
    """The service allows 40 calls a second and says nothing of it: few refusals on all nodes together."""
    asked = Asked(server, "echo,delay=0.02,qps=40,headers=false")
    job = write_job(tmp_path, server.base_url, asked.endpoint, rows=300, shard_rows=20, limits=LIMITS)
    code, said = run(job, machines)
    assert 0 == code, said
    refused = server.traffic(asked.endpoint)["refused"]
    assert 1 <= refused <= 4 * IN_FLIGHT  # a burst for every episode, not one a second
    assert 300 == len(asked.paid) == asked.paid.total()


SCRIPT = """
import asyncio, signal, sys
import qfbatch

async def main():
    job = qfbatch.load_job("job.yaml")
    seen = []
    task = asyncio.create_task(qfbatch.run_async(job, ray=sys.argv[1], ray_nodes=2, observe=seen.append))
    while not any(isinstance(event, qfbatch.RowsCommitted) for event in seen):
        await asyncio.sleep(0.05)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        print("cancelled", isinstance(seen[-1], qfbatch.RunEnded), seen[-1].exit_code)
    result = qfbatch.run(job, ray=sys.argv[1], ray_nodes=2)
    print(result.exit_code, result.succeeded, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)

asyncio.run(main())
"""


def test_from_python(tmp_path: Path, server: ScriptedServer, machines: Machines) -> None:
    """A run on a cluster is cancelled in order inside an event loop, and finished there."""
    asked = Asked(server, "echo,delay=0.2")
    write_job(tmp_path, server.base_url, asked.endpoint, rows=300, shard_rows=20, limits=LIMITS)
    command = [sys.executable, "-c", SCRIPT, machines.address]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=START_S)
    assert (0, "cancelled True 130\n0 300 True\n") == (done.returncode, done.stdout), done.stderr
    assert 300 == len(asked.paid) == asked.paid.total()
