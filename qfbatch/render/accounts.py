"""A run's sessions, its plan against what came, and its course over time, as rows of finished text."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from qfbatch.render import numbers
from qfbatch.render.lines import amount_text
from qfbatch.render.section import Section
from qfbatch.reporting.accounting import Activity, Deviation, Outcome, Superseded
from qfbatch.reporting.figures import Bucket, Timeline

MINUTE_S = 60.0
TIME_ROWS = 12  # in tables; charts and JSON have all stretches


def run_rows(section: Section) -> list[tuple[str, str]]:
    """Label and value of what is known of the run's sessions; nothing where one session tells no more."""
    rows: list[tuple[str, str]] = []
    if section.activity is not None:
        rows += _activity_rows(section.activity)
    if section.superseded is not None and section.superseded.rows:
        rows.append(("answers set aside", _superseded_text(section.superseded)))
    return rows


def _activity_rows(activity: Activity) -> Iterator[tuple[str, str]]:
    if activity.sessions <= 1 and not activity.killed:
        return
    killed = f", {numbers.count(activity.killed)} of them killed" if activity.killed else ""
    yield "sessions", f"{numbers.count(activity.sessions)}{killed}"
    yield "active time", numbers.duration(activity.active_s)
    yield "rows/s while active", numbers.rate(activity.rows_per_s)
    yield "tokens/s while active", numbers.rate(activity.tokens_per_s)
    if activity.killed:
        bound = numbers.things(activity.repeated_at_most, "answer")
        yield "asked again after a kill", f"at most {bound}, perhaps paid twice; how many nobody knows"


def _superseded_text(superseded: Superseded) -> str:
    costs = "".join(f", {amount_text(cost)}" for cost in superseded.cost)
    tokens = numbers.things(superseded.tokens, "token")
    return f"{numbers.things(superseded.rows, 'row')}, {tokens}{costs}: their rows changed or went"


def outcome_rows(outcome: Outcome) -> Iterator[tuple[str, str, str, str, str]]:
    """Model, figure, planned, actual, deviation."""
    for model in outcome.models:
        name = numbers.one_line(model.model)
        currency = f" {model.currency}" if model.currency else ""
        yield name, "rows", *_texts(model.rows, _count)
        yield name, "prompt tokens", *_texts(model.prompt_tokens, _count)
        yield name, "completion tokens", *_texts(model.completion_tokens, _count)
        for label, deviation in (("cost", model.cost), ("unit-hour cost", model.time_cost)):
            if deviation.planned is not None or deviation.actual is not None:
                yield name, f"{label}{currency}", *_texts(deviation, numbers.amount)
    yield "all models", "total tokens", *_texts(outcome.total_tokens, _count)
    yield "all models", "time", *_texts(outcome.time_s, numbers.duration)


def _texts(deviation: Deviation, text: Callable[[float], str]) -> tuple[str, str, str]:
    planned, actual = (
        numbers.MISSING if value is None else text(value) for value in (deviation.planned, deviation.actual)
    )
    off = deviation.relative
    return planned, actual, numbers.MISSING if off is None else numbers.signed_share(off) if off else "0 %"


def _count(value: float) -> str:
    return numbers.count(round(value))


def time_rows(timeline: Timeline) -> Iterator[tuple[str, str, str, str, str]]:
    """Time since the start, rows/s, tokens/s, failed rows and mean wait of all models, a few stretches."""
    width = -(-timeline.count // TIME_ROWS)
    for first in range(0, timeline.count, width):
        stretches = min(width, timeline.count - first)
        buckets = [b for b in timeline.buckets if first <= _place(b, timeline) < first + stretches]
        rows, span_s = sum(b.rows for b in buckets), stretches * timeline.width_s
        wait_s = sum(b.wait_s for b in buckets)
        yield (
            _since(first * timeline.width_s),
            numbers.rate(rows / span_s),
            numbers.rate(sum(b.tokens for b in buckets) / span_s),
            numbers.count(sum(b.failed for b in buckets)),
            numbers.seconds(wait_s / rows if rows else None),
        )


def _since(seconds: float) -> str:
    return f"{seconds:.4g} s" if seconds < MINUTE_S else numbers.duration(seconds)


def _place(bucket: Bucket, timeline: Timeline) -> int:
    return round(bucket.start_s / timeline.width_s)


__all__ = ["TIME_ROWS", "outcome_rows", "run_rows", "time_rows"]
