"""Whole runs whose models are asked at several endpoints, of one service or of several."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from scripted import ScriptedServer

from .desk import TIMEOUT_S, Desk, wait_until

QUICK = {"retry_count": 4, "backoff_factor": 0.01, "retry_jitter": 0}


def events(desk: Desk, *kinds: str) -> list[tuple[str, str]]:
    """Events of these kinds in the run's event file: kind and endpoint."""
    path = desk.path / "runs/desk/events.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    told = [json.loads(line) for line in lines if line.endswith("}")]
    return [(event["event"], event["endpoint"]) for event in told if event["event"] in kinds]


def test_rows_of_an_endpoint_that_refuses_go_to_the_others(desk: Desk) -> None:
    """An overdue account costs no row: one message, one event, and the results say who answered."""
    desk.rows(40)
    good, bad = desk.server.endpoint("echo"), desk.server.endpoint("echo,fault=17")
    ends = [{"endpoint": bad, "name": "overdue"}, {"endpoint": good}]
    desk.job(models=[{"name": "m", "endpoints": ends}], retry={"retry_count": 1})
    done = desk.type("run", "job.yaml")
    assert done.code == 0, done.err
    assert done.err.count("endpoint overdue refuses the job") == 1
    assert events(desk, "EndpointLeft", "Refused") == [("EndpointLeft", "overdue")]
    assert set(desk.results()["endpoint"]) == {good}
    assert set(desk.server.calls(good).values()) == {(1, 1)}
    report = json.loads(desk.type("report", "runs/desk", "--by", "endpoint", "--format", "json").out)
    assert report["runs"][0]["summary"]["groups"][0]["group"] == {"endpoint": good}


def test_a_run_ends_with_5_when_the_last_endpoint_refuses(desk: Desk) -> None:
    """Every endpoint refused: exit code 5 and no row recorded; corrected, the same command goes on."""
    desk.rows(6)
    ends = [{"endpoint": desk.server.endpoint(f"echo,fault={code}"), "name": f"e{code}"} for code in (17, 6)]
    desk.job(models=[{"name": "m", "endpoints": ends}])
    done = desk.type("run", "job.yaml")
    assert (done.code, "all 2 endpoints of the model" in done.err) == (5, True), done.err
    spare = desk.server.endpoint("echo")
    desk.job(models=[{"name": "m", "endpoints": [*ends, {"endpoint": spare}]}])
    assert desk.type("run", "job.yaml").code == 0
    assert set(desk.results()["endpoint"]) == {spare}


def test_a_server_that_dies_and_comes_back_costs_no_row(desk: Desk) -> None:
    """One of two servers is killed and started again: all rows are answered, and it takes part again."""
    desk.rows(400)
    steady = desk.server.endpoint("echo,delay=0.1")
    weak = ScriptedServer().start()
    port = str(urlsplit(weak.base_url).port)
    dying = weak.endpoint("echo,delay=0.1")
    ends = [{"endpoint": steady}, {"endpoint": dying, "service": {"base_url": weak.base_url}}]
    desk.job(models=[{"name": "m", "endpoints": ends}], retry=QUICK, limits={"concurrency": 4})
    try:
        with desk.running("run", "job.yaml", "--quiet") as process:
            wait_until(lambda: len(weak.calls(dying)) > 5, process)
            weak.close()
            wait_until(lambda: bool(events(desk, "EndpointLeft")), process)
            weak = ScriptedServer(options=("--port", port)).start()
            assert process.wait(TIMEOUT_S) == 0
        assert events(desk, "EndpointLeft", "EndpointBack") == [
            ("EndpointLeft", dying),
            ("EndpointBack", dying),
        ]
        assert set(desk.results()["endpoint"]) == {steady, dying}
        assert len(weak.calls(dying)) > 0
    finally:
        weak.close()


def test_a_killed_run_resumes_with_other_endpoints(desk: Desk) -> None:
    """After kill -9 a run goes on although one endpoint left and another joined; no row is missing."""
    desk.rows(60)
    first, second, third = (desk.server.endpoint("echo,delay=0.2") for _ in range(3))
    shape: dict[str, Any] = {"limits": {"concurrency": 4}}
    desk.job(models=[{"name": "m", "endpoints": [{"endpoint": first}, {"endpoint": second}]}], **shape)
    with desk.running("run", "job.yaml", "--quiet") as process:
        wait_until(lambda: len(desk.server.calls(first)) > 10, process)
        process.kill()
    desk.job(models=[{"name": "m", "endpoints": [{"endpoint": second}, {"endpoint": third}]}], **shape)
    plan = json.loads(desk.type("plan", "job.yaml", "--format", "json").out)
    assert (plan["stands"], plan["models"][0]["basis"]) == ("resumes", "seen")
    done = desk.type("run", "job.yaml", "--quiet", "--concurrency", "20")
    assert done.code == 0, done.err
    assert set(desk.results()["endpoint"]) == {first, second, third}
    calls = [desk.server.calls(end) for end in (first, second, third)]
    asked = sum(number for end in calls for number, _ in end.values())
    assert 60 <= asked <= 60 + 4 + 60  # in flight, and what the last group had not yet made durable
    desk.job(models=[{"name": "m", "endpoint": desk.server.endpoint("echo")}], **shape)
    refused = desk.type("run", "job.yaml")
    assert (refused.code, "models.m.endpoint: was " in refused.err) == (4, True)


def test_each_endpoint_has_its_price(desk: Desk) -> None:
    """A row costs what the endpoint that answered it charges; plan, report and budget go by that."""
    desk.rows(["a b c d"] * 40)
    dear, cheap, plain = (desk.server.endpoint("echo") for _ in range(3))

    def price(per_1k: float, **more: Any) -> dict[str, Any]:
        return {"prompt_per_1k": per_1k, "completion_per_1k": per_1k, **more}

    ends: list[dict[str, Any]] = [
        {"endpoint": dear, "name": "dear", "price": price(2000)},
        {"endpoint": cheap, "name": "cheap", "price": price(500, unit_hour=3.6)},
        {"endpoint": plain, "name": "plain"},
    ]
    model = {"name": "m", "endpoints": ends, "price": price(1000, unit_hour=7.2, units=2)}
    desk.job(models=[model], budget={"max_cost": 100})
    plan = json.loads(desk.type("plan", "job.yaml", "--format", "json").out)["models"][0]
    assert plan["cost"] == pytest.approx(
        (plan["prompt_tokens"] + plan["completion_tokens"]) * (2.0 + 0.5 + 1.0) / 3
    )
    assert plan["time_cost"] == pytest.approx(plan["time_s"] * (3.6 + 7.2 * 2) / 3600)
    assert desk.type("run", "job.yaml", "--concurrency", "1").code == 6
    desk.job(models=[model], budget={"max_cost": 1000})
    assert desk.type("run", "job.yaml").code == 0
    found = desk.results().select("endpoint", "cost", "total_tokens", "currency")
    charged = {"dear": 2.0, "cheap": 0.5, "plain": 1.0}
    assert set(found["endpoint"]) == set(charged)
    for endpoint, cost, tokens, currency in found.iter_rows():
        assert (cost, currency) == (pytest.approx(tokens * charged[endpoint]), "CNY")
    report = json.loads(desk.type("report", "job.yaml", "--by", "endpoint", "--format", "json").out)
    summary = report["runs"][0]["summary"]
    costs = {group["group"]["endpoint"]: group["cost"][0]["amount"] for group in summary["groups"]}
    assert costs == {
        endpoint: pytest.approx(found.filter(found["endpoint"] == endpoint)["cost"].sum())
        for endpoint in charged
    }
    (units,) = summary["total"]["time_cost"]
    assert units["unit_hours"] == pytest.approx(3 * report["runs"][0]["activity"]["active_s"] / 3600)


def test_a_model_has_one_currency(desk: Desk) -> None:
    """Prices of a model and its endpoints in two currencies are refused, at their line."""
    desk.rows(1)
    ends = [
        {"endpoint": "a", "price": {"prompt_per_1k": 1}},
        {"endpoint": "b", "price": {"prompt_per_1k": 1, "currency": "USD"}},
    ]
    desk.job(models=[{"name": "m", "endpoints": ends}])
    done = desk.type("plan", "job.yaml")
    assert (done.code, "a model has one currency" in done.err) == (2, True)


def test_models_of_different_services_in_one_job(desk: Desk) -> None:
    """One job asks a V1 service, an OpenAI-compatible one and a chat, each with what it understands."""
    desk.rows(12)
    base_url = desk.server.base_url + "/v2"
    old, new = desk.server.endpoint("echo"), desk.server.endpoint("words,tokens=3")
    service = {"api": "openai", "base_url": base_url, "auth": "none"}
    desk.job(
        models=[
            {"name": "v1", "endpoint": old, "parameters": {"penalty_score": 1.1}},
            {"name": "v2", "endpoint": new, "service": service, "parameters": {"seed": 3}},
            {"name": "chat", "endpoint": new, "service": {**service, "api": "openai-chat"}},
        ]
    )
    done = desk.type("run", "job.yaml")
    assert done.code == 0, done.err
    found = desk.results()
    assert dict(found.group_by("model").len().rows()) == {"v1": 12, "v2": 12, "chat": 12}
    assert set(found.filter(found["model"] != "v1")["completion_tokens"]) == {3}


def test_the_first_row_that_a_dialect_refuses_is_named(desk: Desk) -> None:
    """A row's own parameters must hold for every model it goes through, whatever their services."""
    desk.rows([{"id": "a", "prompt": "x", "parameters": {"penalty_score": 1.1}}])
    service = {"api": "openai", "base_url": desk.server.base_url + "/v2", "auth": "none"}
    old, new = desk.server.endpoint("echo"), desk.server.endpoint("echo")
    desk.job(models=[{"name": "v1", "endpoint": old}, {"name": "v2", "endpoint": new, "service": service}])
    done = desk.type("run", "job.yaml")
    assert (done.code, "rows.jsonl:1: " in done.err, "penalty_score" in done.err) == (3, True, True)


def test_check_asks_every_endpoint_once(desk: Desk) -> None:
    """A check tries each endpoint, and names the one that does not answer with its model."""
    desk.rows(3)
    good, bad = desk.server.endpoint("echo"), desk.server.endpoint("echo,fault=17")
    desk.job(models=[{"name": "m", "endpoints": [{"endpoint": bad, "name": "bad"}, {"endpoint": good}]}])
    done = desk.type("check", "job.yaml")
    assert done.code == 5
    assert "no answer from m (endpoint bad)." in done.err
    assert desk.server.calls(good) == {"prompt number 0": (1, 1)}
    assert len(desk.server.calls(bad)) == 1


@pytest.mark.parametrize(
    ("limits", "quotas", "binding"),
    [
        ([{"qps": 2}, {"qps": 3}], {}, "m's endpoints' qps (5)"),
        ([{"qps": 2}, {"rpm": 180}], {}, "m's endpoints' qps/rpm, calls a second (4.9)"),
        ([{"qps": 2}, {"concurrency": 4}], {"shared": {"qps": 3}}, "the quota shared's qps (3)"),
        ([{"qps": 2}, {"concurrency": 4}], {}, "m's endpoints' concurrency/qps, calls a second (3.96)"),
        ([{"qps": 200}, {"concurrency": 40}], {}, "the run's concurrency (16)"),
    ],
)
def test_plan_names_the_limit_that_binds_several_endpoints(
    desk: Desk, limits: list[dict[str, float]], quotas: dict[str, Any], binding: str
) -> None:
    """Limits of endpoints add up, a shared quota holds over them, and the time follows."""
    desk.rows(300)
    ends: list[dict[str, Any]] = [
        {"endpoint": f"e{number}", "limits": each} for number, each in enumerate(limits)
    ]
    for end in ends if quotas else ():
        end["quota"] = "shared"
    desk.job(models=[{"name": "m", "endpoints": ends}], quotas=quotas)
    done = desk.type("plan", "job.yaml", "--format", "json")
    assert done.code == 0, done.err
    plan = json.loads(done.out)
    assert plan["binding"] == binding
    assert plan["models"][0]["endpoint"] == "e0, e1"
    slowest = plan["limits"][0]["time_s"]
    assert slowest <= plan["time_s"] <= slowest * 1.2 + 3
