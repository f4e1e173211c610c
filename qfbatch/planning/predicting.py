"""A plan of given work, and what a run predicts of itself: the same, kept before its first call.

Prompt tokens are the documented estimate, corrected by what the service reported before; completion tokens
and latency come from answers seen before, else from assumptions, which are named (`expecting`). The time is
that of the run's own limits, tried over simulated time (`simulation`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from qfbatch.budget import cost_toward_budget, uncounted_note
from qfbatch.checkpoint.predictions import add_prediction
from qfbatch.flow.session import OpenSession
from qfbatch.job.settings import Job, ModelSettings
from qfbatch.limits.quota import Quota
from qfbatch.planning.expecting import Caps, Expectation, expectations
from qfbatch.planning.plans import BudgetPlan, ModelPlan, Plan, Prediction
from qfbatch.planning.simulation import Load, Way, simulated_times
from qfbatch.records import Shard, Survey


class Work(Struct, frozen=True):
    """What one model has done and has to do.

    Attributes:
        done, failed: rows with a record, and of these with a failed one.
        left: rows to be asked.
        estimated_tokens: of their prompts.
        caps: these rows by how long they themselves allow their answers to be.
    """

    done: int
    failed: int
    left: int
    estimated_tokens: float
    caps: Caps


def caps_of(opened: Iterable[tuple[Shard, int]]) -> Caps:
    """Rows left, so many of each shard, by their own answer caps: those of a shard in its proportions."""
    caps: dict[int | None, float] = {}
    for shard, rows in opened:
        if not rows:
            continue
        share = rows / shard.rows
        silent = shard.rows - sum(some for _, some in shard.answer_caps)
        for cap, some in ((None, silent), *shard.answer_caps):
            if some:
                caps[cap] = caps.get(cap, 0.0) + some * share
    return caps


def estimated_tokens_of(found: Survey, shard: Shard) -> float:
    """Estimated prompt tokens of a shard; a run of an older qfbatch knows only those of the whole input."""
    if shard.estimated_prompt_tokens is not None:
        return shard.estimated_prompt_tokens
    return found.estimated_prompt_tokens * shard.rows / found.rows


def predict(job: Job, session: OpenSession) -> Plan:
    """The plan of a session that is about to begin: of exactly the rows that it will ask.

    Raises:
        StorageError: earlier answers cannot be read.
    """
    found, before = session.manifest.survey, session.before
    work = {}
    for name, standing in session.standing.items():
        items = session.work[name]
        tokens = sum(estimated_tokens_of(found, item.shard) * item.left / item.shard.rows for item in items)
        caps = caps_of((item.shard, item.left) for item in items)
        work[name] = Work(standing.rows, standing.failed, standing.left, tokens, caps)
    return plan_of(
        job,
        found,
        work,
        stands="resumes" if session.committed.rows else "new",
        spent_tokens=before.total_tokens + before.discarded_tokens,
        spent=before.spent,
    )


def keep_prediction(job: Job, session: OpenSession) -> Plan:
    """Predict a session and keep the plan in its run directory, for reports.

    Raises:
        StorageError: earlier answers cannot be read, or the plan cannot be written.
    """
    plan = predict(job, session)
    sessions = session.manifest.sessions
    prediction = Prediction(len(sessions) - 1, sessions[-1].started_at, plan)
    add_prediction(session.layout, session.manifest.run_id, prediction)
    return plan


def plan_of(
    job: Job,
    found: Survey,
    work: Mapping[str, Work],
    *,
    stands: str,
    spent_tokens: int,
    spent: Mapping[str, float],
) -> Plan:
    """The plan of this work.

    Args:
        job: the job.
        found: its input.
        work: what each of its models has done and has to do.
        stands: what a run would do with its directory: see `Plan`.
        spent_tokens: of the job's budget, already.
        spent: money by currency, already.

    Raises:
        StorageError: earlier answers cannot be read.
    """
    expected = expectations(job, {name: some.caps for name, some in work.items()})
    loads = [_load(job, model, work[model.name], expected[model.name]) for model in job.models]
    times = simulated_times(job.limits, loads, job.quotas)
    guessed = [load.name for load in loads if load.calls and expected[load.name].guessed]
    models = tuple(
        _model_plan(
            job,
            model,
            found.rows,
            work[model.name],
            expected[model.name],
            time_s=times.finished_s[model.name],
            wall_s=times.time_s,
        )
        for model in job.models
    )
    binding = times.binding
    return Plan(
        name=job.name,
        directory=str(job.output_path),
        files=len(found.files),
        shards=len(found.shards),
        rows=found.rows,
        models=models,
        binding="" if binding is None else binding.text,
        time_s=times.time_s,
        stands=stands,
        costs=_costs(models),
        limits=times.limits,
        time_range_s=_time_range(job, loads, expected) if guessed else None,
        notes=_notes(job, guessed, spent),
        budget=_budget(job, models, spent_tokens, cost_toward_budget(job, spent)),
    )


def _time_range(job: Job, loads: Sequence[Load], expected: Mapping[str, Expectation]) -> tuple[float, float]:
    """The time if calls took as short, or as long, as their assumption has room for."""
    ends = []
    for end in (0, 1):
        latencies = {load.name: expected[load.name].latency_range_s for load in loads}
        tried = [
            load if (span := latencies[load.name]) is None else replace(load, latencies_s=(span[end],))
            for load in loads
        ]
        ends.append(simulated_times(job.limits, tried, job.quotas).time_s)
    return ends[0], ends[1]


def _notes(job: Job, guessed: Sequence[str], spent: Mapping[str, float]) -> tuple[str, ...]:
    notes = []
    if guessed:
        which = "" if len(guessed) == len(job.models) else f" for {', '.join(guessed)}"
        notes.append(
            f"No answer has been seen{which}: tokens, cost and time are guesses from what is assumed below. "
            f"`qfbatch run {job.source} --limit 20` buys better ones, and its answers are kept"
        )
    if other := uncounted_note(job, spent):
        notes.append(other)
    return tuple(notes)


def _load(job: Job, model: ModelSettings, work: Work, expected: Expectation) -> Load:
    each = work.estimated_tokens / work.left if work.left else 0.0
    default = Quota(concurrency=job.limits.concurrency)
    ways = tuple(
        Way(endpoint.quota or default, endpoint.shared_quota, endpoint.weight)
        for endpoint in job.endpoints_of(model)
    )
    plain = len(ways) == 1 and ways[0] == Way(default)
    return Load(
        name=model.name,
        quota=model.quota or default,
        calls=work.left,
        estimated_tokens=each,
        prompt_tokens=each * expected.correction,
        completion_tokens=expected.completion_tokens,
        latencies_s=expected.latencies_s,
        ways=() if plain else ways,
    )


def _model_plan(
    job: Job,
    model: ModelSettings,
    rows: int,
    work: Work,
    expected: Expectation,
    *,
    time_s: float,
    wall_s: float,
) -> ModelPlan:
    prompt_tokens = round(work.estimated_tokens * expected.correction)
    completion_tokens = round(work.left * expected.completion_tokens)
    price = model.expected_price
    return ModelPlan(
        name=model.name,
        endpoint=", ".join(endpoint.name for endpoint in job.endpoints_of(model)),
        rows=rows,
        done=work.done,
        failed=work.failed,
        left=work.left,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cost=None if price is None else price.of_tokens(prompt_tokens, completion_tokens),
        currency=None if price is None else price.currency,
        latency_s=expected.latency_s,
        basis=expected.basis,
        prompt_basis=expected.prompt_basis,
        completion_basis=expected.completion_basis,
        latency_basis=expected.latency_basis,
        correction=expected.correction,
        time_s=time_s,
        time_cost=_time_cost(model, wall_s),
    )


def _time_cost(model: ModelSettings, wall_s: float) -> float | None:
    """Of all its compute units; None where none are billed."""
    costs = [cost for price in model.prices if (cost := price.of_time(wall_s)) is not None]
    return sum(costs) if costs else None


def _costs(models: Sequence[ModelPlan]) -> dict[str, float]:
    costs: dict[str, float] = {}
    for model in models:
        for cost in (model.cost, model.time_cost):
            if cost is not None and model.currency is not None:
                costs[model.currency] = costs.get(model.currency, 0.0) + cost
    return costs


def _budget(
    job: Job, models: Sequence[ModelPlan], spent_tokens: int, spent_cost: float
) -> tuple[BudgetPlan, ...]:
    """The job's budget; like the run's own count it knows tokens and their prices, not compute units."""
    plans = []
    if job.budget.max_cost is not None:
        expected = sum(model.cost or 0.0 for model in models)
        plans.append(BudgetPlan("max_cost", job.budget.max_cost, spent_cost, expected))
    if job.budget.max_total_tokens is not None:
        tokens = sum(model.prompt_tokens + model.completion_tokens for model in models)
        plans.append(BudgetPlan("max_total_tokens", job.budget.max_total_tokens, spent_tokens, tokens))
    return tuple(plans)
