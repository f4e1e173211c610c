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


class TimeCost(Struct, frozen=True):
    """Cost of compute units that are billed by the hour, over the time a run was active.

    Attributes:
        currency: ISO 4217 code as the job states it.
        amount: price of a unit and hour, times units, times hours.
        unit_hours: units times hours.
    """

    currency: str
    amount: float
    unit_hours: float


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
        ban_round: rows where it names the round of the conversation that is to blame.
    """

    safe: int = 0
    unsafe: int = 0
    unknown: int = 0
    need_clear_history: int = 0
    ban_round: int = 0


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
        cost: of the tokens in `tokens.total`; one entry a currency, never summed across them.
        discarded_cost: of the tokens in `tokens.discarded`, which `cost` does not hold; likewise.
        time_cost: of units billed by the hour, which neither holds; one entry a currency. Rows don't know it,
            so it stands with models and the total of a run, never with groups.
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
    discarded_cost: tuple[Cost, ...] = ()
    time_cost: tuple[TimeCost, ...] = ()
    rows_without_cost: int = 0
    safety: Safety = Safety()
    answers: Answers = Answers()
    attempts: Attempts = Attempts()
    latency_s: Spread | None = None
    time_to_first_token_s: Spread | None = None
    wait_s: Spread | None = None
    timing: Timing = Timing()


class Bucket(Struct, frozen=True):
    """What ended in one stretch of a run's time, for one model.

    Attributes:
        model: its name in the job.
        start_s: where the stretch begins, in seconds from `Timeline.started_at`.
        rows: rows that ended in it, failed ones included.
        failed: of these, failed.
        tokens: `Tokens.total` of these rows.
        wait_s: what these rows had waited for limits and between attempts, summed.
        wait_max_s: the longest of these waits.
    """

    model: str
    start_s: float
    rows: int
    failed: int
    tokens: int
    wait_s: float
    wait_max_s: float


class Timeline(Struct, frozen=True):
    """A run over time, in stretches of equal length.

    A row counts where it ended (`finished_at`). A stretch begins at its `start_s` and ends before the next;
    what ends at the very end of the last one is in it.

    Attributes:
        started_at: the first row's start.
        width_s: of a stretch, seconds: a round number that keeps them to `distributions.MAX_BUCKETS`.
        count: how many stretches the run spans.
        buckets: those in which rows ended, by time, then model; nothing ended in the others.
    """

    started_at: datetime
    width_s: float
    count: int
    buckets: tuple[Bucket, ...]


class Bin(Struct, frozen=True):
    """Rows whose duration is at least `from_s` and below `to_s` (None: whatever is longer), in seconds."""

    from_s: float
    to_s: float | None
    rows: int


class Histogram(Struct, frozen=True):
    """How one model's rows spread over a duration.

    Attributes:
        model: its name in the job.
        bins: from the first to the last that holds a row, without a gap; the edges are those of
            `distributions.EDGES_S`, the same for every model and run.
    """

    model: str
    bins: tuple[Bin, ...]


class Summary(Struct, frozen=True):
    """What a run came to.

    Attributes:
        by: the columns grouped by, as the user named them.
        total: over everything.
        models: one entry a model, by name.
        groups: one entry a model and value of the `by` columns, in that order, nulls last; empty without
            `by`.
        timeline: None without rows.
        active_s: from a session's first call to its last answer, summed over the sessions; what lies between
            two sessions is not in it.
        latency, time_to_first_token: how these durations spread, by model, of all rows that have them;
            models without such a row are left out.
    """

    by: tuple[str, ...]
    total: Figures
    models: tuple[Figures, ...]
    groups: tuple[Figures, ...] = ()
    timeline: Timeline | None = None
    active_s: float = 0.0
    latency: tuple[Histogram, ...] = ()
    time_to_first_token: tuple[Histogram, ...] = ()
