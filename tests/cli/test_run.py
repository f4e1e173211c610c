"""`qfbatch run`, from a job file to complete results."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec

import polars as pl

from cli.desk import Desk
from qfbatch.schema import COLUMNS


def test_a_run_to_completion(desk: Desk) -> None:
    """A run writes one whole row per input row, its report to stdout, its talk to stderr, and ends with 0."""
    desk.rows(25)
    endpoint = desk.job(input={"path": "rows.jsonl", "id": "id", "prompt": "prompt", "shard_rows": 10})
    done = desk.process("run", "job.yaml")
    assert done.code == 0, done.err
    results = desk.results()
    assert results.columns == [*(column.name for column in COLUMNS), "input_topic"]
    assert results["row_id"].to_list() == [f"r{number}" for number in range(25)]
    assert results["status"].unique().to_list() == ["succeeded"]
    assert results["result"].to_list() == results["prompt"].to_list()
    assert results["input_topic"].to_list() == ["odd" if number % 2 else "even" for number in range(25)]
    assert set(results["shard"]) == {0, 1, 2}
    assert (
        results.select(pl.col("prompt_tokens", "completion_tokens", "total_tokens").null_count())
        .sum_horizontal()
        .item()
        == 0
    )
    assert done.out.startswith("desk (runs/desk)\nComplete: 25 of 25 rows have ended.\n")
    assert "complete: 25 succeeded, 0 failed; answers are in runs/desk." in done.err
    assert sorted(desk.server.calls(endpoint)) == sorted(results["prompt"])


def test_a_run_carries_no_needless_weight(desk: Desk) -> None:
    """A run seldom looks for garbage; it loads polars for its report alone, and pandas never."""
    assert find_spec("pandas")
    desk.rows(2)
    desk.job()
    code = (
        "import gc, sys\n"
        "from qfbatch.cli.main import main\n"
        "main(['run', 'job.yaml', '--quiet'], standalone_mode=False)\n"
        "print('polars' in sys.modules)\n"
        "main(['run', 'job.yaml', '--fresh'], standalone_mode=False)\n"
        "print(gc.isenabled(), gc.get_threshold()[0] > 10_000, *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=desk.path,
        env=desk.environment(),
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines()[0] == "False"
    searching, seldom, *names = done.stdout.splitlines()[-1].split()
    assert ("True", "True") == (searching, seldom)
    loaded = set(names)
    assert {"polars", "pyarrow"} == loaded & {"pandas", "polars", "pyarrow"}
    assert desk.results().height == 2


def test_a_complete_run_makes_no_call(desk: Desk) -> None:
    """The same command again says that all is done, asks nobody and prints no report."""
    desk.rows(5)
    endpoint = desk.job()
    assert desk.type("run", "job.yaml").code == 0
    before = desk.server.calls(endpoint)
    again = desk.process("run", "job.yaml")
    assert again.code == 0
    assert again.out == ""
    assert again.err == (
        "runs/desk is complete: 5 succeeded, 0 failed. No call was made.\n"
        "what it came to: qfbatch report runs/desk\n"
    )
    assert desk.server.calls(endpoint) == before
    assert set(before.values()) == {(1, 1)}


def test_failed_rows_are_kept_as_failures(desk: Desk) -> None:
    """Rows the service refuses end the run with 1, typed errors and no result; the others are answered."""
    desk.rows(["good", "{{fault: 336003}} too long", "{{fault: 503}} never", "{{fault: invalid_json}} no"])
    desk.job()
    done = desk.type("run", "job.yaml")
    assert done.code == 1
    failed = desk.results().filter(pl.col("status") == "failed")
    assert failed.select("row_id", "result", "error_kind", "error_code", "attempts").rows() == [
        ("r1", None, "invalid_request", 336003, 1),
        ("r2", None, "server", 503, 2),
        ("r3", None, "bad_answer", None, 2),
    ]
    assert failed["error_message"].null_count() == 0
    assert "1 succeeded, 3 failed" in done.err
    assert "--retry-failed" in done.err


def test_retry_failed_asks_only_failed_rows(desk: Desk) -> None:
    """Failed rows are asked again, nobody else is, and one record per row remains."""
    desk.rows(["good", "{{fault: 503 times=2}} later", "also good"])
    endpoint = desk.job()
    assert desk.type("run", "job.yaml").code == 1
    assert desk.type("run", "job.yaml").code == 1
    assert desk.server.calls(endpoint)["{{fault: 503 times=2}} later"] == (2, 0)
    done = desk.type("run", "job.yaml", "--retry-failed")
    assert done.code == 0, done.err
    assert desk.server.calls(endpoint) == {
        "good": (1, 1),
        "{{fault: 503 times=2}} later": (3, 1),
        "also good": (1, 1),
    }
    assert desk.results().select("row_id", "status", "attempts").rows() == [
        ("r0", "succeeded", 1),
        ("r1", "succeeded", 1),
        ("r2", "succeeded", 1),
    ]


def test_failed_rows_beyond_the_limit_still_stand(desk: Desk) -> None:
    """`--retry-failed` with `--limit` leaves later failed rows failed, and says so by its exit code."""
    desk.rows(["good", "{{fault: 503 times=2}} early", "fine", "{{fault: 336003}} late"])
    endpoint = desk.job()
    assert desk.type("run", "job.yaml").code == 1
    done = desk.type("run", "job.yaml", "--retry-failed", "--limit", "2")
    assert (done.code, "in all 3 succeeded, 1 failed" in done.err) == (1, True), done.err
    assert desk.server.calls(endpoint)["{{fault: 336003}} late"] == (1, 0)


def test_a_limited_run_goes_on(desk: Desk) -> None:
    """`--limit` does the first rows; one of more than there are does the others, and no row twice."""
    desk.rows(12)
    endpoint = desk.job(input={"path": "rows.jsonl", "id": "id", "prompt": "prompt", "shard_rows": 5})
    first = desk.type("run", "job.yaml", "--limit", "7")
    assert first.code == 0, first.err
    assert "the first 7 rows are done; in all 7 succeeded" in first.err
    assert sorted(desk.server.calls(endpoint)) == sorted(f"prompt number {number}" for number in range(7))
    whole = desk.type("run", "job.yaml", "--limit", "1000")
    assert (whole.code, "complete: 12 succeeded, 0 failed;" in whole.err) == (0, True), whole.err
    assert set(desk.server.calls(endpoint).values()) == {(1, 1)}
    assert desk.results().height == 12


def test_rows_left_are_those_within_the_limit(desk: Desk) -> None:
    """Rows done beyond the limit do not make up for rows left within it."""
    desk.rows(20)
    sections = {"path": "rows.jsonl", "id": "id", "prompt": "prompt", "shard_rows": 5}
    good = {"name": "m", "endpoint": desk.server.endpoint("echo")}
    desk.job(models=[good], input=sections)
    assert desk.type("run", "job.yaml").code == 0
    desk.job(models=[good, {"name": "n", "endpoint": desk.server.endpoint("echo,calls=4")}], input=sections)
    done = desk.type("run", "job.yaml", "--limit", "10", "--concurrency", "1")
    assert (done.code, "24 succeeded, 0 failed, 6 left" in done.err) == (5, True), done.err


def test_a_limited_run_does_not_call_itself_complete(desk: Desk) -> None:
    """After `--limit` the last words name the limit, also when nothing was left to do within it."""
    desk.rows(6)
    desk.job()
    first = desk.type("run", "job.yaml", "--limit", "2")
    assert "the first 2 rows are done; in all 2 succeeded, 0 failed; answers are in runs/desk." in first.err
    again = desk.type("run", "job.yaml", "--limit", "2")
    assert (again.code, again.out) == (0, "")
    assert "No call was made." in again.err
    assert "is complete" not in again.err


def test_fresh_keeps_the_old_run(desk: Desk) -> None:
    """`--fresh` starts again beside the earlier run, whose files all stay as they were."""
    desk.rows(3)
    endpoint = desk.job()
    assert desk.type("run", "job.yaml").code == 0
    old = {path.name: path.read_bytes() for path in (desk.path / "runs/desk/results").iterdir()}
    done = desk.type("run", "job.yaml", "--fresh")
    assert done.code == 0, done.err
    assert "the earlier run is kept in runs/desk.1" in done.err
    assert {path.name: path.read_bytes() for path in (desk.path / "runs/desk.1/results").iterdir()} == old
    assert desk.results().height == desk.results("runs/desk.1").height == 3
    assert set(desk.server.calls(endpoint).values()) == {(2, 2)}


def test_set_overrides_the_job_file(desk: Desk) -> None:
    """`--set` reaches parameters, the run directory and a model's fields."""
    desk.rows(2)
    desk.job()
    endpoint = desk.server.endpoint("echo")
    arguments = ["--set", "parameters.temperature=0.5", "--set", "output.path=elsewhere"]
    done = desk.type("run", "job.yaml", *arguments, "--set", f"models.m.endpoint={endpoint}")
    assert done.code == 0, done.err
    results = desk.results("elsewhere")
    assert results["endpoint"].to_list() == [endpoint] * 2
    assert [json.loads(text)["temperature"] for text in results["parameters"]] == [0.5, 0.5]


def test_concurrency_bounds_calls_at_once(desk: Desk) -> None:
    """`--concurrency 2` never has more than two calls on their way."""
    desk.rows(12)
    endpoint = desk.job(endpoint="echo,delay=0.02")
    assert desk.type("run", "job.yaml", "--concurrency", "2").code == 0
    assert desk.server.traffic(endpoint)["in_flight_max"] == 2


def test_quiet(desk: Desk) -> None:
    """`--quiet` prints no report and only the end on stderr."""
    desk.rows(2)
    desk.job()
    done = desk.type("run", "job.yaml", "--quiet")
    assert (done.code, done.out) == (0, "")
    assert "complete: 2 succeeded, 0 failed" in done.err
    assert "\r" not in done.err


def test_no_terminal_no_bar(desk: Desk) -> None:
    """Without a terminal, and with --no-progress, there are log lines and no control characters."""
    desk.rows(2)
    desk.job()
    done = desk.process("run", "job.yaml", "--no-progress")
    assert done.code == 0
    assert re.search(r"^\d\d:\d\d:\d\d run runs/desk: 2 rows, 0 done before$", done.err, re.MULTILINE)
    assert not re.search(r"[\r\x1b]", done.err + done.out)


def test_json_log_lines(desk: Desk) -> None:
    """With `--log-format json` every line on stderr is an object with time, level and message."""
    desk.rows(["good", "{{fault: 503}} never"])
    desk.job(parameters={"temperature": 0.5, "top_p": 0.5})  # which is worth a warning
    done = desk.process("run", "job.yaml", "--log-format", "json")
    assert done.code == 1
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert {tuple(line) for line in lines} == {("time", "level", "message")}
    assert {line["level"] for line in lines} == {"info", "warning"}
    assert any("1 succeeded, 1 failed" in line["message"] for line in lines)


def test_json_log_lines_of_errors(desk: Desk) -> None:
    """What ends a run early is a JSON line too, with its next step."""
    desk.rows(1)
    desk.job(parameters={"temperatur": 0.5})
    done = desk.type("run", "job.yaml", "--log-format", "json")
    assert done.code == 2
    (line,) = [json.loads(line) for line in done.err.splitlines()]
    assert line["level"] == "error"
    assert 'did you mean "temperature"?' in line["message"]


def test_streams(desk: Desk) -> None:
    """A streamed run has the whole answers, their usage and times to the first token."""
    desk.rows(["one two three four five", "{{fault: cut_stream times=1}} cut once", "六 七"])
    desk.job(parameters={"stream": True})
    done = desk.type("run", "job.yaml")
    assert done.code == 0, done.err
    results = desk.results()
    assert results["result"].to_list() == ["one two three four five", " cut once", "六 七"]
    assert results["attempts"].to_list() == [1, 2, 1]
    assert results["completion_tokens"].to_list() == [5, 2, 2]
    assert results["time_to_first_token_s"].null_count() == 0


def test_models_with_limits_of_their_own(desk: Desk) -> None:
    """All rows go through every model, each within its own limits."""
    desk.rows(8)
    wide, narrow = desk.server.endpoint("echo,delay=0.02"), desk.server.endpoint("words,delay=0.02")
    desk.job(
        models=[
            {
                "name": "wide",
                "endpoint": wide,
                "price": {"prompt_per_1k": 1, "completion_per_1k": 1, "currency": "CNY"},
            },
            {"name": "narrow", "endpoint": narrow, "limits": {"concurrency": 1}},
        ],
        limits={"concurrency": 4},
    )
    done = desk.type("run", "job.yaml")
    assert done.code == 0, done.err
    assert desk.server.traffic(narrow)["in_flight_max"] == 1
    assert desk.server.traffic(wide)["in_flight_max"] <= 4
    counts = (
        desk.results().group_by("model").agg(pl.len(), pl.col("cost").count().alias("costs")).sort("model")
    )
    assert counts.rows() == [("narrow", 8, 0), ("wide", 8, 8)]
