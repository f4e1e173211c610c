"""`plan`, `check`, `report` and `export`: what they say of a run that is new, begun, complete or refused."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cli.desk import OAUTH, Desk

ROOT = Path(__file__).resolve().parents[2]
PRICE = {"prompt_per_1k": 1000, "completion_per_1k": 1000, "currency": "CNY"}


def plan(desk: Desk, *options: str) -> dict[str, Any]:
    """The plan of `job.yaml`, from its JSON."""
    done = desk.type("plan", "job.yaml", "--format", "json", *options)
    assert (done.code, done.err) == (0, "")
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_plan_of_a_new_job(desk: Desk) -> None:
    """A plan of a new job counts rows, shards and tokens, names the limit that binds, and touches nothing."""
    desk.rows(25)
    endpoint = desk.job(
        input={"path": "rows.jsonl", "id": "id", "prompt": "prompt", "shard_rows": 10}, limits={"qps": 5}
    )
    found = plan(desk)
    assert {key: found[key] for key in ("name", "directory", "files", "shards", "rows", "stands")} == {
        "name": "desk",
        "directory": "runs/desk",
        "files": 1,
        "shards": 3,
        "rows": 25,
        "stands": "new",
    }
    assert found["binding"] == "the run's qps (5)"
    # 24 gaps at 98 % of 5 a second, and the last answer.
    assert found["time_s"] == pytest.approx(24 / (5 * 0.98) + 2.0)
    (model,) = found["models"]
    assert (model["endpoint"], model["done"], model["left"], model["basis"]) == (endpoint, 0, 25, "assumed")
    assert not (desk.path / "runs").exists()
    assert desk.server.calls(endpoint) == {}


def test_plan_of_a_run_in_parts(desk: Desk) -> None:
    """A plan follows the run: what is done and left, with tokens and costs as seen, down to nothing."""
    desk.rows(["a b c d"] * 10)
    desk.job(models=[{"name": "m", "endpoint": desk.server.endpoint("echo"), "price": PRICE}])
    assert desk.type("run", "job.yaml", "--limit", "4").code == 0
    found = plan(desk)
    (model,) = found["models"]
    assert found["stands"] == "resumes"
    assert [model[key] for key in ("done", "left", "completion_tokens", "basis")] == [4, 6, 24, "seen"]
    assert model["cost"] == pytest.approx(model["prompt_tokens"] + 24)
    assert desk.type("run", "job.yaml").code == 0
    (model,) = plan(desk)["models"]
    assert [model[key] for key in ("done", "left", "prompt_tokens", "completion_tokens")] == [10, 0, 0, 0]
    assert "Nothing is left to do." in desk.type("plan", "job.yaml").out


def test_plan_in_words(desk: Desk) -> None:
    """A plan's table says first what is left, names its sources and the budget, and fits 80 columns."""
    desk.rows(5)
    models = [{"name": "m", "endpoint": desk.server.endpoint("echo"), "price": PRICE}]
    desk.job(models=models, budget={"max_cost": 100, "max_total_tokens": 10**6}, limits={"tpm": 10**6})
    done = desk.type("plan", "job.yaml")
    assert (done.code, done.err) == (0, "")
    title, first, second = done.out.splitlines()[:3]
    assert title == "desk (runs/desk)"
    assert f"{first} {second}".startswith("New. 5 rows in 1 file, 1 shard, 1 model. Left: 5 calls, 66")
    for words in (
        "bound by the run's concurrency (16).",
        "the run's tpm (1,000,000)",
        "no answer has been seen",
    ):
        assert words in " ".join(done.out.split())
    assert ["the run will stop there" in line for line in done.out.splitlines() if "max_" in line] == [
        True,
        False,
    ]
    assert max(map(len, done.out.splitlines())) <= 80
    assert "### Budget" in desk.type("plan", "job.yaml", "--format", "markdown").out


def test_a_first_plan_says_that_it_guesses(desk: Desk) -> None:
    """Before an answer is seen the time is a range and the way to better figures is named; then a figure."""
    desk.rows(200)
    desk.job()
    text = " ".join(desk.type("plan", "job.yaml").out.split())
    assert "6.500 s to 1 min 44 s, bound by the run's concurrency (16). No answer has been seen: " in text
    assert "`qfbatch run job.yaml --limit 20` buys better ones" in text
    assert plan(desk)["time_range_s"] == [6.5, 104.0]
    assert desk.type("run", "job.yaml", "--limit", "20").code == 0
    assert "No answer has been seen" not in desk.type("plan", "job.yaml").out
    assert (plan(desk)["time_range_s"], plan(desk)["notes"]) == (None, [])


def test_rows_that_bound_their_answers(desk: Desk) -> None:
    """A row's own `max_tokens` counts: before an answer as the most there can be, then by answers alike."""
    own = [8, 8, 8, 40, 40, 40, 40, 40, None, None]
    desk.rows(
        [
            {"id": f"r{number}", "prompt": "a b", "parameters": cap and {"max_tokens": cap}}
            for number, cap in enumerate(own)
        ]
    )
    models = [{"name": "m", "endpoint": desk.server.endpoint("words,tokens=20"), "price": PRICE}]
    desk.job(
        service={"base_url": f"{desk.server.base_url}/v2", "api": "openai", "auth": "none"},
        models=models,
        parameters={"max_tokens": 100},
    )
    at_most = "at most: as many as max_tokens allows"
    (model,) = plan(desk)["models"]
    assert [model["completion_tokens"], model["completion_basis"]] == [
        3 * 8 + 5 * 40 + 2 * 100,
        f"at most: as many as each row's own parameters allow; for rows that do not say, {at_most}",
    ]
    assert desk.type("run", "job.yaml", "--limit", "4").code == 0
    (model,) = plan(desk)["models"]
    assert model["completion_basis"].endswith(", by how long each row allows its answer to be")
    assert desk.type("run", "job.yaml").code == 0
    came = desk.results().filter(pl.col("source_row") > 4)["completion_tokens"].sum()
    assert model["completion_tokens"] == pytest.approx(came, rel=0.15)
    assert model["cost"] == pytest.approx(model["prompt_tokens"] + model["completion_tokens"])


def test_plan_for_the_embedded_server(desk: Desk) -> None:
    """Where the embedded model answers, the plan assumes its server's cap and the pace of a small machine."""
    desk.rows(160)
    desk.job(service={"base_url": "local", "auth": "none"})
    found = plan(desk)
    (model,) = found["models"]
    assert [model["completion_tokens"], model["completion_basis"]] == [
        160 * 96,
        "at most: the local server ends an answer after 96 tokens",
    ]
    # 10 rounds of 16 calls, which share 200, 100 and 50 tokens a second.
    assert [*found["time_range_s"], found["time_s"]] == pytest.approx([76.8, 307.2, 153.6])
    desk.job(service={"base_url": "local", "auth": "none", "api": "openai"}, parameters={"max_tokens": 8})
    assert plan(desk)["models"][0]["completion_tokens"] == 160 * 8


def test_a_budget_counts_money_of_its_own_currency(desk: Desk) -> None:
    """What was paid in another currency is not added to the budget, and plan and run say how much that is."""
    desk.rows(["a b c d"] * 4)
    models = [{"name": "m", "endpoint": desk.server.endpoint("echo"), "price": PRICE}]
    desk.job(models=models)
    assert desk.type("run", "job.yaml", "--limit", "1").code == 0
    models[0]["price"] = {"prompt_per_1k": 500, "completion_per_1k": 500, "currency": "USD"}
    desk.job(models=models, budget={"max_cost": 13})
    assert desk.type("run", "job.yaml", "--limit", "2").code == 0
    (budget,) = plan(desk)["budget"]
    assert [budget["spent"], budget["expected"]] == [4.0, pytest.approx(8.0)]
    said = "budget.max_cost is in the prices' currency: 8.0000 CNY spent before are not counted in it"
    assert plan(desk)["notes"] == [said]
    done = desk.type("run", "job.yaml")
    assert (0, True) == (done.code, said in done.err)


def test_plan_of_a_part(desk: Desk) -> None:
    """`--limit` and `--retry-failed` plan what a run with them would ask."""
    desk.rows(["a", "{{fault: 336003}}", "c", "d"])
    desk.job()
    assert desk.type("run", "job.yaml", "--limit", "3").code == 1
    assert [plan(desk, *options)["models"][0]["left"] for options in ([], ["--limit", "3"])] == [1, 0]
    assert plan(desk, "--retry-failed")["models"][0]["left"] == 2
    # What failed beyond the limit is not asked, also where the limit cuts its shard.
    assert plan(desk, "--retry-failed", "--limit", "2")["models"][0]["left"] == 1
    assert plan(desk, "--retry-failed", "--limit", "1")["models"][0]["left"] == 0


def test_plan_of_a_changed_input(desk: Desk) -> None:
    """A changed input is counted and planned as accepting it would, and nothing is written."""
    desk.rows(["a", "b", "c"])
    desk.job()
    assert desk.type("run", "job.yaml").code == 0
    before = desk.texts()
    desk.rows(["a", "B", "c", "d"])
    found = plan(desk)
    assert "1 row new, 0 gone, 1 changed, 2 the same" in found["stands"]
    assert [found["models"][0][key] for key in ("done", "left")] == [2, 2]
    assert desk.texts() == before


def test_plan_learns_from_runs_set_aside(desk: Desk) -> None:
    """After `--fresh` a plan takes tokens and latencies from the run before, and names it."""
    desk.rows(["a b c d"] * 6)
    desk.job(endpoint="echo,delay=0.05")
    assert desk.type("run", "job.yaml").code == 0
    assert desk.type("run", "job.yaml", "--fresh", "--limit", "1").code == 0
    (desk.path / "runs" / "desk").rename(desk.path / "runs" / "desk.7")
    (model,) = plan(desk)["models"]
    assert (model["basis"], model["completion_tokens"], model["prompt_tokens"]) == ("seen", 24, 24)
    assert model["completion_basis"] == "the mean of 1 answer in runs/desk.7"
    assert 0.05 <= model["latency_s"] < 2.0


def test_check(keyed_desk: Desk) -> None:
    """A check asks each model the first row once and shows credentials, answer and limits."""
    keyed_desk.rows(["What now?", "never asked"])
    endpoint = keyed_desk.job(endpoint="echo,rpm=600")
    done = keyed_desk.process("check", "job.yaml")
    assert (done.code, done.err) == (0, "")
    assert "job file     ok: job.yaml, 1 model\n" in done.out
    assert "input        ok: 2 rows in 1 file, " in done.out
    assert "credentials  OAuth keys from QIANFAN_AK and QIANFAN_SK" in done.out
    assert "answer       What now?" in done.out
    assert "limits       600 calls a minute" in done.out
    assert keyed_desk.server.calls(endpoint) == {"What now?": (1, 1)}
    assert OAUTH["QIANFAN_SK"] not in done.out + done.err
    assert not (keyed_desk.path / "runs").exists()


def test_check_for_programs(keyed_desk: Desk) -> None:
    """`--format json` has the same as one document, failures included, and no secret."""
    keyed_desk.rows(["What now?"])
    good, bad = (keyed_desk.server.endpoint(name) for name in ("echo,rpm=600", "no_such_endpoint"))
    keyed_desk.job(models=[{"name": "good", "endpoint": good}, {"name": "bad", "endpoint": bad}])
    done = keyed_desk.type("check", "job.yaml", "--format", "json")
    assert done.code == 5
    found = json.loads(done.out)
    assert (found["job"], found["rows"], found["files"]) == ("job.yaml", 1, 1)
    answered, refused = found["models"]
    assert answered["answer"]["result"] == "What now?"
    assert (answered["failure"], answered["signals"]["limit_requests"]) == (None, 600)
    assert answered["credentials"] == "OAuth keys from QIANFAN_AK and QIANFAN_SK"
    assert (refused["answer"], refused["failure"]["code"]) == (None, 336005)
    assert OAUTH["QIANFAN_SK"] not in done.out + done.err
    offline = json.loads(keyed_desk.type("check", "job.yaml", "--format", "json", "--offline").out)
    assert offline == {**found, "models": []}


def test_check_of_the_first_rows(desk: Desk) -> None:
    """With a limit a check looks at so many rows and says so; without one it finds what is wrong beyond."""
    desk.rows(["a", "b", {"id": "c", "prompt": ""}])
    desk.job()
    done = desk.type("check", "job.yaml", "--offline", "--limit", "2")
    assert done.code == 0
    assert "ok: 2 rows in 1 file, 4 prompt tokens estimated, as far as the first 2 rows" in done.out
    assert desk.type("check", "job.yaml", "--offline").code == 3


def test_check_offline(desk: Desk) -> None:
    """`check --offline` needs no credentials and makes no call."""
    desk.rows(2)
    endpoint = desk.job()
    desk.environ = {}
    done = desk.type("check", "job.yaml", "--offline")
    assert (done.code, done.err) == (0, "")
    assert desk.server.calls(endpoint) == {}


@pytest.mark.parametrize(
    ("endpoint", "words", "step"),
    [
        ("no_such_endpoint", "not_found 336005", "endpoint"),
        ("echo,fault=17", "quota 17", "quota"),
        ("echo,fault=503", "server 503", "later"),
        ("echo,fault=html", "bad_answer", "service.base_url"),
        ("echo,fault=336003", "invalid_request 336003", "first row"),
    ],
)
def test_check_that_fails(desk: Desk, endpoint: str, words: str, step: str) -> None:
    """A model that does not answer ends the check with 5 and the step that fits; others are asked."""
    desk.rows(1)
    good, bad = desk.server.endpoint("echo"), desk.server.endpoint(endpoint)
    desk.job(models=[{"name": "bad", "endpoint": bad}, {"name": "good", "endpoint": good}])
    done = desk.type("check", "job.yaml")
    assert done.code == 5
    assert words in done.out
    assert done.err.startswith("error: no answer from bad.\n")
    assert step in done.err
    assert desk.server.calls(good) == {"prompt number 0": (1, 1)}


def test_check_where_nothing_listens(desk: Desk) -> None:
    """Without a server the check says that nothing answers, and where it looked."""
    desk.rows(1)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{sock.getsockname()[1]}"
        desk.job(service={"base_url": address, "auth": "none"})
        done = desk.type("check", "job.yaml")
    assert done.code == 5
    assert f"Nothing answers at {address}" in done.err
    assert "service.base_url" in done.err


def test_report_by_job_file_and_run_directory(desk: Desk) -> None:
    """A report is the same by job file and by run directory, complete or not, and in every format."""
    desk.rows(4)
    desk.job()
    assert desk.type("run", "job.yaml", "--limit", "3").code == 0
    by_job, by_folder = desk.process("report", "job.yaml"), desk.type("report", "runs/desk")
    assert (by_job.code, by_job.out, by_job.err) == (0, by_folder.out, "")
    assert "PARTIAL: 3 of 4 rows have ended." in by_job.out
    report = json.loads(desk.type("report", "runs/desk", "--format", "json").out)
    assert report["runs"][0]["summary"]["models"][0]["succeeded"] == 3
    for form in ("csv", "markdown"):
        assert "even" in desk.type("report", "runs/desk", "--by", "topic", "--format", form).out


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_export(desk: Desk, form: str) -> None:
    """An export holds every row with its input columns, answered or not, in each format."""
    desk.rows(["good", "{{fault: 336003}}", "六 七"])
    desk.job()
    assert desk.type("run", "job.yaml").code == 1
    done = desk.type("export", "runs/desk", f"out.{form}")
    assert (done.code, done.out, done.err) == (0, "", f"3 rows to out.{form}\n")
    path = desk.path / f"out.{form}"
    if form == "jsonl":
        frame = pl.read_ndjson(path)
    else:
        frame = pl.read_csv(path) if form == "csv" else pl.read_parquet(path)
    assert frame.select("row_id", "status", "result", "input_topic").rows() == [
        ("r0", "succeeded", "good", "even"),
        ("r1", "failed", None, "odd"),
        ("r2", "succeeded", "六 七", "even"),
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_job_files_that_come_along(desk: Desk, tmp_path: Path, path: Path) -> None:
    """Every job file in jobs/ loads without a warning, its input is right, and it can be planned."""
    desk.environ = {}
    offline = desk.at(ROOT).type("check", f"jobs/{path.name}", "--offline")
    assert (offline.code, offline.err) == (0, "")
    elsewhere = ["--set", f"output.path={tmp_path / 'run'}"]
    done = desk.at(ROOT).type("plan", f"jobs/{path.name}", "--format", "json", *elsewhere)
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert (found["name"], found["stands"]) == (path.stem, "new")
    assert all(model["left"] == found["rows"] > 0 for model in found["models"])
