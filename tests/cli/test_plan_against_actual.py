"""What a plan said beside what the run came to, over a real server with known quotas and prices."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from cli.desk import Desk
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.manifest import read_manifest
from qfbatch.checkpoint.predictions import read_predictions
from qfbatch.planning.plans import Prediction

PRICE = {"prompt_per_1k": 2, "completion_per_1k": 6, "currency": "CNY"}
SERVED = "words,tokens=30,delay=0.1,sigma=0.5"
ROWS = 180


def predictions(desk: Desk, run: str = "runs/desk") -> tuple[Prediction, ...]:
    """What the sessions of a run expected."""
    layout = RunLayout(desk.path / run)
    manifest = read_manifest(layout)
    assert manifest is not None
    found = read_predictions(layout, manifest.run_id)
    assert [p.started_at for p in found] == [manifest.sessions[p.session].started_at for p in found]
    return found


def test_tokens_cost_and_time_of_a_run_with_known_quotas(desk: Desk) -> None:
    """After a few rows the plan of the rest meets tokens and cost within 15 %, the time within 10 %."""
    desk.rows([f"说明 {n}: " + "word " * (n % 17) for n in range(ROWS)])
    models: list[dict[str, Any]] = [
        {"name": "calls", "endpoint": desk.server.endpoint(SERVED + ",rpm=2400"), "limits": {"rpm": 2400}},
        {"name": "tokens", "endpoint": desk.server.endpoint(SERVED), "limits": {"tpm": 80_000}},
    ]
    desk.job(models=[{**model, "price": PRICE} for model in models], limits={"concurrency": 32})
    assert desk.type("run", "job.yaml", "--limit", "30").code == 0
    planned = json.loads(desk.type("plan", "job.yaml", "--format", "json").out)
    assert desk.type("run", "job.yaml").code == 0

    first, second = predictions(desk)
    assert [first.plan.calls, second.plan.calls] == [2 * 30, 2 * (ROWS - 30)]
    assert second.plan.time_s == pytest.approx(planned["time_s"])
    rest = desk.results().filter(pl.col("source_row") > 30)
    span = rest.select(pl.col("finished_at").max() - pl.col("started_at").min()).item()
    assert isinstance(span, timedelta)
    assert span.total_seconds() == pytest.approx(planned["time_s"], rel=0.10)
    assert planned["costs"] == {"CNY": pytest.approx(rest["cost"].sum(), rel=0.15)}
    for model in planned["models"]:
        own = rest.filter(pl.col("model") == model["name"])
        assert model["basis"] == "seen"
        for name in ("prompt_tokens", "completion_tokens", "cost"):
            assert own[name].sum() == pytest.approx(model[name], rel=0.15), name


def test_a_plan_is_kept_of_every_session_that_asks(desk: Desk) -> None:
    """Each start that asks something leaves its plan, a complete run adds none, `--fresh` begins anew."""
    desk.rows(["one", "{{fault: 336003}}", "three"])
    desk.job()
    assert desk.type("run", "job.yaml", "--limit", "2").code == 1
    assert desk.type("run", "job.yaml").code == 1
    assert desk.type("run", "job.yaml").code == 1
    assert desk.type("run", "job.yaml", "--retry-failed").code == 1
    assert [p.plan.calls for p in predictions(desk)] == [2, 1, 1]
    assert [p.session for p in predictions(desk)] == [0, 1, 3]
    assert desk.type("run", "job.yaml", "--fresh").code == 1
    assert [p.plan.calls for p in predictions(desk)] == [3]
    assert [p.plan.calls for p in predictions(desk, "runs/desk.1")] == [2, 1, 1]
