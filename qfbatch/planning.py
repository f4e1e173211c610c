"""What a run would do: rows, tokens, cost, the limit that binds, and how long that takes. Makes no call.

Prompt tokens are the documented estimate, corrected by what the service reported for rows already answered.
Completion tokens and latency come from rows already answered, else from assumptions, which are named.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
from msgspec import Struct

from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.manifest import read_manifest
from qfbatch.checkpoint.results import scan_results
from qfbatch.job.settings import Job, ModelSettings
from qfbatch.limits.quota import Quota
from qfbatch.reader.changes import changed_files
from qfbatch.records import Survey
from qfbatch.resuming import deciding_differences, is_replaceable
from qfbatch.surveying import survey_input
from qfbatch.tokens import estimate
from qfbatch.worker import FIRST_EXPECTED_COMPLETION

ASSUMED_LATENCY_S = 2.0
SAMPLE_ROWS = 1000
MINUTE_S = 60.0


class ModelPlan(Struct, frozen=True):
    """The plan for one model; everything but `rows` and `done` is about what is left.

    Attributes:
        name, endpoint: the model.
        rows: rows of the input.
        done: of these, with a record, failed ones included.
        failed: of these, failed.
        left: rows to be asked.
        prompt_tokens, completion_tokens: expected.
        cost: expected, in `currency`; None without a price.
        latency_s: expected of one call.
        basis: where completion tokens and latency come from: `seen` in this run, or `assumed`.
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


class Plan(Struct, frozen=True):
    """What a run would do.

    Attributes:
        name: of the job.
        directory: the run directory.
        files, shards, rows: of the input.
        models: one plan each.
        binding: the limit that decides the time: concurrency, qps, rpm or tpm, with whose it is.
        time_s: how long what is left takes under it.
        stands: what is there already: `new`, `resumes`, or why a run would be refused.
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


def plan_job(job: Job, *, on_survey: Callable[[int, int], None] | None = None) -> Plan:
    """Plan a job without touching its run directory or the service.

    Args:
        job: the job.
        on_survey: told of the survey's progress in bytes.

    Raises:
        InputError: the input is wrong.
        StorageError: the run directory cannot be read.
    """
    layout = RunLayout(job.output_path)
    manifest = read_manifest(layout)
    stands = "new"
    seen: dict[str, _Seen] = {}
    found: Survey | None = None
    if manifest is not None and not is_replaceable(layout, manifest, job):
        differing = deciding_differences(layout, manifest, job)
        if differing:
            stands = f"a run would be refused: the job changed ({'; '.join(differing)}); see run --fresh"
        elif changed_files(manifest.survey.files, job.input):
            stands = "a run would be refused: the input changed; see run --accept-input-change"
        else:
            stands, found, seen = "resumes", manifest.survey, _seen(scan_results(layout))
    found = found or survey_input(job, on_survey)
    models = tuple(_plan_model(model, found, seen.get(model.name)) for model in job.models)
    binding, time_s = _time(job, models)
    return Plan(
        name=job.name,
        directory=str(job.output_path),
        files=len(found.files),
        shards=len(found.shards),
        rows=found.rows,
        models=models,
        binding=binding,
        time_s=time_s,
        stands=stands,
    )


class _Seen(Struct, frozen=True):
    """What the rows already answered by one model tell."""

    done: int
    failed: int
    prompt_tokens: float | None
    completion_tokens: float | None
    latency_s: float | None
    correction: float


def _seen(results: pl.LazyFrame) -> dict[str, _Seen]:
    succeeded = pl.col("status") == "succeeded"
    totals = (
        results.group_by("model")
        .agg(
            pl.len().alias("done"),
            (pl.col("status") == "failed").sum().alias("failed"),
            pl.col("prompt_tokens").filter(succeeded).sum().alias("prompt_tokens"),
            pl.col("completion_tokens").filter(succeeded).mean().alias("completion_tokens"),
            pl.col("latency_s").filter(succeeded).mean().alias("latency_s"),
        )
        .collect()
    )
    sample = (
        results.filter(pl.col("prompt_tokens").is_not_null())
        .select("model", "prompt", "prompt_tokens")
        .head(SAMPLE_ROWS)
        .collect()
    )
    corrections = {
        str(model): float(frame["prompt_tokens"].sum()) / max(1, sum(map(estimate, frame["prompt"])))
        for (model,), frame in sample.group_by("model")
    }
    return {
        row["model"]: _Seen(
            done=row["done"],
            failed=row["failed"],
            prompt_tokens=row["prompt_tokens"],
            completion_tokens=row["completion_tokens"],
            latency_s=row["latency_s"],
            correction=corrections.get(row["model"], 1.0),
        )
        for row in totals.iter_rows(named=True)
    }


def _plan_model(model: ModelSettings, found: Survey, seen: _Seen | None) -> ModelPlan:
    done = 0 if seen is None else min(seen.done, found.rows)
    left = found.rows - done
    correction = 1.0 if seen is None else seen.correction
    answered = 0.0 if seen is None or seen.prompt_tokens is None else seen.prompt_tokens
    prompt_tokens = max(0, round(found.estimated_prompt_tokens * correction - answered)) if left else 0
    each = (
        FIRST_EXPECTED_COMPLETION
        if seen is None or seen.completion_tokens is None
        else seen.completion_tokens
    )
    completion_tokens = round(left * each)
    price = model.price
    return ModelPlan(
        name=model.name,
        endpoint=model.endpoint,
        rows=found.rows,
        done=done,
        failed=0 if seen is None else seen.failed,
        left=left,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cost=None if price is None else price.of_tokens(prompt_tokens, completion_tokens),
        currency=None if price is None else price.currency,
        latency_s=ASSUMED_LATENCY_S if seen is None or seen.latency_s is None else seen.latency_s,
        basis="assumed" if seen is None or seen.completion_tokens is None else "seen",
    )


def _time(job: Job, models: tuple[ModelPlan, ...]) -> tuple[str, float]:
    """The limit that binds and the seconds it takes for what is left: the largest over all limits."""
    times = _times("the run's", job.limits, models)
    for settings, plan in zip(job.models, models, strict=True):
        if settings.quota is not None:
            times |= _times(f"{settings.name}'s", settings.quota, (plan,))
    binding, time_s = max(times.items(), key=lambda item: item[1])
    return (binding, time_s) if time_s > 0 else ("", 0.0)


def _times(whose: str, quota: Quota, models: tuple[ModelPlan, ...]) -> dict[str, float]:
    calls = sum(model.left for model in models)
    tokens = sum(model.prompt_tokens + model.completion_tokens for model in models)
    busy_s = sum(model.left * model.latency_s for model in models)
    times = {f"{whose} concurrency ({quota.concurrency})": busy_s / min(quota.concurrency, max(1, calls))}
    if quota.qps is not None:
        times[f"{whose} qps ({quota.qps:g})"] = calls / quota.qps
    if quota.rpm is not None:
        times[f"{whose} rpm ({quota.rpm:g})"] = calls / quota.rpm * MINUTE_S
    if quota.tpm is not None:
        times[f"{whose} tpm ({quota.tpm:g})"] = tokens / quota.tpm * MINUTE_S
    return times
