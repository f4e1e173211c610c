"""The figures that stand first on a run's page."""

from __future__ import annotations

from typing import NamedTuple

from qfbatch.render import numbers
from qfbatch.render.lines import amount_text, costs_text
from qfbatch.reporting.figures import Figures


class Card(NamedTuple):
    """One figure: its name, how it reads, and a remark; `tone` is `bad` for what has gone wrong."""

    name: str
    figure: str
    remark: str
    tone: str = ""


def cards(total: Figures) -> tuple[Card, ...]:
    """The figures a reader wants before all others, of everything in the report of a run."""
    tokens, timing = total.tokens, total.timing
    paid = tokens.total + tokens.discarded
    latency, wait = total.latency_s, total.wait_s
    return (
        Card(
            "succeeded",
            numbers.share(total.succeeded, total.rows),
            f"{numbers.count(total.succeeded)} of {numbers.things(total.rows, 'row')}",
        ),
        Card(
            "failed",
            numbers.count(total.failed),
            f"{numbers.share(total.failed, total.rows)} of rows; "
            f"{numbers.count(total.attempts.rows_repeated)} tried again",
            "bad" if total.failed else "",
        ),
        Card("cost", costs_text(total), _cost_remark(total)),
        Card(
            "tokens",
            numbers.count(tokens.total),
            f"{numbers.count(tokens.prompt)} prompt, {numbers.count(tokens.completion)} completion",
        ),
        Card(
            "paid, but discarded",
            numbers.count(tokens.discarded),
            "; ".join(
                [
                    f"tokens, {numbers.share(tokens.discarded, paid)} of all",
                    *map(amount_text, total.discarded_cost),
                ]
            ),
            "bad" if tokens.discarded else "",
        ),
        Card(
            "unsafe",
            numbers.count(total.safety.unsafe),
            f"{numbers.count(total.safety.safe)} safe, {numbers.count(total.safety.unknown)} not said",
            "bad" if total.safety.unsafe else "",
        ),
        Card(
            "truncated",
            numbers.count(total.answers.truncated),
            f"{numbers.share(total.answers.truncated, total.rows)} of rows; "
            f"{numbers.count(total.answers.empty)} empty answers",
        ),
        Card(
            "latency",
            numbers.seconds(latency.p50 if latency else None),
            f"95 % within {numbers.seconds(latency.p95)}" if latency else "no row has one",
        ),
        Card(
            "wait",
            numbers.seconds(wait.p50 if wait else None),
            f"for limits and retries; 95 % within {numbers.seconds(wait.p95)}" if wait else "no row has one",
        ),
        Card(
            "throughput",
            numbers.rate(timing.rows_per_s),
            f"rows, {numbers.rate(timing.tokens_per_s)} tokens, in {numbers.duration(timing.wall_s)}",
        ),
    )


def _cost_remark(total: Figures) -> str:
    if not total.cost:
        return "the job states no price"
    if total.rows_without_cost:
        return f"{numbers.things(total.rows_without_cost, 'row')} without a cost"
    return "tokens times the job's prices"


__all__ = ["Card", "cards"]
