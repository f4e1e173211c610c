"""The figures of a run as frozen values: what `summary` works out and every report shows.

Nothing here needs polars, so whatever only reads or renders a summary stays light.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from msgspec import Struct, field

Value: TypeAlias = str | int | float | bool | None


class Tokens(Struct, frozen=True):
    """Token counts, summed.

    Attributes:
        prompt, completion, total: of all rows that have usage.
        reported: the part of `total` that the service reported.
        estimated: the part of `total` that was estimated.
        discarded: paid for answers that were dropped (retries, cut streams); not part of `total`.
        rows_without_usage: succeeded rows without token counts, so `total` misses them.
    """

    prompt: int = 0
    completion: int = 0
    total: int = 0
    reported: int = 0
    estimated: int = 0
    discarded: int = 0
    rows_without_usage: int = 0


class Cost(Struct, frozen=True):
    """Cost of the tokens in one currency.

    Attributes:
        currency: ISO 4217 code as the job stated it; None where rows name none.
        amount: sum over the rows.
        rows: rows that have a cost in this currency.
    """

    currency: str | None
    amount: float
    rows: int


class FailureCount(Struct, frozen=True):
    """Failed rows alike in kind and code, with the first of them (by shard, then source row) as the example.

    Attributes:
        kind: `error_kind` of the results.
        code: `error_code`: the service's, or the HTTP status.
        rows: how many.
        model, row_id, message: of the example.
    """

    kind: str | None
    code: int | None
    rows: int
    model: str
    row_id: str
    message: str | None


class Safety(Struct, frozen=True):
    """What the service said about content, in rows.

    Attributes:
        safe, unsafe, unknown: `is_safe` true, false, not said (failed rows mostly); they add up to all rows.
        need_clear_history: rows where the service asks to drop the conversation.
    """

    safe: int = 0
    unsafe: int = 0
    unknown: int = 0
    need_clear_history: int = 0


class Answers(Struct, frozen=True):
    """Answers to look at, in rows.

    Attributes:
        empty: succeeded, but the answer is nothing or white space.
        truncated: the service cut the answer (`is_truncated`).
    """

    empty: int = 0
    truncated: int = 0


class Attempts(Struct, frozen=True):
    """Calls made in the rows' final tries.

    Attributes:
        total: all of them.
        rows_repeated: rows that took more than one.
    """

    total: int = 0
    rows_repeated: int = 0


class Spread(Struct, frozen=True):
    """How a duration spreads over the rows that have it, in seconds; `rows` says how many those are."""

    rows: int
    p50: float
    p95: float
    p99: float
    max: float


class Timing(Struct, frozen=True):
    """From the first call's start to the last call's end; a pause between two sessions of a run counts.

    Attributes:
        started_at, finished_at: None without rows.
        wall_s: seconds between them.
        rows_per_s: rows ended, over `wall_s`; None where no time passed.
        tokens_per_s: `Tokens.total` over `wall_s`; None where no time passed.
    """

    started_at: datetime | None = None
    finished_at: datetime | None = None
    wall_s: float = 0.0
    rows_per_s: float | None = None
    tokens_per_s: float | None = None


class Figures(Struct, frozen=True):
    """The figures of one group of rows.

    Attributes:
        model: None where the figures are over all models.
        group: value of each `by` column, by the name the user gave; empty where the figures are over all.
        rows, succeeded, failed, skipped: rows that ended, and how.
        failures: most frequent first.
        tokens: sums.
        cost: one entry a currency, never summed across them. Unit-hour prices are not in the rows: what they
            come to belongs beside this, under a name of its own (`time_cost`).
        rows_without_cost: succeeded rows without a cost (no price, or no usage), so `cost` misses them.
        safety, answers, attempts: counts.
        latency_s, time_to_first_token_s, wait_s: over all rows that have them, failed ones too; None where
            none has.
        timing: wall time and throughput.
    """

    model: str | None
    group: dict[str, Value] = field(default_factory=dict)
    rows: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    failures: tuple[FailureCount, ...] = ()
    tokens: Tokens = Tokens()
    cost: tuple[Cost, ...] = ()
    rows_without_cost: int = 0
    safety: Safety = Safety()
    answers: Answers = Answers()
    attempts: Attempts = Attempts()
    latency_s: Spread | None = None
    time_to_first_token_s: Spread | None = None
    wait_s: Spread | None = None
    timing: Timing = Timing()


class Summary(Struct, frozen=True):
    """What a run came to.

    Attributes:
        by: the columns grouped by, as the user named them.
        total: over everything.
        models: one entry a model, by name.
        groups: one entry a model and value of the `by` columns, in that order, nulls last; empty without
            `by`.
    """

    by: tuple[str, ...]
    total: Figures
    models: tuple[Figures, ...]
    groups: tuple[Figures, ...] = ()
