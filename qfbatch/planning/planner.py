"""What a run would do: rows, tokens, cost, the limit that binds, and how long that takes. Makes no call.

Here it is found out what there is to do, from the input and from what is done already; `predicting` makes a
plan of that.
"""

from __future__ import annotations

import polars as pl
from msgspec import Struct

from qfbatch.checkpoint.answers import answers_of
from qfbatch.checkpoint.manifest import read_manifest
from qfbatch.checkpoint.place import run_place
from qfbatch.checkpoint.results import scan_results
from qfbatch.flow.following import input_difference
from qfbatch.flow.rehoming import count_kept
from qfbatch.flow.resuming import deciding_differences, is_replaceable
from qfbatch.flow.session import RunOptions
from qfbatch.flow.surveying import OnSurvey, survey_input
from qfbatch.job.settings import Job
from qfbatch.planning.plans import Plan
from qfbatch.planning.predicting import Work, caps_of, estimated_tokens_of, plan_of
from qfbatch.reader.changes import changed_files
from qfbatch.reader.shard_reader import ShardReader
from qfbatch.records import Survey

FRESH, ACCEPT = "run --fresh", "run --accept-input-change"


def plan_job(job: Job, options: RunOptions | None = None, *, on_survey: OnSurvey | None = None) -> Plan:
    """Plan a job without touching its run directory or the service.

    Args:
        job: the job.
        options: of the run that is planned; `limit` and `retry_failed` count.
        on_survey: told of the survey's progress in bytes.

    Raises:
        InputError: the input is wrong.
        StorageError: the run directory cannot be read.
    """
    options = options or RunOptions()
    layout = run_place(job.output_path, job.access)
    manifest = read_manifest(layout)
    stands, found, done = "new", None, _Done()
    if manifest is not None and not is_replaceable(layout, manifest, job):
        differing = deciding_differences(layout, manifest, job)
        if differing:
            stands = (
                f"a run would be refused: the job changed ({'; '.join(differing)}); planned as with {FRESH}"
            )
        elif changed_files(manifest.survey.files, job.input):
            keys = bytearray()
            found = survey_input(job, on_survey, keys.extend)
            change = input_difference(layout, bytes(keys))
            stands = f"a run would be refused: the input changed: {change}; planned as with {ACCEPT}"
            before = _done(scan_results(layout))
            done = _Done(
                count_kept(job.input, job.models, answers_of(layout, manifest), found),
                before.tokens,
                before.spent,
            )
        else:
            stands, found = "resumes", manifest.survey
            done = _done(scan_results(layout), _cut(job, found, options.limit))
    found = found or survey_input(job, on_survey)
    work = {model.name: _work(found, model.name, done, options) for model in job.models}
    return plan_of(job, found, work, stands=stands, spent_tokens=done.tokens, spent=done.spent)


class _Cut(Struct, frozen=True):
    """The shard that a limit cuts: its number, and the ids of its rows within the limit."""

    shard: int
    row_ids: list[str]


class _Done(Struct, frozen=True):
    """What stands in a run.

    Attributes:
        shards: rows and failed rows by model and shard.
        tokens: of them.
        spent: money by currency.
        within: as `shards`, of the rows within the limit where it cuts a shard.
    """

    shards: dict[tuple[str, int], tuple[int, int]] = {}
    tokens: int = 0
    spent: dict[str, float] = {}
    within: dict[tuple[str, int], tuple[int, int]] = {}


def _cut(job: Job, found: Survey, limit: int | None) -> _Cut | None:
    """The shard of which a limit leaves only the first rows; None where it ends with a shard."""
    first = 0
    for shard in found.shards if limit is not None else ():
        wanted = (limit or 0) - first
        first += shard.rows
        if wanted < shard.rows:
            if wanted <= 0:
                return None
            files = {file.name: file for file in found.files}
            with ShardReader(job.input) as reader:
                rows = reader.read(files[shard.source_file], shard)[:wanted]
            return _Cut(shard.number, [row.row_id for row in rows])
    return None


def _done(results: pl.LazyFrame, cut: _Cut | None = None) -> _Done:
    rows, failed = pl.len().alias("rows"), (pl.col("status") == "failed").sum().alias("failed")
    totals = (
        results.group_by("model", "shard", "currency")
        .agg(
            rows,
            failed,
            (pl.col("total_tokens").sum() + pl.col("discarded_tokens").sum()).alias("tokens"),
            (pl.col("cost").sum() + pl.col("discarded_cost").sum()).alias("cost"),
        )
        .collect()
    )
    shards: dict[tuple[str, int], tuple[int, int]] = {}
    spent: dict[str, float] = {}
    tokens = 0
    for model, shard, currency, some_rows, some_failed, some_tokens, cost in totals.iter_rows():
        before_rows, before_failed = shards.get((model, shard), (0, 0))
        shards[model, shard] = (before_rows + some_rows, before_failed + some_failed)
        tokens += some_tokens
        if cost:
            spent[currency or ""] = spent.get(currency or "", 0.0) + cost
    if cut is None:
        return _Done(shards, tokens, spent)
    inside = (pl.col("shard") == cut.shard) & pl.col("row_id").is_in(cut.row_ids)
    counted = results.filter(inside).group_by("model").agg(rows, failed).collect()
    within = dict.fromkeys([place for place in shards if place[1] == cut.shard], (0, 0))
    within |= {(model, cut.shard): (some, bad) for model, some, bad in counted.iter_rows()}
    return _Done(shards, tokens, spent, within)


def _work(found: Survey, model: str, done: _Done, options: RunOptions) -> Work:
    """One model's work.

    Where a limit cuts a shard of an input that has changed, rows done are taken for the first of it.
    """
    done_rows = failed_rows = left = first = 0
    tokens = 0.0
    opened = []
    for shard in found.shards:
        rows, failed = done.shards.get((model, shard.number), (0, 0))
        done_rows += rows
        failed_rows += failed
        wanted = shard.rows if options.limit is None else max(0, min(shard.rows, options.limit - first))
        first += shard.rows
        rows, failed = done.within.get((model, shard.number), (rows, failed))
        open_rows = max(0, wanted - rows)
        if options.retry_failed:
            open_rows += min(failed, wanted)
        left += open_rows
        tokens += estimated_tokens_of(found, shard) * open_rows / shard.rows
        opened.append((shard, open_rows))
    return Work(done_rows, failed_rows, left, tokens, caps_of(opened))
