"""`qfbatch report --format json` of a run that went through much, worked out again from its files alone.

The second computation is plain Python over Parquet rows and JSON files; it shares no code with the report.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cli.desk import Desk, wait_until

Row = Mapping[str, Any]
MODELS = ("tokens", "hours")
EDGES = [round(m * 10.0**d, 9) for d in range(-3, 4) for m in (1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8)]


@pytest.fixture
def eventful(desk: Desk) -> Path:
    """A run limited, killed, resumed, its failures asked again, its input changed: its directory."""
    special = {
        3: "{{fault: 336003}} refused",
        5: "{{fault: cut_stream times=1 after=2}} cut once, answered then",
        7: "{{fault: cut_stream times=2 after=2}} cut twice, failed, answered when asked again",
        8: "{{fault: cut_stream after=2}} always cut",
        11: "{{fault: 503}} never",
        13: "{{answer: unsafe}} prompt",
        14: "{{answer: empty}}",
        17: "{{answer: truncated}} answer",
        23: "{{answer: no_usage}}",
    }
    prompts = [special.get(n, f"prompt number {n} " + "word " * (n % 9)) for n in range(60)]
    desk.rows(prompts)
    endpoint = "words,tokens=20,delay=0.04,sigma=0.4,gap=0.002"
    price = {"prompt_per_1k": 2, "completion_per_1k": 6, "currency": "CNY"}
    desk.job(
        input={"path": "rows.jsonl", "id": "id", "prompt": "prompt", "shard_rows": 25},
        models=[
            {"name": "tokens", "endpoint": desk.server.endpoint(endpoint), "price": price},
            {
                "name": "hours",
                "endpoint": desk.server.endpoint(endpoint),
                "price": {"unit_hour": 7.2, "units": 3, "currency": "USD"},
            },
        ],
        parameters={"stream": True},
        limits={"concurrency": 3},
    )
    assert 1 == desk.type("run", "job.yaml", "--limit", "12", "--quiet").code
    _killed(desk)
    assert 1 == desk.type("run", "job.yaml", "--quiet").code
    assert 1 == desk.type("run", "job.yaml", "--retry-failed", "--quiet").code
    changed = [f"another {prompt}" if n in (30, 31) else prompt for n, prompt in enumerate(prompts)]
    desk.rows(changed[:58])
    assert 1 == desk.type("run", "job.yaml", "--accept-input-change", "--quiet").code
    return desk.path / "runs" / "desk"


def _killed(desk: Desk) -> None:
    """A session that is killed once it has committed something."""
    journals = desk.path / "runs" / "desk" / "journal"
    before = _size(journals)
    with desk.running("run", "job.yaml", "--quiet") as process:
        wait_until(lambda: _size(journals) > before + 4000, process)
        process.kill()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.journal"))


def test_every_figure_of_an_eventful_run(desk: Desk, eventful: Path) -> None:
    """Figures, groups, course, spreads, sessions, losses and plan: the report says what the files say."""
    done = desk.type("report", "runs/desk", "--by", "topic", "--format", "json")
    (run,) = json.loads(done.out)["runs"]
    rows = _rows(eventful / "results")
    manifest = json.loads((eventful / "manifest.json").read_text(encoding="utf-8"))
    active_s = _active_s(rows, manifest)
    summary = run["summary"]

    # The run went through what it was to go through.
    assert (2 * 58, True) == (len(rows), run["complete"])
    assert {336003, 503, None} == {row["error_code"] for row in rows if row["status"] == "failed"}
    twice_cut = [row for row in rows if "cut twice" in row["prompt"]]
    assert [("succeeded", 1)] * 2 == [(row["status"], row["attempts"]) for row in twice_cut]
    assert all(row["discarded_tokens"] > 0 for row in twice_cut)

    assert _close(_figures(rows, None, {}), _without_time_cost(summary["total"]))
    for model, figures in zip(sorted(MODELS), summary["models"], strict=True):
        own = [row for row in rows if row["model"] == model]
        assert _close(_figures(own, model, {}), _without_time_cost(figures))
        for topic, group in zip(("even", "odd"), _groups(summary, model), strict=True):
            some = [row for row in own if row["input_topic"] == topic]
            assert _close(_figures(some, model, {"topic": topic}), _without_time_cost(group))

    units = {"currency": "USD", "amount": 7.2 * 3 * active_s / 3600, "unit_hours": 3 * active_s / 3600}
    costs = {figures["model"]: figures["time_cost"] for figures in [summary["total"], *summary["models"]]}
    assert _close({None: [units], "hours": [units], "tokens": []}, costs)
    assert _close(active_s, summary["active_s"])
    assert _close(_timeline(rows), summary["timeline"])
    assert _close(_histograms(rows, "latency_s"), summary["latency"])
    assert _close(_histograms(rows, "time_to_first_token_s"), summary["time_to_first_token"])

    assert _close(
        {
            "sessions": 5,
            "killed": 1,
            "running": False,
            "active_s": active_s,
            "rows_per_s": len(rows) / active_s,
            "tokens_per_s": sum(row["total_tokens"] or 0 for row in rows) / active_s,
            "repeated_at_most": 3 + 256,
        },
        run["activity"],
    )
    assert _close(_superseded(eventful, rows), run["superseded"])
    assert _close(_outcome(eventful, rows, active_s), run["outcome"])


def _close(expected: Any, found: Any) -> bool:
    """Equal, numbers to within a millionth of a millionth."""
    if isinstance(expected, dict):
        assert expected.keys() == found.keys()
        return all(_close(value, found[key]) for key, value in expected.items())
    if isinstance(expected, list):
        assert len(expected) == len(found)
        return all(_close(one, other) for one, other in zip(expected, found, strict=True))
    same = expected == (pytest.approx(found, rel=1e-9, abs=1e-6) if isinstance(found, float) else found)
    assert same, (expected, found)
    return True


def _rows(folder: Path) -> list[Row]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def _groups(summary: Mapping[str, Any], model: str) -> list[Any]:
    return [group for group in summary["groups"] if group["model"] == model]


def _without_time_cost(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in figures.items() if key != "time_cost"}


def _figures(rows: Sequence[Row], model: str | None, group: dict[str, Any]) -> dict[str, Any]:
    won = [row for row in rows if row["status"] == "succeeded"]
    lost = [row for row in rows if row["status"] == "failed"]
    start, end = min(row["started_at"] for row in rows), max(row["finished_at"] for row in rows)
    wall_s = (end - start).total_seconds()

    def total(column: str, of: Iterable[Row] = rows) -> int:
        return sum(row[column] or 0 for row in of)

    return {
        "model": model,
        "group": group,
        "rows": len(rows),
        "succeeded": len(won),
        "failed": len(lost),
        "skipped": len(rows) - len(won) - len(lost),
        "failures": _failures(lost),
        "tokens": {
            "prompt": total("prompt_tokens"),
            "completion": total("completion_tokens"),
            "total": total("total_tokens"),
            "reported": total("total_tokens", (r for r in rows if r["usage_source"] == "reported")),
            "estimated": total("total_tokens", (r for r in rows if r["usage_source"] == "estimated")),
            "discarded": total("discarded_tokens"),
            "rows_without_usage": sum(row["total_tokens"] is None for row in won),
        },
        "cost": _costs(rows, "cost"),
        "discarded_cost": _costs(rows, "discarded_cost"),
        "rows_without_cost": sum(row["cost"] is None for row in won),
        "safety": {
            "safe": sum(row["is_safe"] is True for row in rows),
            "unsafe": sum(row["is_safe"] is False for row in rows),
            "unknown": sum(row["is_safe"] is None for row in rows),
            "need_clear_history": sum(row["need_clear_history"] is True for row in rows),
            "ban_round": sum(row["ban_round"] is not None for row in rows),
        },
        "answers": {
            "empty": sum(not row["result"].strip() for row in won),
            "truncated": sum(row["is_truncated"] is True for row in rows),
        },
        "attempts": {"total": total("attempts"), "rows_repeated": sum(row["attempts"] > 1 for row in rows)},
        **{name: _spread(rows, name) for name in ("latency_s", "time_to_first_token_s", "wait_s")},
        "timing": {
            "started_at": _iso(start),
            "finished_at": _iso(end),
            "wall_s": wall_s,
            "rows_per_s": len(rows) / wall_s,
            "tokens_per_s": total("total_tokens") / wall_s,
        },
    }


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _failures(lost: Sequence[Row]) -> list[dict[str, Any]]:
    kinds = Counter((row["error_kind"], row["error_code"]) for row in lost)
    found = []
    for (kind, code), count in sorted(
        kinds.items(), key=lambda item: (-item[1], item[0][0], item[0][1] or -1)
    ):
        alike = [row for row in lost if (row["error_kind"], row["error_code"]) == (kind, code)]
        first = min(alike, key=lambda row: (row["shard"], row["source_row"], row["model"]))
        found.append(
            {
                "kind": kind,
                "code": code,
                "rows": count,
                "model": first["model"],
                "row_id": first["row_id"],
                "message": first["error_message"],
            }
        )
    return found


def _costs(rows: Sequence[Row], column: str) -> list[dict[str, Any]]:
    priced = [row for row in rows if row[column] is not None]
    return [
        {
            "currency": currency,
            "amount": math.fsum(row[column] for row in priced if row["currency"] == currency),
            "rows": sum(row["currency"] == currency for row in priced),
        }
        for currency in sorted({row["currency"] for row in priced})
    ]


def _spread(rows: Sequence[Row], column: str) -> dict[str, Any] | None:
    values = sorted(row[column] for row in rows if row[column] is not None)
    if not values:
        return None

    def percentile(share: float) -> float:
        place = share * (len(values) - 1)
        low, high = values[math.floor(place)], values[math.ceil(place)]
        return float(low + (high - low) * (place - math.floor(place)))

    marks = {"p50": percentile(0.50), "p95": percentile(0.95), "p99": percentile(0.99)}
    return {"rows": len(values), **marks, "max": values[-1]}


def _active_s(rows: Sequence[Row], manifest: Mapping[str, Any]) -> float:
    starts = [datetime.fromisoformat(session["started_at"]) for session in manifest["sessions"]]
    spans: dict[datetime, list[Row]] = {}
    for row in rows:
        spans.setdefault(max(start for start in starts if start <= row["finished_at"]), []).append(row)
    total = 0.0
    for some in spans.values():
        total += (max(r["finished_at"] for r in some) - min(r["started_at"] for r in some)).total_seconds()
    return total


def _timeline(rows: Sequence[Row]) -> dict[str, Any]:
    start, end = min(row["started_at"] for row in rows), max(row["finished_at"] for row in rows)
    wall_s = (end - start).total_seconds()
    width_s = next(width for width in (0.1, 0.2, 0.5, 1, 2, 5) if wall_s <= 120 * width)
    count = math.ceil(wall_s / width_s)
    buckets: dict[tuple[int, str], list[Row]] = {}
    for row in rows:
        place = min(int((row["finished_at"] - start).total_seconds() / width_s + 1e-9), count - 1)
        buckets.setdefault((place, row["model"]), []).append(row)
    return {
        "started_at": _iso(start),
        "width_s": width_s,
        "count": count,
        "buckets": [
            {
                "model": model,
                "start_s": place * width_s,
                "rows": len(some),
                "failed": sum(row["status"] == "failed" for row in some),
                "tokens": sum(row["total_tokens"] or 0 for row in some),
                "wait_s": math.fsum(row["wait_s"] for row in some),
                "wait_max_s": max(row["wait_s"] for row in some),
            }
            for (place, model), some in sorted(buckets.items())
        ],
    }


def _histograms(rows: Sequence[Row], column: str) -> list[dict[str, Any]]:
    bounds = [0.0, *EDGES, math.inf]
    found = []
    for model in sorted({row["model"] for row in rows if row[column] is not None}):
        values = [row[column] for row in rows if row["model"] == model and row[column] is not None]
        bins = [
            {"from_s": low, "to_s": high, "rows": sum(low <= value < high for value in values)}
            for low, high in itertools.pairwise(bounds)
        ]
        filled = [place for place, one in enumerate(bins) if one["rows"]]
        found.append({"model": model, "bins": bins[filled[0] : filled[-1] + 1]})
    return found


def _superseded(run: Path, rows: Sequence[Row]) -> dict[str, Any]:
    def answer(row: Row) -> tuple[Any, ...]:
        return row["model"], row["prompt"], row["started_at"]

    now = {answer(row) for row in rows}
    old = [row for folder in sorted((run / "superseded").iterdir()) for row in _rows(folder / "results")]
    lost = [row for row in old if answer(row) not in now]
    assert {"r30", "r31", "r58", "r59"} == {row["row_id"] for row in lost}
    return {
        "rows": len(lost),
        "tokens": sum((row["total_tokens"] or 0) + row["discarded_tokens"] for row in lost),
        "cost": _costs(lost, "cost"),
    }


def _outcome(run: Path, rows: Sequence[Row], active_s: float) -> dict[str, Any]:
    """What the limited session planned, and the next one beyond it; the others planned nothing new."""
    first, second, *others = json.loads((run / "plan.json").read_text(encoding="utf-8"))["predictions"]
    assert 3 == len(others)
    plans = (first["plan"], second["plan"])
    models = []
    for model in plans[0]["models"]:
        both = [next(m for m in plan["models"] if m["name"] == model["name"]) for plan in plans]
        own = [row for row in rows if row["model"] == model["name"]]
        assert [12, 48] == [one["left"] for one in both]
        priced = model["name"] == "tokens"
        planned = {name: sum(one[name] for one in both) for name in ("prompt_tokens", "completion_tokens")}
        hours = [7.2 * 3 * s / 3600 for s in (sum(one["time_cost"] or 0 for one in both), active_s)]
        models.append(
            {
                "model": model["name"],
                "rows": _deviation(60, len(own)),
                **{
                    name: _deviation(count, sum(r[name] or 0 for r in own)) for name, count in planned.items()
                },
                "cost": _deviation(
                    sum(one["cost"] for one in both) if priced else None,
                    math.fsum(r["cost"] or 0 for r in own) if priced else None,
                ),
                "time_cost": _deviation(
                    None if priced else sum(one["time_cost"] for one in both), None if priced else hours[1]
                ),
                "currency": "CNY" if priced else "USD",
            }
        )
    counts = ("prompt_tokens", "completion_tokens")
    return {
        "planned_at": first["started_at"],
        "binding": first["plan"]["binding"],
        "models": models,
        "total_tokens": _deviation(
            sum(m[name]["planned"] for m in models for name in counts),
            sum(m[name]["actual"] for m in models for name in counts),
        ),
        "time_s": _deviation(sum(plan["time_s"] for plan in plans), active_s),
    }


def _deviation(planned: float | None, actual: float | None) -> dict[str, Any]:
    relative = None if planned is None or actual is None or not planned else (actual - planned) / planned
    return {"planned": planned, "actual": actual, "relative": relative}
