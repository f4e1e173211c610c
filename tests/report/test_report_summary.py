"""The figures, against a plain computation over the same records."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_runs import BEGAN_US, TOPIC, failed, frame, succeeded

from qfbatch.errors import StorageError, UsageError
from qfbatch.records import ErrorKind, InputColumn, Record, Status, UsageSource
from qfbatch.reporting import summary as summary_module
from qfbatch.reporting.figures import Cost, FailureCount, Figures, Safety, Spread, Timing, Tokens
from qfbatch.reporting.summary import summarise

MODELS = ("yi-34b", "pythia-6.9b", "模型")
COUNTS = st.none() | st.integers(0, 10**6)
FLAGS = st.none() | st.booleans()
DURATIONS = st.none() | st.floats(0, 1e4)


@st.composite
def records(draw: st.DrawFn) -> list[Record]:
    """Rows of up to three models, any mix of outcomes, each row and model once, in any order."""
    places = draw(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(MODELS)), unique=True, max_size=12))
    return [draw(_one(number, model)) for number, model in places]


@st.composite
def _one(draw: st.DrawFn, number: int, model: str) -> Record:
    began = BEGAN_US + draw(st.integers(0, 10**9))
    status = draw(st.sampled_from(Status))
    cost = draw(st.none() | st.floats(0, 100))
    values: dict[str, Any] = {
        "status": status,
        "result": draw(st.sampled_from(["", " \n", "\u3000", "an answer", "回答"]))
        if status == "succeeded"
        else None,
        "is_safe": draw(FLAGS),
        "need_clear_history": draw(FLAGS),
        "ban_round": draw(st.none() | st.integers(-1, 3)),
        "is_truncated": draw(FLAGS),
        "prompt_tokens": draw(COUNTS),
        "completion_tokens": draw(COUNTS),
        "total_tokens": draw(COUNTS),
        "usage_source": draw(st.none() | st.sampled_from(UsageSource)),
        "discarded_tokens": draw(st.integers(0, 1000)),
        "cost": cost,
        "currency": None if cost is None else draw(st.sampled_from(["CNY", "USD"])),
        "error_kind": draw(st.sampled_from(ErrorKind)) if status == "failed" else None,
        "error_code": draw(st.none() | st.sampled_from([400, 500, 336100])) if status == "failed" else None,
        "error_message": draw(st.none() | st.text(max_size=5)) if status == "failed" else None,
        "attempts": draw(st.integers(0, 5)),
        "latency_s": draw(DURATIONS),
        "time_to_first_token_s": draw(DURATIONS),
        "wait_s": draw(st.floats(0, 1e4)),
        "started_at": began,
        "finished_at": began + draw(st.integers(0, 10**8)),
        "columns": {"topic": draw(st.sampled_from(["math", "数学", "", None]))},
    }
    return succeeded(number, model, **values)


def plain(rows: Sequence[Record]) -> dict[str, Any]:
    """The figures of some records, worked out without a frame."""

    def total(value: Callable[[Record], int | None]) -> int:
        return sum(value(row) or 0 for row in rows)

    def how_many(condition: Callable[[Record], bool | None]) -> int:
        return sum(1 for row in rows if condition(row))

    done = [row for row in rows if row.status == "succeeded"]
    bad = [row for row in rows if row.status == "failed"]
    start = min((row.started_at for row in rows), default=0)
    wall = (max((row.finished_at for row in rows), default=0) - start) / 1e6
    return {
        "rows": len(rows),
        "statuses": (len(done), len(bad), how_many(lambda r: r.status == "skipped")),
        "tokens": Tokens(
            prompt=total(lambda r: r.prompt_tokens),
            completion=total(lambda r: r.completion_tokens),
            total=total(lambda r: r.total_tokens),
            reported=total(lambda r: r.total_tokens if r.usage_source == "reported" else 0),
            estimated=total(lambda r: r.total_tokens if r.usage_source == "estimated" else 0),
            discarded=total(lambda r: r.discarded_tokens),
            rows_without_usage=sum(row.total_tokens is None for row in done),
        ),
        "cost": {
            currency: pytest.approx(
                math.fsum(r.cost for r in rows if r.cost is not None and r.currency == currency)
            )
            for currency in {row.currency for row in rows if row.cost is not None}
        },
        "rows_without_cost": sum(row.cost is None for row in done),
        "safety": Safety(
            safe=how_many(lambda r: r.is_safe is True),
            unsafe=how_many(lambda r: r.is_safe is False),
            unknown=how_many(lambda r: r.is_safe is None),
            need_clear_history=how_many(lambda r: r.need_clear_history),
            ban_round=how_many(lambda r: r.ban_round is not None),
        ),
        "empty": sum(not (row.result or "").strip() for row in done),
        "truncated": how_many(lambda r: r.is_truncated),
        "attempts": (total(lambda r: r.attempts), how_many(lambda r: r.attempts > 1)),
        "failures": {key: _first(bad, key) for key in {(r.error_kind, r.error_code) for r in bad}},
        "latency_s": _spread([r.latency_s for r in rows]),
        "time_to_first_token_s": _spread([r.time_to_first_token_s for r in rows]),
        "wait_s": _spread([r.wait_s for r in rows]),
        "wall_s": pytest.approx(wall),
        "rates": None
        if wall == 0
        else pytest.approx((len(rows) / wall, total(lambda r: r.total_tokens) / wall)),
    }


def shown(figures: Figures) -> dict[str, Any]:
    """The same figures as `summarise` has them."""
    spreads = {name: getattr(figures, name) for name in ("latency_s", "time_to_first_token_s", "wait_s")}
    return {
        "rows": figures.rows,
        "statuses": (figures.succeeded, figures.failed, figures.skipped),
        "tokens": figures.tokens,
        "cost": {cost.currency: cost.amount for cost in figures.cost},
        "rows_without_cost": figures.rows_without_cost,
        "safety": figures.safety,
        "empty": figures.answers.empty,
        "truncated": figures.answers.truncated,
        "attempts": (figures.attempts.total, figures.attempts.rows_repeated),
        "failures": {(f.kind, f.code): (f.rows, f.model, f.row_id, f.message) for f in figures.failures},
        **{name: None if s is None else [s.rows, s.p50, s.p95, s.p99, s.max] for name, s in spreads.items()},
        "wall_s": figures.timing.wall_s,
        "rates": None
        if figures.timing.rows_per_s is None
        else (figures.timing.rows_per_s, figures.timing.tokens_per_s),
    }


def _first(bad: list[Record], key: tuple[Any, Any]) -> tuple[int, str, str, str | None]:
    alike = [row for row in bad if (row.error_kind, row.error_code) == key]
    first = min(alike, key=lambda row: (row.shard, row.source_row, row.model))
    return len(alike), first.model, first.row_id, first.error_message


def _spread(values: Sequence[float | None]) -> Any:
    known = [value for value in values if value is not None]
    if not known:
        return None
    marks = statistics.quantiles(known, n=100, method="inclusive") if len(known) > 1 else known * 99
    return [len(known), *(pytest.approx(v) for v in (marks[49], marks[94], marks[98], max(known)))]


@settings(deadline=None, max_examples=60)
@given(records())
def test_figures_equal_a_plain_computation_at_every_level(rows: list[Record]) -> None:
    """Total, models and groups are what adding up the records by hand gives."""
    summary = summarise(frame(rows), by=["topic"])

    models = {row.model for row in rows}
    groups = {(row.model, row.columns["topic"]) for row in rows}
    assert plain(rows) == shown(summary.total)
    assert {m: plain([r for r in rows if r.model == m]) for m in models} == {
        f.model: shown(f) for f in summary.models
    }
    assert {g: plain([r for r in rows if (r.model, r.columns["topic"]) == g]) for g in groups} == {
        (f.model, f.group["topic"]): shown(f) for f in summary.groups
    }


@settings(deadline=None, max_examples=30)
@given(records())
def test_counts_balance(rows: list[Record]) -> None:
    """Nothing is counted twice or lost, whatever the rows hold."""
    summary = summarise(frame(rows))
    for figures in (*summary.models, summary.total):
        safety = figures.safety
        assert figures.rows == figures.succeeded + figures.failed + figures.skipped
        assert figures.failed == sum(failure.rows for failure in figures.failures)
        assert figures.rows == safety.safe + safety.unsafe + safety.unknown


@settings(deadline=None, max_examples=30)
@given(records(), st.randoms())
def test_row_order_changes_nothing(rows: list[Record], random: Any) -> None:
    """The same rows in another order give the same summary, examples included."""
    before = summarise(frame(rows), by=["topic", "finish_reason"])
    random.shuffle(rows)
    assert before == summarise(frame(rows), by=["topic", "finish_reason"])


def test_currencies_are_never_summed() -> None:
    """Each currency has its own amount, in the total too."""
    rows = [succeeded(0, cost=1.5), succeeded(1, cost=0.25), succeeded(1, "gpt", cost=2.0, currency="USD")]
    summary = summarise(frame(rows))
    assert (Cost("CNY", 1.75, 2), Cost("USD", 2.0, 1)) == summary.total.cost
    assert [(Cost("USD", 2.0, 1),), (Cost("CNY", 1.75, 2),)] == [figures.cost for figures in summary.models]


def test_no_rows() -> None:
    """A run that has not answered anything has zeros and nothing made up."""
    summary = summarise(frame([]), by=["topic"])
    assert Figures(model=None) == summary.total
    assert (summary.models, summary.groups) == ((), ())


def test_nothing_succeeded() -> None:
    """Failures are told apart by kind and code, most frequent first, with the first row as the example."""
    rows = [
        failed(3),
        failed(1),
        failed(2, error_kind=ErrorKind.TIMEOUT, error_code=None, error_message=None),
    ]
    figures = summarise(frame(rows)).total
    assert (figures.rows, figures.succeeded, figures.failed) == (3, 0, 3)
    assert (
        FailureCount("server", 500, 2, "yi-34b", "q2", "internal error 1"),
        FailureCount("timeout", None, 1, "yi-34b", "q3", None),
    ) == figures.failures
    assert (Tokens(), (), 0) == (figures.tokens, figures.cost, figures.rows_without_cost)


def test_durations_interpolate_linearly() -> None:
    """Percentiles lie between the neighbouring values, and rows without the duration do not count."""
    rows = [succeeded(n, latency_s=float(n)) for n in range(5)] + [succeeded(5, latency_s=None)]
    assert Spread(5, 2.0, 3.8, 3.96, 4.0) == summarise(frame(rows)).total.latency_s
    assert summarise(frame(rows)).total.time_to_first_token_s is None


def test_timing_spans_first_start_to_last_end() -> None:
    """Wall time and throughput are over the whole group, whatever the order of its rows."""
    assert (
        Timing(
            started_at=datetime(2026, 5, 28, 20, 26, 40, tzinfo=UTC),
            finished_at=datetime(2026, 5, 28, 20, 26, 44, tzinfo=UTC),
            wall_s=4.0,
            rows_per_s=0.5,
            tokens_per_s=15.0,
        )
        == summarise(frame([succeeded(3), succeeded(0)])).total.timing
    )


def test_not_a_number_is_no_duration_and_no_cost() -> None:
    """A NaN that crept into a file is left out rather than poisoning a sum."""
    rows = [succeeded(0, latency_s=math.nan, cost=math.nan), succeeded(1)]
    figures = summarise(frame(rows)).total
    assert Spread(1, 1.0, 1.0, 1.0, 1.0) == figures.latency_s
    assert (Cost("CNY", 0.0012, 1),) == figures.cost


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("int64", [3, None, 1], [1, 3, None]),
        ("bool", [True, False, None], [False, True, None]),
        ("float64", [2.5, math.nan, 0.5], [0.5, 2.5, "nan"]),
        ("json", [{"a": 1}, [1], None], ["[1]", '{"a":1}', None]),
    ],
)
def test_groups_of_any_type_come_in_order(kind: str, values: list[Any], expected: list[Any]) -> None:
    """Numbers, flags and JSON texts group as they are; null comes last."""
    rows = [succeeded(n, columns={"level": value}) for n, value in enumerate(values)]
    groups = summarise(frame(rows, [InputColumn("level", kind)]), by=["level"]).groups
    assert expected == [figures.group["level"] for figures in groups]


def test_a_results_column_comes_before_a_carried_one() -> None:
    """`status` means the results' own column; `input_status` the carried one of that name."""
    rows = [succeeded(0, columns={"status": "draft"})]
    lazy = frame(rows, [InputColumn("status", "string")])
    assert summarise(lazy, by=["status"]).groups[0].group == {"status": "succeeded"}
    assert summarise(lazy, by=["input_status"]).groups[0].group == {"input_status": "draft"}


def test_grouping_by_a_moment_gives_iso_text() -> None:
    """Moments as groups read as ISO 8601, so JSON and CSV can hold them."""
    group = summarise(frame([succeeded(0)]), by=["started_at"]).groups[0].group
    assert group == {"started_at": "2026-05-28T20:26:40+00:00"}


def test_model_and_repeated_columns_add_nothing() -> None:
    """Every group has its model anyway, and a column twice is a column once."""
    summary = summarise(frame([succeeded(0)]), by=["model", "topic", "input_topic"])
    assert summary.by == ("topic",)
    assert summarise(frame([succeeded(0)]), by=["model"]).by == ()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("topik", "Did you mean topic? Carried columns: topic."),
        ("finish_reson", "Did you mean finish_reason? Carried columns: topic."),
        ("zzz", "Carried columns: topic."),
    ],
)
def test_an_unknown_column_names_the_nearest(name: str, hint: str) -> None:
    """A slip in a column's name costs one look at the message."""
    with pytest.raises(UsageError) as caught:
        summarise(frame([]), by=[name])
    assert f"--by {name}: the results have no such column" == caught.value.message
    assert hint == caught.value.hint


def test_an_id_is_refused_as_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """A column with a value a row would make a report of a million tables."""
    monkeypatch.setattr(summary_module, "MAX_GROUPS", 2)
    with pytest.raises(UsageError, match="grouping by row_id makes 3 groups; at most 2 can be reported"):
        summarise(frame([succeeded(n) for n in range(3)]), by=["row_id"])


def test_unreadable_results_are_a_storage_error(tmp_path: Path) -> None:
    """A part that vanished ends in one message, not in the library's exception."""
    path = tmp_path / "part.parquet"
    frame([succeeded(0)], [TOPIC]).sink_parquet(path)
    lazy = pl.scan_parquet(path)
    lazy.collect_schema()
    path.unlink()
    with pytest.raises(StorageError, match="the results cannot be read"):
        summarise(lazy)
