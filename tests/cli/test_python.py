"""The Python API: as documented, from a script and inside an event loop, with its errors."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest
from documents import ROOT, code_blocks
from test_architecture import HEAVY

import qfbatch
from cli.desk import OAUTH, Desk

PRICE = qfbatch.Price(prompt_per_1k=1000, completion_per_1k=1000)


@pytest.fixture
def here(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk that is the working folder, with its keys in the environment."""
    monkeypatch.chdir(desk.path)
    for name, value in OAUTH.items():
        monkeypatch.setenv(name, value)
    return desk


def test_every_name_is_there() -> None:
    """What the package exports can be had, is in `dir`, and nothing else is promised."""
    assert [name for name in qfbatch.__all__ if not hasattr(qfbatch, name)] == []
    assert set(qfbatch.__all__) <= set(dir(qfbatch))
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = qfbatch.no_such_name


def test_ray_nodes_need_ray(here: Desk) -> None:
    """Nodes without a cluster are a mistake that is told before anything else."""
    here.job()
    with pytest.raises(qfbatch.UsageError, match="ray_nodes goes with ray"):
        qfbatch.run(qfbatch.load_job("job.yaml"), ray_nodes=2)


def test_importing_is_light() -> None:
    """`import qfbatch` loads nothing heavy; the names do when they are used."""
    code = "import sys, qfbatch; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert sorted(loaded & HEAVY) == []


def test_the_document_works(here: Desk) -> None:
    """The blocks of docs/python.md run as one script, and the first has no more than ten lines."""
    here.rows(5)
    here.job(models=[{"name": "yi-34b", "endpoint": here.server.endpoint("echo")}])
    blocks = code_blocks("docs/python.md", "python")
    assert len([line for line in blocks[0].splitlines() if line]) <= 10
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(blocks)],
        capture_output=True,
        text=True,
        check=False,
        env=here.environment(),
        cwd=here.path,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("5 calls, about ")
    assert "RowsCommitted" in lines
    assert "5 succeeded, 0 failed" in lines
    assert "0 left" in lines
    assert "prompt number 0" in lines
    assert lines[-2].startswith("{'CNY': ")


def test_scores(here: Desk) -> None:
    """A job's scorers judge its rows, by group too, and row by row; so does a run directory."""
    here.rows(["even", "odd", "x"])
    here.job(evaluation=[{"scorer": "exact_match", "reference": "topic"}])
    job = qfbatch.load_job("job.yaml")
    with pytest.raises(qfbatch.UsageError, match="there is no run"):
        qfbatch.score_run(job)
    qfbatch.run(job)
    scores = qfbatch.score_run(job, by=["topic"])
    (score,) = scores.models
    assert score.scored == 3
    assert score.mean == pytest.approx(2 / 3)
    assert {"even": 0.5, "odd": 1.0} == {one.group["topic"]: one.mean for one in scores.groups}
    assert scores.models == qfbatch.score_run("runs/desk").models
    rows = qfbatch.open_results(job, scores=True).sort("source_row").collect()
    assert [1.0, 1.0, 0.0] == rows["score_exact_match"].to_list()
    here.job()
    assert () == qfbatch.score_run(qfbatch.load_job("job.yaml")).models


def test_what_ends_a_run_early_is_raised(here: Desk) -> None:
    """A budget that is used up raises with its exit code; with `check=False` it is the result's reason."""
    here.rows(20)
    here.job(budget={"max_total_tokens": 30}, limits={"concurrency": 1})
    job = qfbatch.load_job("job.yaml")
    with pytest.raises(qfbatch.BudgetReached) as raised:
        qfbatch.run(job)
    assert raised.value.exit_code == 6
    result = qfbatch.run(job, check=False)
    assert isinstance(result.reason, qfbatch.BudgetReached)
    assert (result.exit_code, result.asked) == (6, 0)
    rows = qfbatch.open_results("runs/desk").collect()
    assert 0 < result.succeeded == rows.height < 20


def test_errors_carry_exit_codes(here: Desk) -> None:
    """A wrong job file, wrong input and a run that is not there are exceptions with the commands' codes."""
    with pytest.raises(qfbatch.JobFileError) as wrong_job:
        qfbatch.load_job("none.yaml")
    here.rows([{"id": "a"}])
    here.job()
    job = qfbatch.load_job(here.path / "job.yaml")
    with pytest.raises(qfbatch.InputError) as wrong_input:
        qfbatch.plan(job)
    with pytest.raises(qfbatch.UsageError, match="there is no run") as no_run:
        qfbatch.open_results(job)
    assert [error.value.exit_code for error in (wrong_job, wrong_input, no_run)] == [2, 3, 2]


def test_inside_an_event_loop(here: Desk) -> None:
    """`run` works where a loop is running, as in a notebook, and `run_async` lets that loop go on."""
    here.rows(6)
    here.job(endpoint="echo,delay=0.1", limits={"concurrency": 2})
    job = qfbatch.load_job("job.yaml")

    async def notebook() -> tuple[int, int, int]:
        blocking = qfbatch.run(job, limit=2)
        beats = 0
        task = asyncio.create_task(qfbatch.run_async(job))
        while not task.done():
            await asyncio.sleep(0.01)
            beats += 1
        return blocking.asked, (await task).asked, beats

    first, second, beats = asyncio.run(notebook())
    assert (first, second) == (2, 4)
    assert beats > 1


def test_cancelling_ends_a_run_in_order(here: Desk) -> None:
    """Cancelling `run_async` waits for calls on their way and keeps them; the run can be resumed."""
    here.rows(50)
    endpoint = here.job(endpoint="echo,delay=0.3", limits={"concurrency": 4})
    job = qfbatch.load_job("job.yaml")
    seen: list[qfbatch.Event] = []

    async def cancelled() -> None:
        committed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def observe(event: qfbatch.Event) -> None:
            seen.append(event)
            if isinstance(event, qfbatch.RowsCommitted):
                loop.call_soon_threadsafe(committed.set)

        task = asyncio.create_task(qfbatch.run_async(job, observe=observe))
        await committed.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    (ended,) = (event for event in seen if isinstance(event, qfbatch.RunEnded))
    rows = qfbatch.open_results(job).collect()
    paid = sum(answered for _, answered in here.server.calls(endpoint).values())
    assert (ended.exit_code, ended.succeeded) == (130, paid)
    assert 4 <= rows.height == paid < 50
    assert threading.active_count() < 10


def test_prices_of_your_own(here: Desk) -> None:
    """Prices come from a mapping, a function or a class with its own arithmetic; a budget can count them."""
    here.rows(["a b"] * 4)
    here.job(budget={"max_cost": 1000})

    class Flat(qfbatch.Price):
        """A fee for each answer, whatever its length."""

        def of_tokens(self, prompt_tokens: int, completion_tokens: int) -> float | None:
            return 7.0

    flat = qfbatch.load_job(
        "job.yaml", prices=lambda model: Flat(prompt_per_1k=0) if model.name == "m" else None
    )
    assert qfbatch.run(flat, limit=1).succeeded == 1
    job = qfbatch.load_job("job.yaml", prices={"m": PRICE})
    assert qfbatch.plan(job).costs == {"CNY": pytest.approx(3 * (2 + 2))}
    assert qfbatch.run(job).succeeded == 4
    assert qfbatch.open_results(job).select(pl.col("cost").sort()).collect()["cost"].to_list() == [4, 4, 4, 7]
    with pytest.raises(qfbatch.JobFileError, match=r"there is no models\.x"):
        qfbatch.load_job("job.yaml", prices={"x": PRICE, "m": PRICE})
    with pytest.raises(qfbatch.JobFileError, match="prompt_per_1k"):
        qfbatch.load_job("job.yaml", prices={"m": qfbatch.Price(prompt_per_1k=-1)})


def test_overrides_are_those_of_the_command_line(here: Desk) -> None:
    """Overrides take values of every type by dotted path, and are checked like the file's."""
    here.rows(1)
    here.job()
    job = qfbatch.load_job("job.yaml", overrides={"limits": {"qps": 2.5}, "output.path": "elsewhere"})
    assert (job.limits.qps, job.output_path) == (2.5, Path("elsewhere"))
    with pytest.raises(qfbatch.JobFileError, match='did you mean "qps"'):
        qfbatch.load_job("job.yaml", overrides={"limits.qsp": 1})


SCRIPTS = {
    "plain": "go()",
    "inside a loop": "import asyncio\nasync def main():\n    go()\nasyncio.run(main())",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_signal_ends_a_run_in_order(here: Desk, script: str) -> None:
    """Ctrl-C ends a run of a script, with an event loop around it or without, and every answer is kept."""
    here.rows(200)
    endpoint = here.job(endpoint="echo,delay=0.3", limits={"concurrency": 4})
    code = f"""
import os, signal
import qfbatch
signals = [signal.SIGINT]
def watch(event):
    if isinstance(event, qfbatch.RowsCommitted) and signals:
        os.kill(os.getpid(), signals.pop())
def go():
    try:
        qfbatch.run(qfbatch.load_job("job.yaml"), observe=watch)
    except qfbatch.Interrupted as error:
        print(error.exit_code)
{SCRIPTS[script]}
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=here.environment(),
        cwd=here.path,
        timeout=100,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "130\n", "")
    rows = qfbatch.open_results("runs/desk").collect().height
    assert 4 <= rows < 200
    assert sum(paid for _, paid in here.server.calls(endpoint).values()) == rows
