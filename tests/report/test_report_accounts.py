"""What stands beside a run's figures: sessions, plan against actual, unit-hours, answers set aside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from report_runs import BEGAN_US, failed, frame, succeeded

from qfbatch.planning.plans import ModelPlan, Plan, Prediction
from qfbatch.pricing import Price
from qfbatch.records import Record
from qfbatch.render.accounts import outcome_rows, run_rows, time_rows
from qfbatch.render.section import section
from qfbatch.reporting.accounting import (
    Activity,
    Deviation,
    Stay,
    Superseded,
    activity,
    deviation,
    outcome,
    with_time_costs,
)
from qfbatch.reporting.figures import Cost, TimeCost
from qfbatch.reporting.summary import summarise
from qfbatch.reporting.superseded import superseded

BEGAN = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=BEGAN_US)


def at(seconds: float) -> datetime:
    """So long after the first row's start."""
    return BEGAN + timedelta(seconds=seconds)


def test_time_between_sessions_is_no_active_time() -> None:
    """Each session counts from its first call to its last answer; a row belongs where it ended."""
    rows = [succeeded(n) for n in (0, 1, 100, 102)]  # each takes a second, from second n on
    assert 103.0 == summarise(frame(rows)).active_s
    sessions = [at(-5), at(50), at(99), at(200)]
    assert (2 + 3) == summarise(frame(rows), sessions=sessions).active_s
    assert (2 + 3) == summarise(frame(rows[::-1]), sessions=[at(1.5), at(99)]).active_s
    assert 0.0 == summarise(frame([]), sessions=sessions).active_s


def test_killed_sessions_bound_what_may_have_been_paid_twice() -> None:
    """In flight and one group for each that did not close the run; one that still runs is not killed."""
    summary = summarise(frame([succeeded(n) for n in range(4)]))
    stays = [Stay(ended=False, in_flight=16), Stay(ended=True, in_flight=16), Stay(ended=False, in_flight=4)]
    over = activity(stays, summary, running=False, group_rows=256)
    assert Activity(3, 2, False, 4.0, 1.0, 30.0, 16 + 256 + 4 + 256) == over  # noqa: FBT003 - a value
    still = activity(stays, summary, running=True, group_rows=256)
    assert (1, 272) == (still.killed, still.repeated_at_most)


def test_no_time_has_no_rate() -> None:
    """A run without a row has no throughput, rather than an infinite one."""
    found = activity([Stay(ended=True, in_flight=1)], summarise(frame([])), running=False, group_rows=256)
    assert Activity(1, 0, False, 0.0, None, None, 0) == found  # noqa: FBT003 - a value


def test_units_cost_the_time_that_the_run_was_active() -> None:
    """By model and, by currency, in all; a model without a row keeps its units, too."""
    prices = {
        "yi-34b": [Price(unit_hour=36.0), Price(prompt_per_1k=1.0), Price(unit_hour=36.0)],
        "pythia": [Price(unit_hour=18.0, currency="CNY")],
        "idle": [Price(unit_hour=3.6, currency="USD")],
        "free": [Price(prompt_per_1k=1.0)],
        "none": [],
    }
    summary = with_time_costs(summarise(frame([succeeded(0), succeeded(9, "pythia")])), prices)
    costs = {figures.model: figures.time_cost for figures in summary.models}
    assert {"yi-34b": "0.2000 CNY 0.0056 h", "pythia": "0.0500 CNY 0.0028 h"} == {
        model: _texts(of) for model, of in costs.items()
    }
    assert "0.2500 CNY 0.0083 h, 0.0100 USD 0.0028 h" == _texts(summary.total.time_cost)


def _texts(costs: Sequence[TimeCost]) -> str:
    return ", ".join(f"{cost.amount:.4f} {cost.currency} {cost.unit_hours:.4f} h" for cost in costs)


def a_plan(
    done: int, left: int, *, rows: int = 10, time_s: float = 0.0, model: str = "yi-34b", **changes: Any
) -> Prediction:
    """A session's plan for one model: 10 and 20 tokens and 0.002 a row."""
    own = ModelPlan(
        name=model,
        endpoint="e",
        rows=rows,
        done=done,
        failed=0,
        left=left,
        prompt_tokens=10 * left,
        completion_tokens=20 * left,
        cost=0.002 * left,
        currency="CNY",
        latency_s=1.0,
        basis="seen",
    )
    plan = Plan("eval", "runs/eval", 1, 1, rows, (own,), "the run's qps (5)", time_s, "new", **changes)
    return Prediction(0, "2026-05-28T20:26:40.000+00:00", plan)


def outcome_of(*predictions: Prediction, rows: int) -> tuple[Any, ...]:
    """Rows, prompt tokens, cost and time of a run of so many rows, as planned and as they came."""
    found = outcome(predictions, summarise(frame([succeeded(n) for n in range(rows)])))
    assert found is not None
    (model,) = found.models
    return tuple((d.planned, d.actual) for d in (model.rows, model.prompt_tokens, model.cost, found.time_s))


def test_a_plan_beside_what_came() -> None:
    """One session: its plan against the results, and how far it was off."""
    found = outcome([a_plan(0, 10, time_s=8.0)], summarise(frame([succeeded(n) for n in range(10)])))
    assert found is not None
    (model,) = found.models
    assert Deviation(10, 10, 0.0) == model.rows
    assert (0.02, 0.012) == (model.cost.planned, model.cost.actual)
    assert pytest.approx(-0.4) == model.cost.relative
    assert Deviation(300, 300, 0.0) == found.total_tokens
    assert Deviation(8.0, 10.0, 0.25) == found.time_s
    assert ("the run's qps (5)", "2026-05-28T20:26:40.000+00:00") == (found.binding, found.planned_at)


def test_a_resumed_run_is_held_against_its_first_plan() -> None:
    """What a later session plans of the same rows is not planned twice, nor are failed rows asked again."""
    first = a_plan(0, 10, time_s=8.0)
    expected = ((10, 10), (100, 100), (pytest.approx(0.02), 0.012), (8.0, 10.0))
    assert expected == outcome_of(first, a_plan(4, 6, time_s=6.0), rows=10)
    assert expected == outcome_of(first, a_plan(4, 6), a_plan(10, 2, time_s=5.0), rows=10)


def test_rows_that_no_plan_had_are_added() -> None:
    """A limit lifted makes more of the run than its first plan knew: the second one's share joins it."""
    limited, whole = a_plan(0, 4, time_s=4.0), a_plan(4, 6, time_s=3.0)
    assert ((10, 10), (100, 100)) == outcome_of(limited, whole, rows=10)[:2]
    assert (7.0, 10.0) == outcome_of(limited, whole, rows=10)[3]
    half = outcome_of(limited, a_plan(2, 8, time_s=4.0), rows=10)  # interrupted before, so two are planned
    assert ((10, 10), (7.0, 10.0)) == (half[0], half[3])


def test_no_plan_is_no_outcome() -> None:
    """A run begun before plans were kept has none to be held against."""
    assert outcome([], summarise(frame([succeeded(0)]))) is None
    assert Deviation(0, 5, None) == deviation(0, 5)
    assert Deviation(None, 5, None) == deviation(None, 5)


def test_answers_set_aside_are_those_that_no_row_took_over() -> None:
    """An answer that found its row again is no loss, wherever its row stands now; each counts once."""

    def answer(number: int, **changes: Any) -> Record:
        return succeeded(number, discarded_tokens=5, discarded_cost=0.25, **{"cost": 0.5, **changes})

    now = [answer(0, row_id="moved", shard=3, source_row=99), answer(1)]
    first = [answer(0), answer(1), answer(2), answer(3, cost=2.0, currency="USD")]
    second = [answer(2, row_id="moved"), answer(1), failed(4)]
    found = superseded(frame([*first, *second]), frame(now))
    assert Superseded(3, 35 + 35, (Cost("CNY", 0.75, 1), Cost("USD", 2.25, 1))) == found


def test_discarded_answers_have_a_cost_of_their_own() -> None:
    """By currency and beside the cost of the answers, of failed rows as well."""
    rows = [
        succeeded(0, discarded_tokens=30, discarded_cost=0.5),
        failed(1, discarded_tokens=10, discarded_cost=0.25, currency="CNY"),
        succeeded(2, "gpt", cost=None, discarded_tokens=4, discarded_cost=1.0, currency="USD"),
        succeeded(3, discarded_tokens=4),
    ]
    summary = summarise(frame(rows), by=["topic"])
    assert (Cost("CNY", 0.75, 2), Cost("USD", 1.0, 1)) == summary.total.discarded_cost
    assert (Cost("CNY", 0.0024, 2),) == summary.total.cost
    assert [(Cost("USD", 1.0, 1),), (Cost("CNY", 0.75, 2),)] == [f.discarded_cost for f in summary.models]
    assert 48 == summary.total.tokens.discarded


def test_what_tables_say_of_sessions() -> None:
    """One session in order says nothing; killed ones say what may have been paid twice."""
    summary = summarise(frame([succeeded(n) for n in range(4)]))
    plain = section("eval", "runs/eval", summary, models=("yi-34b",), rows=4)

    def shown(*stays: Stay, lost: Superseded | None = None) -> dict[str, str]:
        of = activity(stays, summary, running=False, group_rows=256)
        return dict(run_rows(type(plain)(**{**_fields(plain), "activity": of, "superseded": lost})))

    ended, killed = Stay(ended=True, in_flight=16), Stay(ended=False, in_flight=16)
    assert {} == shown(ended)
    assert {
        "sessions": "2, 1 of them killed",
        "active time": "4.000 s",
        "rows/s while active": "1.00/s",
        "tokens/s while active": "30.0/s",
        "asked again after a kill": "at most 272 answers, perhaps paid twice; how many nobody knows",
    } == shown(killed, ended)
    lost = Superseded(2, 60, (Cost("CNY", 0.5, 2),))
    assert {"answers set aside": "2 rows, 60 tokens, 0.5000 CNY: their rows changed or went"} == shown(
        ended, lost=lost
    )


def _fields(of: Any) -> dict[str, Any]:
    return {name: getattr(of, name) for name in of.__struct_fields__}


def test_what_tables_say_of_the_plan() -> None:
    """Planned, actual and how far it was off, with a dash where nothing was planned."""
    found = outcome([a_plan(0, 10, time_s=90.0)], summarise(frame([succeeded(n) for n in range(10)])))
    assert found is not None
    assert [
        ("yi-34b", "rows", "10", "10", "0 %"),
        ("yi-34b", "prompt tokens", "100", "100", "0 %"),
        ("yi-34b", "completion tokens", "200", "200", "0 %"),
        ("yi-34b", "cost CNY", "0.0200", "0.0120", "-40.0 %"),
        ("all models", "total tokens", "300", "300", "0 %"),
        ("all models", "time", "1 min 30 s", "10.0 s", "-88.9 %"),
    ] == list(outcome_rows(found))


def test_what_tables_say_of_time() -> None:
    """A few stretches however long the run; what happens in none of them shows as nothing."""
    line = summarise(frame([succeeded(n, wait_s=0.5) for n in range(120)])).timeline
    assert line is not None
    rows = list(time_rows(line))
    assert 12 == len(rows)
    assert ("0 s", "0.90/s", "27.0/s", "0", "0.500 s") == rows[0]
    assert ("1 min 50 s", "1.10/s", "33.0/s", "0", "0.500 s") == rows[-1]
