"""What may change between two starts of a job, what may not, and where a run stops by itself."""

from __future__ import annotations

import json
import signal
from subprocess import PIPE
from typing import Any

import polars as pl
import pytest

from cli.desk import TIMEOUT_S, Desk, wait_until

HOW: dict[str, Any] = {
    "limits": {"concurrency": 3, "qps": 500},
    "retry": {"retry_count": 4, "backoff_factor": 0.01, "request_timeout": 30},
    "budget": {"max_total_tokens": 100000},
}


def test_how_may_change(desk: Desk) -> None:
    """Limits, retries, budget and prices may change between starts; no row is asked twice."""
    desk.rows(10)
    endpoint = desk.job()
    assert desk.type("run", "job.yaml", "--limit", "4").code == 0
    price = {"prompt_per_1k": 2, "completion_per_1k": 3, "currency": "CNY"}
    desk.job(models=[{"name": "m", "endpoint": endpoint, "price": price}], **HOW)
    done = desk.type("run", "job.yaml")
    assert done.code == 0, done.err
    assert set(desk.server.calls(endpoint).values()) == {(1, 1)}
    assert desk.results()["cost"].null_count() == 4


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"parameters": {"temperature": 0.3}}, "models.m.parameters.temperature: was not set, is 0.3"),
        (
            {"input": {"path": "rows.jsonl", "id": "id", "template": "Q: {prompt}"}},
            "input.template: was not set, is 'Q: {prompt}'",
        ),
        (
            {"models": [{"name": "m", "endpoint": "another"}]},
            "models.m.endpoint: was 'ENDPOINT', is 'another'",
        ),
    ],
)
def test_what_decides_results_may_not(desk: Desk, change: dict[str, Any], named: str) -> None:
    """A changed template, endpoint or parameter is refused with 4, the field named, and nothing is asked."""
    desk.rows(4)
    endpoint = desk.job()
    assert desk.type("run", "job.yaml", "--limit", "2").code == 0
    before = desk.server.calls(endpoint)
    desk.job(**{"models": [{"name": "m", "endpoint": endpoint}], **change})
    done = desk.type("run", "job.yaml")
    assert (done.code, done.out) == (4, "")
    assert named.replace("ENDPOINT", endpoint) in done.err
    assert "--fresh" in done.err
    assert desk.server.calls(endpoint) == before
    plan = " ".join(desk.type("plan", "job.yaml").out.split())
    assert "A run would be refused" in plan
    assert named.replace("ENDPOINT", endpoint) in plan


@pytest.mark.parametrize("change", ["endpoint", "template"])
def test_a_run_without_answers_may_change(desk: Desk, change: str) -> None:
    """Before the first answer nothing can be mixed: a corrected job just runs."""
    desk.rows(4)
    desk.job(endpoint="no_such_endpoint")
    assert desk.type("run", "job.yaml").code == 5
    key = "prompt" if change == "endpoint" else "template"
    value = "prompt" if change == "endpoint" else "Q: {prompt}"
    desk.job(input={"path": "rows.jsonl", "id": "id", key: value})
    done = desk.type("run", "job.yaml")
    assert done.code == 0, done.err
    assert desk.results().height == 4


def test_a_mistyped_model_among_good_ones_may_be_corrected(desk: Desk) -> None:
    """A model without any answer has nothing to mix: its corrected endpoint runs, the others keep theirs."""
    desk.rows(4)
    good = desk.server.endpoint("echo")
    wrong = {"name": "n", "endpoint": "no_such_endpoint"}
    desk.job(models=[{"name": "m", "endpoint": good}], limits={"concurrency": 1})
    assert desk.type("run", "job.yaml").code == 0
    desk.job(models=[{"name": "m", "endpoint": good}, wrong], limits={"concurrency": 1})
    assert desk.type("run", "job.yaml").code == 5
    right = {"name": "n", "endpoint": desk.server.endpoint("words")}
    desk.job(models=[{"name": "m", "endpoint": good}, right], limits={"concurrency": 1})
    done = desk.type("run", "job.yaml")
    assert done.code == 0, done.err
    assert desk.results()["model"].to_list() == ["m"] * 4 + ["n"] * 4
    assert set(desk.server.calls(good).values()) == {(1, 1)}


def test_answers_of_a_model_left_out_survive_a_changed_input(desk: Desk) -> None:
    """A model that left the job and comes back after the input changed is not asked again."""
    desk.rows(4)
    models = [{"name": name, "endpoint": desk.server.endpoint("echo")} for name in ("m", "n")]
    desk.job(models=models)
    assert desk.type("run", "job.yaml").code == 0
    desk.rows(5)
    desk.job(models=models[:1])
    done = desk.type("run", "job.yaml", "--accept-input-change")
    assert (done.code, "8 answers kept" in done.err) == (0, True), done.err
    desk.job(models=models)
    assert desk.type("run", "job.yaml").code == 0
    assert desk.results().height == 10
    assert {count for model in models for count in desk.server.calls(model["endpoint"]).values()} == {(1, 1)}


def test_wrong_input_does_not_set_the_old_run_aside(desk: Desk) -> None:
    """`--fresh` with broken input ends before anything moves."""
    desk.rows(3)
    desk.job()
    assert desk.type("run", "job.yaml").code == 0
    (desk.path / "rows.jsonl").write_text("{broken", encoding="utf-8")
    assert desk.type("run", "job.yaml", "--fresh").code == 3
    assert [path.name for path in (desk.path / "runs").iterdir()] == ["desk"]
    assert desk.results().height == 3


def test_a_storage_failure_outweighs_the_signal_before_it(desk: Desk) -> None:
    """A run interrupted and then unable to store says the latter, by text and exit code, and resumes."""
    desk.rows(200)
    endpoint = desk.job(endpoint="echo,delay=0.1", limits={"concurrency": 4})
    with desk.running("run", "job.yaml", "--quiet", stderr=PIPE) as process:
        wait_until(lambda: len(desk.server.calls(endpoint)) >= 8, process)
        results = desk.path / "runs" / "desk" / "results"
        results.rmdir()
        results.touch()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, str(results.relative_to(desk.path)) in err) == (4, True), err
    results.unlink()
    assert desk.type("run", "job.yaml", "--concurrency", "100").code == 0
    assert set(desk.server.calls(endpoint).values()) == {(1, 1)}


def test_changed_columns_are_refused(desk: Desk) -> None:
    """Every part of a run carries the same columns, so another choice of them is named and refused."""
    desk.rows(3)
    columns = {"path": "rows.jsonl", "id": "id", "prompt": "prompt"}
    endpoint = desk.job(input=columns)
    models = [{"name": "m", "endpoint": endpoint}]
    assert desk.type("run", "job.yaml").code == 0
    desk.job(input={**columns, "columns": ["id"]}, models=models)
    done = desk.type("run", "job.yaml")
    assert (done.code, "input.columns: was not set, is ['id']" in done.err) == (4, True), done.err


def test_a_model_added_just_runs(desk: Desk) -> None:
    """A model that joins the job answers all rows, the earlier one none again, and the report shows both."""
    desk.rows(6)
    first = desk.job()
    assert desk.type("run", "job.yaml").code == 0
    second = desk.server.endpoint("words")
    desk.job(models=[{"name": "m", "endpoint": first}, {"name": "n", "endpoint": second}])
    plan = json.loads(desk.type("plan", "job.yaml", "--format", "json").out)
    assert [(model["name"], model["done"], model["left"]) for model in plan["models"]] == [
        ("m", 6, 0),
        ("n", 0, 6),
    ]
    done = desk.type("run", "job.yaml")
    assert done.code == 0, done.err
    assert "Complete: 12 of 12 rows have ended." in done.out
    assert set(desk.server.calls(first).values()) == {(1, 1)}
    assert desk.results().group_by("model").len().sort("model").rows() == [("m", 6), ("n", 6)]


def test_a_model_taken_away_keeps_its_answers(desk: Desk) -> None:
    """A model that leaves the job keeps its rows on disk, and the others are complete without it."""
    desk.rows(3)
    first, second = desk.server.endpoint("echo"), desk.server.endpoint("words")
    both = [{"name": "m", "endpoint": first}, {"name": "n", "endpoint": second}]
    desk.job(models=both)
    assert desk.type("run", "job.yaml").code == 0
    desk.job(models=both[:1])
    done = desk.type("run", "job.yaml")
    assert done.code == 0, done.err
    assert "No call was made." in done.err
    assert desk.results().height == 6


def test_changed_input_is_refused(desk: Desk) -> None:
    """Input that changed since the first start is refused with 4 and named."""
    desk.rows(4)
    desk.job()
    assert desk.type("run", "job.yaml", "--limit", "2").code == 0
    desk.rows(5)
    done = desk.type("run", "job.yaml")
    assert done.code == 4
    assert "rows.jsonl" in done.err
    assert "--fresh" in done.err


def test_the_budget_stops_and_a_larger_one_resumes(desk: Desk) -> None:
    """At `max_total_tokens` the run ends with 6; raised, it goes on and asks no row twice."""
    desk.rows(20)
    endpoint = desk.job(budget={"max_total_tokens": 30}, limits={"concurrency": 1})
    done = desk.process("run", "job.yaml", "--set", "limits.adaptive=false")
    assert (done.code, done.out) == (6, "")
    assert done.err.endswith("resume: qfbatch run job.yaml --set limits.adaptive=false\n")
    assert "stopped: budget.max_total_tokens (30) " in done.err
    assert "Raise the budget" in done.err
    assert 0 < len(desk.server.calls(endpoint)) < 20
    assert desk.type("run", "job.yaml").code == 6
    done = desk.type("run", "job.yaml", "--set", "budget.max_total_tokens=1000")
    assert done.code == 0, done.err
    assert set(desk.server.calls(endpoint).values()) == {(1, 1)}
    assert desk.results().height == 20


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_and_resumed(desk: Desk, number: signal.Signals, code: int) -> None:
    """A signal lets calls on their way finish, says how to go on, and no row is paid twice."""
    desk.rows(60)
    endpoint = desk.job(endpoint="echo,delay=0.3", limits={"concurrency": 3})
    with desk.running("run", "job.yaml", stdout=PIPE, stderr=PIPE) as process:
        wait_until(lambda: len(desk.server.calls(endpoint)) >= 6, process)
        process.send_signal(number)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    assert "resume: qfbatch run job.yaml" in err
    calls = desk.server.calls(endpoint)
    assert 6 <= len(calls) < 60
    assert desk.type("run", "job.yaml", "--concurrency", "60").code == 0
    assert set(desk.server.calls(endpoint).values()) == {(1, 1)}
    assert desk.results().height == 60


def test_a_held_directory(desk: Desk) -> None:
    """A second process on the same run directory ends with 4 and names the first."""
    desk.rows(40)
    endpoint = desk.job(endpoint="echo,delay=0.5", limits={"concurrency": 1})
    with desk.running("run", "job.yaml") as process:
        wait_until(lambda: bool(desk.server.calls(endpoint)), process)
        second = desk.process("run", "job.yaml")
        plan, report = desk.type("plan", "job.yaml"), desk.type("report", "job.yaml")
    assert (second.code, second.out) == (4, "")
    assert str(process.pid) in second.err
    assert (plan.code, report.code) == (0, 0)
    assert "PARTIAL" in report.out


def test_a_foreign_directory(desk: Desk) -> None:
    """A folder that holds something else is not written into: exit 4, and it stays as it was."""
    desk.rows(2)
    desk.job(output={"path": "mine"})
    (desk.path / "mine").mkdir()
    (desk.path / "mine" / "letter.txt").write_text("dear")
    done = desk.type("run", "job.yaml")
    assert done.code == 4
    assert "mine" in done.err
    assert [path.name for path in (desk.path / "mine").iterdir()] == ["letter.txt"]
    assert desk.type("run", "job.yaml", "--fresh").code == 4


def test_output_that_is_a_file(desk: Desk) -> None:
    """An output path that is a file is refused with 4 and named."""
    desk.rows(2)
    desk.job(output={"path": "rows.jsonl"})
    done = desk.type("run", "job.yaml")
    assert done.code == 4
    assert "rows.jsonl" in done.err


def test_a_run_after_kill(desk: Desk) -> None:
    """After SIGKILL the same command completes; twice paid is at most what was in flight or uncommitted."""
    desk.rows(40)
    endpoint = desk.job(endpoint="echo,delay=0.1", limits={"concurrency": 2})
    with desk.running("run", "job.yaml") as process:
        wait_until(lambda: len(desk.server.calls(endpoint)) >= 10, process)
        process.kill()
    assert desk.type("run", "job.yaml", "--concurrency", "40").code == 0
    results = desk.results()
    assert results["row_id"].n_unique() == results.height == 40
    assert results.filter(pl.col("status") == "succeeded").height == 40
