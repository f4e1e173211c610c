"""What a run came to: figures by model, by carried column and over all, from the results alone.

The frame comes from `checkpoint.results.scan_results`, or from any Parquet files of the results schema.
`counts` reads it; what is done here is done with a few rows for each group, at each level (everything, model,
model with the `by` columns). No row is ever touched by Python.

Percentiles interpolate linearly between the two neighbouring values (the definition of `numpy.percentile`,
`pandas` and DuckDB's `quantile_cont`). Every count balances: `succeeded + failed + skipped == rows`, the
`failures` add up to `failed`, `safe + unsafe + unknown == rows`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, TypeAlias

import msgspec
import polars as pl

from qfbatch.errors import UsageError
from qfbatch.reporting.counts import collected, costs, counts, durations, failures, level, spreads
from qfbatch.reporting.distributions import active_s, histograms, timeline
from qfbatch.reporting.figures import (
    Answers,
    Attempts,
    Cost,
    FailureCount,
    Figures,
    Safety,
    Spread,
    Summary,
    Timing,
    Tokens,
    Value,
)
from qfbatch.schema import INPUT_PREFIX

__all__ = ["MAX_GROUPS", "Summary", "group_order", "plain_value", "resolve_columns", "summarise"]

MAX_GROUPS = 10_000  # a column with more values than this is an id, not a group

_Answer: TypeAlias = dict[str, Any]  # one row of an aggregated frame
_Group: TypeAlias = tuple[Value, ...]  # (), (model,) or (model, *values of the `by` columns)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COST_DIGITS = 12  # significant; further ones depend on the order of adding, and reports must not
_PERCENTILES = ("p50", "p95", "p99")  # of `counts.QUANTILES`


def summarise(results: pl.LazyFrame, *, by: Sequence[str] = (), sessions: Sequence[datetime] = ()) -> Summary:
    """The figures of these results.

    Args:
        results: rows of the results schema, one per input row and model, in any order.
        by: columns to group by within each model: a results column (`finish_reason`, `input_topic`), else a
            carried column by its own name (`topic`). Every group has its model, so `model` adds nothing.
        sessions: when the run's sessions started, oldest first; without them the rows count as one session's.

    Raises:
        UsageError: a column does not exist, or there are more than `MAX_GROUPS` groups.
        StorageError: the rows cannot be read.
    """
    columns = resolve_columns(results.collect_schema().names(), by)
    keys = {f"by{n}": column for n, column in enumerate(columns.values())}  # names no results column has
    finest = ["model", *keys]
    if columns:
        _refuse_too_many(results.select("model", *columns.values()), tuple(columns))
    counted, rows = counts(results, keys), durations(results, keys)
    levels = [[], ["model"], finest] if columns else [[], ["model"]]
    answers = [_level(counted, rows, keys) for keys in levels]
    details = (
        failures(counted),
        costs(counted, finest, "cost"),
        costs(counted, finest, "discarded_cost"),
    )
    total, models, groups = _assembled(tuple(columns), list(keys), answers, details)
    return Summary(
        by=tuple(columns),
        total=total,
        models=models,
        groups=groups,
        timeline=timeline(rows),
        active_s=active_s(rows, sessions),
        latency=histograms(rows, "latency_s"),
        time_to_first_token=histograms(rows, "time_to_first_token_s"),
    )


def _level(counted: pl.DataFrame, rows: pl.DataFrame, keys: list[str]) -> list[_Answer]:
    """Every figure that is one number or a spread: an answer per group of `keys`, one in all without keys."""
    found = {_group(answer, keys): answer for answer in spreads(rows, keys).rows(named=True)}
    return [
        {**found.get(_group(answer, keys), {}), **answer} for answer in level(counted, keys).rows(named=True)
    ]


def _group(answer: _Answer, keys: list[str]) -> _Group:
    """The answer's group, comparable to itself: not-a-number is text here."""
    return tuple(plain_value(answer[key]) for key in keys)


def resolve_columns(existing: Sequence[str], by: Sequence[str]) -> dict[str, str]:
    """Which column of the results each name in `by` means, in order, without `model` and repetitions.

    Raises:
        UsageError: a name that is neither a results column nor a carried one.
    """
    columns: dict[str, str] = {}
    for name in by:
        column = name if name in existing else INPUT_PREFIX + name
        if column not in existing:
            carried = [c.removeprefix(INPUT_PREFIX) for c in existing if c.startswith(INPUT_PREFIX)]
            nearest = get_close_matches(name, [*carried, *existing], n=1)
            known = f"Carried columns: {', '.join(carried)}." if carried else "The results carry no columns."
            raise UsageError(
                f"--by {name}: the results have no such column",
                hint=f"Did you mean {nearest[0]}? {known}" if nearest else known,
            )
        if column != "model" and column not in columns.values():
            columns[name] = column
    return columns


def _refuse_too_many(grouped: pl.LazyFrame, by: Sequence[str]) -> None:
    groups = collected(grouped.select(pl.struct(pl.all()).n_unique())).item()
    if groups > MAX_GROUPS:
        raise UsageError(
            f"grouping by {', '.join(by)} makes {groups:,} groups; at most {MAX_GROUPS:,} can be reported",
            hint="Group by a column with few values.",
        )


def _assembled(
    by: tuple[str, ...],
    keys: list[str],
    counted: list[list[_Answer]],
    details: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame],
) -> tuple[Figures, tuple[Figures, ...], tuple[Figures, ...]]:
    """Total, models and groups as values, each with its share of the failures, costs and discarded costs."""
    shares: list[defaultdict[_Group, list[_Answer]]] = [defaultdict(list) for _ in details]
    for detail, target in zip(details, shares, strict=True):
        for answer in detail.rows(named=True):
            finest = (answer["model"], *(plain_value(answer[key]) for key in keys))
            for group in {(), finest[:1], finest}:
                target[group].append(answer)

    def figures(answer: _Answer) -> Figures:
        """One line of the answer as figures, with the failures and costs of the same model and group."""
        model = (answer["model"],) if "model" in answer else ()
        values = tuple(plain_value(answer[key]) for key in keys if key in answer)
        group = (*model, *values)
        named = dict(zip(by, values, strict=True)) if values else {}
        failed, paid, discarded = (share[group] for share in shares)
        return msgspec.structs.replace(
            _figures(answer, named),
            failures=_merged_failures(failed),
            cost=_merged_costs(paid),
            discarded_cost=_merged_costs(discarded),
        )

    (total,), models, *groups = ([figures(answer) for answer in level] for level in counted)
    found = tuple(sorted(groups[0], key=_order)) if groups else ()
    return total, tuple(sorted(models, key=_order)), found


def _figures(answer: _Answer, group: dict[str, Value]) -> Figures:
    """The figures that are one number each."""
    return Figures(
        model=answer.get("model"),
        group=group,
        rows=answer["rows"],
        succeeded=answer["succeeded"],
        failed=answer["failed"],
        skipped=answer["skipped"],
        tokens=Tokens(
            prompt=answer["prompt_tokens"],
            completion=answer["completion_tokens"],
            total=answer["total_tokens"],
            reported=answer["reported"],
            estimated=answer["estimated"],
            discarded=answer["discarded_tokens"],
            rows_without_usage=answer["without_usage"],
        ),
        rows_without_cost=answer["without_cost"],
        safety=Safety(
            safe=answer["safe"],
            unsafe=answer["unsafe"],
            unknown=answer["unknown"],
            need_clear_history=answer["need_clear_history"],
            ban_round=answer["banned"],
        ),
        answers=Answers(empty=answer["empty"], truncated=answer["truncated"]),
        attempts=Attempts(total=answer["attempts"], rows_repeated=answer["repeated"]),
        latency_s=_spread(answer, "latency_s"),
        time_to_first_token_s=_spread(answer, "time_to_first_token_s"),
        wait_s=_spread(answer, "wait_s"),
        timing=_timing(answer),
    )


def _spread(answer: _Answer, name: str) -> Spread | None:
    rows = answer.get(f"{name}.rows")
    if not rows:
        return None
    quantiles = zip(_PERCENTILES, answer[f"{name}.quantiles"], strict=True)
    return Spread(rows=rows, max=answer[f"{name}.max"], **dict(quantiles))


def _timing(answer: _Answer) -> Timing:
    started, finished = answer["started_us"], answer["finished_us"]
    if started is None or finished is None:
        return Timing()
    wall_s = (finished - started) / 1e6
    return Timing(
        started_at=_EPOCH + timedelta(microseconds=started),
        finished_at=_EPOCH + timedelta(microseconds=finished),
        wall_s=wall_s,
        rows_per_s=answer["rows"] / wall_s if wall_s > 0 else None,
        tokens_per_s=answer["total_tokens"] / wall_s if wall_s > 0 else None,
    )


def _merged_failures(answers: Iterable[_Answer]) -> tuple[FailureCount, ...]:
    """Groups of failures put together by kind and code; the earliest row of all is the example."""
    alike: defaultdict[tuple[str | None, int | None], list[_Answer]] = defaultdict(list)
    for answer in answers:
        alike[answer["error_kind"], answer["error_code"]].append(answer)
    counts = []
    for (kind, code), same in alike.items():
        first = min(same, key=lambda answer: (answer["place"], answer["model"]))
        counts.append(
            FailureCount(
                kind=kind,
                code=code,
                rows=sum(answer["rows"] for answer in same),
                model=first["model"],
                row_id=first["row_id"],
                message=first["error_message"],
            )
        )
    return tuple(sorted(counts, key=lambda c: (-c.rows, c.kind or "", -1 if c.code is None else c.code)))


def _merged_costs(answers: Iterable[_Answer]) -> tuple[Cost, ...]:
    alike: defaultdict[str | None, list[_Answer]] = defaultdict(list)
    for answer in answers:
        alike[answer["currency"]].append(answer)
    costs = [
        Cost(
            currency=currency,
            amount=float(f"{math.fsum(answer['cost'] for answer in same):.{_COST_DIGITS}g}"),
            rows=sum(answer["rows"] for answer in same),
        )
        for currency, same in alike.items()
    ]
    return tuple(sorted(costs, key=lambda cost: cost.currency or ""))


def plain_value(value: Any) -> Value:
    """A group's value as JSON can say it: not-a-number and infinities as text, moments in ISO format."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return value + 0.0 if math.isfinite(value) else str(value)  # one zero, whichever sign came first
    plain: Value = value
    return plain


def group_order(model: str | None, group: dict[str, Value]) -> tuple[Any, ...]:
    """By model, then by the group's values: numbers, texts (not-a-number is one), then null."""
    ranks = (
        (2, 0) if value is None else (1, value) if isinstance(value, str) else (0, value)
        for value in group.values()
    )
    return (model, *ranks)


def _order(figures: Figures) -> tuple[Any, ...]:
    return group_order(figures.model, figures.group)
