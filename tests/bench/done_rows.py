"""Run directories with most rows done, made with the checkpoint's own writers instead of a long run.

As a script, `python -m bench.done_rows FOLDER OPEN_SHARDS`: the folder's job, done but for so many shards.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
from report_speed import TOPIC, results

from qfbatch import schema
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.manifest import Manifest, write_manifest
from qfbatch.checkpoint.parts import write_part
from qfbatch.checkpoint.store import Checkpoint
from qfbatch.flow.session import RunOptions, open_session
from qfbatch.job.load import load_job
from qfbatch.records import Record, Shard, SourceFile, Status, Survey, UsageSource

RUN_ID = "bench"
SHARD_ROWS = 1000
LETTERS = "etaoinshrdlucmfwypvbgk"  # the frequent ones first


def mark_done(path: Path, open_shards: int) -> None:
    """Open the folder's job as a run does, survey included; write the parts of all but the last shards."""
    os.chdir(path)
    job = load_job(Path("job.yaml"), environ={})
    with open_session(job, RunOptions(), now=time.time) as session:
        shards = session.manifest.survey.shards
        model = job.models[0].name
        assert isinstance(session.layout, RunLayout)
        for shard in shards[: len(shards) - open_shards]:
            first = shard.number * SHARD_ROWS
            records = [_record(first + n, model, shard, n) for n in range(shard.rows)]
            table = schema.to_table(records, session.manifest.survey.columns)
            write_part(
                session.layout.part(model, shard.number),
                table,
                run_id=session.manifest.run_id,
                model=model,
                shard=shard.number,
            )


def write_results(path: Path, rows: int) -> None:
    """A complete run of so many results, two models, prompts and answers of some 300 bytes, like prose."""
    models = ("yi-34b", "pythia-6.9b")
    inputs = rows // 2
    shards = tuple(_shards(inputs))
    file = SourceFile("prompts.jsonl", "prompts.jsonl", 1, 1, "00", inputs)
    layout = RunLayout(path)
    Checkpoint.open(layout, models, shards, (TOPIC,), RUN_ID)
    write_manifest(
        layout,
        Manifest(
            run_id=RUN_ID,
            created_at="2026-05-28T20:26:40Z",
            qfbatch_version="0",
            python="3",
            platform="any",
            job={"name": "bench", "models": [{"name": model} for model in models]},
            fingerprint={},
            survey=Survey((file,), shards, (TOPIC,), inputs, 0),
        ),
    )
    frame = _in_prose(results(rows)).with_columns(
        shard=((pl.col("source_row") - 1) // SHARD_ROWS).cast(pl.Int64)
    )
    shape = schema.to_table([], [TOPIC]).schema
    for (model, shard), some in frame.group_by(("model", "shard")):
        arrow = pa.table(some.select(shape.names).to_arrow())
        table = arrow.cast(shape, safe=False)  # polars counts milliseconds where the schema has seconds
        number = int(str(shard))
        write_part(layout.part(str(model), number), table, run_id=RUN_ID, model=str(model), shard=number)


def _in_prose(frame: pl.DataFrame) -> pl.DataFrame:
    """The same with texts that compress as prose does, to a third, instead of one sentence repeated."""
    rng = random.Random(4)  # the same texts every time
    words = [
        "".join(rng.choices(LETTERS, range(len(LETTERS), 0, -1), k=rng.randint(2, 9))) for _ in range(20_000)
    ]
    text = " ".join(rng.choices(words, [1 / (rank + 2) for rank in range(len(words))], k=600_000))

    def cut(length: int) -> list[str]:
        return [text[at : at + length] for at in rng.choices(range(len(text) - length), k=frame.height)]

    answered = pl.when(pl.col("result").is_not_null())
    answers = answered.then(pl.Series("result", cut(312)))
    return frame.with_columns(pl.Series("prompt", cut(296)), answers.alias("result"))


def _shards(rows: int) -> Iterator[Shard]:
    for number, first in enumerate(range(0, rows, SHARD_ROWS)):
        yield Shard(number, "prompts.jsonl", first + 1, min(SHARD_ROWS, rows - first), 0)


def _record(number: int, model: str, shard: Shard, position: int) -> Record:
    began = 1_780_000_000_000_000 + number * 1000
    return Record(
        row_id=f"r{number}",
        model=model,
        endpoint="tiny",
        shard=shard.number,
        source_file=shard.source_file,
        source_row=shard.first_row + position,
        prompt=f"prompt number {number}",
        status=Status.SUCCEEDED,
        attempts=1,
        started_at=began,
        finished_at=began + 500,
        parameters="{}",
        result="ok",
        is_safe=True,
        prompt_tokens=4,
        completion_tokens=1,
        total_tokens=5,
        usage_source=UsageSource.REPORTED,
        latency_s=0.0005,
        response_id="as-1",
        object="completion",
        created=1_780_000_000,
    )


if __name__ == "__main__":
    mark_done(Path(sys.argv[1]), int(sys.argv[2]))
