"""One run's part of a report, from its directory alone: read, account, put together. Takes no lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from qfbatch.checkpoint.holding import holder_of
from qfbatch.checkpoint.interface import JOURNAL_GROUP_ROWS, LOG_GROUP_ROWS
from qfbatch.checkpoint.manifest import Manifest
from qfbatch.checkpoint.place import RunPlace, StoredRun
from qfbatch.checkpoint.predictions import read_predictions
from qfbatch.checkpoint.results import scan_results, scan_superseded
from qfbatch.pricing import Price
from qfbatch.render.section import Section, section
from qfbatch.reporting.accounting import Stay, activity, outcome, with_time_costs
from qfbatch.reporting.summary import summarise
from qfbatch.reporting.superseded import superseded
from qfbatch.scoring.evaluation import UNSCORED, Evaluation
from qfbatch.scoring.scored import evaluate
from qfbatch.scoring.scores import Scores


def report_on(
    place: RunPlace,
    manifest: Manifest,
    *,
    name: str,
    directory: str,
    by: Sequence[str] = (),
    evaluation: Evaluation = UNSCORED,
) -> Section:
    """What a run came to so far, also while it goes on.

    Args:
        place: the run directory.
        manifest: what it is.
        name: the job's.
        directory: the run directory, as the user named it.
        by: columns to group by.
        evaluation: what judges the answers; nothing by default.

    Raises:
        UsageError: there is no such column.
        StorageError: something of the run cannot be read.
    """
    running = holder_of(place) is not None
    results, set_aside = scan_results(place), scan_superseded(place)
    starts = [datetime.fromisoformat(session.started_at) for session in manifest.sessions]
    summary = summarise(results, by=by, sessions=starts)
    models = manifest.job.get("models", ())
    summary = with_time_costs(summary, _prices(models))
    group_rows = LOG_GROUP_ROWS if isinstance(place, StoredRun) else JOURNAL_GROUP_ROWS
    stays = [Stay(session.ended_at is not None, session.in_flight) for session in manifest.sessions]
    found = section(
        name,
        directory,
        summary,
        models=tuple(str(model["name"]) for model in models),
        rows=manifest.survey.rows,
    )
    return msgspec.structs.replace(
        found,
        activity=activity(stays, summary, running=running, group_rows=group_rows)
        if stays or running
        else None,
        superseded=None if set_aside is None else superseded(set_aside, results),
        outcome=outcome(read_predictions(place, manifest.run_id), summary),
        scores=_scores(results, manifest, evaluation, by),
    )


def _scores(
    results: pl.LazyFrame, manifest: Manifest, evaluation: Evaluation, by: Sequence[str]
) -> Scores | None:
    """What the scorers make of the answers; None where the job asks for none."""
    if not evaluation.scorers and not evaluation.not_run:
        return None
    if not evaluation.scorers:
        return Scores(scorers=(), not_run=evaluation.not_run)
    found = evaluate(results, evaluation.scorers, by=by, json_columns=json_columns(manifest))
    return msgspec.structs.replace(found, not_run=evaluation.not_run)


def json_columns(manifest: Manifest) -> frozenset[str]:
    """The carried columns of a run whose values are JSON text."""
    return frozenset(column.name for column in manifest.survey.columns if column.kind == "json")


def _prices(models: Sequence[Mapping[str, Any]]) -> dict[str, list[Price]]:
    """The prices of the job as last in force: a model's where an endpoint has none, and its endpoints'."""
    found = {}
    for model in models:
        own = [endpoint.get("price") for endpoint in model.get("endpoints", ())]
        general = [model.get("price")] if not all(own) or not own else []
        found[str(model["name"])] = [msgspec.convert(price, Price) for price in (*general, *own) if price]
    return found


__all__ = ["json_columns", "report_on"]
