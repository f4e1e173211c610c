"""Which figures a report shows, in which order, under which key and label: one list for every format.

A figure's key is a CSV column, its label stands in tables. Cost has one figure a currency, so the list
depends on the currencies that occur.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

from qfbatch.render import numbers
from qfbatch.reporting.figures import Cost, FailureCount, Figures, Spread, TimeCost

Raw: TypeAlias = str | int | float | datetime | None

_SPREADS: tuple[tuple[str, str, Callable[[Figures], Spread | None]], ...] = (
    ("latency_s", "latency", lambda f: f.latency_s),
    ("time_to_first_token_s", "first token", lambda f: f.time_to_first_token_s),
    ("wait_s", "wait", lambda f: f.wait_s),
)
_MARKS: tuple[tuple[str, Callable[[Spread], float]], ...] = (
    ("p50", lambda s: s.p50),
    ("p95", lambda s: s.p95),
    ("p99", lambda s: s.p99),
    ("max", lambda s: s.max),
)


class Line(NamedTuple):
    """One figure.

    Attributes:
        key: its column in CSV.
        label: what it is called in tables.
        value: for programs; None where there is none.
        text: for people; `numbers.MISSING` where there is none.
    """

    key: str
    label: str
    value: Callable[[Figures], Raw]
    text: Callable[[Figures], str]


def lines(currencies: Sequence[str]) -> list[Line]:
    """All figures, in the order of a report.

    Args:
        currencies: those of `currencies_of`.
    """
    return [
        _count("rows", "rows", lambda f: f.rows),
        _share("succeeded", "succeeded", lambda f: f.succeeded),
        _share("failed", "failed", lambda f: f.failed),
        _share("skipped", "skipped", lambda f: f.skipped),
        _count("prompt_tokens", "prompt tokens", lambda f: f.tokens.prompt),
        _count("completion_tokens", "completion tokens", lambda f: f.tokens.completion),
        _count("total_tokens", "total tokens", lambda f: f.tokens.total),
        _count("reported_tokens", "- reported", lambda f: f.tokens.reported),
        _count("estimated_tokens", "- estimated", lambda f: f.tokens.estimated),
        _count("rows_without_usage", "rows without usage", lambda f: f.tokens.rows_without_usage),
        _count("discarded_tokens", "discarded tokens", lambda f: f.tokens.discarded),
        *(_amount_in(currency, "cost", "cost", lambda f: f.cost) for currency in currencies),
        *(
            _amount_in(currency, "discarded_cost", "discarded cost", lambda f: f.discarded_cost)
            for currency in currencies
        ),
        *(
            _amount_in(currency, "time_cost", "unit-hour cost", lambda f: f.time_cost)
            for currency in currencies
        ),
        _count("rows_without_cost", "rows without cost", lambda f: f.rows_without_cost),
        _share("safe", "safe", lambda f: f.safety.safe),
        _share("unsafe", "unsafe", lambda f: f.safety.unsafe),
        _share("safety_unknown", "safety not said", lambda f: f.safety.unknown),
        _share("need_clear_history", "need clear history", lambda f: f.safety.need_clear_history),
        _share("ban_round", "ban round", lambda f: f.safety.ban_round),
        _share("empty", "empty answers", lambda f: f.answers.empty),
        _share("truncated", "truncated answers", lambda f: f.answers.truncated),
        _count("attempts", "attempts", lambda f: f.attempts.total),
        _share("rows_repeated", "rows tried again", lambda f: f.attempts.rows_repeated),
        *_spreads(),
        Line(
            "started_at",
            "started",
            lambda f: f.timing.started_at,
            lambda f: numbers.moment(f.timing.started_at),
        ),
        Line(
            "finished_at",
            "ended",
            lambda f: f.timing.finished_at,
            lambda f: numbers.moment(f.timing.finished_at),
        ),
        Line("wall_s", "wall time", lambda f: f.timing.wall_s, _wall),
        Line(
            "rows_per_s", "rows/s", lambda f: f.timing.rows_per_s, lambda f: numbers.rate(f.timing.rows_per_s)
        ),
        Line(
            "tokens_per_s",
            "tokens/s",
            lambda f: f.timing.tokens_per_s,
            lambda f: numbers.rate(f.timing.tokens_per_s),
        ),
    ]


def currencies_of(figures: Iterable[Figures]) -> list[str]:
    """Every currency that occurs, by name; an unnamed one is the empty text."""
    return sorted(
        {
            cost.currency or ""
            for group in figures
            for costs in (group.cost, group.discarded_cost, group.time_cost)
            for cost in costs
        }
    )


def costs_text(figures: Figures) -> str:
    """All costs of a group in one cell: `1.2000 CNY + 0.3000 USD`."""
    return " + ".join(amount_text(cost) for cost in figures.cost) or numbers.MISSING


def failures_text(failures: Sequence[FailureCount]) -> str:
    """All kinds of failure in one cell: `timeout: 3; server 500: 1`."""
    return "; ".join(f"{failure_name(failure)}: {failure.rows}" for failure in failures)


def failure_name(failure: FailureCount) -> str:
    """Kind and code: `server 500`."""
    kind = failure.kind or "unknown"
    return kind if failure.code is None else f"{kind} {failure.code}"


def amount_text(cost: Cost | TimeCost) -> str:
    """An amount with its currency: `1.2000 CNY`."""
    return f"{numbers.amount(cost.amount)} {cost.currency or ''}".rstrip()


def _count(key: str, label: str, value: Callable[[Figures], int]) -> Line:
    return Line(key, label, value, lambda f: numbers.count(value(f)))


def _share(key: str, label: str, value: Callable[[Figures], int]) -> Line:
    return Line(key, label, value, lambda f: numbers.count_and_share(value(f), f.rows))


def _amount_in(
    currency: str, key: str, label: str, costs: Callable[[Figures], Sequence[Cost | TimeCost]]
) -> Line:
    def value(figures: Figures) -> float | None:
        """The amount in this currency; None where none was paid in it."""
        return next((cost.amount for cost in costs(figures) if (cost.currency or "") == currency), None)

    def text(figures: Figures) -> str:
        """The amount for people; `MISSING` where nothing was paid in this currency."""
        amount = value(figures)
        return numbers.MISSING if amount is None else numbers.amount(amount)

    return Line(f"{key}_{currency}".rstrip("_"), f"{label} {currency}".rstrip(), value, text)


def _spreads() -> list[Line]:
    return [_mark(key, label, spread, mark, of) for key, label, spread in _SPREADS for mark, of in _MARKS]


def _mark(
    key: str, label: str, spread: Callable[[Figures], Spread | None], mark: str, of: Callable[[Spread], float]
) -> Line:
    def value(figures: Figures) -> float | None:
        """The mark of the spread, in seconds; None where there is no spread."""
        found = spread(figures)
        return None if found is None else of(found)

    return Line(f"{key}_{mark}", f"{label} {mark}", value, lambda f: numbers.seconds(value(f)))


def _wall(figures: Figures) -> str:
    return numbers.MISSING if figures.timing.started_at is None else numbers.duration(figures.timing.wall_s)
