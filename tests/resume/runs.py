"""Runs made directly on disk, so that a resume can be tested without a service."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from qfbatch.checkpoint.files import make_folder
from qfbatch.checkpoint.journal import encode_line
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.manifest import Manifest, write_manifest
from qfbatch.checkpoint.store import Checkpoint
from qfbatch.fingerprint import fingerprint
from qfbatch.flow.surveying import survey_with_keys
from qfbatch.job.settings import (
    Budget,
    InputSettings,
    Job,
    ModelSettings,
    ServiceSettings,
)
from qfbatch.limits.quota import Quota
from qfbatch.reader.rows import row_parameters
from qfbatch.reader.shard_reader import ShardReader
from qfbatch.records import Record, Row, Status
from qfbatch.retry import RetryPolicy
from qfbatch.service.parameters import as_sent, body_fields

MODELS = (
    ModelSettings(name="one", endpoint="e1", parameters={"temperature": 0.5}),
    ModelSettings(name="two", endpoint="e2"),
)


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """The input file, whole."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def make_job(folder: Path, *, with_ids: bool = False, shard_rows: int = 3) -> Job:
    """A job over `rows.jsonl` of the folder, for two models."""
    return Job(
        name="resumed",
        source=folder / "job.yaml",
        input=InputSettings(
            paths=(str(folder / "rows.jsonl"),),
            id="id" if with_ids else None,
            prompt="prompt",
            shard_rows=shard_rows,
        ),
        service=ServiceSettings(base_url="http://127.0.0.1:1", auth="none"),
        models=MODELS,
        retry=RetryPolicy(),
        limits=Quota(),
        budget=Budget(),
        output_path=folder / "run",
    )


def answer_to(model: ModelSettings, prompt: str) -> str:
    """What the pretended service answers: a function of what was asked."""
    return f"{model.name} on {prompt}"


def begin_run(job: Job, answered: Collection[tuple[str, int]]) -> tuple[RunLayout, Manifest]:
    """A run of the job as a killed session leaves it: these (model, row position) have answers.

    Every other shard is closed into its part, the others stand as journals.
    """
    layout = RunLayout(Path(str(job.output_path)))
    make_folder(layout.path)
    found = survey_with_keys(job, layout.keys)
    manifest = Manifest("r1", "2026-01-01T00:00:00+00:00", "0", "3", "x", {}, fingerprint(job), found)
    write_manifest(layout, manifest)
    names = [model.name for model in job.models]
    checkpoint = Checkpoint.open(layout, names, found.shards, found.columns, manifest.run_id)
    files = {file.name: file for file in found.files}
    position = 0
    with ShardReader(job.input) as reader:
        for shard in found.shards:
            rows = reader.read(files[shard.source_file], shard)
            for model in job.models:
                lines = [
                    encode_line(_record(model, shard.number, row))
                    for offset, row in enumerate(rows)
                    if (model.name, position + offset) in answered
                ]
                if lines:
                    writer = checkpoint.begin(model.name, shard.number)
                    writer.append(b"".join(lines))
                    writer.commit()
                    writer.close()
                    if shard.number % 2 == 0:
                        checkpoint.close_shard(model.name, shard.number)
            position += len(rows)
    return layout, manifest


def _record(model: ModelSettings, shard: int, row: Row) -> Record:
    prompt = row.columns["prompt"]
    return Record(
        row_id=row.row_id,
        model=model.name,
        endpoint=model.endpoint,
        shard=shard,
        source_file=row.source_file,
        source_row=row.source_row,
        prompt=prompt,
        status=Status.SUCCEEDED,
        attempts=1,
        started_at=1,
        finished_at=2,
        parameters=as_sent(body_fields(model.parameters, row_parameters(row.columns))),
        result=answer_to(model, prompt),
        columns={name: value for name, value in row.columns.items() if name == "topic"},
    )
