"""Exit 5: the service refuses the job; one message says what to do, and the run can be resumed."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from cli.desk import OAUTH, Desk, Done

IAM = {"QIANFAN_ACCESS_KEY": OAUTH["QIANFAN_AK"], "QIANFAN_SECRET_KEY": OAUTH["QIANFAN_SK"]}
WRONG = "wrong-key-3355"


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port that nobody listens on while the test lasts: bound, not listening."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def refused(done: Done, *words: str) -> None:
    """It ended with 5, named the reason once on stderr, said how to go on, and printed no report."""
    assert done.code == 5, done.err
    assert done.out == ""
    for word in words:
        assert word in done.err
    assert "resume: qfbatch run job.yaml" in done.err


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("QIANFAN_AK", "unknown client id"), ("QIANFAN_SK", "Client authentication failed")],
)
def test_wrong_oauth_keys(keyed_desk: Desk, wrong: str, words: str) -> None:
    """Wrong OAuth keys stop the run before any row is asked and name the variables to correct."""
    keyed_desk.rows(30)
    endpoint = keyed_desk.job()
    keyed_desk.environ[wrong] = WRONG
    done = keyed_desk.type("run", "job.yaml")
    refused(done, words, "QIANFAN_AK", "QIANFAN_SK")
    assert keyed_desk.server.calls(endpoint) == {}
    keyed_desk.environ.update(OAUTH)
    assert keyed_desk.type("run", "job.yaml").code == 0
    assert keyed_desk.results().height == 30


def test_wrong_iam_keys(keyed_desk: Desk) -> None:
    """A refused signature stops the run and names the variables to correct."""
    keyed_desk.rows(30)
    endpoint = keyed_desk.job()
    keyed_desk.environ = {**IAM, "QIANFAN_SECRET_KEY": WRONG}
    refused(keyed_desk.type("run", "job.yaml"), "QIANFAN_ACCESS_KEY", "QIANFAN_SECRET_KEY")
    assert keyed_desk.server.calls(endpoint) == {}
    keyed_desk.environ = dict(IAM)
    assert keyed_desk.type("run", "job.yaml").code == 0


def test_wrong_static_token(keyed_desk: Desk) -> None:
    """A static token that the service does not know stops the run and names its variable."""
    keyed_desk.rows(30)
    keyed_desk.job()
    keyed_desk.environ = {"QIANFAN_ACCESS_TOKEN": WRONG}
    refused(keyed_desk.type("run", "job.yaml"), "QIANFAN_ACCESS_TOKEN")


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("no_such_endpoint", "336005"),
        ("echo,fault=403", "403"),
        ("echo,fault=6", "error 6"),
        ("echo,fault=17", "error 17"),
        ("echo,fault=19", "error 19"),
        ("echo,fault=336004", "336004"),
    ],
)
def test_refused_jobs(desk: Desk, endpoint: str, words: str) -> None:
    """Permission, existence and quota are the job's matter: it stops at once instead of failing every row."""
    desk.rows(60)
    tagged = desk.job(endpoint=endpoint, limits={"concurrency": 4})
    done = desk.type("run", "job.yaml")
    refused(done, words, tagged, "0 succeeded, 0 failed, 60 left")
    assert len(desk.server.calls(tagged)) <= 4


def test_a_refusal_with_many_shards_open_ends_the_run(desk: Desk) -> None:
    """Rows given up leave their shards open; nobody waits for them to close."""
    desk.rows(200)
    sections = {"path": "rows.jsonl", "id": "id", "prompt": "prompt", "shard_rows": 1}
    desk.job(endpoint="echo,fault=17", input=sections, limits={"concurrency": 100})
    done = desk.type("run", "job.yaml")
    refused(done, "error 17", "200 left")
    told = [
        line for line in done.err.splitlines() if "the service refuses the job" in line and ": row " in line
    ]
    assert len(told) == 1  # a hundred rows in flight met the same refusal


def test_a_budget_counts_what_is_on_its_way_from_the_first_call(desk: Desk) -> None:
    """Calls that start together do not all find the same room in the budget."""
    desk.rows(200)
    endpoint = desk.job(budget={"max_total_tokens": 10}, limits={"concurrency": 100})
    done = desk.type("run", "job.yaml")
    assert done.code == 6, done.err
    assert len(desk.server.calls(endpoint)) < 5


def test_rows_that_wait_for_a_limit_take_nothing_from_the_budget_beforehand(desk: Desk) -> None:
    """Answers turn out four times as long as expected: rows that queued since before start no more."""
    desk.rows(300)
    limits = {"qps": 40, "concurrency": 100}
    endpoint = desk.job(endpoint="words,tokens=500", budget={"max_total_tokens": 10_000}, limits=limits)
    done = desk.type("run", "job.yaml")
    assert done.code == 6, done.err
    assert len(desk.server.calls(endpoint)) < 40  # of 500 tokens, 20 fill it; by the first guess it were 76


def test_a_budget_of_money_counts_dropped_answers_in_every_session(desk: Desk) -> None:
    """A cut stream was paid for: it leaves less for the others, and a resume knows of it."""
    desk.rows([f"row {n}" + " {{fault: cut_stream times=1 after=2}}" for n in range(40)])
    price = {"prompt_per_1k": 1000, "completion_per_1k": 1000}
    endpoint = desk.server.endpoint("echo")
    desk.job(
        models=[{"name": "m", "endpoint": endpoint, "price": price}],
        parameters={"stream": True},
        limits={"concurrency": 1},
        budget={"max_cost": 60},
    )
    assert desk.type("run", "job.yaml").code == 6
    frame = desk.results()
    kept, dropped = float(frame["cost"].sum()), float(frame["discarded_cost"].sum())
    assert (kept, dropped) == (frame["total_tokens"].sum(), frame["discarded_tokens"].sum())
    assert kept < 60 <= kept + dropped
    asked = len(desk.server.calls(endpoint))
    again = desk.type("run", "job.yaml")
    assert again.code == 6
    assert "budget.max_cost (60) is used up" in again.err
    assert len(desk.server.calls(endpoint)) == asked


def test_a_budget_counts_models_that_have_gone(desk: Desk) -> None:
    """What a model was paid that is no longer in the job is spent all the same, as the plan says, too."""
    desk.rows(20)
    endpoint = desk.server.endpoint("words,tokens=10")
    models = [{"name": name, "endpoint": endpoint} for name in ("first", "next")]
    desk.job(models=models[:1])
    assert desk.type("run", "job.yaml").code == 0
    spent = desk.results()["total_tokens"].sum()
    asked = desk.server.calls(endpoint)
    desk.job(models=models[1:], budget={"max_total_tokens": spent})
    assert f"max_total_tokens      {spent}    {spent}" in desk.type("plan", "job.yaml").out
    ended = desk.type("run", "job.yaml")
    assert ended.code == 6
    assert f"budget.max_total_tokens ({spent}) is used up: {spent} tokens spent" in ended.err
    assert desk.server.calls(endpoint) == asked


def test_a_quota_used_up_on_the_way(desk: Desk) -> None:
    """When the daily quota ends in the middle, answers are kept and the next day's run does the rest."""
    desk.rows(30)
    endpoint = desk.job(endpoint="echo,calls=12", limits={"concurrency": 2})
    done = desk.type("run", "job.yaml")
    refused(done, "error 17", "12 succeeded, 0 failed, 18 left; answers are in runs/desk.")
    desk.server.reset()
    assert desk.type("run", "job.yaml").code == 5
    desk.server.reset()
    assert desk.type("run", "job.yaml").code == 0
    assert desk.results()["status"].to_list() == ["succeeded"] * 30
    assert set(desk.server.calls(endpoint)) == {f"prompt number {number}" for number in range(24, 30)}


def test_missing_credentials(desk: Desk) -> None:
    """Without credentials nothing is asked, and all ways to give them are named."""
    desk.rows(2)
    desk.job()
    desk.environ = {}
    done = desk.type("run", "job.yaml")
    assert (done.code, done.out) == (5, "")
    for word in ("QIANFAN_ACCESS_KEY", "QIANFAN_AK", "QIANFAN_ACCESS_TOKEN", ".env", "service.auth: none"):
        assert word in done.err


def test_missing_credentials_of_one_kind(desk: Desk) -> None:
    """With `auth: iam` only the IAM pair will do, and the missing half is named."""
    desk.rows(2)
    desk.job(service={"base_url": desk.server.base_url, "auth": "iam"})
    desk.environ = {**OAUTH, "QIANFAN_ACCESS_KEY": "only-half"}
    done = desk.type("run", "job.yaml")
    assert done.code == 5
    assert "QIANFAN_SECRET_KEY" in done.err


def test_nothing_listens(desk: Desk, dead_port: int) -> None:
    """Where nothing listens the run gives up by itself, says so with the address, and can be resumed."""
    desk.rows(40)
    desk.job(service={"base_url": f"http://127.0.0.1:{dead_port}", "auth": "none"})
    done = desk.type("run", "job.yaml")
    refused(done, f"127.0.0.1:{dead_port}")
    desk.job()
    assert desk.type("check", "job.yaml", "--offline").code == 0
