"""A plan as frozen values: what a run is expected to ask, cost and take, and where each figure comes from.

`planner` makes one; `qfbatch plan` shows it, and every start of a run keeps one in its directory, so that a
report can set what was expected beside what came.
"""

from __future__ import annotations

from msgspec import Struct, field

ASSUMED = "assumed"
SEEN = "seen"
ENDPOINTS = "endpoints"
SHARED = "shared"


class ModelPlan(Struct, frozen=True):
    """The plan for one model; everything but `rows`, `done` and `failed` is about what is left.

    Attributes:
        name, endpoint: the model.
        rows: rows of the input.
        done: of these, with a record, failed ones included.
        failed: of these, failed.
        left: rows to be asked.
        prompt_tokens, completion_tokens: expected.
        cost: of these tokens, in `currency`; None without a price for tokens.
        currency: of `cost` and `time_cost`; None without a price.
        latency_s: expected of one call.
        basis: where completion tokens come from: `seen` or `assumed`.
        prompt_basis, completion_basis, latency_basis: where each figure comes from, in words.
        correction: reported over estimated prompt tokens, by which the estimate was multiplied.
        time_s: when this model's last answer is expected, from the start.
        time_cost: its compute units over the whole run, in `currency`; None where time has no price.
    """

    name: str
    endpoint: str
    rows: int
    done: int
    failed: int
    left: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    currency: str | None
    latency_s: float
    basis: str
    prompt_basis: str = ""
    completion_basis: str = ""
    latency_basis: str = ""
    correction: float = 1.0
    time_s: float = 0.0
    time_cost: float | None = None


class LimitTime(Struct, frozen=True):
    """How long what is left would take if this limit alone held.

    Attributes:
        model: whose limit it is: a model, or (`whose`: `shared`) a quota; None for the run's own.
        limit: concurrency, qps, rpm or tpm.
        value: as the job states it.
        time_s: seconds.
        whose: `endpoints` for those of a model's endpoints, added up; `shared` for a quota's.
    """

    model: str | None
    limit: str
    value: float
    time_s: float
    whose: str = ""

    @property
    def text(self) -> str:
        """The limit in words: "the run's qps (5)"."""
        whose = "the run's" if self.model is None else f"{self.model}'s"
        if self.whose == ENDPOINTS:
            whose = f"{self.model}'s endpoints'"
        elif self.whose == SHARED:
            whose = f"the quota {self.model}'s"
        return f"{whose} {self.limit} ({self.value:,.10g})"


class BudgetPlan(Struct, frozen=True):
    """One limit of the job's budget beside what the run is expected to come to.

    Attributes:
        limit: `max_cost` or `max_total_tokens`.
        allowed: as the job states it.
        spent: by earlier sessions.
        expected: of what is left.
    """

    limit: str
    allowed: float
    spent: float
    expected: float

    @property
    def fits(self) -> bool:
        """Whether what is left is expected to be done within it."""
        return not self.expected or self.spent + self.expected <= self.allowed


class Plan(Struct, frozen=True):
    """What a run would do.

    Attributes:
        name: of the job.
        directory: the run directory.
        files, shards, rows: of the input.
        models: one plan each.
        binding: the limit that decides the time, with whose it is; empty where nothing is left.
        time_s: seconds from the first call to the last answer, under all limits together.
        stands: what is there already: `new`, `resumes`, or why a run would be refused.
        costs: expected of what is left, by currency, tokens and compute units together.
        limits: every limit that holds, the slowest first.
        budget: the job's budget; empty where it states none.
        time_range_s: where latencies are only assumed, `time_s` with the shortest and the longest that
            are likely; None where answers have been seen.
        notes: what should be known of these figures, one sentence each, without the full stop.
    """

    name: str
    directory: str
    files: int
    shards: int
    rows: int
    models: tuple[ModelPlan, ...]
    binding: str
    time_s: float
    stands: str
    costs: dict[str, float] = field(default_factory=dict)
    limits: tuple[LimitTime, ...] = ()
    budget: tuple[BudgetPlan, ...] = ()
    time_range_s: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()

    @property
    def calls(self) -> int:
        """Rows left to be asked, over all models."""
        return sum(model.left for model in self.models)

    @property
    def tokens(self) -> int:
        """Tokens expected of them."""
        return sum(model.prompt_tokens + model.completion_tokens for model in self.models)


class Prediction(Struct, frozen=True):
    """The plan a session started with.

    Attributes:
        session: its place among the run's sessions (`manifest.json`), from 0.
        started_at: when it started, as there: ISO 8601, UTC.
        plan: of what was left then, within the session's own `--limit` and `--retry-failed`.
    """

    session: int
    started_at: str
    plan: Plan
